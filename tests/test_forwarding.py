"""Map-Requests that go on to ETRs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage
from lispmsrt.wire.map_request import encode_map_request
from tests.asking import (
    Asker,
    asker,
    ecm,
    forwarded,
    map_request,
    register,
    registered,
)
from tests.builders import (
    MERGE,
    Etr,
    M,
    MapServer,
    ip,
    lcaf,
    locator,
    record,
    site,
    sites,
)

_ip = Address.from_text


_LOCAL = ip("192.0.2.1")


def _merged(number: int) -> bytes:
    return record("10.1.0.0/16", locator(f"192.0.2.{number}"))


def _asked_in_turn(plane: Asker, now: float = 0.0) -> set[str]:
    """Return who is asked if an ITR asks four times."""
    return {
        str(Address(Afi.IPV4, forwarded(plane.send(ecm(map_request("10.1.2.3")), now=now))[1][0]))
        for _ in range(4)
    }


class ForwardingTests(SynchronousTestCase):
    """No ETR asked for proxy replies, so one of them has to answer."""

    def test_the_map_request_goes_to_the_etr_untouched(self) -> None:
        """Inner headers too; only the first word says that it is for an ETR."""
        plane = asker(registered(record("10.1.0.0/16"), flags=M))
        asked = map_request("10.1.2.3", pitr=True)
        for flags in ({}, {"to_map_server": True}):
            data = ecm(asked, source="203.0.113.77", hop_limit=9, **flags)
            ((out, to),) = plane.send(data)
            self.assertEqual(out[:4], bytes((0x82, 0, 0, 0)))
            self.assertEqual(out[4:], data[4:])
            self.assertEqual(to, (ip("192.0.2.1"), 4342))

    def test_a_plain_map_request_is_encapsulated_as_its_itr_would_have(self) -> None:
        """The ETR answers to the inner source port."""
        for family, prefix, eid, etr, itr, there in (
            ("IPv4", "10.0.0.0/8", "10.1.2.3", "192.0.2.1", "203.0.113.9", "10.1.2.3"),
            ("IPv6", "2001:db8::/32", "2001:db8::7", "2001:db9::1", "2001:db9::9", "2001:db8::7"),
            ("IPv4 over IPv6", "10.0.0.0/8", "10.1.2.3", "2001:db9::1", "2001:db9::9", None),
        ):
            server = MapServer(sites((site(), prefix)))
            register(server, record(prefix, locator(etr)), flags=M)
            request = encode_map_request(map_request(eid, itr=itr))
            message, to = forwarded(asker(server).send(request, (ip(itr), 5000)))
            expected = EncapsulatedControlMessage(
                _ip(itr), _ip(there or etr), 5000, 4342, request, to_etr=True
            )
            self.assertEqual(message, expected, family)
            self.assertEqual(to, (ip(etr), 4342))

    def test_an_etr_without_usable_rloc_is_reached_where_it_registers_from(self) -> None:
        """Not L, not R, priority 255, a group, a family out of reach: all no way to it."""
        other = bytearray(locator("192.0.2.9"))
        other[5] = 0x4  # not R
        for one in (
            locator("192.0.2.9", local=False),
            bytes(other),
            locator("192.0.2.9", priority=255),
            locator("224.0.0.1"),
            locator("2001:db8::9"),
            locator("name:somewhere"),
        ):
            plane = asker(
                registered(record("10.1.0.0/16", one), flags=M),
                can_reach=lambda afi: afi == Afi.IPV4,
            )
            self.assertEqual(forwarded(plane.send(ecm(map_request("10.1.2.3"))))[1][0], _LOCAL)

    def test_the_best_priority_is_used(self) -> None:
        """Of equal ones each in turn; an address inside an LCAF is as good."""
        inside = locator(lcaf(3, bytes(4) + bytes.fromhex("0001c0000207")), priority=2)
        rlocs = (locator("192.0.2.5", priority=3), locator("192.0.2.6", priority=2), inside)
        plane = asker(registered(record("10.1.0.0/16", *rlocs), flags=M))
        self.assertEqual(_asked_in_turn(plane), {"192.0.2.6", "192.0.2.7"})

    def test_several_etrs_take_turns(self) -> None:
        """So a retry reaches another one; the second ETR has a session."""
        server = MapServer()
        register(server, _merged(1), etr=Etr("192.0.2.1", xtr_id=1), flags=MERGE | M)
        peer = server.bring_up(Etr("192.0.2.2", xtr_id=2), _merged(2), flags=MERGE | M)
        plane = asker(server)
        self.assertEqual(_asked_in_turn(plane), {"192.0.2.1", "192.0.2.2"})
        peer.session.connection_lost(10.0)
        self.assertEqual(_asked_in_turn(plane, 10.0), {"192.0.2.1"}, "its session is lost")
        # The first one is silent, too: now there is nobody better.
        self.assertEqual(_asked_in_turn(plane, 130.0), {"192.0.2.1", "192.0.2.2"})

    def test_an_etr_that_is_away_is_asked_when_there_is_no_other(self) -> None:
        """It has three minutes to come back."""
        server = MapServer()
        peer = server.bring_up(Etr(), record("10.1.0.0/16"), flags=M)
        peer.session.connection_lost(10.0)
        self.assertEqual(_asked_in_turn(asker(server), 20.0), {"192.0.2.1"})

    def test_etr_on_this_very_host(self) -> None:
        """At a loopback address it is for who asks from this host, and for nobody else."""
        server = MapServer()
        server.bring_up(Etr(), record("10.1.0.0/16", locator("127.0.0.9")), flags=M)
        plane = asker(server)
        data = ecm(map_request("10.1.2.3", itr="127.0.0.5"), source="127.0.0.5")
        self.assertEqual(
            forwarded(plane.send(data, (ip("127.0.0.5"), 5000)))[1][0], ip("127.0.0.9")
        )
        self.assertEqual(plane.send(ecm(map_request("10.1.2.3"))), [])

    def test_no_etr_that_can_be_reached(self) -> None:
        """Silence: the ITR asks again, and all we could say would be wrong."""
        server = MapServer()
        server.bring_up(Etr(), record("10.1.0.0/16", locator("2001:db8::1")), flags=M)
        plane = asker(server, can_reach=lambda afi: afi == Afi.IPV4)
        self.assertEqual(plane.send(ecm(map_request("10.1.2.3"))), [])
        self.assertEqual(plane.counted("Map-Requests dropped: no ETR to send to"), 1)


class LoopTests(SynchronousTestCase):
    """What we sent ourselves must not come round for ever."""

    def test_what_is_meant_for_an_etr(self) -> None:
        """A Map-Server sets E; an ETR has its own ears for it."""
        plane = asker(registered(record("10.1.0.0/16"), flags=M))
        self.assertEqual(plane.send(ecm(map_request("10.1.2.3"), to_etr=True)), [])
        self.assertEqual(plane.counted("Map-Requests dropped: loop"), 1)

    def test_an_etr_at_our_own_address(self) -> None:
        """Somebody registered an RLOC of ours: no Map-Request goes there."""
        plane = asker(registered(record("10.1.0.0/16"), flags=M), own_addresses={_LOCAL})
        self.assertEqual(plane.send(ecm(map_request("10.1.2.3"))), [])
        self.assertEqual(plane.counted("ETRs that are ourselves passed over: loop"), 1)

    def test_another_etr_is_still_asked(self) -> None:
        """One false registration takes nobody off the net."""
        server = MapServer()
        for number in (1, 2):
            etr = Etr(f"192.0.2.{number}", xtr_id=number)
            register(server, _merged(number), etr=etr, flags=MERGE | M)
        plane = asker(server, own_addresses={_LOCAL})
        self.assertEqual(_asked_in_turn(plane), {"192.0.2.2"})
