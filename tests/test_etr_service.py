"""The ETR as a service, against the Map-Server's, on a network in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr, MapServer, RegistrationRejected
from lispmsrt.services.link import NullListener
from lispmsrt.services.listening import ListenError
from lispmsrt.session.base import CloseReason
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    RefreshScope,
    RegistrationRefresh,
    RejectReason,
    encode_registration_refresh,
)
from tests.rim import (
    ETR_HOST,
    MAP_SERVER_HOST,
    XTR_ID,
    Listener,
    Network,
    etr_of,
    etr_text,
    map_server_of,
    map_server_text,
    mapping,
    outcome,
    site_text,
)

_eid = EidPrefix.from_text
_SERVER = f"{MAP_SERVER_HOST}:4342"
_SECOND = "127.0.0.3"


class _Case(SynchronousTestCase):
    """Services that are stopped after the test, and leave nothing then."""

    def setUp(self) -> None:
        """A network with nobody on it."""
        self.network = Network()
        self.listener = Listener()
        self.services: list[MapServer | Etr] = []
        self.addCleanup(self._stop_all)

    def _stop_all(self) -> None:
        for service in self.services:
            if service.running:
                service.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def server(self, text: str = "") -> MapServer:
        server = map_server_of(self.network, text)
        self.services.append(server)
        server.startService()
        return server

    def etr(self, text: str = "", **options: Any) -> Etr:
        etr = etr_of(self.network, text or etr_text(), self.listener, **options)
        self.services.append(etr)
        etr.startService()
        return etr


class _Mute(Factory):
    """A Map-Server that asks for everything, and answers nothing."""

    class protocol(Protocol):  # noqa: N801
        def connectionMade(self) -> None:
            everything = RegistrationRefresh(RefreshScope.EVERYTHING)
            self.transport.write(encode_registration_refresh(everything, 1))


class RegistrationTests(_Case):
    """register() and withdraw()."""

    def test_configured_mappings_are_registered_over_udp_and_then_on_a_session(self) -> None:
        """The first Map-Register leaves at once, with r."""
        server = self.server()
        self.etr(etr_text("10.1.1.0/24", "10.1.2.0/24"))
        self.network.run()
        first = self.network.udp_payloads(MAP_SERVER_HOST)[0]
        self.assertTrue(int.from_bytes(first[:4], "big") & RegisterFlag.RELIABLE_TRANSPORT)
        self.network.run(1)
        self.assertEqual(len(server.database), 2)
        self.assertTrue(all(r.lease.transport == "TCP" for r in server.database.registrations()))
        self.assertEqual(self.listener.heard, [("up", _SERVER, "TCP")])

    def test_register_fires_on_the_ack(self) -> None:
        """Not before."""
        self.server()
        etr = self.etr()
        self.network.run(1)
        result = outcome(etr.register(mapping()))
        self.assertEqual(result, [])
        self.network.run()
        self.assertEqual(result, [None])

    def test_register_before_the_start_fires_once_the_session_has_acknowledged(self) -> None:
        """The Map-Notify is not enough where a session is going to come."""
        self.server()
        etr = etr_of(self.network, etr_text())
        self.services.append(etr)
        result = outcome(etr.register(mapping()))
        self.network.run(5)
        self.assertEqual(result, [])
        etr.startService()
        self.network.run(1)
        self.assertEqual(result, [None])

    def test_who_waits_no_longer_leaves_nothing(self) -> None:
        """The Map-Server may be away for days, while somebody tries again and again."""
        etr = self.etr()
        first, second = etr.register(mapping()), etr.register(mapping())
        results = outcome(first), outcome(second)
        first.cancel()
        self.assertEqual([len(one) for one in etr.links[0]._registering.values()], [1])
        second.cancel()
        self.assertEqual(etr.links[0]._registering, {})
        self.assertIsInstance(results[0][0], CancelledError)
        self.server()
        self.network.run(120)
        self.assertEqual(etr.mapping_count, 1)
        self.assertEqual([str(one) for one in self.server_eids()], ["10.1.1.0/24"])

    def server_eids(self) -> list[EidPrefix]:
        """Return what the Map-Server has registered."""
        (server,) = (one for one in self.services if isinstance(one, MapServer))
        return [one.decode().eid for one in server.database.registrations()]

    def test_register_fails_with_the_reason_of_the_rejection(self) -> None:
        """Prefix outside the site; locator not allowed."""
        self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        outside = outcome(etr.register(mapping("192.0.2.0/24")))
        locator = outcome(etr.register(mapping("10.1.2.0/24", "203.0.113.1")))
        self.network.run()
        for result, reason, text in (
            (outside, RejectReason.NOT_A_VALID_SITE_EID_PREFIX, "192.0.2.0/24: not "),
            (locator, RejectReason.LOCATOR_SET_NOT_ALLOWED, "10.1.2.0/24: locator set not allowed"),
        ):
            (error,) = result
            self.assertIsInstance(error, RegistrationRejected)
            self.assertEqual(error.reason, reason)
            self.assertTrue(str(error).startswith(text), str(error))
        self.assertEqual(
            self.listener.heard[1:],
            [("rejected", _SERVER, "192.0.2.0/24", 1), ("rejected", _SERVER, "10.1.2.0/24", 3)],
        )

    def test_a_reason_that_nobody_knows_is_shown_as_a_number(self) -> None:
        """From a later draft."""
        self.assertEqual(
            str(RegistrationRejected(_eid("10.1.1.0/24"), 77)), "10.1.1.0/24: reason 77"
        )

    def test_registering_again_with_other_locators_changes_the_mapping(self) -> None:
        """And fires on its own ACK."""
        server = self.server()
        etr = self.etr()
        self.network.run(1)
        outcome(etr.register(mapping(priority=1)))
        second = outcome(etr.register(mapping(priority=2)))
        self.network.run(1)
        self.assertEqual(second, [None])
        (registration,) = server.database.registrations()
        self.assertEqual(registration.decode().locators[0].priority, 2)

    def test_withdraw_fires_on_the_ack(self) -> None:
        """And the mapping is gone."""
        server = self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        result = outcome(etr.withdraw(_eid("10.1.1.0/24")))
        self.assertEqual(result, [])
        self.network.run()
        self.assertEqual((result, len(server.database)), ([None], 0))

    def test_withdrawing_what_was_rejected_fires_at_once(self) -> None:
        """The Map-Server has nothing to take back."""
        self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        outcome(etr.register(mapping("192.0.2.0/24")))
        self.network.run()
        self.assertEqual(outcome(etr.withdraw(_eid("192.0.2.0/24"))), [None])

    def test_withdrawing_what_is_not_registered_is_an_error(self) -> None:
        """Of the caller."""
        etr = self.etr()
        self.assertRaises(KeyError, etr.withdraw, _eid("10.1.1.0/24"))

    def test_what_cannot_be_registered_is_an_error(self) -> None:
        """TTL 0 is a withdrawal."""
        etr = self.etr()
        self.assertRaises(ValueError, etr.register, mapping(ttl=0))

    def test_instance_ids_and_ipv6_are_registered_like_the_rest(self) -> None:
        """Four EIDs that look alike are four."""
        sites = site_text(
            "campus", "10.1.0.0/16", "7 10.1.0.0/16", "2001:db8::/32", "7 2001:db8::/32"
        )
        server = self.server(map_server_text(sites))
        etr = self.etr()
        self.network.run(1)
        results = [
            outcome(etr.register(mapping(eid, instance_id=instance_id)))
            for eid in ("10.1.1.0/24", "2001:db8:1::/48")
            for instance_id in (0, 7)
        ]
        self.network.run(70)
        self.assertEqual(results, [[None]] * 4)
        self.assertEqual(len(server.database), 4)

    def test_a_cancelled_deferred_leaves_the_registration_alone(self) -> None:
        """Nobody waits any more; the ACK comes and hurts nothing."""
        server = self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        waiting = etr.register(mapping("10.1.2.0/24"))
        result = outcome(waiting)
        waiting.cancel()
        self.assertIsInstance(result[0], CancelledError)
        self.network.run()
        self.assertEqual(len(server.database), 2)

    def test_without_a_session_register_fires_on_the_map_notify(self) -> None:
        """``session = "off"``: r is never set, no connection is tried."""
        server = self.server()
        etr = self.etr(etr_text(server_options='session = "off"'))
        result = outcome(etr.register(mapping()))
        self.network.run(3)
        self.assertEqual((result, server.sessions), ([None], []))
        for data in self.network.udp_payloads(MAP_SERVER_HOST):
            self.assertFalse(int.from_bytes(data[:4], "big") & RegisterFlag.RELIABLE_TRANSPORT)
        gone = outcome(etr.withdraw(_eid("10.1.1.0/24")))
        self.network.run(3)
        self.assertEqual((gone, len(server.database)), ([None], 0))

    def test_what_is_meant_otherwise_meanwhile_is_given_up(self) -> None:
        """A success would say that the Map-Server holds, or does not hold, what it does not."""
        server = self.server()
        etr = self.etr(etr_text())
        registered = outcome(etr.register(mapping()))
        withdrawn = outcome(etr.withdraw(_eid("10.1.1.0/24")))
        again = outcome(etr.register(mapping()))
        self.network.run(5)
        for given_up in (registered, withdrawn):
            (failure,) = given_up
            self.assertIsInstance(failure, CancelledError)
        self.assertEqual((again, len(server.database)), ([None], 1))

    def test_where_no_transport_comes_up_register_fires_on_the_next_map_notify(self) -> None:
        """A session was offered: not before it is known that there is none."""
        self.server(map_server_text().replace("tcp:4342", "tcp:4343"))
        self.network.silent.add(4342)
        etr = self.etr()
        result = outcome(etr.register(mapping()))
        self.network.run(5)
        self.assertEqual((len(self.network.udp_payloads(ETR_HOST)), result), (1, []))
        self.network.run(60)
        # One Map-Notify for each round of attempts, which waits twice as long as the one before.
        self.assertEqual((len(self.network.udp_payloads(ETR_HOST)), result), (6, [None]))

    def test_stopped_twice_both_are_told(self) -> None:
        """When all is closed."""
        self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        results = [outcome(etr.stopService()), outcome(etr.stopService())]
        self.assertEqual(results, [[], []])
        self.network.run(10)
        self.assertEqual(results, [[None], [None]])

    def test_where_every_session_is_refused_nothing_is_unregistered(self) -> None:
        """The ETR comes by a transport that can't show what the Map-Server demands of its xTR: the
        search goes on for ever, and UDP with it.
        """
        tie = f'[[site.xtr]]\nxtr-id = "{XTR_ID}"\ncertificates = ["etr1.example.net"]\n'
        server = self.server(map_server_text(site_text() + tie))
        eids = [f"10.1.{number}.0/24" for number in range(1, 41)]
        etr = self.etr(etr_text(*eids))
        self.network.run(70)
        self.assertEqual(len(server.database), 40)
        for _half_minute in range(40):
            self.network.run(30)
            self.assertEqual(len(server.database), 40)
        (transport,) = etr.snapshot().map_servers[0].transports
        self.assertIn("nothing acknowledged", transport.reason)
        self.assertGreater(transport.failures, 10)

    def test_a_transport_that_serves_nobody_gives_way(self) -> None:
        """Though it brings a Refresh: what counts is that something is acknowledged."""
        server = self.server()
        etr = self.etr(
            etr_text("10.1.1.0/24", server_options='transports = ["tcp:127.0.0.1:4399", "tcp"]')
        )
        self.network.listenTCP(4399, _Mute(), interface="127.0.0.1")
        self.network.run(120)
        first, second = etr.snapshot().map_servers[0].transports
        self.assertEqual((first.state.name, second.state.name), ("FAILED", "IN_USE"))
        self.assertEqual(len(server.sessions), 1)
        self.network.ports = [port for port in self.network.ports if port.where[1] != 4399]

    def test_where_nobody_answers_a_withdrawal_is_given_up_in_time(self) -> None:
        """The Map-Server's own clock ends the registration."""
        etr = self.etr(etr_text("10.1.1.0/24", server_options='session = "off"'))
        self.network.run(1)
        result = outcome(etr.withdraw(_eid("10.1.1.0/24")))
        self.network.run(1200)
        self.assertEqual(result, [None])

    def test_a_map_server_without_the_r_bit_confirms_over_udp(self) -> None:
        """``auto`` and no r in the Map-Notify: UDP is all there is."""
        server = self.server()
        server.armory._limits = type(server.armory._limits)(max_tokens=0)
        etr = self.etr()
        result = outcome(etr.register(mapping()))
        self.network.run(3)
        self.assertEqual((result, server.sessions), ([None], []))


class SeveralMapServersTests(_Case):
    """One ETR, two Map-Servers."""

    def setUp(self) -> None:
        """Both are there."""
        super().setUp()
        self.first = self.server()
        other = site_text("campus", "10.1.0.0/16", "192.0.2.0/24")
        self.second = self.server(map_server_text(other, host=_SECOND))
        self.both = etr_text("10.1.8.0/24", map_servers=(MAP_SERVER_HOST, _SECOND))

    def test_register_fires_when_all_have_acknowledged(self) -> None:
        """Not after the first."""
        etr = self.etr(self.both)
        self.network.run(1)
        for pipe in self.network.pipes:
            if pipe.host.host == _SECOND:
                pipe.is_reading = False
        result = outcome(etr.register(mapping()))
        self.network.run(1)
        self.assertEqual((len(self.first.database), result), (2, []))
        for pipe in self.network.pipes:
            pipe.is_reading = True
        self.network.run()
        self.assertEqual((len(self.second.database), result), (2, [None]))

    def test_register_fails_when_one_refuses(self) -> None:
        """The other one's answer counts for itself."""
        etr = self.etr(self.both)
        self.network.run(1)
        result = outcome(etr.register(mapping("192.0.2.0/24")))
        self.network.run()
        (error,) = result
        self.assertIsInstance(error, RegistrationRejected)
        self.assertEqual((len(self.first.database), len(self.second.database)), (1, 2))

    def test_the_listener_is_told_which_one_it_is(self) -> None:
        """By its address from the configuration."""
        self.etr(self.both)
        self.network.run(1)
        self.assertEqual(
            sorted(self.listener.heard),
            [("up", _SERVER, "TCP"), ("up", f"{_SECOND}:4342", "TCP")],
        )

    def test_nonces_are_shared_and_never_repeat(self) -> None:
        """One counter over every Map-Server, UDP and sessions."""
        self.etr(self.both)
        self.network.run(200)
        nonces = [
            int.from_bytes(p.data[4:12], "big")
            for p in self.network.packets
            if p.protocol == "udp" and p.source[0] == ETR_HOST
        ]
        self.assertEqual(nonces, sorted(set(nonces)))

    def test_map_servers_behind_one_address_are_told_apart_by_port(self) -> None:
        """A Map-Notify from another port goes to the first of that address."""
        etr = self.etr(self.both)
        link = etr.links[1]
        etr.receive_datagram(b"\x40", (link.config.address.packed, 4342), 0.0)
        etr.receive_datagram(b"\x40", (link.config.address.packed, 9), 0.0)
        etr.receive_datagram(b"\x40", (b"\x01\x01\x01\x01", 4342), 0.0)
        counted = [
            sum(each.control.counters[name] for name in ("malformed",)) for each in etr.links
        ]
        self.assertEqual(counted, [0, 2])


class SessionTests(_Case):
    """Up, down, and what the listener hears."""

    def test_mapping_notifications_reach_the_listener(self) -> None:
        """Another xTR takes an EID over."""
        self.server()
        self.etr(etr_text("10.1.0.0/16"))
        other = etr_text("10.1.9.0/24", host="127.0.0.4").replace('0f"', 'ff"')
        self.network.run(1)
        self.services.append(etr_of(self.network, other))
        self.services[-1].startService()
        self.network.run(1)
        (event,) = [event for event in self.listener.heard if event[0] == "notified"]
        self.assertIsInstance(event[2], MappingNotification)
        self.assertEqual(str(event[2].record.eid), "10.1.9.0/24")

    def test_what_is_rejected_is_a_line_a_minute(self) -> None:
        """For each reason, with how many there were since the last one."""
        self.server()
        etr = self.etr(etr_text("10.1.1.0/24", *(f"172.16.{number}.0/24" for number in range(5))))
        with capturedLogs() as events:
            self.network.run(10)
            outcome(etr.register(mapping("10.1.2.0/24", "203.0.113.9")))
            self.network.run(60)
            outcome(etr.register(mapping("172.16.9.0/24", "127.0.0.2")))
            self.network.run(1)
        lines = [formatEvent(e) for e in events if "rejects {eid}" in (e["log_format"] or "")]
        invalid, more = "not a valid site EID-prefix", " (4 more since the last line)"
        self.assertEqual(
            lines,
            [
                f"Map-Server {_SERVER} rejects 172.16.0.0/24: {invalid}",
                f"Map-Server {_SERVER} rejects 10.1.2.0/24: locator set not allowed",
                f"Map-Server {_SERVER} rejects 172.16.9.0/24: {invalid}{more}",
            ],
        )

    def test_what_others_have_taken_over_is_one_line(self) -> None:
        """And this ETR answers for it no more; for the rest it does."""
        self.server()
        first = self.etr(etr_text("10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24"))
        self.network.run(1)
        other = etr_text("10.1.1.0/24", "10.1.2.0/24", host="127.0.0.4").replace('0f"', 'ff"')
        with capturedLogs() as events:
            self.services.append(etr_of(self.network, other))
            self.services[-1].startService()
            self.network.run(5)
        lines = [formatEvent(e) for e in events if "left to" in (e["log_format"] or "")]
        self.assertEqual(
            lines,
            [
                f"left to other xTRs, says Map-Server {_SERVER}: 2 EID-prefixes,"
                " the first 10.1.1.0/24"
            ],
        )
        assert first.answers is not None
        asked = [_eid("10.1.1.1/32"), _eid("10.1.3.1/32")]
        for number, eid in enumerate(asked, 1):
            rloc = Address.from_text("127.0.0.9")
            data = encode_map_request(MapRequest(number, (rloc,), (RequestedEid(eid),)))
            first.receive_datagram(data, (rloc.packed, 5000), 0.0)
        ((reply, _to),) = first.answers.datagrams_to_send(0.0)
        self.assertEqual(decode_map_reply(reply).nonce, 2)
        # The application means it after all.
        outcome(first.register(mapping("10.1.1.0/24", "127.0.0.2")))
        first.receive_datagram(
            encode_map_request(MapRequest(3, (rloc,), (RequestedEid(asked[0]),))),
            (rloc.packed, 5000),
            0.0,
        )
        self.assertEqual(len(first.answers.datagrams_to_send(0.0)), 1)

    def test_a_lost_session_is_told_and_heals(self) -> None:
        """Within seconds: one Map-Register, one Map-Notify, one connection."""
        server = self.server()
        self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        server.reset(server.sessions[0])
        self.network.run(7)
        self.assertEqual(self.listener.names(), ["up", "down", "up"])
        self.assertEqual(self.listener.heard[1], ("down", _SERVER, "CONNECTION_LOST"))
        self.assertEqual(len(server.sessions), 1)

    def test_a_connection_that_is_reset_before_the_refresh_is_no_session(self) -> None:
        """The listener hears nothing of it; the next attempt waits."""
        server = self.server()
        server.armory._limits = type(server.armory._limits)(max_sessions=0)
        self.etr(etr_text("10.1.1.0/24"))
        self.network.run(30)
        self.assertEqual(self.listener.heard, [])
        self.assertGreater(server.armory.counters["connections refused"], 1)
        server.armory._limits = type(server.armory._limits)()
        self.network.run(70)
        self.assertEqual(self.listener.names(), ["up"])

    def test_transports_are_tried_in_their_order(self) -> None:
        """One that is silent is given up after five seconds, then the next has its turn."""
        server = self.server()
        self.network.silent.add(4444)
        transports = 'transports = ["tcp:127.0.0.1:4444", "tcp:127.0.0.1:4445", "tcp:127.0.0.1"]'
        etr = self.etr(etr_text("10.1.1.0/24", server_options=transports))
        self.network.run(4)
        self.assertEqual(server.sessions, [])
        self.network.run(3)
        self.assertEqual(len(server.sessions), 1)
        failed = etr.links[0].connector.failures
        self.assertEqual(
            {name.split(":")[2]: reason for name, reason in failed.items()},
            {
                "4444": "no connection within 5 s",
                "4445": "Connection was refused by other side.",
            },
        )

    def test_a_session_that_lasted_starts_again_with_the_shortest_wait(self) -> None:
        """However often it was refused before."""
        server = self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        backoff = etr.links[0].connector._backoff
        for _failure in range(5):
            backoff.next_delay()
        self.network.run(61)
        server.reset(server.sessions[0])
        self.network.run(7)
        self.assertEqual(self.listener.names(), ["up", "down", "up"])
        self.assertLess(backoff.next_delay(), 1.3)

    def test_a_map_server_that_sends_no_refresh_is_logged(self) -> None:
        """Something else listens there; after 10 s everything is registered nevertheless."""
        self.server(map_server_text().replace("tcp:4342", "tcp:4343"))
        port = self.network.listenTCP(4342, Factory.forProtocol(Protocol), 50, MAP_SERVER_HOST)
        self.addCleanup(port.stopListening)
        with capturedLogs() as events:
            self.etr(etr_text("10.1.1.0/24"))
            self.network.run(11)
        lines = [formatEvent(e) for e in events if "link" in e["log_namespace"]]
        self.assertEqual(
            lines, [f"Map-Server {_SERVER} has sent no Refresh: registering everything unasked"]
        )
        self.assertEqual(self.listener.heard, [])

    def test_an_etr_that_never_reaches_its_map_server_goes_on_over_udp(self) -> None:
        """Every registration period, and connects to nothing."""
        self.etr(etr_text("10.1.1.0/24"))
        self.network.run(600)
        self.assertGreater(len(self.network.udp_payloads(MAP_SERVER_HOST)), 9)
        self.assertEqual(self.listener.heard, [])

    def test_a_listener_that_fails_costs_nobody_a_session(self) -> None:
        """What it raises is logged."""
        server = self.server()

        def fail(event: tuple[Any, ...]) -> None:
            raise RuntimeError(f"on {event[0]}")

        self.listener.on_event = fail
        etr = self.etr(etr_text("10.1.0.0/16"))
        self.network.run(1)
        outcome(etr.register(mapping("192.0.2.0/24")))
        news = MappingNotification(bytes(16), bytes(8), mapping("203.0.113.0/24"))
        etr.links[0].mapping_notified(news)
        self.network.run(1)
        self.assertEqual(len(server.sessions), 1)
        etr.stopService()
        self.network.run(1)
        failures = [str(f.value) for f in self.flushLoggedErrors(RuntimeError)]
        self.assertEqual(failures, ["on up", "on notified", "on rejected", "on down"])

    def test_a_listener_may_register_and_withdraw_while_it_is_told(self) -> None:
        """Whatever it does is done in its turn."""
        server = self.server()
        results: list[list[Any]] = []

        def react(event: tuple[Any, ...]) -> None:
            if event[0] == "up":
                results.append(outcome(etr.register(mapping("10.1.7.0/24"))))
                results.append(outcome(etr.register(mapping("192.0.2.0/24"))))
            elif event[0] == "rejected":
                results.append(outcome(etr.withdraw(event_eid)))

        event_eid = _eid("192.0.2.0/24")
        self.listener.on_event = react
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(2)
        self.assertEqual(results[0], [None])
        self.assertIsInstance(results[1][0], RegistrationRejected)
        self.assertEqual(results[2], [None])
        self.assertEqual(len(server.database), 2)

    def test_the_null_listener_hears_nothing(self) -> None:
        """It is there to be derived from."""
        listener = NullListener()
        listener.session_up("", "")
        listener.session_down("", CloseReason.SHUTDOWN)
        listener.mapping_notified("", None)  # type: ignore[arg-type]
        listener.rejected("", _eid("10.1.1.0/24"), 1)
        listener.rloc_members_changed("", 0, 1)

    def test_up_and_down_are_one_line_each(self) -> None:
        """Which Map-Server, over what, why."""
        server = self.server()
        with capturedLogs() as events:
            self.etr(etr_text("10.1.1.0/24"))
            self.network.run(1)
            server.reset(server.sessions[0])
            self.network.run(0)
        lines = [formatEvent(e) for e in events if "link" in e["log_namespace"]]
        self.assertEqual(
            lines,
            [
                f"session with Map-Server {_SERVER} is up over TCP",
                f"session with Map-Server {_SERVER} ended: the connection was lost",
            ],
        )
        for event in events:
            self.assertNotIn("campus secret", formatEvent(event) + repr(event))


class LifeTests(_Case):
    """Start and stop."""

    def test_its_address_is_known_while_it_runs(self) -> None:
        """And the receive buffer that it got is kept and logged."""
        with capturedLogs() as events:
            etr = self.etr()
        self.assertEqual((etr.address.host, etr.address.port), (ETR_HOST, 4342))
        self.assertEqual(etr.receive_buffer, 0)
        self.assertIn("receive buffer 0 octets", formatEvent(events[0]))
        etr.stopService()
        self.assertIsNone(etr.address)

    def test_what_was_never_started_stops_as_well(self) -> None:
        """Nor does a stray datagram wake it."""
        etr = etr_of(self.network, etr_text("10.1.1.0/24"))
        etr.receive_datagram(b"\x40", (bytes([127, 0, 0, 1]), 4342), 0.0)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.successResultOf(etr.stopService())

    def test_a_connection_that_never_became_a_session_is_not_told(self) -> None:
        """Its protocol was made, and lost before it was connected."""
        etr = self.etr()
        link = etr.links[0]
        link._make_protocol(link.connector._transports[0]).connectionLost()
        self.assertEqual(self.listener.heard, [])

    def test_a_port_that_is_taken_is_one_sentence(self) -> None:
        """And it does not count as started."""
        self.etr()
        second = etr_of(self.network, etr_text())
        error = self.assertRaises(ListenError, second.startService)
        self.assertEqual(str(error), "control 127.0.0.2:4342: [Errno 98] Address already in use")
        self.assertFalse(second.running)

    def test_a_transport_that_twisted_does_not_know_is_one_sentence(self) -> None:
        """Before anything is opened."""
        text = etr_text(server_options='transports = ["carrier-pigeon:1"]')
        error = self.assertRaises(ListenError, etr_of, self.network, text)
        self.assertIn("transports 'carrier-pigeon:1'", str(error))

    def test_stop_closes_the_session_and_the_socket(self) -> None:
        """And fires when both are gone."""
        server = self.server()
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        stopped = outcome(etr.stopService())
        self.assertEqual(stopped, [])
        self.network.run()
        self.assertEqual((stopped, server.sessions), ([None], []))
        self.assertEqual(self.listener.heard[-1], ("down", _SERVER, "SHUTDOWN"))

    def test_it_can_be_started_again(self) -> None:
        """And registers what it means by then, within a period."""
        server = self.server()
        etr = self.etr(etr_text("10.1.1.0/24", "10.1.2.0/24"))
        self.network.run(1)
        etr.stopService()
        self.network.run(10)
        result = outcome(etr.register(mapping("10.1.3.0/24")))
        outcome(etr.withdraw(_eid("10.1.2.0/24")))
        etr.startService()
        self.network.run(70)
        self.assertEqual(self.listener.names(), ["up", "down", "up"])
        self.assertEqual(result, [None])
        found = sorted(str(one.decode().eid) for one in server.database.registrations())
        self.assertEqual(found, ["10.1.1.0/24", "10.1.3.0/24"])

    def test_stop_cancels_who_waits(self) -> None:
        """Also when they go on to register something else."""
        etr = self.etr()
        waiting = etr.register(mapping())
        waiting.addErrback(lambda failure: outcome(etr.register(mapping("10.1.2.0/24"))) or failure)
        result = outcome(waiting)
        etr.stopService()
        self.assertIsInstance(result[0], CancelledError)

    def test_stop_gives_up_an_attempt_to_connect(self) -> None:
        """It does not outlive the service."""
        self.server(map_server_text().replace("tcp:4342", "tcp:4343"))
        self.network.silent.add(4342)
        etr = self.etr(etr_text("10.1.1.0/24"))
        self.network.run(1)
        self.successResultOf(etr.stopService())
        self.network.run(0)

    def test_stop_keeps_the_nonce(self) -> None:
        """The next life goes on behind it."""
        state = Path(self.mktemp())
        text = etr_text("10.1.1.0/24", options=f'state-dir = "{state}"')
        etr = self.etr(text)
        self.network.run(1)
        etr.stopService()
        last = etr.identity.next_nonce()
        again = etr_of(self.network, text)
        self.assertEqual(again.identity.ids, etr.identity.ids)
        self.assertGreaterEqual(again.identity.next_nonce(), last)

    def test_a_state_directory_that_went_away_does_not_stop_the_stop(self) -> None:
        """One line: what was put aside is lost, which harms nobody."""
        state = Path(self.mktemp())
        etr = self.etr(etr_text("10.1.1.0/24", options=f'state-dir = "{state}"'))
        (state / "etr-identity.new").mkdir()
        with capturedLogs() as events:
            self.successResultOf(etr.stopService())
        self.assertIn("the nonce was not kept: ", str(formatEvent(events[-1])))
