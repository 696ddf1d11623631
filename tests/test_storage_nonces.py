"""Nonces in the state file, and back: who is heard is asked for, the others come by and by."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.nonces import REMEMBERED, NonceMemory
from lispmsrt.mapping.database import Xtr
from lispmsrt.storage import earlier_nonces
from lispmsrt.storage.earlier_nonces import EarlierNonces
from lispmsrt.storage.file import StateFile
from lispmsrt.storage.nonces import Nonces, Who

_SITE = "campus"


def _who(number: int) -> Who:
    return Xtr(_SITE, number.to_bytes(24, "big"), b""), b"the key."


class EarlierNoncesTests(SynchronousTestCase):
    """Several lives of a Map-Server's nonces, over one file."""

    def setUp(self) -> None:
        """An empty file."""
        self.path = Path(self.mktemp()).absolute() / "map-server.state"
        self.random = Random(4)
        self.begin()
        self.addCleanup(lambda: self.file.close())

    def begin(self) -> None:
        """Begin a life."""
        self.file = StateFile(self.path, timestamp="")
        self.memory = NonceMemory()
        self.nonces = Nonces(self.memory)
        self.earlier = EarlierNonces(self.file, self.memory, self.nonces)
        self.memory.recall_by(self.earlier.recall)  # type: ignore[arg-type]
        self.asked = 0

    def write(self) -> None:
        """Write all that has changed."""
        statements = self.nonces.take()
        while any(values for _sql, values in statements):
            self.file.write(statements)
            statements = self.nonces.take()

    def next_life(self) -> None:
        """Write, and begin anew."""
        self.write()
        self.file.close()
        self.begin()

    def restore(self) -> int:
        """Restore all that is left; return how many rows can't be read."""
        is_more, damaged = True, 0
        while is_more:
            is_more, some = self.earlier.restore_some()
            damaged += some
        self.memory.recall_by(None)
        return damaged

    def is_fresh(self, number: int, *values: int) -> list[bool]:
        """Show nonces of an xTR."""
        return [self.memory.is_fresh(_SITE, _who(number), value) for value in values]

    def test_who_is_heard_first_is_asked_for(self) -> None:
        """Its nonces are no good at once; nobody else's were read for that."""
        drawn = {number: [self.random.getrandbits(64) for _ in range(9)] for number in range(50)}
        for number, values in drawn.items():
            self.is_fresh(number, *values)
        self.next_life()
        self.assertEqual(self.is_fresh(7, *drawn[7]), [False] * 9)
        self.assertEqual(self.is_fresh(7, 1), [True])
        self.assertEqual(len(self.memory.memory(_SITE).histories), 1)
        self.assertEqual(self.restore(), 0)
        self.assertEqual(self.is_fresh(7, 1, *drawn[7]), [False] * 10)
        for number, values in drawn.items():
            self.assertEqual(self.is_fresh(number, *values), [False] * 9)
        self.assertEqual(self.memory.memory(_SITE).nonces, 9 * 50 + 1)

    def test_portions_end_anywhere(self) -> None:
        """In the midst of one xTR's rows, too; and some are written before they are read."""
        seen: dict[int, list[int]] = {}
        for life in range(4):
            for _turn in range(6):
                for number in self.random.sample(range(30), 12):
                    values = [self.random.getrandbits(64) for _ in range(3)]
                    self.assertEqual(self.is_fresh(number, *values), [True] * 3)
                    seen.setdefault(number, []).extend(values)
                self.write()
                self.patch(earlier_nonces, "_PORTION", self.random.choice((1, 300, 1000)))
                if life and self.earlier.restore_some()[0] is False:
                    self.memory.recall_by(None)
            self.next_life()
        self.assertEqual(self.restore(), 0)
        for number, values in seen.items():
            self.assertEqual(self.is_fresh(number, *values), [False] * len(values))

    def test_who_counts_up_is_held_to_it(self) -> None:
        """Whether it is asked for or comes by and by."""
        for number in (1, 2):
            self.is_fresh(number, *range(100, 140))
        self.next_life()
        self.assertEqual(self.is_fresh(1, 99, 139, 140), [False, False, True])
        self.restore()
        self.assertEqual(self.is_fresh(2, 99, 139, 140), [False, False, True])
        self.assertEqual(self.is_fresh(1, 140), [False])

    def test_who_was_heard_since_is_forgotten_last(self) -> None:
        """Whatever comes out of the file stands in front of it."""
        for number in range(5):
            self.is_fresh(number, 7)
        self.next_life()
        self.is_fresh(3, 8)
        self.is_fresh(9, 8)
        self.restore()
        order = list(self.memory.memory(_SITE).histories)
        self.assertEqual(order[-2:], [_who(3), _who(9)])
        self.assertEqual(set(order[:-2]), {_who(number) for number in (0, 1, 2, 4)})

    def test_there_may_be_too_many(self) -> None:
        """What is written of such an xTR later takes the place of what there is."""
        for number in range(6):
            self.is_fresh(number, 9, 8, 7)
        self.next_life()
        self.is_fresh(100, 5)
        self.patch(earlier_nonces, "MAX_XTRS", 4)
        self.restore()
        known = self.memory.memory(_SITE).histories
        self.assertEqual(len(known), 4)
        (left, *_) = [number for number in range(6) if _who(number) not in known]
        self.assertEqual(self.is_fresh(left, 3), [True])
        self.write()
        rows = self.file.read("SELECT serial FROM nonce WHERE ids = ?", (_who(left)[0].ids,))
        self.assertEqual(len(rows), 1)

    def test_rows_that_cannot_be_read(self) -> None:
        """They are counted; the others of the same xTR count."""
        for value in (5, 6, 4):
            self.is_fresh(1, value)
            self.write()
        self.is_fresh(2, 9)
        self.next_life()
        self.file.close()
        with closing(sqlite3.connect(self.path)) as file, file:
            file.execute("UPDATE nonce SET nonces = x'00' WHERE serial = 1")
            file.execute("INSERT INTO nonce VALUES ('campus', 'text', x'', x'', 0, x'')")
            file.execute("INSERT INTO nonce VALUES ('campus', x'', x'', x'01', 0, 'text')")
            file.execute(
                "INSERT INTO nonce VALUES ('campus', x'', x'', x'02', 0, zeroblob(?))",
                (12 + 8 * (REMEMBERED + 1),),
            )
        self.begin()
        self.assertEqual(self.restore(), 4)
        self.assertEqual(self.is_fresh(1, 5, 4, 6), [False, False, True])
        self.assertEqual(self.is_fresh(2, 9), [False])

    def test_origins(self) -> None:
        """A message of an xTR that is known by its address is no other xTR's after a restart."""
        for number in range(100):
            self.memory.is_from_origin(_SITE, number.to_bytes(16, "big"), b"here")
        self.next_life()
        self.assertEqual(self.earlier.restore_origins(), 0)
        self.assertFalse(self.memory.is_from_origin(_SITE, bytes(16), b"there"))
        self.assertTrue(self.memory.is_from_origin(_SITE, bytes(16), b"here"))
