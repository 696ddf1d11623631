"""Who had an EID-prefix before another xTR is asked for it when that one is gone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.names import key_of, name_of
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.replaced import MAX_REPLACED, Replaced
from lispmsrt.wire.authentication import Coverage
from tests.builders import (
    ANY_IPV4,
    KEY,
    Answer,
    Etr,
    M,
    MapServer,
    Peer,
    R,
    eid,
    locator,
    record,
    site,
    sites,
    span_of,
)

_EID = "10.1.0.0/16"
_TABLE = EidTable(0, 1)
_REFRESH = ("refresh", 4, False, eid(_EID))
"""A Refresh of exactly this EID-prefix."""


def _part(site: str, number: int, *, flags: int = 0, path: UdpPath | None = None) -> Registration:
    xtr = Xtr(site, bytes((number,)) * 24, b"")
    lease = Lease(xtr, "TCP", "here", is_live=path is None, path=path)
    return Registration(b"", lease, flags, 0.0, None)


class MemoryTests(SynchronousTestCase):
    """What is remembered, and how much."""

    def make(self, limit: int = MAX_REPLACED) -> None:
        """Start with nothing."""
        self.counters: Counter[str] = Counter()
        self.replaced = Replaced(self.counters, limit)

    def asked(self, key: int, *gone: Registration) -> list[int]:
        """Return the numbers of those who are asked when nobody has an EID-prefix any more."""
        return [lease.ids[0] for lease in self.replaced.vacated(name_of(_TABLE, key), gone)]

    def take(self, key: int, old: Registration, new: Registration) -> None:
        """Have one registration replaced by another one."""
        self.replaced.taken_over(name_of(_TABLE, key), [old], new.lease.xtr)

    def test_everyone_who_was_replaced_is_asked(self) -> None:
        """Not who has just ended: that one knows."""
        self.make()
        one, two, three = (_part("red", number) for number in (1, 2, 3))
        self.take(1, one, two)
        self.take(1, two, three)
        self.assertEqual(self.asked(1, three), [1, 2])
        self.assertEqual(self.asked(2, three), [])

    def test_who_has_taken_it_back_and_left_it_is_not_asked(self) -> None:
        """Whether it replaced the other one, or came when nobody had it."""
        for replaces in (True, False):
            self.make()
            one, two = _part("red", 1), _part("red", 2)
            self.take(1, one, two)
            if replaces:
                self.take(1, two, one)
            self.assertEqual(self.asked(1, one), [2] if replaces else [])

    def test_over_udp_only_who_has_asked_to_be_told(self) -> None:
        """By the M bit; a Refresh on a session anybody understands."""
        self.make()
        path = UdpPath((bytes(4), 4342), KEY.key(), 32, Coverage.WHOLE_MESSAGE, True)
        for number, flags in ((1, 0), (2, M)):
            self.take(1, _part("red", number, flags=flags, path=path), _part("red", 9))
        self.assertEqual(self.asked(1), [2])

    def test_the_site_with_most_pays_with_its_oldest(self) -> None:
        """Nobody has others forgotten."""
        self.make(limit=8)
        blue, red, new = _part("blue", 1), _part("red", 2), _part("red", 3)
        self.take(1, blue, _part("blue", 4))
        for key in range(10, 20):
            self.take(key, red, new)
        self.assertEqual(len(self.replaced), 8)
        self.assertEqual(self.counters["replaced registrations forgotten"], 3)
        self.assertEqual(self.asked(1), [1])
        self.assertEqual([key for key in range(10, 20) if not self.asked(key)], [10, 11, 12])

    @given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))))
    def test_it_never_has_more_than_its_limit(self, steps: list[tuple[int, int, int]]) -> None:
        """And forgets what it forgets everywhere."""
        self.make(limit=5)
        parts = [_part("red" if number % 2 else "blue", number) for number in range(6)]
        for key, old, new in steps:
            self.take(key, parts[old], parts[new])
            if old == new:
                self.asked(key, parts[old])
        self.assertLessEqual(len(self.replaced), 5)
        found = [(key, number) for key in range(1, 5) for number in self.asked(key)]
        named = [
            (key_of(name), part.lease.ids[0])
            for part in parts
            for name in self.replaced.of_xtr(part.lease.xtr)
        ]
        self.assertEqual((len(found), sorted(found)), (len(self.replaced), sorted(named)))


class AskingTests(SynchronousTestCase):
    """A Map-Server with sessions of two xTRs of one site, of which the second one takes over."""

    def setUp(self) -> None:
        """The first one had it before."""
        self.server = MapServer(sites((site(), ANY_IPV4)))
        self.etrs = [Etr(f"198.51.100.{number}", xtr_id=number) for number in (1, 2)]
        self.peers = [self.bring_up(0), self.bring_up(1)]
        self.register(0)
        self.register(1)

    def bring_up(self, number: int) -> Peer:
        """Have a session."""
        etr = self.etrs[number]
        return self.server.bring_up(etr, record(f"10.{number + 200}.0.0/16"), flags=0)

    def register(self, number: int, *, ttl: int = 1440, text: str = _EID) -> list[Answer]:
        """Return what the xTR is answered."""
        one = record(text, locator(f"192.0.2.{number}"), ttl=ttl)
        return self.peers[number].send(self.etrs[number].registration(one, flags=0))

    def test_who_had_it_before_is_asked_when_it_is_withdrawn(self) -> None:
        """Once, and for this alone."""
        self.assertEqual(self.peers[0].pull(), [])
        self.register(1, ttl=0)
        self.assertEqual(self.peers[0].pull(), [_REFRESH])
        self.assertEqual(self.peers[0].pull(), [])
        counter = "refreshes of vacant EID-prefixes out"
        self.assertEqual(self.peers[0].session.counters[counter], 1)

    def test_when_it_expires(self) -> None:
        """Its session was lost."""
        self.peers[1].session.connection_lost(0.0)
        self.server.registrar.expire(182.0)
        self.assertEqual(self.peers[0].pull(), [_REFRESH])

    def test_not_when_a_third_one_has_it_by_then(self) -> None:
        """What is asked for is looked at when it is written."""
        self.register(1, ttl=0)
        self.register(1)
        self.assertEqual(self.peers[0].pull(), [])

    def test_not_for_what_it_withdrew_itself(self) -> None:
        """It took it back before."""
        self.register(0)
        self.register(0, ttl=0)
        self.assertEqual(self.peers[0].pull(), [])
        self.assertEqual(self.peers[1].pull(), [_REFRESH])

    def test_on_the_next_session_where_there_is_none(self) -> None:
        """And once more where it may have been lost with a session."""
        self.peers[0].session.connection_lost(0.0)
        self.register(1, ttl=0)
        for _session in range(2):
            etr = self.etrs[0]
            self.server.hear(etr, etr.map_register(record("10.200.0.0/16"), flags=R))
            self.peers[0] = self.server.connect("198.51.100.1")
            self.peers[0].pull()
            answers = self.register(0, text="10.200.0.0/16")
            self.assertEqual([answer for answer in answers if answer == _REFRESH], [_REFRESH])
            self.peers[0].session.connection_lost(0.0)

    def test_many_go_in_portions(self) -> None:
        """A turn is not for one session."""
        texts = [f"10.3.{number}.0/24" for number in range(256)] + ["10.4.0.0/24"]
        for number, ttl in ((0, 1440), (1, 1440), (1, 0)):
            for text in texts:
                self.register(number, ttl=ttl, text=text)
        wakes = self.peers[0].wakes
        sizes = [len(self.peers[0].pull()) for _turn in range(3)]
        self.assertEqual(sizes, [256, 1, 0])
        self.assertGreater(self.peers[0].wakes, wakes)


class OverUdpTests(SynchronousTestCase):
    """There is no Refresh over UDP."""

    def test_who_had_it_is_told_that_it_is_gone(self) -> None:
        """By the lease that knows the way to it."""
        server = MapServer(sites((site(), ANY_IPV4)))
        told: list[tuple[bytes, bool]] = []
        server.news = Publisher(
            lambda lease, table, key: told.append((lease.ids[15:16], key in table.entries))
        )
        office = server.registrar.sites.prefixes[0].site
        for number, ttl in ((1, 1440), (2, 1440), (2, 0)):
            etr = Etr(f"198.51.100.{number}", xtr_id=number)
            one = record(_EID, locator(f"192.0.2.{number}"), ttl=ttl)
            data, _start, _end, register = span_of(etr.map_register(one, flags=M))
            path = UdpPath(etr.source, KEY.key(), 32, Coverage.WHOLE_MESSAGE, True)
            xtr = Xtr("office", etr.ids, b"")
            server.registrar.enter_over_udp(
                xtr, "here", office, data, register[5][0], register[0], 0.0, path
            )
        self.assertEqual(told, [(b"\1", True), (b"\1", False)])
