"""Whatever changes, and whenever the process is killed: what comes back is what was there at the
latest write, EID-prefix by EID-prefix.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.config import make_sites
from lispmsrt.control.nonces import NonceMemory
from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.storage.file import StateFile
from lispmsrt.storage.memory import Memory
from lispmsrt.storage.seconds import Moment, ReadsMoment
from lispmsrt.storage.writing import InTurn
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.record_walk import walk_records
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from tests.rim import map_server_text, site_text

__all__ = ["TIMEOUT", "Known", "Node"]

TIMEOUT = 1e6
"""Seconds that a registration lasts: no test is so slow that one ends."""

_EIDS = (
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.1/32",
    "2001:db8::/32",
    "2001:db8::1/128",
    "7 10.1.1.0/24",
)
_SITE = site_text("campus", "10.1.0.0/16", "2001:db8::/32", "7 10.1.0.0/16")
_MERGE = int(RegisterFlag.MERGE)

Known = dict[tuple[int, int, int], list[tuple[bytes, bytes, int]]]


class Node:
    """A registrar with its memory."""

    def __init__(self, path: Path, clock: Clock, moment: ReadsMoment | None = None) -> None:
        self.clock = clock
        config = parse_config(map_server_text(_SITE))
        self.memory: Memory | None = None
        self.registrar = Registrar(
            make_sites(config.site),
            on_changes=lambda changes: self.remembering.changed(changes),
            timeout=TIMEOUT,
            recall=lambda table, key: self.remembering.recall(table, key),
        )
        self.memory = Memory(
            path,
            self.registrar,
            NonceMemory(),
            timeout=TIMEOUT,
            clock=clock,
            writer=InTurn,
            moment=moment or (lambda: Moment(2e9 + clock.seconds(), clock.seconds(), "boot")),
            cpu_seconds=lambda: 0.0,
        )
        self.memory.start()

    @property
    def remembering(self) -> Memory:
        assert self.memory is not None
        return self.memory

    @property
    def file(self) -> StateFile:
        """What it writes to."""
        saving = self.remembering._saving
        assert saving is not None
        return saving.file

    def change(self, eid: str, number: int, rloc: int, flags: int) -> None:
        """Have an xTR register or, without an RLOC, withdraw over UDP."""
        instance_id, _, prefix = eid.rpartition(" ")
        locators = (Locator(Address.from_text(f"127.0.0.{rloc}")),) if rloc else ()
        record = MappingRecord(
            EidPrefix.from_text(prefix, int(instance_id or 0)), 1440 if rloc else 0, locators
        )
        data = encode_record(record)
        (span,) = walk_records(data, 0, len(data), 1)
        site = self.registrar.sites.by_name()["campus"]
        xtr = Xtr("campus", bytes((number,)) * 24, b"")
        self.registrar.enter_over_udp(
            xtr, f"127.0.0.{number}:1", site, data, span, flags, self.clock.seconds()
        )

    def known(self) -> Known:
        """Return all parts that are registered."""
        return {
            (*place, key): sorted(
                (part.lease.xtr.ids, part.record, part.flags) for part in parts_of(found)
            )
            for place, table in self.registrar.database.tables.items()
            for key, found in table.entries.items()
        }

    def kill(self) -> None:
        """Leave the file as it is."""
        self.file.close()
        self.remembering._alarm.set(None)
        self.memory = None


_CHANGES = st.tuples(
    st.sampled_from(_EIDS), st.integers(1, 3), st.integers(0, 4), st.sampled_from((0, _MERGE))
)
_STEPS = st.lists(
    st.one_of(_CHANGES, st.sampled_from(("write", "kill", "kill twice"))), max_size=30
)


class StorageModelTests(SynchronousTestCase):
    """Random lives."""

    @settings(max_examples=60, deadline=None)
    @given(_STEPS)
    def test_what_was_written_comes_back(self, steps: list[Any]) -> None:
        """Nothing more, nothing less, and withdrawals too."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "private", "state")
            clock = Clock()
            node = Node(path, clock)
            written: Known = {}
            for step in steps:
                if step == "write":
                    clock.pump([0.1] * 12)
                    written = node.known()
                elif step in ("kill", "kill twice"):
                    node.kill()
                    node = Node(path, clock)
                    if step == "kill twice":
                        # Before all is restored.
                        clock.advance(0.01)
                        node.kill()
                        node = Node(path, clock)
                    clock.pump([0.01] * 8)
                    self.assertEqual(node.known(), written)
                else:
                    node.change(*step)
            node.kill()
