"""Who hears of a change, once, and what."""

from __future__ import annotations

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import publisher
from lispmsrt.mapping.database import EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.publisher import Publisher, eid_of_key, news_record
from lispmsrt.mapping.sites import Sites, eid_key
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Coverage
from tests import strategies
from tests.builders import (
    ANY_IPV4,
    KEY,
    MERGE,
    Etr,
    M,
    MapServer,
    eid,
    locator,
    record,
    site,
    sites,
    span_of,
)

_EID = "10.1.0.0/16"
_NOBODY = bytes(24)


class _Xtr:
    """An ETR with a session of which only the lease and the news matter."""

    def __init__(self, server: MapServer, xtr_id: int | None) -> None:
        self.server = server
        self.etr = Etr(xtr_id=xtr_id)
        self.wakes = 0
        self.lease = server.bring_up(self.etr, record("10.255.0.0/16"), flags=0).session.lease
        assert self.lease is not None
        self.is_slow = False
        server.news.attach(self.lease, self._woken, lambda: self.is_slow)

    def _woken(self) -> None:
        self.wakes += 1

    def register(self, *records: bytes, flags: int = M) -> None:
        assert self.lease is not None
        for one in records:
            message = span_of(self.etr.map_register(one, flags=flags))
            verdict = self.server.registrar.register(self.lease, *message, 0.0)
            assert verdict is Verdict.ACCEPTED

    def read(self, limit: int = 100) -> list[tuple[bytes, bytes]] | None:
        """Return IDs and record of each piece of news."""
        assert self.lease is not None
        news = self.server.news.take(self.lease, limit)
        return None if news is None else [(data[:24], data[24:]) for data in news]


class PublisherTests(SynchronousTestCase):
    """Mapping Notifications."""

    def setUp(self) -> None:
        """Three xTRs of one site."""
        office = site()
        self.server = MapServer(
            sites((office, ANY_IPV4), (office, ANY_IPV4, 7), (office, "name:a"))
        )
        self.a, self.b, self.c = (_Xtr(self.server, number) for number in (1, 2, 3))
        self.assertEqual([xtr.read() for xtr in (self.a, self.b, self.c)], [[], [], []])

    def test_a_more_specific_is_news_for_who_asked(self) -> None:
        """With the IDs of who registered it and its record."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        self.assertEqual(self.a.read(), [(self.b.etr.ids, record(_EID))])
        self.assertEqual(self.b.read(), [])

    def test_who_did_not_ask_hears_nothing(self) -> None:
        """No M bit."""
        self.a.register(record(ANY_IPV4), flags=0)
        self.b.register(record(_EID))
        self.assertEqual(self.a.read(), [])
        self.assertEqual(self.a.wakes, 0)

    def test_other_flags_on_the_same_mapping_are_no_news(self) -> None:
        """What is registered is what it was."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        self.a.read()
        self.b.register(record(_EID), flags=0)
        self.assertEqual(self.a.read(), [])

    def test_asking_can_begin_and_end(self) -> None:
        """The newest Registration decides."""
        for flags, heard in ((M, 1), (0, 0), (M, 1)):
            self.a.register(record(ANY_IPV4), flags=flags)
            self.b.register(record(_EID, ttl=100 + flags), record(_EID, ttl=5))
            news = self.a.read()
            assert news is not None
            self.assertEqual(len(news), heard)

    def test_less_specific_and_neighbours_are_no_news(self) -> None:
        """Nor other instances."""
        self.a.register(record("10.1.2.0/24"))
        self.b.register(
            record(ANY_IPV4), record("10.1.3.0/24"), record("10.1.2.0/24", instance_id=7)
        )
        self.assertEqual(self.a.read(), [])

    def test_every_covering_registration_hears(self) -> None:
        """Each session once."""
        self.a.register(record(ANY_IPV4), record("10.0.0.0/9"))
        self.b.register(record(_EID))
        self.c.register(record("10.1.1.0/24"))
        self.assertEqual(
            self.a.read(),
            [(s.etr.ids, r) for s, r in ((self.b, record(_EID)), (self.c, record("10.1.1.0/24")))],
        )
        self.assertEqual(self.b.read(), [(self.c.etr.ids, record("10.1.1.0/24"))])

    def test_the_maker_hears_nothing_of_its_own_changes(self) -> None:
        """New, changed and withdrawn."""
        self.a.register(record(ANY_IPV4), record(_EID), record(_EID, ttl=5), record(_EID, ttl=0))
        self.a.register(record(ANY_IPV4, ttl=0))
        self.assertEqual(self.a.read(), [])
        self.assertEqual(self.a.wakes, 0)

    def test_others_hear_of_a_withdrawal(self) -> None:
        """TTL 0, no locators, nobody's IDs."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        self.a.read()
        self.b.register(record(_EID, ttl=0))
        self.assertEqual(self.a.read(), [(_NOBODY, record(_EID, ttl=0))])

    def test_whom_an_eid_has_left_hears_of_it(self) -> None:
        """Where it asked for notifications."""
        self.a.register(record(_EID))
        self.b.register(record(_EID, locator("192.0.2.2")), flags=0)
        self.assertEqual(self.a.read(), [(self.b.etr.ids, record(_EID, locator("192.0.2.2")))])
        self.c.register(record(_EID))
        self.assertEqual(self.b.read(), [])

    def test_the_end_by_configuration_is_news(self) -> None:
        """Nobody made that change."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        self.a.read()
        self.server.registrar.reconfigure(sites((site(), "10.0.0.0/8"), (site("new"), _EID)))
        self.assertEqual(len(next(iter(self.server.registrar.reexamine()))), 1)
        self.assertEqual(self.a.read(), [(_NOBODY, record(_EID, ttl=0))])

    def test_an_equal_registration_is_no_news(self) -> None:
        """Nothing has changed."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        self.a.read()
        self.b.register(record(_EID))
        self.assertEqual(self.a.read(), [])

    def test_news_of_one_eid_coalesce(self) -> None:
        """What is read is the mapping as it is by then, newest change last; one wake-up."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID), record("10.2.0.0/16"), record(_EID, ttl=9))
        self.assertEqual(self.a.wakes, 1)
        self.assertEqual(
            self.a.read(),
            [(self.b.etr.ids, record("10.2.0.0/16")), (self.b.etr.ids, record(_EID, ttl=9))],
        )
        self.assertEqual(self.a.read(), [])

    def test_come_and_gone_is_told_as_gone(self) -> None:
        """Even if it was never told as there."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID), record(_EID, ttl=0))
        self.assertEqual(self.a.read(), [(_NOBODY, record(_EID, ttl=0))])

    def test_news_are_handed_out_by_the_piece(self) -> None:
        """The rest waits."""
        self.a.register(record(ANY_IPV4))
        self.b.register(*(record(f"10.{number}.0.0/16") for number in range(5)))
        assert self.a.lease is not None
        for size in (2, 2, 1):
            self.assertTrue(self.server.news.has_news(self.a.lease))
            news = self.a.read(2)
            assert news is not None
            self.assertEqual(len(news), size)
        self.assertFalse(self.server.news.has_news(self.a.lease))

    def test_a_session_that_reads_nothing_is_given_up(self) -> None:
        """Its memory is bounded; what does not fit is counted."""
        self.patch(publisher, "MAX_PENDING", 3)
        self.a.is_slow = True
        self.a.register(record(ANY_IPV4))
        self.b.register(*(record(f"10.{number}.0.0/16") for number in range(3)))
        self.assertEqual(self.server.news.counters["notifications lost"], 0)
        self.b.register(*(record(f"10.{number}.0.0/16") for number in range(3, 9)))
        self.assertIsNone(self.a.read())
        self.assertEqual(self.server.news.counters["notifications lost"], 6)
        assert self.a.lease is not None
        self.assertEqual(len(self.server.news._pending[self.a.lease.xtr]), 3)

    def test_a_session_that_reads_may_have_any_number_of_news(self) -> None:
        """A lost session with a million EIDs is news all at once."""
        self.patch(publisher, "MAX_PENDING", 3)
        self.a.register(record(ANY_IPV4))
        self.b.register(*(record(f"10.{number}.0.0/16") for number in range(9)))
        news = self.a.read()
        assert news is not None
        self.assertEqual(len(news), 9)

    def test_after_detaching_nothing_is_kept(self) -> None:
        """Neither what waited nor what comes."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        assert self.a.lease is not None
        self.server.news.detach(self.a.lease)
        self.b.register(record("10.2.0.0/16"))
        self.assertEqual(self.a.read(), [])
        self.server.news.detach(self.a.lease)
        self.assertEqual(self.server.news._pending, {})

    def test_who_registered_over_udp_hears_nothing_here(self) -> None:
        """A lease without a session."""
        etr = Etr(xtr_id=9)
        self.assertTrue(self.server.hear(etr, etr.map_register(record(ANY_IPV4))))
        self.b.register(record(_EID))
        self.assertEqual(self.server.news._pending, {})

    def test_a_renewed_lease_loses_no_news(self) -> None:
        """Neither what waits, nor what comes before everything is confirmed."""
        self.a.register(record(ANY_IPV4))
        self.b.register(record(_EID))
        assert self.a.lease is not None
        self.a.lease = self.server.registrar.renew(self.a.lease, 0.0)
        self.b.register(record("10.2.0.0/16"))
        news = self.a.read()
        assert news is not None
        self.assertEqual([one for _, one in news], [record(_EID), record("10.2.0.0/16")])
        self.a.register(record("10.3.0.0/16"))
        self.assertEqual(self.a.read(), [])

    def test_no_xtr_id_is_told_as_zeros(self) -> None:
        """Where none was registered."""
        self.a.register(record(ANY_IPV4))
        etr = Etr("192.0.2.77", xtr_id=None)
        self.assertTrue(self.server.hear(etr, etr.map_register(record(_EID))))
        self.assertEqual(self.a.read(), [(_NOBODY, record(_EID))])

    def test_names_cover_nothing_but_themselves(self) -> None:
        """RFC 9735: `a` is no prefix of `ab`."""
        self.a.register(record("name:a"))
        self.b.register(record("name:ab"))
        self.assertEqual(self.a.read(), [])
        self.b.register(record("name:a", ttl=3))
        self.assertEqual(self.a.read(), [(self.b.etr.ids, record("name:a", ttl=3))])

    def test_the_form_of_an_instance_is_kept(self) -> None:
        """As it was registered; as an LCAF when it is gone."""
        self.a.register(record(ANY_IPV4, instance_id=7))
        one = record(_EID, instance_id=7)
        self.b.register(one)
        self.assertEqual(self.a.read(), [(self.b.etr.ids, one)])
        self.b.register(record(_EID, ttl=0, instance_id=7))
        self.assertEqual(self.a.read(), [(_NOBODY, record(eid(_EID, 7), ttl=0))])


class MergeTests(SynchronousTestCase):
    """News of a mapping that several xTRs make up."""

    def setUp(self) -> None:
        """Three xTRs of one site with sessions; who is told over UDP."""
        self.told: list[tuple[Lease, EidTable, int]] = []
        self.server = MapServer(sites((site(), ANY_IPV4)))
        self.server.news = Publisher(lambda *what: self.told.append(what))
        self.a, self.b, self.c = (_Xtr(self.server, number) for number in (1, 2, 3))

    def one(self, *numbers: int, ttl: int = 1440) -> bytes:
        """Return a record with these RLOCs."""
        return record(_EID, *(locator(f"192.0.2.{number}") for number in numbers), ttl=ttl)

    def read(self) -> list[list[bytes]]:
        """Return the records that each of the three is told."""
        return [[one for _ids, one in xtr.read() or []] for xtr in (self.a, self.b, self.c)]

    def over_udp(
        self, xtr_id: int, one: bytes, flags: int = M | MERGE, *, has_path: bool = True
    ) -> None:
        """Register over UDP."""
        etr = Etr(xtr_id=xtr_id)
        data, _start, _end, register = span_of(etr.map_register(one, flags=flags))
        path = UdpPath(etr.source, KEY.key(), 32, Coverage.WHOLE_MESSAGE, True)
        verdict = self.server.registrar.enter_over_udp(
            Xtr("office", etr.ids, b""),
            "here",
            self.server.registrar.sites.prefixes[0].site,
            data,
            register[5][0],
            register[0],
            0.0,
            path if has_path else None,
        )
        assert verdict is Verdict.ACCEPTED

    def told_over_udp(self) -> list[int]:
        """Return the numbers of the xTRs told, each of the one EID-prefix, and forget them."""
        told, self.told = self.told, []
        for lease, table, key in told:
            assert lease.path is not None
            self.assertEqual(str(eid_of_key(table, key)), _EID)
        return [lease.ids[15] for lease, _table, _key in told]

    def test_all_parts_that_asked_hear_of_the_merged_record(self) -> None:
        """The maker too: it is not what it registered."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=MERGE)
        self.assertEqual(self.read(), [[self.one(1, 2)], [], []])
        self.c.register(self.one(3), flags=M | MERGE)
        self.assertEqual(self.read(), [[self.one(1, 2, 3)], [], [self.one(1, 2, 3)]])

    def test_with_the_ids_of_the_last_valid_registration(self) -> None:
        """Whoever reads."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=M | MERGE)
        for xtr in (self.a, self.b):
            self.assertEqual(xtr.read(), [(self.b.etr.ids, self.one(1, 2))])

    def test_the_maker_hears_nothing_where_it_said_it_all(self) -> None:
        """The merged record is what it registered."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(1, 2), flags=M | MERGE)
        self.assertEqual(self.read(), [[self.one(1, 2)], [], []])

    def test_the_maker_hears_what_others_know_already(self) -> None:
        """Its part adds nothing; it can't know that."""
        self.a.register(self.one(1, 2), flags=M | MERGE)
        self.b.register(self.one(2), flags=M | MERGE)
        self.assertEqual(self.read(), [[], [self.one(1, 2)], []])

    def test_a_repeated_part_tells_nobody(self) -> None:
        """Nothing has changed."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=M | MERGE)
        self.read()
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=M | MERGE)
        self.assertEqual(self.read(), [[], [], []])

    def test_who_asks_only_now_is_told(self) -> None:
        """Other flags, the same RLOCs."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=MERGE)
        self.read()
        self.b.register(self.one(2), flags=M | MERGE)
        self.assertEqual(self.read(), [[], [self.one(1, 2)], []])

    def test_the_remaining_parts_hear_of_a_withdrawal(self) -> None:
        """Not who withdrew; nobody where it changes nothing."""
        for xtr, number in ((self.a, 1), (self.b, 2), (self.c, 2)):
            xtr.register(self.one(number), flags=M | MERGE)
        self.read()
        self.c.register(self.one(ttl=0))
        self.assertEqual(self.read(), [[], [], []])
        self.b.register(self.one(ttl=0))
        self.assertEqual(self.read(), [[self.one(1)], [], []])

    def test_who_withdrew_hears_what_is_left_where_it_covers_it(self) -> None:
        """It may think that nothing is there."""
        self.a.register(record(ANY_IPV4))
        self.a.register(self.one(1), flags=MERGE)
        self.b.register(self.one(2), flags=MERGE)
        self.read()
        self.a.register(self.one(ttl=0))
        self.assertEqual(self.read(), [[self.one(2)], [], []])

    def test_the_remaining_parts_hear_of_an_expiry(self) -> None:
        """Of a lost session's part."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=M | MERGE)
        self.over_udp(9, self.one(9))
        self.read()
        self.told.clear()
        assert self.a.lease is not None
        self.server.news.detach(self.a.lease)
        self.server.registrar.lose(self.a.lease, 0.0)
        self.server.registrar.expire(182.0)
        self.assertEqual(self.b.read(), [(self.b.etr.ids, self.one(2))])

    def test_a_covering_merged_registration_hears_of_more_specifics(self) -> None:
        """All its parts that asked, except the maker."""
        everything = record(ANY_IPV4)
        self.a.register(everything, flags=M | MERGE)
        self.b.register(everything, flags=MERGE)
        self.c.register(everything, flags=M | MERGE)
        self.read()
        self.c.register(self.one(3))
        self.assertEqual(self.read(), [[self.one(3)], [], []])

    def test_all_that_are_replaced_hear(self) -> None:
        """By one without the a bit, even with the same RLOCs; where they asked."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(2), flags=MERGE)
        self.over_udp(9, self.one(9))
        self.read()
        self.told.clear()
        self.c.register(self.one(1, 2, 9), flags=M)
        self.assertEqual(self.read(), [[self.one(1, 2, 9)], [], []])
        self.assertEqual(self.told_over_udp(), [9])

    def test_who_drops_the_bit_replaces_the_others(self) -> None:
        """They hear, though the RLOCs stay."""
        self.a.register(self.one(1), flags=M | MERGE)
        self.b.register(self.one(1), flags=M | MERGE)
        self.read()
        self.a.register(self.one(1), flags=M)
        self.assertEqual(self.read(), [[], [self.one(1)], []])

    def test_parts_over_udp_are_told_by_map_notify(self) -> None:
        """Not the maker: its own Map-Notify says it. Not where M or the path is missing."""
        self.over_udp(7, self.one(7))
        self.over_udp(8, self.one(8), MERGE)
        self.assertEqual(self.told_over_udp(), [7])
        self.over_udp(9, self.one(9), has_path=False)
        self.assertEqual(self.told_over_udp(), [7])
        self.a.register(self.one(1), flags=M | MERGE)
        self.assertEqual(self.told_over_udp(), [7])
        self.assertEqual(self.read(), [[self.one(1, 7, 8, 9)], [], []])
        self.over_udp(8, self.one(ttl=0))
        self.assertEqual(self.told_over_udp(), [7])
        self.over_udp(7, self.one(77))
        self.assertEqual(self.told_over_udp(), [])

    def test_a_session_is_preferred(self) -> None:
        """Of the same xTR, whose registration came over UDP."""
        self.over_udp(1, self.one(7))
        self.b.register(self.one(2), flags=MERGE)
        self.assertEqual(self.read(), [[self.one(2, 7)], [], []])
        self.assertEqual(self.told, [])

    def test_the_replaced_xtr_is_told_over_udp(self) -> None:
        """Mobility: it has moved to where the session is, or another UDP source."""
        self.over_udp(7, self.one(7), M)
        self.a.register(self.one(1), flags=M)
        self.assertEqual(self.told_over_udp(), [7])
        self.over_udp(8, self.one(8), M)
        self.assertEqual(self.told_over_udp(), [])
        self.assertEqual(self.read(), [[self.one(8)], [], []])
        self.over_udp(7, self.one(7), M)
        self.assertEqual(self.told_over_udp(), [8])
        self.over_udp(9, self.one(9), 0)
        self.assertEqual(self.told_over_udp(), [7])
        self.over_udp(7, self.one(7), M)
        self.assertEqual(self.told_over_udp(), [])

    def test_ends_and_more_specifics_are_not_told_over_udp(self) -> None:
        """Only what an xTR registers or has lost to another."""
        self.over_udp(7, record(ANY_IPV4), M)
        self.over_udp(8, self.one(8), M)
        self.over_udp(8, self.one(8, 9), M)
        self.over_udp(8, self.one(ttl=0), M)
        self.over_udp(8, self.one(8), M)
        self.server.registrar.expire(182.0)
        self.assertIsNone(self.server.at(_EID))
        self.assertEqual(self.told, [])

    def test_nobody_need_tell_over_udp(self) -> None:
        """Where sessions are all there is."""
        self.server.news = Publisher()
        self.over_udp(7, self.one(7), M)
        self.over_udp(8, self.one(8), M)
        self.assertEqual(self.told, [])


class NewsRecordTests(SynchronousTestCase):
    """What is told of an EID-prefix."""

    def test_as_it_is_now(self) -> None:
        """Or TTL 0 when it is gone."""
        table = EidTable(0, 1)
        key = 1 << 16 | 0x0A01
        self.assertEqual(news_record(table, key), record(_EID, ttl=0))
        lease = Lease(Xtr("office", b"", b""), "TCP", "there", is_live=True)
        table.put(16, key, Registration(record(_EID), lease, 0, 0.0, None))
        self.assertEqual(news_record(table, key), record(_EID))


class EidOfKeyTests(SynchronousTestCase):
    """The way back from a prefix key."""

    @given(strategies.plain_eids)
    def test_round_trip(self, prefix: EidPrefix) -> None:
        """Every family and length, /0 and names included."""
        instance_id, afi, _length, key = eid_key(prefix)
        self.assertEqual(eid_of_key(EidTable(instance_id, afi), key), prefix)


class EmptyPublisherTests(SynchronousTestCase):
    """Nobody there."""

    def test_nothing_to_take(self) -> None:
        """Of a lease that never was attached."""
        server = MapServer(Sites())
        lease = Lease(Xtr("office", b"", b""), "TCP", "there", is_live=True)
        self.assertEqual(Publisher().take(lease, 5), [])
        self.assertFalse(server.news.has_news(lease))
