"""Whole swarms beside a Map-Server, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from lispmsrt import MapServer
from lispmsrt.config import SocketAddress
from lispmsrt.mapping.database import Registration
from lispmsrt.swarm.plan import UDP, Plan
from lispmsrt.swarm.result import Result
from lispmsrt.swarm.swarm import Swarm
from lispmsrt.swarm.telling import result_of
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.reliable_transport import (
    ErrorNotification,
    RefreshScope,
    RegistrationRefresh,
    eid_wire_form,
    encode_error_notification,
    encode_registration_ack,
    encode_registration_refresh,
)
from tests.rim import MAP_SERVER_HOST, Packet, map_server_text, site_text
from tests.service_ground import Ground

_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, b"campus secret")
_SITE = site_text("campus", "10.0.0.0/8", "2001:db8::/32")
_ASKED_OFTEN = "request-rate = 100000\nrequest-burst = 100000"
_SWARM_HOST = "127.0.0.7"
_TCP = f"tcp:{MAP_SERVER_HOST}:4342"


class SwarmGround(Ground):
    """A swarm on the network."""

    def plan(self, **options: Any) -> Plan:
        """Return a plan for the Map-Server there is."""
        options.setdefault("prefixes", ("10.0.0.0/8",))
        options["prefixes"] = tuple(map(EidPrefix.from_text, options["prefixes"]))
        options.setdefault("transport", _TCP)
        options.setdefault("sources", (_SWARM_HOST,))
        return Plan(map_server=SocketAddress(MAP_SERVER_HOST, 4342), **options)

    def begin(self, key: Key = _KEY, **options: Any) -> tuple[Swarm, Deferred[None]]:
        """Start a swarm."""
        swarm = Swarm(
            self.network,
            self.plan(**options),
            key,
            clock=self.network,
            cpu=self.network.seconds,
            first_nonce=int(1e9 * self.network.seconds()),
        )
        running = Deferred.fromCoroutine(swarm.run())
        return swarm, running

    def swarm(self, *, runs: float = 60.0, key: Key = _KEY, **options: Any) -> Result:
        """Run a swarm to its end, and return the result."""
        swarm, running = self.begin(key, **options)
        self.network.run(runs)
        self.successResultOf(running)
        return result_of(swarm)

    def map_server(self, site: str = _SITE, options: str = _ASKED_OFTEN) -> MapServer:
        """Return a Map-Server that runs."""
        return self.server(map_server_text(site, options=options))

    def held(self, server: MapServer) -> dict[str, Registration]:
        """Return what a Map-Server has, by the EID."""
        found = {}
        for registration in server.registrar.database.registrations():
            found[str(registration.decode().eid)] = registration
        return found


class SessionTests(SwarmGround):
    """Over sessions."""

    def test_every_eid_is_registered_on_the_sessions(self) -> None:
        """By its own ETR, with its xTR-ID, and nothing is left over UDP."""
        server = self.map_server()
        result = self.swarm(etrs=5, eids=20, prefixes=("10.0.0.0/8", "2001:db8::/32"))
        self.assertEqual(result.problems, ())
        held = self.held(server)
        self.assertEqual(len(held), 100)
        self.assertEqual(len({each.lease.ids for each in held.values()}), 5)
        self.assertIn("10.0.0.49/32", held)
        self.assertIn("2001:db8::31/128", held)
        told = result.registrations
        self.assertEqual((told.registered, told.answers, told.not_offered), (100, 100, 0))
        self.assertEqual((result.sessions_opened, result.sessions_now), (5, 5))
        self.assertEqual(result.counters["ACKs"], 100)
        self.assertEqual(result.latencies["session set-up"].count, 5)

    def test_the_ramp_spreads_the_starts(self) -> None:
        """Ten a second take two seconds for twenty."""
        self.map_server()
        result = self.swarm(etrs=20, eids=1, ramp=10.0)
        seconds = result.registrations.seconds
        assert seconds is not None
        self.assertTrue(1.9 < seconds < 2.2, seconds)

    def test_without_anything_else_it_ends_when_all_is_acknowledged(self) -> None:
        """With an end given it stays."""
        self.map_server()
        self.assertLess(self.swarm(etrs=2, eids=2).seconds, 1.0)
        self.assertGreaterEqual(self.swarm(etrs=2, eids=2, seconds=5.0).seconds, 5.0)

    def test_more_etrs_than_a_map_server_has_tokens_for_one_address_take_turns(self) -> None:
        """All come up; no token is refused."""
        server = self.map_server()
        result = self.swarm(etrs=200, eids=1, ramp=100_000.0)
        self.assertEqual((result.problems, result.sessions_opened), ((), 200))
        self.assertEqual(server.armory.counters["tokens refused"], 0)

    def test_moves_and_flaps_leave_the_map_server_with_what_is_meant(self) -> None:
        """Owner, weight and presence of every EID."""
        server = self.map_server()
        swarm, running = self.begin(etrs=8, eids=10, moves=40.0, flaps=20.0, seconds=6.0)
        self.network.run(5.9)
        counters = swarm.counters
        self.assertGreater(counters["moves to another ETR"], 50)
        self.assertGreater(counters["withdrawals"], 50)
        self.network.run(10)
        self.successResultOf(running)
        self.assertEqual(result_of(swarm).problems, ())
        self._assert_meant(swarm, server)

    def _assert_meant(self, swarm: Swarm, server: MapServer) -> None:
        held = self.held(server)
        self.assertEqual(len(held), swarm.space.count)
        for number in range(swarm.space.count):
            registration = held[str(swarm.space.eid(number))]
            owner = swarm.roster.etrs[swarm.load.owners[number]]
            self.assertEqual(registration.lease.ids, owner.face.ids)
            (locator,) = registration.decode().locators
            self.assertEqual(locator.weight, 1 + swarm.load.versions[number])

    def test_right_answers_are_told_from_wrong_ones(self) -> None:
        """A Map-Server that has lost an EID, and one with another mapping for it, are found out."""
        server = self.map_server()
        result = self.swarm(etrs=2, eids=5, lookups=200.0, seconds=2.0)
        told = result.lookups
        self.assertEqual((told.wrong, told.not_answered), (0, 0))
        self.assertEqual(told.right, told.asked)
        self.assertGreater(told.asked, 300)
        server.stopService()
        self.network.run(1)
        self._break(server := self.map_server())
        result = self.swarm(etrs=2, eids=5, lookups=200.0, seconds=2.0)
        self.assertGreater(result.lookups.wrong, 300)
        self.assertIn("answers to lookups were wrong", result.problems[0])
        self.assertEqual(len(result.lookups.examples), 10)
        for example in result.lookups.examples:
            self.assertIn("with weight 1, and the Map-Server says", example)

    def _break(self, server: MapServer) -> None:
        """Have Map-Replies show another weight."""

        port = next(port for port in self.network.ports if port.kind == "udp")
        write = port.write

        def wrong(data: bytes, to: tuple[str, int]) -> None:
            if message_type(data) == ControlType.MAP_REPLY:
                data = data[:29] + bytes((data[29] ^ 2,)) + data[30:]
            write(data, to)

        port.write = wrong  # type: ignore[method-assign]

    def test_withdrawn_eids_that_are_still_answered_for_are_wrong(self) -> None:
        """The question is answered with the mapping of before."""
        self.map_server()
        swarm, running = self.begin(etrs=1, eids=1, flaps=0.5, lookups=200.0, seconds=2.95)
        self.network.run(1.0)
        port = next(port for port in self.network.ports if port.where[1] == 4342)
        write, kept = port.write, []

        def stale(data: bytes, to: tuple[str, int]) -> None:
            if message_type(data) == ControlType.MAP_REPLY:
                kept.append(data)
                data = kept[0][:4] + data[4:12] + kept[0][12:]
            write(data, to)

        port.write = stale  # type: ignore[method-assign]
        self.network.run(30)
        self.successResultOf(running)
        wrong = result_of(swarm).lookups
        self.assertGreater(wrong.wrong, 50)
        self.assertIn("was withdrawn, and the Map-Server still says", wrong.examples[0])

    def test_a_wrong_key_registers_nothing(self) -> None:
        """And it is no success."""
        self.map_server()
        wrong = Key(0, AlgorithmId.HMAC_SHA_256_128, b"not it")
        result = self.swarm(key=wrong, etrs=1, eids=3, seconds=5.0)
        self.assertEqual(result.problems, ("3 EIDs were not offered in this time",))
        self.assertGreater(result.counters["Map-Registers sent again"], 1)

    def test_rejections_are_counted(self) -> None:
        """EIDs that the site has not got."""
        self.map_server(site_text("campus", "10.0.0.0/30"))
        result = self.swarm(etrs=1, eids=10, seconds=2.0)
        self.assertEqual(result.problems, ("6 EIDs were refused",))
        self.assertEqual(result.counters["Rejections"], 6)

    def test_a_map_server_that_comes_back_gets_everything_again(self) -> None:
        """Sessions are armed anew; withdrawals under way are not forgotten."""
        server = self.map_server()
        swarm, running = self.begin(etrs=4, eids=5, flaps=10.0, seconds=30.0)
        self.network.run(3.0)
        server.stopService()
        self.network.run(3.0)
        server = self.map_server()
        self.network.run(60.0)
        self.successResultOf(running)
        result = result_of(swarm)
        self.assertEqual(result.problems, ())
        self.assertEqual(result.counters["sessions lost"], 4)
        self.assertEqual(len(result.failures), 1)
        self._assert_meant(swarm, server)

    def test_nobody_listens(self) -> None:
        """Refused connections are tried again, not at once, each after a new Map-Register."""
        self.map_server()
        result = self.swarm(etrs=1, eids=1, transport=f"tcp:{MAP_SERVER_HOST}:9", seconds=10.0)
        self.assertEqual(result.problems, ("1 EIDs were not offered in this time",))
        self.assertTrue(2 <= result.counters["connections that failed"] <= 5)
        self.assertEqual(
            result.latencies["arming"].count, result.counters["connections that failed"]
        )

    def test_no_connection_without_the_r_bit_unless_it_is_wished(self) -> None:
        """A Map-Server without sessions does not set it."""
        listens = 'reliable-transport = ["tcp:4342:interface=127.0.0.1"]'
        text = map_server_text(_SITE)
        self.assertIn(listens, text)
        self.server(text.replace(listens, "reliable-transport = []"))
        result = self.swarm(etrs=1, eids=1, seconds=5.0)
        self.assertGreater(result.counters["Map-Notifies without leave to connect"], 1)
        self.assertEqual(result.failures, {})
        result = self.swarm(etrs=1, eids=1, seconds=5.0, needs_r=False)
        self.assertGreater(result.counters["connections that failed"], 0)

    def test_an_interrupted_swarm_closes_its_sessions_and_tells_so_far(self) -> None:
        """Whatever it was doing."""
        server = self.map_server()
        swarm, running = self.begin(etrs=3, eids=4, seconds=100.0)
        self.network.run(2.0)
        running.cancel()
        self.network.run(1.0)
        self.successResultOf(running)
        result = result_of(swarm)
        self.assertTrue(result.was_interrupted)
        self.assertEqual((result.registrations.registered, result.sessions_now), (12, 3))
        self.assertEqual(len(server.sessions), 0)


class UdpTests(SwarmGround):
    """Without sessions."""

    def test_every_eid_is_registered_in_datagrams_of_so_many_records(self) -> None:
        """As many Map-Registers as that takes, without r."""
        server = self.map_server()
        result = self.swarm(transport=UDP, etrs=3, eids=45, records=20, ramp=1e5)
        self.assertEqual(result.problems, ())
        self.assertEqual(len(self.held(server)), 135)
        sent = self.network.udp_payloads(MAP_SERVER_HOST)
        self.assertEqual([data[3] for data in sent], [20, 20, 20, 20, 20, 20, 5, 5, 5])
        for data in sent:
            word = int.from_bytes(data[:4], "big")
            self.assertFalse(word & RegisterFlag.RELIABLE_TRANSPORT)
            self.assertTrue(word & RegisterFlag.WANT_MAP_NOTIFY)

    def test_what_is_lost_is_sent_again_after_a_second(self) -> None:
        """With a new nonce; the latency counts from the first time."""
        self.map_server()
        lost: list[bytes] = []

        def loses(packet: Packet) -> bool:
            if message_type(packet.data) != ControlType.MAP_REGISTER or len(lost) == 3:
                return False
            lost.append(packet.data)
            return True

        self.network.loses = loses
        result = self.swarm(transport=UDP, etrs=1, eids=5, seconds=20.0)
        self.assertEqual(result.problems, ())
        self.assertEqual(result.counters["Map-Registers sent again"], 3)
        worst = result.latencies["registration"].max
        assert worst is not None
        self.assertApproximates(worst, 1.0, 0.05)

    def test_everything_is_registered_again_with_each_period(self) -> None:
        """Somewhat earlier than 60 s."""
        self.map_server()
        self.swarm(transport=UDP, etrs=1, eids=4, seconds=130.0, runs=200.0)
        self.assertEqual(len(self.network.udp_payloads(MAP_SERVER_HOST)), 12)

    def test_no_more_than_the_window_is_unanswered(self) -> None:
        """A socket's buffer holds only so many."""
        self.map_server()
        _swarm, running = self.begin(transport=UDP, etrs=1, eids=50, window=7, seconds=3.0)
        self.network.loses = lambda packet: True
        self.network.run(0.5)
        self.assertEqual(len(self.network.udp_payloads(MAP_SERVER_HOST)), 7)
        self.network.loses = lambda packet: False
        self.network.run(10)
        self.successResultOf(running)

    def test_moves_and_flaps(self) -> None:
        """The last one who registered has it."""
        server = self.map_server()
        swarm, running = self.begin(
            transport=UDP, etrs=5, eids=6, moves=30.0, flaps=10.0, lookups=100.0, seconds=5.0
        )
        self.network.run(30)
        self.successResultOf(running)
        result = result_of(swarm)
        self.assertEqual((result.problems, result.lookups.wrong), ((), 0))
        held = self.held(server)
        for number in range(swarm.space.count):
            owner = swarm.roster.etrs[swarm.load.owners[number]]
            self.assertEqual(held[str(swarm.space.eid(number))].lease.ids, owner.face.ids)

    def test_records_that_a_map_notify_leaves_out_are_refused(self) -> None:
        """Those of the site are registered."""
        self.map_server(site_text("campus", "10.0.0.0/30"))
        result = self.swarm(transport=UDP, etrs=1, eids=10, records=10, seconds=2.0)
        self.assertEqual(result.problems, ("6 EIDs were refused",))
        self.assertEqual(result.counters["records that a Map-Notify left out"], 6)

    def test_forged_map_notifies_are_not_believed(self) -> None:
        """Nor anything else that comes."""
        self.map_server()
        swarm, running = self.begin(transport=UDP, etrs=1, eids=1, seconds=2.0)
        port = next(port for port in self.network.ports if port.where[0] == _SWARM_HOST)
        self.network.loses = lambda packet: True
        self.network.run(0.1)
        (register,) = self.network.udp_payloads(MAP_SERVER_HOST)
        forged = b"\x40" + register[1:]
        for data in (forged, forged[:40], b"", b"\0" * 70, register):
            port.target.datagramReceived(data, (MAP_SERVER_HOST, 4342))
        counters = swarm.counters
        self.assertEqual(counters["Map-Notifies that are not authentic"], 1)
        self.assertEqual(counters["datagrams that are no Map-Notify"], 2)
        self.assertEqual(counters["datagrams that answer no Map-Register"], 2)
        self.network.run(20)
        self.successResultOf(running)
        self.assertEqual(result_of(swarm).registrations.unanswered, 1)


class _Server(Protocol):
    """A Map-Server's end of a session, in the hands of a test."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def say(self, *messages: bytes) -> None:
        """Write messages."""
        assert self.transport is not None
        self.transport.write(b"".join(messages))


class ForeignMapServerTests(SwarmGround):
    """A Map-Server that does what it may, and what it may not."""

    def setUp(self) -> None:
        """Arm by a Map-Server of ours, connect to another one."""
        super().setUp()
        self.map_server()
        self.ends: list[_Server] = []
        ground = self

        class _Servers(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> _Server:
                ground.ends.append(_Server())
                return ground.ends[-1]

        self._listening = self.network.listenTCP(7, _Servers(), interface=MAP_SERVER_HOST)
        self.addCleanup(self._listening.stopListening)

    def one(self, seconds: float = 20.0, **options: Any) -> tuple[Swarm, _Server]:
        """Return a swarm of one ETR with ten EIDs, and the other end of its session."""
        options.setdefault("prefixes", ("10.0.0.0/8", "2001:db8::/32"))
        swarm, running = self.begin(
            etrs=1, eids=10, transport=f"tcp:{MAP_SERVER_HOST}:7", seconds=seconds, **options
        )
        self.addCleanup(self._finish, running)
        self.network.run(0.5)
        return swarm, self.ends[-1]

    def _finish(self, running: Deferred[None]) -> None:
        self.network.run(60)
        self.successResultOf(running)

    def _count(self, end: _Server) -> int:
        self.network.run(0.1)
        count, end.heard = end.heard.count(b"\x9f\xac\xad\xe9"), b""
        return count

    def test_refreshes_of_every_scope_are_answered(self) -> None:
        """With what they are about, cut into octets on the way."""
        _swarm, end = self.one()
        self.assertEqual(self._count(end), 0)
        eid = EidPrefix.from_text
        for scope, prefix, count in (
            (RefreshScope.EVERYTHING, None, 10),
            (RefreshScope.INSTANCE, eid("0.0.0.0/0"), 10),
            (RefreshScope.INSTANCE, eid("0.0.0.0/0", 7), 0),
            (RefreshScope.FAMILY, eid("0.0.0.0/0"), 5),
            (RefreshScope.FAMILY, eid("::/0"), 5),
            (RefreshScope.COVERED, eid("10.0.0.2/31"), 2),
            (RefreshScope.COVERED, eid("10.0.0.4/30"), 1),
            (RefreshScope.COVERED, eid("11.0.0.0/8"), 0),
            (RefreshScope.COVERED, eid("0.0.0.0/0"), 5),
            (RefreshScope.EXACT, eid("10.0.0.3/32"), 1),
            (RefreshScope.EXACT, eid("10.0.0.2/31"), 0),
            (RefreshScope.EXACT, eid("2001:db8::4/128"), 1),
        ):
            refresh = encode_registration_refresh(RegistrationRefresh(scope, False, prefix), 1)
            for octet in refresh:
                end.say(bytes((octet,)))
                self.network.run()
            self.assertEqual(self._count(end), count, (scope, str(prefix)))

    def test_a_refresh_of_the_rejected_ones_is_answered_with_these(self) -> None:
        """None here."""
        _swarm, end = self.one()
        end.say(encode_registration_refresh(RegistrationRefresh(RefreshScope.EVERYTHING), 1))
        self.assertEqual(self._count(end), 10)
        end.say(encode_registration_refresh(RegistrationRefresh(RefreshScope.EVERYTHING, True), 2))
        self.assertEqual(self._count(end), 0)

    def test_without_a_refresh_it_registers_unasked(self) -> None:
        """After ten seconds."""
        swarm, end = self.one()
        self.network.run(9.0)
        self.assertEqual(self._count(end), 0)
        self.network.run(1.0)
        self.assertEqual(self._count(end), 10)
        self.assertEqual(swarm.counters["sessions without a Refresh in time"], 1)

    def test_what_is_not_answered_is_told(self) -> None:
        """The load ends all the same."""
        swarm, end = self.one(2.0)
        end.say(encode_registration_refresh(RegistrationRefresh(RefreshScope.EVERYTHING), 1))
        self.network.run(30.0)
        self.assertEqual(result_of(swarm).problems, ("10 EIDs were offered and not answered",))

    def test_a_window_is_kept_to(self) -> None:
        """Nothing more before answers come."""
        swarm, end = self.one(window=3)
        end.say(encode_registration_refresh(RegistrationRefresh(RefreshScope.EVERYTHING), 1))
        self.assertEqual(self._count(end), 3)
        acks = [
            encode_registration_ack(1, eid_wire_form(swarm.space.eid(number)))
            for number in range(10)
        ]
        end.say(*acks[:2])
        self.assertEqual(self._count(end), 2)
        self.assertEqual(swarm.roster.etrs[0].unanswered, 3)
        end.say(*acks[2:5])
        self.assertEqual(self._count(end), 3)

    def test_errors_and_unknown_messages_are_counted(self) -> None:
        """They end nothing."""
        swarm, end = self.one()
        end.say(
            encode_error_notification(ErrorNotification(2, 17, 100, 5), 1),
            bytes.fromhex("00c8 000c 00000001 9facade9"),
            bytes.fromhex("0015 000c 00000001 9facade9"),
            bytes.fromhex("0014 000d 00000001 00 9facade9"),
        )
        self.network.run(0.1)
        for name in (
            "Error Notifications, code 2",
            "messages of other types on sessions",
            "Mapping Notifications",
            "malformed messages on sessions",
        ):
            self.assertEqual(swarm.counters[name], 1, name)
        self.assertEqual(swarm.counters["sessions lost"], 0)

    def test_a_length_that_can_not_be_resets_the_session(self) -> None:
        """And the ETR looks for another one."""
        self._assert_reset("0014 0005 00000001 9facade9")

    def test_a_wrong_end_marker_resets_the_session(self) -> None:
        """As above."""
        self._assert_reset("0014 000c 00000001 00000000")

    def _assert_reset(self, octets: str) -> None:
        swarm, end = self.one()
        end.say(bytes.fromhex(octets))
        self.network.run(0.1)
        self.assertEqual(swarm.counters["framing errors on sessions"], 1)
        before = len(self.ends)
        self.network.run(8.0)
        self.assertGreater(len(self.ends), before)
