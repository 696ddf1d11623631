"""Whatever octets come: what is in tests/fuzz, with the same few thousand inputs each time.

``python -m tests.fuzz.run`` goes on from there, as long as one likes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.corpus import CORPUS, CRASHERS, inputs
from tests.fuzz.mutations import mutations
from tests.fuzz.programs import program, read
from tests.fuzz.targets import TARGETS

_FACTOR = 20 if os.environ.get("LISPMSRT_LONG") else 1
_SLOW = {
    "map-server-session": 150,
    "etr-session": 150,
    "map-requests": 250,
    "memberships": 300,
    "frames": 300,
    "swarm-answers": 500,
}
"""Mutations of targets that play whole stories."""

_QUICK = 1500
"""Mutations of all others."""


class _Case(SynchronousTestCase):
    def take(self, name: str, run: Callable[[bytes], None], data: bytes) -> None:
        """Run one, and say of which octets it was when it breaks."""
        try:
            run(data)
        except Exception as error:
            self.fail(f"{name} broke on {data.hex()}: {error!r}")


class FuzzTests(_Case):
    """Every target."""

    def test_the_corpus(self) -> None:
        """What reaches something, as it is, and nothing at all."""
        for name, run in TARGETS.items():
            found = list(inputs(CORPUS, name))
            self.assertTrue(found, f"{name} has no corpus")
            for data in [*found, b""]:
                self.take(name, run, data)

    def test_crashers(self) -> None:
        """What once broke something must not do so again."""
        for name, run in TARGETS.items():
            for data in inputs(CRASHERS, name):
                self.take(name, run, data)

    def test_mutations(self) -> None:
        """Of the corpus, the same ones each time."""
        for number, (name, run) in enumerate(TARGETS.items()):
            seeds = list(inputs(CORPUS, name))
            for data in mutations(seeds, _SLOW.get(name, _QUICK) * _FACTOR, number):
                self.take(name, run, data)


class TargetsTests(_Case):
    """Inputs are kept and read as they should be."""

    def test_no_corpus_is_anybody_elses(self) -> None:
        """Each file belongs to a target."""
        for directory in (CORPUS, CRASHERS):
            names = {path.stem for path in directory.glob("*.hex")}
            self.assertEqual(names - TARGETS.keys(), set())

    def test_any_octets_are_a_program(self) -> None:
        """And what was written is read."""
        steps = [(2, 1, b"abc"), (15, 15, b""), (0, 0, bytes(300))]
        self.assertEqual(list(read(program(steps))), steps)
        for data in (b"", b"\0", b"\xff\xff", b"\1\0\xffabc", bytes(1000)):
            list(read(data))

    def test_a_target_that_does_not_hold_is_noticed(self) -> None:
        """A session that speaks after its end, for one."""
        with self.assertRaises(self.failureException) as caught:
            self.take("name", _broken, b"\1\2")
        self.assertIn("name broke on 0102", str(caught.exception))

    def test_mutations_are_the_same_for_the_same_seed(self) -> None:
        """Or nobody could go back to one."""
        one, same, other = (list(mutations([b"abcdef"], 50, seed)) for seed in (1, 1, 2))
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)


def _broken(data: bytes) -> None:
    raise AssertionError(data)
