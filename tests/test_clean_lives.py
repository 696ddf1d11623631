"""How a Map-Server ends, and what it does where the machine has not got what it needs: closed
files, certificates, clocks. With real processes: tests/test_clean_lives_daemon.py.
"""

from __future__ import annotations

import ast
import signal
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import load_config, parse_config
from lispmsrt.services.draining import PORTION
from lispmsrt.services.map_server import _WRITE_TIMEOUT, MapServer
from lispmsrt.session.base import CloseReason
from lispmsrt.tap import Node
from lispmsrt.views.map_server import MapServerViews
from tests.builders import Etr as EtrHand
from tests.builders import Secret, answers, eid, locator, record
from tests.rim import (
    MAP_SERVER_HOST,
    Network,
    etr_text,
    map_server_text,
    outcome,
    site_text,
)
from tests.running import CHECKOUT
from tests.service_ground import MAP_SERVER, MAP_SERVER_TWO, Ground, server_text
from tests.session_peers import RawPeer

_KEY = Secret(0, 2, b"campus secret")


def _lines(events: list[Any]) -> list[str]:
    return [str(formatEvent(event)) for event in events]


class _Stuck:
    """A state file on a disk that never answers."""

    problem = ""

    def __init__(self, server: MapServer) -> None:
        self._server = server
        self.sessions_at_stop = -1
        self.stopped: Deferred[None] = Deferred()

    def stop(self) -> Deferred[None]:
        """Notes who is there."""
        self.sessions_at_stop = len(self._server.sessions)
        return self.stopped


class DrainTests(SynchronousTestCase):
    """A Map-Server that is told to stop, with sessions made by hand."""

    def setUp(self) -> None:
        """Start it."""
        self.network = Network()
        self.start()
        self.addCleanup(self._stop)

    def start(self, options: str = "") -> None:
        """Start a Map-Server with these options."""
        text = map_server_text(site_text("campus", "10.0.0.0/8"), options=options)
        config = parse_config(text)
        assert config.map_server is not None
        self.server = MapServer(config.map_server, config.site, self.network, self.network)
        self.server.startService()

    def restart(self, options: str) -> None:
        """Start another one in its place."""
        self.server.stopService()
        self.network.run(1)
        self.start(options)

    def _stop(self) -> None:
        if self.server.running:
            self.server.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def session(self, number: int = 1) -> tuple[EtrHand, RawPeer]:
        """Return an ETR that is registered on a session of its own, and its end of that."""
        host = f"127.0.{1 + number // 200}.{1 + number % 200}"
        hand = EtrHand(host, key=_KEY, xtr_id=number)
        ours = record(eid(f"10.{number // 200}.{number % 200}.0/24"), locator(host))
        self.network.send((host, 4342), (MAP_SERVER_HOST, 4342), hand.map_register(ours))
        self.network.run()
        peer = RawPeer(self.network)
        self.network.connect(peer, MAP_SERVER_HOST, 4342, host)
        peer.stream.write(hand.registration(ours))
        self.network.run()
        self.assertEqual(answers(bytes(peer.received))[-1][0], "ack")
        return hand, peer

    def test_sessions_are_closed_in_order_and_all_of_them(self) -> None:
        """Their peers see an end, not a reset; two lines say so."""
        peers = [self.session(number)[1] for number in range(1, 4)]
        with capturedLogs() as events:
            stopped = outcome(self.server.stopService())
            self.network.run(1)
        self.assertEqual(stopped, [None])
        self.assertEqual([outcome(peer.ended) for peer in peers], [["ConnectionDone"]] * 3)
        self.assertEqual(self.server.endings[CloseReason.SHUTDOWN.value], 3)
        lines = _lines(events)
        self.assertEqual(lines[0], "stopping: 3 sessions to close")
        self.assertRegex(lines[-1], "^closed 3 sessions in [0-9.]+ s; 0 more were not closed")

    def test_a_turn_of_the_reactor_closes_so_many(self) -> None:
        """Whoever asks for a mapping is answered between two turns."""
        count = 2 * PORTION + 3
        for number in range(1, count + 1):
            self.session(number)
        sessions, closed = self.server.sessions, []

        def look() -> None:
            closed.append(sum([session.close_reason is not None for session in sessions]))
            if closed[-1] < count:
                self.network.callLater(0, look)

        self.server.stopService()
        look()
        self.network.run(1)
        self.assertEqual(closed, [PORTION, 2 * PORTION, count])

    def test_nothing_is_acknowledged_any_more(self) -> None:
        """What is not kept must not be promised; that counts for those who are closed later too."""
        for number in range(1, PORTION + 1):
            self.session(number)
        hand, peer = self.session(PORTION + 1)
        before, known = bytes(peer.received), len(self.server.database)
        self.server.stopService()
        peer.stream.write(hand.registration(record(eid("10.99.0.0/24"), locator("127.0.1.33"))))
        self.network.run(1)
        self.assertEqual(bytes(peer.received), before)
        self.assertEqual(len(self.server.database), known)

    def test_questions_are_answered_while_it_drains_and_registrations_are_not_taken(self) -> None:
        """Over UDP, until the last session is gone."""
        hand, peer = self.session()
        self.leave_unread(hand, peer)
        self.server.stopService()
        counters = self.server.mapping.registrations.counters
        heard, known = counters["Map-Registers in"], len(self.server.database)
        other = EtrHand("127.0.0.44", key=_KEY, xtr_id=44)
        message = other.map_register(record(eid("10.44.0.0/24"), locator("127.0.0.44")))
        self.network.send(("127.0.0.44", 4342), (MAP_SERVER_HOST, 4342), message)
        # A Map-Request for 10.77.1.1 with one ITR-RLOC, as RFC 9301 §5.2 has it.
        asked = bytes.fromhex("100000010000000000000007000000017f00002d")
        asked += bytes.fromhex("002000010a4d0101")
        self.network.send(("127.0.0.45", 4342), (MAP_SERVER_HOST, 4342), asked)
        self.network.run(0.1)
        self.assertEqual((counters["Map-Registers in"], len(self.server.database)), (heard, known))
        (answer,) = self.network.udp_payloads("127.0.0.45")
        self.assertEqual((answer[0] >> 4, answer[4:12].hex()), (2, "0000000000000007"))

    def leave_unread(self, hand: EtrHand, peer: RawPeer) -> None:
        """Have answers wait that the peer does not read."""
        peer.stop_reading()
        peer.stream.write(hand.registration(record(eid("10.0.1.0/24"), locator("127.0.1.2"))))
        self.network.run()

    def test_who_does_not_read_is_reset_when_the_time_is_over(self) -> None:
        """The others are not."""
        self.restart("drain-timeout = 2")
        hand, deaf = self.session(1)
        _hand, other = self.session(2)
        self.leave_unread(hand, deaf)
        with capturedLogs() as events:
            stopped = outcome(self.server.stopService())
            self.network.run(1.9)
            self.assertEqual((stopped, deaf.is_connected), ([], True))
            self.network.run(0.2)
        self.assertEqual(stopped, [None])
        self.assertEqual(outcome(other.ended), ["ConnectionDone"])
        self.assertEqual(outcome(deaf.ended), ["ConnectionLost"])
        self.assertIn("closed 1 sessions in 2.0 s; 1 more were not closed", _lines(events)[-1])

    def test_without_sessions_it_is_over_at_once(self) -> None:
        """And says nothing."""
        with capturedLogs() as events:
            stopped = outcome(self.server.stopService())
        self.assertEqual((stopped, events), ([None], []))

    def test_it_may_begin_anew(self) -> None:
        """And takes registrations and sessions again."""
        self.session()
        self.server.stopService()
        self.network.run(10)
        self.server.startService()
        self.session(2)
        self.assertEqual(len(self.server.sessions), 1)

    def test_what_is_known_is_written_before_sessions_end(self) -> None:
        """Their registrations are those of live sessions then, and have their full time later."""
        self.session()
        memory = _Stuck(self.server)
        self.server.mapping.memory = memory  # type: ignore[assignment]
        stopped = outcome(self.server.stopService())
        self.network.run(1)
        self.assertEqual((memory.sessions_at_stop, stopped), (1, []))
        memory.stopped.callback(None)
        self.network.run(1)
        self.assertEqual(stopped, [None])

    def test_a_disk_that_hangs_does_not_hold_it_for_ever(self) -> None:
        """A minute; one line says what is lost."""
        memory = self.server.mapping.memory = _Stuck(self.server)  # type: ignore[assignment]
        stopped = outcome(self.server.stopService())
        self.network.run(_WRITE_TIMEOUT - 1)
        self.assertEqual(stopped, [])
        with capturedLogs() as events:
            self.network.run(1)
        self.assertEqual(stopped, [None])
        self.assertIn("the state file was not written within 60.0 s", _lines(events)[0])
        # It may answer yet: that is nothing to anybody.
        assert isinstance(memory, _Stuck)
        memory.stopped.callback(None)


class _Latest(Random):
    """Waits as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        """Return the end."""
        return b


class ReturnTests(Ground):
    """ETRs whose Map-Server stops."""

    def test_an_etr_goes_on_with_its_other_map_server(self) -> None:
        """Its session and its registrations there are not touched."""
        first, second = self.server(), self.server(server_text(host=MAP_SERVER_TWO))
        etr = self.etr("10.1.1.0/24", map_servers=(MAP_SERVER, MAP_SERVER_TWO))
        self.network.run(5)
        (session,) = second.sessions
        first.stopService()
        self.network.run(200)
        self.assertEqual((second.sessions, len(second.database)), ([session], 1))
        self.assertIsNone(etr.links[0].session)

    def test_each_authenticates_anew_within_a_second(self) -> None:
        """Where it was left in order; five where it was cut off."""
        for is_cut, longest in ((False, 1.0), (True, 5.0)):
            server = self.server()
            etr = self.etr("10.1.1.0/24")
            self.network.run(120)
            etr.links[0].control._random = _Latest()
            self.network.packets.clear()
            if is_cut:
                self.cut(server)
            server.stopService()
            self.network.run(longest - 0.1)
            self.assertEqual(self.network.udp_payloads(MAP_SERVER), [])
            self.network.run(0.2)
            self.assertEqual(len(self.network.udp_payloads(MAP_SERVER)), 1)
            self._stop_all()
            self.services.clear()

    def test_etrs_are_back_soon(self) -> None:
        """Within some seconds of a successor's start: nobody waits for a timeout to notice."""
        first = self.server()
        etrs = [self.etr(f"10.1.{n}.0/24", host=f"198.51.100.{n}") for n in range(1, 6)]
        self.network.run(120)
        first.stopService()
        self.network.run(0.2)
        second = self.server()
        self.network.run(5)
        self.assertEqual(len(second.sessions), len(etrs))
        self.assertEqual(len(second.database), len(etrs))


class _Crashing(Network):
    """A reactor in memory that can be left."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.crashes = 0

    def crash(self) -> None:
        """Count."""
        self.crashes += 1

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        """In the next turn."""
        self.callLater(0, call, *arguments)


class SecondSignalTests(SynchronousTestCase):
    """Somebody who does not want to wait."""

    def setUp(self) -> None:
        """A node that runs, and whose state never gets written."""
        self.network = _Crashing()
        path = Path(self.mktemp())
        path.write_text(map_server_text())
        self.node = Node(str(path), load_config(path), self.network)
        self.node.startService()
        assert self.node.map_server is not None
        self.memory = _Stuck(self.node.map_server)
        self.node.map_server.mapping.memory = self.memory  # type: ignore[assignment]

    def test_it_is_left_at_once(self) -> None:
        """With a line that says so."""
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        stopped = outcome(self.node.stopService())
        self.network.run(1)
        self.assertEqual((stopped, self.network.crashes), ([], 0))
        with capturedLogs() as events:
            signal.raise_signal(signal.SIGTERM)
            self.network.run()
        self.assertEqual(self.network.crashes, 1)
        self.assertIn("leaving at once, with 0 sessions not closed", _lines(events)[0])
        self.memory.stopped.callback(None)
        self.network.run(1)
        self.assertEqual(len(stopped), 1)
        after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        self.assertEqual(after, before)


class StateDirectoryTests(SynchronousTestCase):
    """An ETR that can't keep what it must."""

    def test_it_does_not_start(self) -> None:
        """One sentence, in the log too: with nonces that may go back it would be refused later."""
        place = Path(self.mktemp()).absolute()
        (place / "etr-identity.new").mkdir(parents=True)
        path = Path(self.mktemp())
        path.write_text(etr_text("10.1.1.0/24", options=f'state-dir = "{place}"'))
        node = Node(str(path), load_config(path), Network())
        with capturedLogs() as events:
            ended = self.assertRaises(SystemExit, node.startService)
        self.assertIn("etr-identity.json can't be written: Is a directory", str(ended.code))
        self.assertIn("can't start: ", _lines(events)[-1])


class OverviewTests(Ground):
    """Who looks while the daemon is still starting."""

    def test_what_listens_is_shown_from_the_start(self) -> None:
        """A look before is not told again."""
        config = parse_config(server_text())
        assert config.map_server is not None
        server = MapServer(config.map_server, config.site, self.network, self.network)
        views = MapServerViews(server)
        self.assertEqual(views.overview().listeners, ())
        self.start(server)
        self.assertEqual(len(views.overview().listeners), 2)


_WALL_CLOCK = {"time.time", "time.time_ns", "time.gmtime", "datetime.now", "time.localtime"}

_READ_BY = {
    "cli": "what a person sees or types",
    "swarm/swarm.py": "a load generator's first nonce",
    "identity.py": "the first nonce, and the name of a damaged file",
    "services/mapping_service.py": "the first nonce of Map-Notifies",
    "services/listeners.py": "certificates",
    "storage/memory.py": "the name of a damaged file",
    "storage/seconds.py": "how long a host was away over a reboot",
    "views": "when something was, for people",
    "web/management.py": "the Date of an answer",
}


class ClockTests(SynchronousTestCase):
    """A wall clock that is stepped changes nothing that is counted by time."""

    def test_who_reads_the_wall_clock(self) -> None:
        """Nobody else: sessions, registrations and timers count monotonic seconds."""
        package = CHECKOUT / "lispmsrt"
        readers = {
            str(path.relative_to(package))
            for path in package.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in _WALL_CLOCK
        }
        known = {place for place in readers if place in _READ_BY or place.split("/")[0] in _READ_BY}
        self.assertEqual(readers - known, set())
        used = {place if place in _READ_BY else place.split("/")[0] for place in readers}
        self.assertEqual(set(_READ_BY) - used, set())
