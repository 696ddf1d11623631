"""What became of mappings: lines, their order, and that they are few."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Lease, Xtr
from lispmsrt.mapping.event_numbers import EventNumbers
from lispmsrt.mapping.history import History, HistoryLine
from lispmsrt.mapping.refusals import eid_text
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.rejections import Rejections
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.framing import FrameBuffer
from tests.builders import ANY_IPV4, MERGE, Etr, M, locator, record, site, sites, span_of

_EID = "10.1.0.0/16"
_HERE, _THERE = locator("192.0.2.1"), locator("192.0.2.2")


class _Ground(SynchronousTestCase):
    limit = 10_000

    def setUp(self) -> None:
        """A registrar that the history listens to, and three xTRs of a site."""
        self.now = 0.0
        self.batches: list[int] = []
        numbers = EventNumbers()
        self.history = History(lambda: self.now, self.limit, numbers=numbers)
        self.configured = sites((site(), ANY_IPV4))
        self.registrar = Registrar(
            self.configured, on_changes=self._changed, rejections=Rejections(numbers=numbers)
        )
        self.etrs = {number: Etr(f"192.0.2.{number}", xtr_id=number) for number in (1, 2, 3)}

    def _changed(self, changes: Sequence[Change]) -> None:
        self.batches.append(len(changes))
        self.history.changed(changes)

    def lease(self, number: int = 1, transport: str = "TCP") -> Lease:
        """Return the lease of a new session of an xTR."""
        xtr = Xtr("office", self.etrs[number].ids, b"")
        return Lease(xtr, transport, f"192.0.2.{number}:50000", is_live=True)

    def register(self, lease: Lease, one: bytes, flags: int = M) -> None:
        """Register on a session."""
        etr = next(etr for etr in self.etrs.values() if etr.ids == lease.xtr.ids)
        message = etr.map_register(one, flags=flags)
        self.registrar.register(lease, *span_of(message), self.now)

    def over_udp(self, one: bytes, number: int = 1, source: str = "192.0.2.1:4342") -> None:
        """Register over UDP."""
        etr = self.etrs[number]
        data, _start, _end, register = span_of(etr.map_register(one))
        xtr = Xtr("office", etr.ids, b"")
        owner = self.configured.prefixes[0].site
        self.registrar.enter_over_udp(
            xtr, source, owner, data, register[5][0], register[0], self.now
        )

    def run_of(self, lease: Lease, *texts: str) -> None:
        """Register many at one go, like the first of them."""
        etr = self.etrs[1]
        first, *rest = (record(text) for text in texts)
        self.register(lease, first)
        stream = b"".join(etr.registration(one) for one in rest)
        chunk, frames = FrameBuffer().receive(stream)
        number, _acks = self.registrar.register_run(Run(lease, chunk, frames, 0, self.now, 1))
        self.assertEqual(number, len(rest))

    def lines(self, after: int | None = None) -> list[HistoryLine]:
        """Return the lines, newest first."""
        return list(self.history.newest_first(after))

    def said(self) -> list[tuple[str, str, str, bytes]]:
        """Return event, EID-prefix, protocol and record of each, oldest first."""
        return [
            (
                one.event,
                eid_text(one.table.instance_id, one.table.afi, one.key),
                one.lease.transport,
                one.record or b"",
            )
            for one in reversed(self.lines())
        ]


class EventTests(_Ground):
    """What is said of a change."""

    def test_a_mapping_comes_changes_and_is_withdrawn(self) -> None:
        """With the record that came; a repetition is no event."""
        lease = self.lease()
        self.register(lease, record(_EID, _HERE))
        self.register(lease, record(_EID, _HERE))
        self.register(lease, record(_EID, _THERE))
        self.register(lease, record(_EID, ttl=0))
        one, two = record(_EID, _HERE), record(_EID, _THERE)
        self.assertEqual(
            self.said(),
            [
                ("registered", _EID, "TCP", one),
                ("changed", _EID, "TCP", two),
                ("withdrawn", _EID, "TCP", b""),
            ],
        )

    def test_who_withdraws_is_who_is_said_to(self) -> None:
        """It came over UDP, and went over the session."""
        self.over_udp(record(_EID))
        self.register(self.lease(), record(_EID, ttl=0))
        self.assertEqual(
            [one[::2] for one in self.said()], [("registered", "UDP"), ("withdrawn", "TCP")]
        )

    def test_what_nobody_confirms_expires(self) -> None:
        """By the way it came."""
        self.over_udp(record(_EID))
        self.now = 200.0
        self.registrar.expire(self.now)
        found = self.lines()[0]
        self.assertEqual((found.event, found.lease.transport, found.at), ("expired", "UDP", 200.0))

    def test_what_the_configuration_takes_out_is_deconfigured(self) -> None:
        """Nobody withdrew it."""
        self.register(self.lease(), record(_EID))
        self.registrar.reconfigure(sites((site(), "172.16.0.0/12")))
        list(self.registrar.reexamine())
        self.assertEqual([one[0] for one in self.said()], ["registered", "deconfigured"])

    def test_what_a_session_loses_by_a_refusal_is_rejected(self) -> None:
        """The rule stands with the rejections, whose numbers are of the same sequence."""
        self.configured = sites((site(allowed=("192.0.2.0/24",)), ANY_IPV4))
        self.registrar.reconfigure(self.configured)
        lease = self.lease()
        self.register(lease, record(_EID, _HERE))
        self.register(lease, record(_EID, locator("203.0.113.9")))
        self.assertEqual([one[0] for one in self.said()], ["registered", "rejected"])
        self.assertEqual((self.lines()[0].record, self.lines()[0].remaining), (None, None))
        (rejection,) = self.registrar.rejections.newest_first()
        self.assertEqual((rejection.number, self.lines()[0].number), (2, 3))

    def test_another_xtr_takes_its_place(self) -> None:
        """Without merging: the mapping has changed, by that one."""
        self.register(self.lease(1), record(_EID, _HERE))
        self.register(self.lease(2), record(_EID, _THERE))
        self.assertEqual([one[0] for one in self.said()], ["registered", "changed"])
        self.assertEqual(self.lines()[0].lease.xtr.ids, self.etrs[2].ids)

    def test_of_a_merged_mapping_the_part_is_told(self) -> None:
        """Who came or went, with its own record."""
        one, two = self.lease(1), self.lease(2)
        self.register(one, record(_EID, _HERE), flags=M | MERGE)
        self.register(two, record(_EID, _THERE), flags=M | MERGE)
        self.register(two, record(_EID, locator("192.0.2.3")), flags=M | MERGE)
        self.register(one, record(_EID, ttl=0), flags=M | MERGE)
        self.assertEqual(
            [(line[0], line[3]) for line in self.said()],
            [
                ("registered", record(_EID, _HERE)),
                ("registered", record(_EID, _THERE)),
                ("changed", record(_EID, locator("192.0.2.3"))),
                ("withdrawn", b""),
            ],
        )

    def test_what_others_have_left_is_told(self) -> None:
        """Of three two, merged; then one; and nothing when the last has gone."""
        leases = [self.lease(number) for number in (1, 2, 3)]
        locators = [_HERE, _THERE, locator("192.0.2.3")]
        for lease, one in zip(leases, locators, strict=True):
            self.register(lease, record(_EID, one), flags=M | MERGE)
        for lease in leases:
            self.register(lease, record(_EID, ttl=0), flags=M | MERGE)
        last, second, first, *came = self.lines()
        self.assertEqual(last.remaining, None)
        self.assertEqual(second.remaining, record(_EID, locators[2]))
        self.assertEqual(first.remaining, record(_EID, *locators[1:]))
        self.assertEqual({one.remaining for one in came}, {None})

    def test_a_line_says_what_was_so_then(self) -> None:
        """The session takes over what came over UDP, and another session after it."""
        self.over_udp(record(_EID), source="192.0.2.1:4342")
        self.over_udp(record("10.2.0.0/16"), source="192.0.2.1:9999")
        self.register(self.lease(), record(_EID))
        self.assertEqual([one.lease.transport for one in self.lines()], ["UDP", "UDP"])
        self.assertEqual([one.source for one in self.lines()], ["192.0.2.1:9999", "192.0.2.1:4342"])


class RunTests(_Ground):
    """Registrations that go together."""

    def test_a_run_is_told_as_one_and_read_as_many(self) -> None:
        """In order, newest first, each with its record."""
        texts = [f"10.0.{number}.0/24" for number in range(5)]
        self.run_of(self.lease(), *texts)
        self.assertEqual(self.batches, [1, 4])
        self.assertEqual(self.said(), [("registered", text, "TCP", record(text)) for text in texts])
        self.assertEqual([one.number for one in self.lines()], [5, 4, 3, 2, 1])
        self.assertEqual(self.history.number, 5)

    def test_what_another_session_holds_later_was_registered_by_this_one(self) -> None:
        """The part has another lease by then, the line has not."""
        first, second = self.lease(), self.lease(transport="QUIC")
        texts = [f"10.0.{number}.0/24" for number in range(4)]
        self.run_of(first, *texts)
        self.registrar.lose(first, 1.0)
        for text in texts:
            self.register(second, record(text))
        self.assertEqual(len(second.held), 4)
        self.assertEqual({one.lease.transport for one in self.lines()}, {"TCP"})

    def test_only_what_is_newer_is_read(self) -> None:
        """Also from the middle of a run."""
        self.run_of(self.lease(), *[f"10.0.{number}.0/24" for number in range(5)])
        self.assertEqual([one.number for one in self.lines(after=3)], [5, 4])
        self.assertEqual(self.lines(after=5), [])


class LimitTests(_Ground):
    """The ring loses the oldest."""

    limit = 6

    def test_no_more_lines_are_read_than_the_limit(self) -> None:
        """Of a run that is cut, the newest; of what is older than all of it, nothing is kept."""
        lease = self.lease()
        for base in range(4):
            self.run_of(lease, *[f"10.{base}.{number}.0/24" for number in range(4)])
        self.assertEqual([one.number for one in self.lines()], [16, 15, 14, 13, 12, 11])
        self.assertLessEqual(self.history._kept, 6 + 3)

    def test_a_run_that_is_larger_than_the_ring_is_read_in_part(self) -> None:
        """And goes when something newer fills it."""
        self.run_of(self.lease(), *[f"10.0.{number}.0/24" for number in range(9)])
        self.assertEqual([one.number for one in self.lines()], [9, 8, 7, 6, 5, 4])
        lease = self.lease(2)
        for number in range(6):
            self.register(lease, record(f"10.9.{number}.0/24"))
        self.assertEqual([one.number for one in self.lines()], [15, 14, 13, 12, 11, 10])
        self.assertEqual(len(self.history._entries), 6)

    def test_what_is_merged_is_not_kept(self) -> None:
        """Only the part is: each merged mapping has the records of all, read and written."""
        self.register(self.lease(1), record(_EID, _HERE), flags=M | MERGE)
        self.register(self.lease(2), record(_EID, _THERE), flags=M | MERGE)
        kept = self.history._entries[-1]
        assert isinstance(kept, HistoryLine)
        self.assertEqual(kept.record, record(_EID, _THERE))


class LeaseTests(_Ground):
    """What the history keeps of a lease is small."""

    def test_a_lease_that_has_handed_over_gives_its_room_back(self) -> None:
        """A dict keeps the room of all that was ever in it; a session may have had a million."""
        first, second = self.lease(), self.lease()
        texts = [f"10.0.{number}.0/24" for number in range(200)]
        self.run_of(first, *texts)
        small, grown = {}.__sizeof__(), first.held.__sizeof__()
        self.registrar.lose(first, 1.0)
        for text in texts:
            self.register(second, record(text))
        self.assertGreater(grown, small)
        self.assertEqual(first.held.__sizeof__(), small)

    def test_leases_are_known_as_long_as_they_hold_something(self) -> None:
        """Of sessions, of lost ones, over UDP; in a run too."""
        session = self.lease()
        self.run_of(session, "10.0.0.0/24", "10.0.1.0/24")
        self.over_udp(record(_EID), number=2)
        (udp,) = [lease for lease in self.registrar.leases if lease is not session]
        self.assertEqual((len(self.registrar.leases), udp.transport), (2, "UDP"))
        self.registrar.lose(session, 0.0)
        self.assertIn(session, self.registrar.leases)
        self.now = 400.0
        self.registrar.expire(self.now)
        self.assertEqual((self.registrar.leases, self.registrar.count), ({}, 0))
