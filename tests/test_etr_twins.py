"""The compiled ETR and the one in Python: whatever happens to both, they say and keep the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt.mapping.etr_queue import DUE, EtrQueue
from lispmsrt.mapping.etr_registration import EtrRegistration, UnregistrableError
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.lcaf import UnknownLcaf
from lispmsrt.wire.records import Locator, MappingRecord
from tests.etr_twins import EIDS, LOCATORS, REGISTRATIONS_TWIN, SESSION_TWIN, Side, Story, kept

_STEPS = 400


class TwinCase(SynchronousTestCase):
    """Needs the compiled modules."""

    def setUp(self) -> None:
        """They may not be built, or not be wanted."""
        if REGISTRATIONS_TWIN is None or SESSION_TWIN is None:
            raise SkipTest("nothing is compiled here")


class StoryTests(TwinCase):
    """Everything that can happen to an ETR, in any order."""

    def test_both_say_tell_and_keep_the_same(self) -> None:
        """After every step."""
        octets = 0
        for seed in range(16):
            story = Story(seed)
            for step in range(_STEPS):
                story.go_on()
                compiled, plain, half = (side.look() for side in story.sides)
                for name, value in plain.items():
                    self.assertEqual(compiled[name], value, (seed, step, name))
                    self.assertEqual(half[name], value, (seed, step, name))
                for side in story.sides:
                    octets += sum(map(len, side.written))
                    side.written.clear()
                    side.heard.clear()
        self.assertGreater(octets, 1_000_000, "hardly anything was written: what was compared?")

    def test_the_twins_did_most_of_it(self) -> None:
        """Else the comparison means little."""
        assert SESSION_TWIN is not None
        done = Counter[str]()
        spy = SimpleNamespace(
            write_registrations=_counted(SESSION_TWIN.write_registrations, done, "written"),
            take_acks=_counted(SESSION_TWIN.take_acks, done, "taken"),
        )
        for seed in range(4):
            story = Story(seed, session=spy)
            for _step in range(_STEPS):
                story.go_on()
        self.assertGreater(done["written"], 500)
        self.assertGreater(done["taken"], 100)


def _counted(kernel: Callable[..., Any], done: Counter[str], name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        answer = kernel(*arguments)
        done[name] += answer if isinstance(answer, int) else answer[1]
        return answer

    return call


class LikenessTests(TwinCase):
    """What is like the record before it is entered at once; all else is judged by the Python."""

    def setUp(self) -> None:
        """An ETR of each kind."""
        super().setUp()
        self.sides = [Side(REGISTRATIONS_TWIN, SESSION_TWIN, 0), Side(None, None, 0)]

    def both(self, record: MappingRecord) -> None:
        """Register it, or hear why not, at both alike."""
        said = []
        for side in self.sides:
            try:
                said.append(side.registrations.register(record))
            except (UnregistrableError, ValueError) as failure:
                said.append(f"{type(failure).__name__}: {failure}".encode())
        self.assertEqual(said[0], said[1])
        self.assertEqual(self.sides[0].look(), self.sides[1].look())

    def test_what_can_not_be_registered_is_refused_alike(self) -> None:
        """Though a record like it was accepted before."""
        locators = LOCATORS[0]
        address = Address.from_text("10.9.0.0")
        good = MappingRecord(EidPrefix(0, address, 16), 1440, locators)
        odd = (
            EidPrefix(0, address, 33),
            EidPrefix(0, address, -1),
            EidPrefix(0, Address(1, b"\1\2\3"), 8),
            EidPrefix(0, Address(2, b"\1\2\3\4"), 8),
            EidPrefix(0, UnknownLcaf(200, b"x"), 8),
            EidPrefix(0, Address.from_text("2001:db8::"), 129),
        )
        for eid in odd:
            self.both(good)
            self.both(MappingRecord(eid, 1440, locators))
        self.both(MappingRecord(good.eid, 0, locators))

    def test_what_differs_in_more_than_the_eid_is_written_anew(self) -> None:
        """Nothing of the record before is left in it."""
        eids = iter(EIDS)
        locators = LOCATORS[0]
        records = (
            MappingRecord(next(eids), 1440, locators),
            MappingRecord(next(eids), 1441, locators),
            MappingRecord(next(eids), 1441, locators, action=3),
            MappingRecord(next(eids), 1441, locators, action=3, authoritative=True),
            MappingRecord(next(eids), 1441, locators, 3, True, map_version=5),
            MappingRecord(next(eids), 1441, LOCATORS[1], 3, True, map_version=5),
            MappingRecord(next(eids), 1441, (), 3, True, map_version=5),
        )
        for record in records:
            self.both(record)
            self.both(MappingRecord(next(eids), *_others(record)))

    def test_a_longer_eid_does_not_make_a_record_too_large(self) -> None:
        """The limit is looked at again."""
        blob = (Locator(UnknownLcaf(200, bytes(7950))),)
        for text in ("10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16", "2001:db8:1::/48"):
            self.both(MappingRecord(EidPrefix.from_text(text), 1440, blob))


def _others(record: MappingRecord) -> tuple[object, ...]:
    return (
        record.ttl,
        record.locators,
        record.action,
        record.authoritative,
        record.map_version,
    )


class QueueTests(TwinCase):
    """The queue, with entries taken out of its middle."""

    def test_it_is_an_ordered_set(self) -> None:
        """Like the one in Python, whatever is done to it."""
        assert REGISTRATIONS_TWIN is not None
        random = Random(1)
        entries = [
            [make(bytes((number,)), b"") for number in range(200)]
            for make in (REGISTRATIONS_TWIN.EtrRegistration, EtrRegistration)
        ]
        queues: list[EtrQueue] = [REGISTRATIONS_TWIN.EtrQueue(DUE), EtrQueue(DUE)]
        for _ in range(20_000):
            number, chance = random.randrange(200), random.random()
            some = random.sample(range(200), 5)
            seen = []
            for queue, own in zip(queues, entries, strict=True):
                if chance < 0.55:
                    queue.add(own[number])
                elif chance < 0.9:
                    queue.discard(own[number])
                elif chance < 0.995:
                    seen.append(queue.take().eid if queue else b"none")
                elif chance < 0.998:
                    queue.put_first([own[one] for one in some])
                elif chance < 0.9985:
                    queue.clear()
                seen.append(own[number] in queue)
                seen.append([entry.eid for entry in queue])
            half = len(seen) // 2
            self.assertEqual(seen[:half], seen[half:])
            self.assertEqual(len(queues[0]), len(queues[1]))

    def test_an_entry_of_another_queue_is_not_in_it(self) -> None:
        """Two Map-Servers have an entry each, but nobody would notice a mistake."""
        assert REGISTRATIONS_TWIN is not None
        one, other = REGISTRATIONS_TWIN.EtrQueue(DUE), REGISTRATIONS_TWIN.EtrQueue(DUE)
        mine, foreign = (REGISTRATIONS_TWIN.EtrRegistration(eid, b"") for eid in (b"1", b"2"))
        one.add(mine)
        other.add(foreign)
        one.discard(foreign)
        self.assertEqual((foreign in one, mine in one, len(one)), (False, True, 1))
        self.assertNotIn("nothing of the kind", one)
        self.assertRaises(KeyError, REGISTRATIONS_TWIN.EtrQueue(DUE).take)
        self.assertRaises(ValueError, REGISTRATIONS_TWIN.EtrQueue, 2)

    def test_an_entry_lives_as_long_as_it_waits(self) -> None:
        """And one that left says what it was."""
        assert REGISTRATIONS_TWIN is not None
        queue = REGISTRATIONS_TWIN.EtrQueue(DUE)
        for number in range(1000):
            queue.add(REGISTRATIONS_TWIN.EtrRegistration(b"%d" % number, b""))
        for number in range(1000):
            self.assertEqual(queue.take().eid, b"%d" % number)


class EntryTests(TwinCase):
    """One EID-prefix as a structure."""

    def test_it_has_the_same_face(self) -> None:
        """Whatever is written is read again."""
        assert REGISTRATIONS_TWIN is not None
        entry = REGISTRATIONS_TWIN.EtrRegistration(b"\x18\0\1\12\1\1\0", bytes(20))
        plain = EtrRegistration(b"\x18\0\1\12\1\1\0", bytes(20))
        self.assertEqual(kept(entry), kept(plain))
        self.assertEqual(entry.withdrawal(), plain.withdrawal())
        for state in EtrState:
            entry.state = state
            self.assertIs(entry.state, state)
        entry.reason, entry.last_answer = 255, 0
        self.assertEqual((entry.reason, entry.last_answer), (255, 0))
        with self.assertRaises(ValueError):
            entry.state = 6
