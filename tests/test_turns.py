"""How much of the reactor's time strangers take: by numbers for time, and at a real port."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.control.plane import WORK_AT_ONCE, ControlPlane
from lispmsrt.protocols import ControlProtocol
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.turns import LONGEST, SHARE, SHORTEST, Turn, Turns
from lispmsrt.transports.udp import listen_udp
from tests.test_udp_port import _PATIENCE, _Part, _Reactor

_V4 = "127.0.0.1"


class _Loop:
    """A reactor's loop as a number: sessions and sockets use up its time in turn."""

    def __init__(self, sockets: int = 1) -> None:
        self.now = 1000.0
        self.turns = Turns(lambda: self.now)
        self.sockets = [self.turns.another() for _ in range(sockets)]
        self.by_sessions = self.by_sockets = 0.0
        self.by = [0.0] * sockets
        "seconds of each socket"
        self.longest = 0.0
        "seconds that sessions have waited at most"

    def session(self, seconds: float) -> None:
        """Have a session read a chunk."""
        self.now += seconds
        self.by_sessions += seconds
        self.turns.others_worked()

    def socket(self, each: float = 0.00002, piece: int = 16, which: slice = slice(None)) -> int:
        """Give each socket its turn, with more waiting than it can take; return what was taken."""
        taken, before = 0, self.now
        for number in range(len(self.sockets))[which]:
            began = self.now
            taken += self._take(self.sockets[number], each, piece)
            self.by[number] += self.now - began
        self.by_sockets += self.now - before
        self.longest = max(self.longest, self.now - before)
        return taken

    def _take(self, turn: Turn, each: float, piece: int) -> int:
        if not turn.begin():
            return 0
        taken = 0
        while taken < 256:
            self.now += piece * each
            taken += piece
            if turn.is_over():
                break
        turn.end()
        return taken


class TurnTests(SynchronousTestCase):
    """With sessions beside it, and without."""

    def test_alone_it_takes_all(self) -> None:
        """A whole batch each time, as long as that takes no longer than a turn may."""
        loop = _Loop()
        self.assertEqual([loop.socket(each=0.00001) for _ in range(50)], [256] * 50)

    def test_a_turn_is_bounded_in_time(self) -> None:
        """Of what takes long there are fewer: 1 ms each, and 16 at a time."""
        loop = _Loop()
        for _ in range(50):
            self.assertIn(loop.socket(each=0.001, piece=1), (5, 6))
        self.assertLess(loop.longest, LONGEST + 0.0011)

    def test_busy_sessions_get_most_of_the_time(self) -> None:
        """Whatever a datagram costs, however long the sessions' chunks are."""
        for chunk in (0.00005, 0.001, 0.02):
            for each in (0.000001, 0.00002, 0.001):
                loop = _Loop()
                while loop.now < 1010.0:
                    loop.session(chunk)
                    loop.socket(each)
                self.assertLess(
                    loop.by_sockets, 0.5 * loop.by_sessions + LONGEST + 256 * each, (chunk, each)
                )

    def test_datagrams_get_their_part_too(self) -> None:
        """Where there is as much work as time."""
        loop = _Loop()
        while loop.now < 1010.0:
            loop.session(0.001)
            loop.socket()
        self.assertGreater(loop.by_sockets, 0.9 * SHARE * 10)

    def test_several_sockets_share_one_part(self) -> None:
        """IPv4, IPv6, a Map-Resolver's."""
        loop = _Loop(sockets=3)
        while loop.now < 1010.0:
            loop.session(0.001)
            loop.socket()
        self.assertLess(loop.by_sockets, 1.05 * SHARE * 10)
        self.assertGreater(loop.by_sockets, 0.9 * SHARE * 10)

    def test_what_one_has_no_use_for_is_the_others(self) -> None:
        """Nobody connects while datagrams come: those have all of the share."""
        loop = _Loop(sockets=4)
        while loop.now < 1010.0:
            loop.session(0.001)
            loop.socket(which=slice(1))
        self.assertGreater(loop.by[0], 0.9 * SHARE * 10)

    def test_one_that_is_flooded_leaves_the_others_theirs(self) -> None:
        """Whatever the work of each costs, and who comes first."""
        for costs in ((0.00002, 0.0002), (0.0002, 0.00002)):
            loop = _Loop(sockets=2)
            while loop.now < 1010.0:
                loop.session(0.001)
                loop.socket(costs[0], which=slice(0, 1))
                loop.socket(costs[1], which=slice(1, 2))
            for seconds in loop.by:
                self.assertLess(abs(seconds - SHARE / 2 * 10), 0.1)

    def test_what_is_done_between_turns_is_paid_for(self) -> None:
        """Handshakes go on when their peers want, and others have less for them."""
        loop = _Loop(sockets=2)
        handshakes = 0.0
        while loop.now < 1010.0:
            loop.session(0.001)
            if loop.sockets[0].has_time():
                with loop.sockets[0].metered():
                    loop.now += 0.004
                handshakes += 0.004
            loop.socket(which=slice(1, 2))
        for seconds in (handshakes, loop.by[1]):
            self.assertLess(abs(seconds - SHARE / 2 * 10), 0.1)

    def test_asking_again_and_again_gives_no_time(self) -> None:
        """There are many packets in what was read at once."""
        loop = _Loop()
        loop.session(0.001)
        (turn,) = loop.sockets
        turn.took(0.01)
        loop.session(0.001)
        self.assertEqual([turn.has_time() for _ in range(50)], [False] * 50)
        loop.now += 1.0
        self.assertTrue(turn.has_time())

    def test_what_fails_is_paid_for_too(self) -> None:
        """Mistakes take time."""
        loop = _Loop()
        (turn,) = loop.sockets
        with self.assertRaises(ValueError), turn.metered():
            loop.now += 0.02
            raise ValueError("a mistake")
        self.assertAlmostEqual(turn.allowance, LONGEST - 0.02)

    def test_a_clock_that_is_set_back_gives_nothing(self) -> None:
        """Nor does it take anything."""
        loop = _Loop()
        (turn,) = loop.sockets
        turn.took(-5.0)
        self.assertEqual(turn.allowance, LONGEST)

    def test_debts_have_an_end(self) -> None:
        """After a second of sessions' work everybody is heard again."""
        loop = _Loop()
        (turn,) = loop.sockets
        for _ in range(1000):
            turn.took(0.02)
        skipped = 0
        loop.session(0.001)
        while not loop.socket():
            skipped += 1
            loop.session(0.001)
        self.assertTrue(950 < skipped < 1050, skipped)

    def test_twice_in_one_turn_of_the_reactor_is_not_idleness(self) -> None:
        """What waits is looked for by a timer and by the socket, and sessions are between."""
        loop = _Loop()
        while loop.now < 1010.0:
            loop.session(0.001)
            loop.socket()
            loop.socket()
        self.assertLess(loop.by_sockets, 1.05 * SHARE * 10)

    def test_sockets_that_are_closed_have_no_part(self) -> None:
        """A service that is started again has its share for those that it opens then."""
        loop = _Loop()
        for _ in range(10):
            loop.turns.another()
        loop.turns.forget_all()
        loop.sockets = [loop.turns.another()]
        while loop.now < 1010.0:
            loop.session(0.001)
            loop.socket()
        self.assertGreater(loop.by_sockets, 0.9 * SHARE * 10)

    def test_sessions_that_wait_for_their_peers_wait_for_short_turns(self) -> None:
        """They have nothing to read in between, but soon will."""
        loop = _Loop()
        for _ in range(50):
            loop.session(0.0001)
            loop.socket()
        loop.longest = loop.by_sockets = 0.0
        for _ in range(100):
            loop.session(0.0001)
            for _turn_of_the_reactor in range(4):
                loop.socket()
        self.assertLess(loop.longest, SHORTEST + 17 * 0.00002)
        self.assertGreater(loop.by_sockets, loop.by_sessions)

    def test_one_long_datagram_is_paid_for_once(self) -> None:
        """Then as much time goes to sessions as makes it a quarter."""
        loop = _Loop()
        loop.session(0.001)
        loop.socket(each=0.02, piece=1)
        skipped = 0
        loop.session(0.001)
        while not loop.socket():
            skipped += 1
            loop.session(0.001)
        self.assertTrue(35 < skipped < 60, skipped)
        self.assertEqual(loop.turns.counters["turns left to sessions"], skipped)

    def test_a_process_that_was_stopped_owes_nothing(self) -> None:
        """Whoever had its turn then."""
        loop = _Loop()
        loop.session(0.001)
        loop.socket(each=5.0, piece=1)
        loop.session(0.001)
        self.assertTrue(loop.socket())

    def test_idle_moments_forgive_nothing(self) -> None:
        """What handshakes owe is still owed when sessions wait for their peers in between."""
        loop = _Loop()
        (turn,) = loop.sockets
        for _ in range(10):
            turn.took(0.02)
        owed = turn.allowance
        loop.session(0.001)
        for _ in range(5):
            self.assertFalse(loop.socket())
        self.assertLess(turn.allowance - owed, 0.001)

    def test_who_asks_seldom_has_waited_too(self) -> None:
        """A client that tries again each second, while sessions work now and then."""
        loop = _Loop()
        (turn,) = loop.sockets
        for _ in range(10):
            turn.took(0.02)
        for _ in range(5):
            loop.session(0.001)
            loop.now += 0.199
        loop.session(0.001)
        self.assertTrue(turn.has_time())


class _Slow(_Part):
    """Takes a millisecond for each datagram."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        super().receive_datagram(data, source, now)
        self.now += 0.001


class PortTests(SynchronousTestCase):
    """A real socket, in a reactor whose turns are the test's."""

    if twin("lispmsrt.transports.udp._datagrams") is None:
        skip = "needs the compiled module"

    def setUp(self) -> None:
        self.part, self.reactor = _Slow(), _Reactor()
        self.turns = Turns(lambda: self.part.now)
        plane = ControlPlane({kind: self.part for kind in range(16)}, (self.part,))
        self.protocol = ControlProtocol(plane, self.reactor)
        self.port: Any = listen_udp(
            self.reactor, 0, self.protocol, _V4, 65_535, self.turns.another()
        )
        set_receive_buffer(self.port.socket, 1 << 20)
        self.addCleanup(self._close)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(_PATIENCE)
        self.addCleanup(self.client.close)

    def _close(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)

    def _go_on(self) -> None:
        """Have one turn pass, as reactors do: what a timer sets is for the next."""
        (call,) = self.reactor.getDelayedCalls()
        call.func()
        call.cancel()

    def _send(self, count: int, octets: int = 1) -> None:
        for number in range(count):
            data = b"\x30" + number.to_bytes(2, "big") + bytes(octets)
            self.client.sendto(data, (_V4, self.port.getHost().port))

    def test_a_turn_ends_and_the_rest_waits_in_order(self) -> None:
        """What was read already is taken in the next turns, by a timer if nothing else comes."""
        self._send(100)
        self.reactor.turn()
        self.assertLessEqual(len(self.part.taken), WORK_AT_ONCE)
        while self.reactor.getDelayedCalls():
            before = len(self.part.taken)
            self._go_on()
            self.assertLessEqual(len(self.part.taken), before + WORK_AT_ONCE)
        numbers = [int.from_bytes(data[1:3], "big") for data, _source in self.part.taken]
        self.assertEqual(numbers, list(range(100)))

    def test_long_datagrams_are_more_work(self) -> None:
        """Of 4 KiB there is one at a time."""
        self._send(20, 4096)
        self.reactor.turn()
        self.assertEqual(self.part.batches[0], 1)

    def test_questions_out_of_the_ordinary_are_more_work(self) -> None:
        """Those that subscribe cost as much as some Map-Registers with a wrong MAC."""
        for _ in range(20):
            self.client.sendto(b"\x80", (_V4, self.port.getHost().port))
        self.reactor.turn()
        self.assertEqual(self.part.batches[0], 4)

    def test_sessions_have_their_turn_first(self) -> None:
        """After a turn that was too long; not for ever."""
        self._send(200)
        self.reactor.turn()
        taken = len(self.part.taken)
        self.turns.others_worked()
        self._go_on()
        self.assertEqual(len(self.part.taken), taken)
        self.turns.others_worked()
        self.part.now += 0.1
        self._go_on()
        self.assertGreater(len(self.part.taken), taken)

    def test_closing_forgets_what_waits(self) -> None:
        """And leaves no timer."""
        self._send(100)
        self.reactor.turn()
        taken = len(self.part.taken)
        self.port.stopListening()
        self.reactor.advance(0)
        self.assertEqual((self.reactor.getDelayedCalls(), len(self.part.taken)), ([], taken))

    def test_one_that_fails_takes_nothing_along(self) -> None:
        """Not even what waits for another turn."""
        for data in (b"\x30a", b"\x30poison", b"\x30b") * 10:
            self.client.sendto(data, (_V4, self.port.getHost().port))
        while len(self.part.taken) < 20:
            if self.reactor.getDelayedCalls():
                self.reactor.advance(0)
            else:
                self.assertTrue(self.reactor.turn())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 10)
