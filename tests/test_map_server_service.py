"""The Map-Server as a service, on a network in memory."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import MapServer, parse_config
from lispmsrt.protocols import RefusalProtocol
from lispmsrt.services.admission import _MAX_ADDRESSES, Refusals
from lispmsrt.services.listening import ListenError
from lispmsrt.session.base import CloseReason
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh
from tests.builders import Etr as EtrHand
from tests.builders import Secret, answers, eid, frame, locator, record
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Network, map_server_of, map_server_text, outcome

_KEY = Secret(0, 2, b"campus secret")
_RLOC = locator(ETR_HOST)


class _Client(Protocol):
    """Collects what comes, and how it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type.__name__)


class MapServerServiceTests(SynchronousTestCase):
    """One Map-Server, and ETRs made by hand."""

    def setUp(self) -> None:
        """Start it."""
        self.network = Network()
        self.server = map_server_of(self.network)
        self.server.startService()
        self.addCleanup(self._stop)
        self.hand = EtrHand(ETR_HOST, key=_KEY)

    def _stop(self) -> None:
        """Nothing is left behind by any of these tests."""
        if self.server.running:
            self.server.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def _register(self, *eids: str) -> None:
        records = [record(eid(one), _RLOC) for one in eids or ("10.1.1.0/24",)]
        self._datagram(self.hand.map_register(*records))

    def _datagram(self, data: bytes, host: str = ETR_HOST) -> None:
        self.network.send((host, 4342), (MAP_SERVER_HOST, 4342), data)
        self.network.run()

    def _connect(self, host: str = ETR_HOST) -> _Client:
        client = _Client()
        self.network.connect(client, MAP_SERVER_HOST, 4342, host)
        self.network.run()
        return client

    def test_stopped_twice_both_are_told(self) -> None:
        """When all is closed."""
        self._session()
        results = [outcome(self.server.stopService()), outcome(self.server.stopService())]
        self.assertEqual(results, [[], []])
        self.network.run(10)
        self.assertEqual(results, [[None], [None]])

    def test_what_a_transport_brings_after_the_stop_is_refused(self) -> None:
        """It may have had a handshake in its hands."""
        self._register()
        self.server.stopService()
        peer = IPv4Address("TCP", ETR_HOST, 50000)
        self.assertIsInstance(self.server.accept(peer, "tcp:4342"), RefusalProtocol)
        self.assertEqual(self.server.armory.counters["connections accepted"], 0)

    def _session(self, eid_prefix: str = "10.1.1.0/24") -> _Client:
        self._register(eid_prefix)
        client = self._connect()
        client.transport.write(self.hand.registration(record(eid(eid_prefix), _RLOC)))
        self.network.run()
        return client

    # Sockets

    def test_it_listens_where_it_is_told(self) -> None:
        """UDP first."""
        found = [(str(a.type), a.host, a.port) for a in self.server.addresses]
        self.assertEqual(found, [("UDP", MAP_SERVER_HOST, 4342), ("TCP", MAP_SERVER_HOST, 4342)])

    def test_what_is_granted_as_receive_buffer_is_kept_per_socket(self) -> None:
        """In memory there is none; over real sockets tests/test_real_sockets.py asks."""
        self.assertEqual(self.server.udp.granted, {f"{MAP_SERVER_HOST}:4342": 0})

    def test_a_port_that_is_taken_is_one_sentence_and_closes_the_others(self) -> None:
        """TCP after UDP, and UDP after UDP."""
        for options in (
            '"127.0.0.9:4342"]\nreliable-transport = ["tcp:4342:interface=127.0.0.1"]',
            '"127.0.0.9:4342", "127.0.0.1:4342"]',
        ):
            second = map_server_of(self.network, f"[map-server]\ncontrol = [{options}\n")
            before = list(self.network.ports)
            error = self.assertRaises(ListenError, second.startService)
            self.assertIn("Address already in use", str(error))
            self.assertEqual(len(str(error).splitlines()), 1)
            self.assertEqual(self.network.ports, before)
            self.assertEqual(second.running, 0)

    def test_an_endpoint_string_that_twisted_does_not_know_is_one_sentence(self) -> None:
        """Unknown prefix, bad number, unknown argument."""
        for text in ("carrier-pigeon:1", "tcp:http-alt-x", "tcp:4342:colour=red", "unix"):
            server = map_server_of(
                self.network,
                f'[map-server]\ncontrol = ["127.0.0.9:0"]\nreliable-transport = ["{text}"]\n',
            )
            error = self.assertRaises(ListenError, server.startService)
            self.assertTrue(str(error).startswith(f"reliable-transport {text!r}: "), error)
            self.assertEqual(len(self.network.ports), 2)

    # Who gets a session

    def test_nobody_gets_a_session_without_udp_authentication(self) -> None:
        """Reset unread, and counted."""
        client = self._connect()
        self.assertEqual((client.received, client.lost), (b"", ["ConnectionLost"]))
        self.assertEqual(self.server.armory.counters["connections refused"], 1)
        self.assertEqual(self.server.sessions, [])

    def test_an_armed_etr_gets_a_refresh_and_registers(self) -> None:
        """The session is bound by its first Registration."""
        client = self._session()
        self.assertEqual([a[0] for a in answers(client.received)], ["refresh", "ack"])
        (session,) = self.server.sessions
        assert session.lease is not None
        self.assertEqual(session.lease.xtr.site, "campus")
        self.assertEqual(len(self.server.database), 1)

    def test_an_etr_gets_one_session_per_authentication(self) -> None:
        """The second connection finds no token."""
        self._register()
        self._connect()
        self.assertEqual(self._connect().lost, ["ConnectionLost"])

    def test_another_address_than_the_armed_one_gets_none(self) -> None:
        """Though it lies inside the allowed RLOCs."""
        self._register()
        self.assertEqual(self._connect("127.0.0.77").lost, ["ConnectionLost"])
        self.assertEqual(self._connect().lost, [])

    def test_a_peer_without_an_ip_address_is_refused_and_counted(self) -> None:
        """A UNIX socket, say."""
        made = self.server.accept(UNIXAddress("/run/socket"), "UNIX")
        self.assertIsInstance(made, RefusalProtocol)
        self.assertEqual(self.server.armory.counters["connections refused"], 1)

    def test_a_session_without_a_registration_ends_with_its_probation(self) -> None:
        """And gives its place back."""
        self._register()
        client = self._connect()
        self.network.run(31)
        self.assertEqual(client.lost, ["ConnectionDone"])
        self.assertEqual(self.server.sessions, [])

    def test_a_session_can_be_reset(self) -> None:
        """As if its path had failed: its registrations run their clock."""
        client = self._session()
        self.server.reset(self.server.sessions[0])
        self.network.run()
        self.assertEqual(client.lost, ["ConnectionLost"])
        self.assertEqual(len(self.server.database), 1)
        self.network.run(182)
        self.assertEqual(len(self.server.database), 0)

    def test_a_session_that_is_gone_cannot_be_reset(self) -> None:
        """Nor is anybody else's."""
        client = self._session()
        gone = self.server.sessions[0]
        client.transport.loseConnection()
        self.network.run()
        other = self._session()
        self.server.reset(gone)
        self.network.run()
        self.assertEqual(other.lost, [])

    def test_an_xtr_that_is_not_armed_is_rejected_on_the_session_of_another(self) -> None:
        """Reason 4, and no line says that it is up."""
        self._register()
        client = self._connect()
        stranger = EtrHand(ETR_HOST, key=_KEY, xtr_id=99)
        with capturedLogs() as events:
            client.transport.write(stranger.registration(record(eid("10.1.2.0/24"), _RLOC)))
            self.network.run()
        self.assertEqual(answers(client.received)[-1], ("reject", 4, eid("10.1.2.0/24")))
        (line,) = [formatEvent(event) for event in events]
        self.assertIn("no Map-Register has armed the xTR for a session from this address", line)

    def test_a_connection_that_never_became_a_session_is_not_logged(self) -> None:
        """Its protocol was made, and lost before it was connected."""
        self._register()
        protocol = self.server.accept(IPv4Address("TCP", ETR_HOST, 5), "TCP")
        with capturedLogs() as events:
            protocol.connectionLost()
        self.assertEqual(events, [])

    def test_registrations_on_a_session_do_not_expire(self) -> None:
        """An hour goes by."""
        self._session()
        self.network.run(3600)
        self.assertEqual(len(self.server.database), 1)

    def test_registrations_over_udp_expire(self) -> None:
        """After three minutes."""
        self._register()
        self.network.run(179)
        self.assertEqual(len(self.server.database), 1)
        self.network.run(3)
        self.assertEqual(len(self.server.database), 0)

    def test_a_map_notify_leaves_by_the_socket_that_was_asked(self) -> None:
        """To where the Map-Register came from."""
        self._register()
        (packet,) = [p for p in self.network.packets if p.destination[0] == ETR_HOST]
        self.assertEqual(packet.source, (MAP_SERVER_HOST, 4342))
        self.assertEqual(packet.destination, (ETR_HOST, 4342))

    def test_everybody_can_be_asked_to_register_again(self) -> None:
        """Everything, or what is told."""
        client = self._session()
        client.received = b""
        self.server.refresh()
        self.network.run()
        self.server.refresh(RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True))
        self.network.run()
        self.assertEqual(
            answers(client.received), [("refresh", 0, False, b""), ("refresh", 0, True, b"")]
        )

    # What is logged

    def test_a_session_is_one_line_when_it_is_up_and_one_when_it_ends(self) -> None:
        """Who, from where, over what, why."""
        with capturedLogs() as events:
            client = self._session()
            client.transport.loseConnection()
            self.network.run()
        lines = [formatEvent(event) for event in events]
        port = client.transport.getHost().port
        self.assertEqual(
            lines,
            [
                f"session 1 with campus xTR-ID {'0' * 31}1 from 127.0.0.2:{port} over TCP is up",
                f"session 1 with campus xTR-ID {'0' * 31}1 from 127.0.0.2:{port} over TCP ended: "
                "the peer closed the connection",
            ],
        )

    def test_a_session_that_was_never_bound_is_one_line_when_it_ends(self) -> None:
        """With the reason."""
        self._register()
        with capturedLogs() as events:
            self._connect()
            self.network.run(31)
        (line,) = [formatEvent(event) for event in events]
        self.assertIn("no xTR yet", line)
        self.assertIn(CloseReason.NO_REGISTRATION.value, line)

    def test_an_ipv6_peer_is_written_in_brackets(self) -> None:
        """Else address and port could not be told apart."""
        text = map_server_text(host="::1").replace('"::1:', '"[::1]:')
        server = map_server_of(self.network, text.replace("interface=::1", r"interface=\\:\\:1"))
        server.startService()
        hand = EtrHand("::2", key=_KEY)
        self.network.send(
            ("::2", 4342), ("::1", 4342), hand.map_register(record(eid("10.1.1.0/24"), _RLOC))
        )
        self.network.run()
        self.network.connect(_Client(), "::1", 4342, "::2")
        self.assertTrue(server.sessions[0].peer.startswith("[::2]:"), server.sessions[0].peer)
        server.stopService()

    def test_refused_connections_are_one_line_per_address_and_minute(self) -> None:
        """With the number of those that got none; the armory counts all."""
        with capturedLogs() as events:
            for _connection in range(100):
                self._connect("127.0.0.66")
            self._connect("127.0.0.67")
            self.network.run(60)
            self._connect("127.0.0.66")
        lines = [formatEvent(event) for event in events]
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], "^TCP connection from 127.0.0.66 refused: .* armed it$")
        self.assertIn("127.0.0.67", lines[1])
        self.assertIn("(99 more since the last line)", lines[2])
        self.assertEqual(self.server.armory.counters["connections refused"], 102)

    def test_refusals_of_many_addresses_are_bounded(self) -> None:
        """In memory and in the log; whoever comes later gets a line again."""
        refusals = Refusals(self.network)
        with capturedLogs() as events:
            for number in range(_MAX_ADDRESSES + 50):
                refusals.note(f"address {number}", "TCP")
            refusals.note("address 3", "TCP")
        self.assertEqual(len(events), _MAX_ADDRESSES)
        self.network.run(60)
        with capturedLogs() as events:
            refusals.note("newcomer", "TCP")
        self.assertEqual(len(events), 1)
        self.assertEqual(len(refusals._latest), _MAX_ADDRESSES)

    def test_no_secret_is_in_any_line(self) -> None:
        """Whatever goes wrong."""
        with capturedLogs() as events:
            self._session()
            wrong = EtrHand(ETR_HOST, key=Secret(0, 2, b"wrong"))
            self._datagram(wrong.map_register(record("10.1.1.0/24")))
            self._datagram(b"\x30")
            self.server.reload(())
            self.network.run(1)
        for event in events:
            self.assertNotIn("campus secret", formatEvent(event) + repr(event))

    # Junk

    def test_junk_is_counted_and_never_logged(self) -> None:
        """Over UDP and on the session; nobody else's registration suffers."""
        client = self._session()
        with capturedLogs() as events:
            for data in (b"", b"\x30", b"\xff" * 40, bytes(100), b"\x80" + bytes(40)):
                self._datagram(data)
            client.transport.write(frame(99, b"junk"))
            client.transport.write(frame(17, b"junk"))
            self.network.run()
        self.assertEqual(events, [])
        self.assertEqual(len(self.server.database), 1)
        errors = [answer for answer in answers(client.received) if answer[0] == "error"]
        self.assertEqual([error[1] for error in errors], [1, 2])

    # Stop

    def test_stopping_closes_sessions_and_sockets(self) -> None:
        """And fires when nothing is left."""
        client = self._session()
        stopped = outcome(self.server.stopService())
        self.assertEqual(stopped, [])
        self.network.run()
        self.assertEqual(stopped, [None])
        self.assertEqual(client.lost, ["ConnectionDone"])
        self._stop()

    def test_stopping_resets_a_peer_that_does_not_read(self) -> None:
        """After five seconds."""
        client = self._session()
        client.transport.is_reading = False
        self.server.refresh()
        self.network.run()
        stopped = outcome(self.server.stopService())
        self.network.run(4)
        self.assertEqual(stopped, [])
        self.network.run(2)
        self.assertEqual((stopped, client.lost), ([None], ["ConnectionLost"]))

    def test_stopping_without_sessions_fires_at_once(self) -> None:
        """There is nothing to wait for."""
        self.assertEqual(self.successResultOf(self.server.stopService()), None)

    def test_it_can_be_started_again(self) -> None:
        """With what it had registered, which runs its clock."""
        self._session()
        self.server.stopService()
        self.network.run()
        self.server.startService()
        self.assertEqual(len(self.server.database), 1)
        self._session("10.1.2.0/24")
        self.network.run(200)
        self.assertEqual(len(self.server.database), 1)

    def test_a_reload_that_is_cut_off_by_the_stop_ends_quietly(self) -> None:
        """Nobody is left to be told."""
        self._session()
        reloaded = outcome(self.server.reload(()))
        self.server.stopService()
        self.network.run()
        self.assertEqual(reloaded, [None])

    def test_its_clock_is_monotonic_unless_told_otherwise(self) -> None:
        """The reactor's own is wall-clock time."""
        config = parse_config(map_server_text())
        assert config.map_server is not None
        server = MapServer(config.map_server, config.site, self.network)
        clock: IReactorTime = server._clock
        self.assertNotEqual(clock.seconds(), self.network.seconds())

    def test_done_is_a_deferred(self) -> None:
        """An application's stop waits for it."""
        self.assertIsInstance(self.server.stopService(), Deferred)
