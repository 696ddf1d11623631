"""What connections may cost before they are sessions: work is counted, not timed.

The sockets are real where the kernel matters, but the reactor goes round when a test says so.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lispmsrt.services.listeners import Listeners
from lispmsrt.session.base import CloseReason
from lispmsrt.sockets import TcpOptions
from lispmsrt.transports.doorway import ACCEPT_COST, TURN_BUDGET, Doorway, guard
from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes, Rates
from lispmsrt.transports.interfaces import IAdmission, ITakesTurns, turn_of
from lispmsrt.transports.quic.endpoints import _READ_AT_ONCE
from lispmsrt.transports.quic.server import QuicPort
from lispmsrt.transports.tls.server import TlsGate
from lispmsrt.transports.turns import LONGEST, Turn, Turns
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.quic_raw import raw_client
from tests.quic_rim import CLIENT_HOST, SERVER_HOST, Pair, make_credentials
from tests.readers import Readers, is_reset
from tests.rim import MAP_SERVER_HOST, map_server_of, map_server_text
from tests.rim import Network as InMemory

_KEY = Secret(0, 2, b"campus secret")
_HOST = "127.0.0.1"
_STRANGER, _ARMED = "127.0.0.99", "127.0.0.2"


class _Reactor(Readers):
    """Goes round by hand: what is readable is read once, what is due is called."""

    def listenTCP(self, port: int, factory: Any, backlog: int, interface: str) -> tcp.Port:
        """As a reactor does."""
        opened = tcp.Port(port, factory, backlog, interface, self)
        opened.startListening()
        return opened


@implementer(IAdmission, ITakesTurns)
class _Sessions(Factory):
    """Admits one address, and counts."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.built = 0
        self.turn: Turn | None = None
        self.on_built: Callable[[], object] = lambda: None

    def admits(self, host: str) -> bool:
        self.asked.append(host)
        return host == _ARMED

    def buildProtocol(self, addr: Any) -> Protocol:
        self.built += 1
        self.on_built()
        return Protocol()


class DoorwayTests(SynchronousTestCase):
    """A port of Twisted's with a doorway before it, and peers of the kernel's."""

    def setUp(self) -> None:
        """A port that listens."""
        self.reactor = _Reactor()
        self.factory = _Sessions()
        self.port = self.listening(self.factory)
        guard(self.port, self.factory)

    def listening(self, factory: Any) -> tcp.Port:
        """Return a port on loopback."""
        port = self.reactor.listenTCP(0, factory, 512, _HOST)
        self.addCleanup(self._close, port)
        return port

    def _close(self, port: tcp.Port) -> None:
        port.stopListening()
        self.reactor.advance(0)
        for reader in list(self.reactor.readers):
            if not isinstance(reader, tcp.Port):
                reader.abortConnection()
        self.reactor.advance(0)

    def knock(self, count: int, source: str, data: bytes = b"") -> list[socket.socket]:
        """Connect so often; return the peers' sockets."""
        made = []
        for _number in range(count):
            peer = socket.create_connection(
                (_HOST, self.port.getHost().port), timeout=10, source_address=(source, 0)
            )
            self.addCleanup(peer.close)
            if data:
                peer.send(data)
            made.append(peer)
        return made

    def turn(self) -> int:
        """Let the port read once; return how many were asked for."""
        before = len(self.factory.asked)
        self.port.doRead()
        return len(self.factory.asked) - before

    def test_strangers_are_reset_unread_and_so_many_a_turn(self) -> None:
        """Nothing is built for them: no protocol, no transport, no delayed call."""
        peers = self.knock(3 * TURN_BUDGET, _STRANGER, b"x" * 1000)
        self.assertEqual([self.turn() for _ in range(4)], [TURN_BUDGET] * 3 + [0])
        self.assertEqual(self.factory.built, 0)
        self.assertEqual(self.reactor.readers, [self.port])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertTrue(all(is_reset(peer) for peer in peers))

    def test_who_is_let_in_waits_while_sessions_have_work(self) -> None:
        """What it costs to let them in is paid for; what is owed is waited for, not forgotten."""
        turns = Turns(self.reactor.seconds)
        self.factory.turn = turns.another()
        self.port = self.listening(self.factory)
        guard(self.port, self.factory)
        peers = self.knock(3, _ARMED)
        self.factory.turn.took(0.02)
        for _ in range(50):
            turns.others_worked()
            self.reactor.advance(0.001)
            self.assertEqual(self.turn(), 0)
        self.assertEqual(turns.counters["turns left to sessions"], 50)
        for _ in range(20):
            turns.others_worked()
            self.reactor.advance(0.001)
            self.turn()
        self.assertEqual(self.factory.built, len(peers))

    def test_a_turn_ends_with_its_time(self) -> None:
        """Where letting one in takes long, there is one."""
        turns = Turns(self.reactor.seconds)
        self.factory.turn = turns.another()
        self.factory.on_built = lambda: self.reactor.advance(2 * LONGEST)
        self.port = self.listening(self.factory)
        guard(self.port, self.factory)
        self.knock(2, _ARMED)
        self.turn()
        self.assertEqual(self.factory.built, 1)
        self.assertLess(self.factory.turn.allowance, 0)
        self.turn()
        self.assertEqual(self.factory.built, 2)

    def test_nothing_lingers_of_them(self) -> None:
        """A reset leaves no TIME_WAIT at our end, which would keep the kernel busy for a minute."""
        peers = self.knock(5, _STRANGER)
        ports = {peer.getsockname()[1] for peer in peers}
        self.turn()
        mine = self.port.getHost().port
        with open("/proc/net/tcp") as table:
            rows = [line.split()[1:4] for line in table][1:]
        left = [
            row
            for row in rows
            if int(row[0].rpartition(":")[2], 16) == mine
            and int(row[1].rpartition(":")[2], 16) in ports
        ]
        self.assertEqual(left, [])

    def test_whom_it_admits_is_taken_a_few_a_turn(self) -> None:
        """However many turns have been full: Twisted alone takes more with each of them."""
        most = TURN_BUDGET // ACCEPT_COST
        self.knock(20 * most, _ARMED)
        taken = []
        for _turn in range(21):
            self.turn()
            taken.append(self.factory.built)
        self.assertEqual(max(b - a for a, b in zip([0, *taken], taken, strict=False)), most)
        self.assertEqual(taken[-1], 20 * most)

    def test_the_armed_get_through_between_strangers(self) -> None:
        """In their order: a stranger costs no more than its part of a turn."""
        self.knock(100, _STRANGER)
        self.knock(1, _ARMED)
        turns = 0
        while not self.factory.built:
            self.turn()
            turns += 1
        self.assertEqual(turns, 100 // TURN_BUDGET + 1)

    def test_accepted_connections_work(self) -> None:
        """They are Twisted's own."""
        (peer,) = self.knock(1, _ARMED, b"hello")
        self.turn()
        (connection,) = (each for each in self.reactor.readers if each is not self.port)
        connection.doRead()
        self.assertEqual(connection.getPeer().host, _ARMED)
        connection.write(b"hi")
        connection.doWrite()
        self.assertEqual(peer.recv(10), b"hi")

    def test_who_has_gone_again_costs_no_more(self) -> None:
        """A peer may have reset its connection before it is taken."""
        for peer in self.knock(5, _STRANGER):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
        self.turn()
        self.assertEqual(self.factory.built, 0)

    def test_errors_are_twisteds_to_deal_with(self) -> None:
        """No file descriptor left, say."""
        door = self.port.socket
        assert isinstance(door, Doorway)

        def fails(handle: socket.socket) -> Any:
            raise OSError(errno.ECONNABORTED, "aborted")

        self.patch(socket.socket, "accept", fails)
        with self.assertRaises(OSError) as raised:
            door.accept()
        self.assertEqual(raised.exception.errno, errno.ECONNABORTED)

    def test_what_has_no_doorway(self) -> None:
        """Ports without a socket, of datagrams or of this machine; and one is enough."""
        guard(object(), self.factory)
        for family, kind in (
            (socket.AF_INET, socket.SOCK_DGRAM),
            (socket.AF_UNIX, socket.SOCK_STREAM),
        ):
            with socket.socket(family, kind) as handle:
                port = Protocol()
                port.socket = handle  # type: ignore[attr-defined]
                guard(port, self.factory)
                self.assertIs(port.socket, handle)  # type: ignore[attr-defined]
        door = self.port.socket
        guard(self.port, self.factory)
        self.assertIs(self.port.socket, door)

    def test_a_map_servers_ports_have_it(self) -> None:
        """Whatever endpoint string made them."""
        listeners = Listeners(self.reactor, TcpOptions())
        listeners.listen(f"tcp:0:interface={_HOST}", self.factory)
        (port,) = listeners.ports
        self.assertIsInstance(port.socket, Doorway)  # type: ignore[attr-defined]
        self.addCleanup(listeners.close)

    def test_no_octet_of_tls_for_strangers(self) -> None:
        """The doorway stands before the handshakes."""
        gate = TlsGate(self.factory, None, self.reactor)  # type: ignore[arg-type]
        self.port = self.listening(gate)
        guard(self.port, self.factory)
        peers = self.knock(5, _STRANGER, b"\x16\x03\x01")
        self.turn()
        self.assertEqual(gate.handshakes.counters, {})
        self.assertTrue(all(is_reset(peer) for peer in peers))

    def test_handshakes_that_are_too_many_are_none(self) -> None:
        """They are refused where strangers are, before a transport and a protocol are made."""
        limits = HandshakeLimits(total_burst=3, total_rate=2.0)
        gate = TlsGate(self.factory, None, self.reactor, limits)  # type: ignore[arg-type]
        self.port = self.listening(gate)
        guard(self.port, self.factory)
        gate._tls = self.factory  # type: ignore[assignment]
        peers = self.knock(20, _ARMED)
        for _turn in range(10):
            self.turn()
        self.assertEqual(self.factory.built, 3)
        self.assertEqual(gate.handshakes.counters["handshakes refused: too often in all"], 17)
        self.assertTrue(all(is_reset(peer) for peer in peers[3:]))
        self.reactor.advance(1)
        self.knock(5, _ARMED)
        for _turn in range(5):
            self.turn()
        self.assertEqual(self.factory.built, 5)


class RateTests(SynchronousTestCase):
    """Handshakes that are begun, from wherever."""

    def test_all_together_are_bounded_over_time(self) -> None:
        """From however many addresses; and who was refused for all has lost nothing of its own."""
        clock = Clock()
        limits = HandshakeLimits(burst=2, rate=0.1, total_burst=5, total_rate=3.0)
        handshakes = Handshakes(limits, clock.seconds)
        begun = [host for host in map(str, range(10)) if handshakes.begin(host)]
        self.assertEqual(begun, ["0", "1", "2", "3", "4"])
        self.assertEqual(handshakes.counters["handshakes refused: too often in all"], 5)
        clock.advance(1)
        self.assertEqual([handshakes.begin("9") for _ in range(3)], [True, True, False])
        refused = handshakes.counters["handshakes refused: too often from one address"]
        self.assertEqual(refused, 1)

    def test_hosts_that_are_remembered_are_bounded(self) -> None:
        """Those that nobody heard of for longest are forgotten."""
        rates = Rates(1, 1, 1000, 1000, 3)
        for host in "abcad":
            rates.refusal(host, 0.0)
        self.assertEqual(list(rates._hosts), ["c", "a", "d"])


class QuicTests(SynchronousTestCase):
    """Initials, which anybody can send in anybody's name."""

    def setUp(self) -> None:
        """A port, and the first packet of a client that came no further."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.pair = Pair(make_credentials(directory))
        self.pair.listen()
        self.addCleanup(self.pair.close)
        self.network = self.pair.network
        peer = raw_client(self.network, CLIENT_HOST)
        self.network.is_dead = True
        peer.connect()
        peer.stop()
        self.network.run(0.1)
        self.network.is_dead = False
        self.initial: bytes = self.network.sent[0][2]
        self.network.sent.clear()

    def flood(self, host: str, count: int) -> list[bytes]:
        """Send the packet so often; return what is sent back."""
        del self.network.sent[:]
        for port in range(20_000, 20_000 + count):
            self.network.arrive((host, port), (SERVER_HOST, 4343), self.initial)
        return [data for source, _to, data in self.network.sent if source[0] == SERVER_HOST]

    def test_strangers_cost_no_more_than_a_look(self) -> None:
        """No Retry, no token, no state."""
        self.assertEqual(self.flood("198.51.100.7", 500), [])
        self.assertEqual(self.pair.port.counters, {"Initials refused: not admitted": 500})

    def test_there_are_few_retries_to_an_address(self) -> None:
        """It may be made up by somebody who knows it: it is sent less than was sent in its name."""
        retries = self.flood(CLIENT_HOST, 500)
        self.assertEqual(len(retries), 256)
        self.assertLess(max(map(len, retries)), len(self.initial) / 4)
        counters = self.pair.port.counters
        self.assertEqual(counters["Initials refused: too many without a token"], 500 - 256)
        self.assertEqual(counters["handshakes begun"], 0)
        self.network.run(1)
        self.assertEqual(len(self.flood(CLIENT_HOST, 500)), 64)

    def test_there_are_few_handshakes_over_time(self) -> None:
        """However quickly they end."""
        handshakes = self.pair.port.handshakes
        begun = 0
        for number in range(200):
            if handshakes.begin(f"192.0.2.{number}"):
                begun += 1
                handshakes.end(f"192.0.2.{number}")
        self.assertEqual(begun, 32)
        self.network.run(1)
        begun = sum(handshakes.begin(f"198.51.100.{number}") for number in range(200))
        self.assertEqual(begun, 32)

    def test_the_time_of_a_handshake_counts_until_it_is_over(self) -> None:
        """What an established connection takes is nobody's but its own."""
        counted: list[float] = []
        self.patch(self.pair.port, "took", counted.append)
        self.pair.connect()
        self.network.run_until(lambda: bool(self.pair.results))
        transport = self.pair.client.transport
        assert transport is not None
        before = len(counted)
        self.assertGreater(before, 1)
        transport.write(b"first")
        self.network.run_until(lambda: bool(self.pair.accepting.protocols))
        with_first = len(counted)
        transport.write(b"more")
        self.network.run(1.0)
        self.assertEqual(self.pair.server.received, b"firstmore")
        self.assertEqual(len(counted), with_first)

    def test_there_are_none_where_their_time_is_used_up(self) -> None:
        """They pay for themselves; sessions that have work come first, and then they go on."""
        turns = Turns(self.network.seconds)
        turn = self.pair.port._turn = turns.another()
        self.pair.connect()
        self.network.run_until(lambda: bool(self.pair.results))
        for _ in range(10):
            self.pair.port.took(0.02)
        self.assertLess(turn.allowance, -0.1)
        turns.others_worked()
        self.pair.connect()
        refused = "handshakes refused: no time left for more"
        self.network.run_until(lambda: self.pair.port.counters[refused] == 1)
        self.network.run_until(lambda: len(self.pair.results) == 2)
        self.assertEqual(self.pair.port.counters["handshakes begun"], 2)

    def test_so_many_octets_are_read_in_a_turn(self) -> None:
        """Twisted reads 256 KiB of datagrams before it looks at anybody else."""
        (port,) = self.network.ports
        self.assertEqual(port.maxThroughput, _READ_AT_ONCE)


class _Ground(SynchronousTestCase):
    limits = ""

    def setUp(self) -> None:
        """A Map-Server in memory."""
        self.network = InMemory()
        self.server = map_server_of(self.network, map_server_text(options=self.limits))
        self.server.startService()
        self.addCleanup(self._stop)
        self.hands: dict[int, EtrHand] = {}

    def _stop(self) -> None:
        self.server.stopService()
        self.network.run(40)
        self.assertEqual((self.network.getDelayedCalls(), self.network.pipes), ([], []))

    def arm(self, number: int = 1) -> None:
        """Register over UDP, with the r bit."""
        hand = self.hands.setdefault(number, EtrHand(_ARMED, key=_KEY, xtr_id=number))
        data = hand.map_register(record(eid("10.1.0.0/16"), locator(_ARMED)))
        self.network.send((_ARMED, 4342), (MAP_SERVER_HOST, 4342), data)
        self.network.run()

    def connect(self, count: int, host: str = _ARMED) -> list[Any]:
        """Connect so often; return the Map-Server's ends."""
        return [
            self.network.connect(Protocol(), MAP_SERVER_HOST, 4342, host).other.protocol
            for _number in range(count)
        ]

    def counter(self, name: str) -> int:
        """Return one of the armory's counters."""
        return self.server.armory.counters[name]


class TurnsTests(_Ground):
    """Whose account it is that pays for those who connect."""

    def test_it_is_one_with_that_of_udp(self) -> None:
        """For each listening port; however often the service was started."""
        factories: list[Any] = []
        listen = Listeners.listen

        def note(listeners: Listeners, description: str, factory: Any) -> None:
            factories.append(factory)
            listen(listeners, description, factory)

        self.patch(Listeners, "listen", note)
        before = len(self.server.udp.turns)
        for _time in range(3):
            self.server.stopService()
            self.network.run(40)
            self.assertEqual(len(self.server.udp.turns), 0)
            self.server.startService()
            turn = turn_of(factories[-1])
            assert turn is not None
            self.assertEqual(len(self.server.udp.turns), before)
            turn.took(0.02)
            owed = turn.allowance
            self.server.udp.look()
            self.network.run(0.01)
            turn.has_time()
            self.assertGreater(turn.allowance, owed)

    def test_ports_of_quic_take_it_from_the_factory(self) -> None:
        """As TLS does, and doorways."""
        factory = _Sessions()
        factory.turn = Turns(self.network.seconds).another()
        settings: Any = None
        port = QuicPort(factory, settings, self.network, lambda port: None)
        self.assertIs(port._turn, factory.turn)


class ArmedTests(_Ground):
    """Somebody who has a site's key, and opens connections without end; and somebody without."""

    def test_unarmed_nothing_is_built_nor_read(self) -> None:
        """Whatever they send; the log has one line, or as many as there are addresses."""
        with capturedLogs() as events:
            for _number in range(300):
                near = self.network.connect(Protocol(), MAP_SERVER_HOST, 4342, _STRANGER)
                near.write(b"x" * 1000)
            self.network.run(1)
        self.assertEqual(len(events), 1)
        self.assertEqual(self.counter("connections refused"), 300)
        self.assertEqual(self.server.sessions, [])
        self.assertEqual([each for each in self.network.packets if each.protocol == "tcp"], [])
        self.assertEqual(self.network.getDelayedCalls(), [self.server._expiry._call])

    def test_there_is_one_connection_for_each_map_register(self) -> None:
        """And one token for each xTR, however often it registers."""
        for _time in range(5):
            self.arm()
        self.connect(10)
        self.network.run()
        self.assertEqual(len(self.server.sessions), 1)
        self.assertEqual(self.counter("connections refused"), 9)

    def test_who_never_registers_is_gone_with_its_probation(self) -> None:
        """It has used up what armed it."""
        for number in range(100):
            self.arm(number)
            self.connect(1)
        self.network.run()
        self.assertEqual(len(self.server.sessions), 100)
        self.network.run(36)
        self.assertEqual(self.server.sessions, [])
        self.assertEqual(self.server.endings, {CloseReason.NO_REGISTRATION.value: 100})

    def test_sessions_without_an_xtr_have_few_lines(self) -> None:
        """However many there are; the endings count all."""
        with capturedLogs() as events:
            for number in range(100):
                self.arm(number)
                self.connect(1)
            self.network.run(100)
        self.assertEqual(len(events), 61)
        self.assertIn("get no line", formatEvent(events[-1]))
        with capturedLogs() as events:
            self.arm(100)
            self.connect(1)
            self.network.run(40)
        self.assertEqual(len(events), 1)
        self.assertEqual(sum(self.server.endings.values()), 101)


class FullTests(_Ground):
    """As many as there may be."""

    limits = "max-sessions-per-address = 3\nmax-sessions = 4"

    def test_those_that_are_there_stay(self) -> None:
        """Of an address, and of all: who comes later is refused."""
        for number in range(6):
            self.arm(number)
            self.connect(1)
        self.network.run()
        self.assertEqual(len(self.server.sessions), 3)
        self.assertEqual(self.counter("connections refused"), 3)
