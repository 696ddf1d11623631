"""What one session may cost, and that others have theirs meanwhile: work is counted, not timed."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import MapServer
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.session.base import CloseReason, Session, SessionState
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.session.patience import Patience, PatienceLimits
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.reliable_transport import MessageType
from tests.builders import Etr as EtrHand
from tests.builders import MapServer as Parts
from tests.builders import Peer, Secret, answers, eid, frame, locator, record
from tests.rim import MAP_SERVER_HOST, Network, map_server_of, map_server_text

_KEY, _WRONG = Secret(0, 2, b"campus secret"), Secret(0, 2, b"another secret")
_LIMITS = SessionLimits()
_TURN = _LIMITS.turn_messages
_CHUNK = 65_536
"""Octets that Twisted reads at once."""

_MANY = 1000 if os.environ.get("LISPMSRT_LONG") else 200

_TINY = b"\0\x11\0\x08\x9f\xac\xad\xe9"
"""The smallest message that can be read: without even a message ID."""

_LOCATOR = locator("127.0.0.2")
_MEMBERSHIP = '[[map-server.rloc-membership]]\nfamilies = ["ipv4"]\n'


def _prefix(number: int) -> bytes:
    return eid(f"10.1.{number >> 8 & 255}.{number & 255}/32")


def _fill(make: Callable[[int], bytes], octets: int = _CHUNK) -> list[bytes]:
    """Return messages, as many as a chunk takes."""
    made: list[bytes] = []
    used = 0
    while used + len(message := make(len(made))) <= octets:
        made.append(message)
        used += len(message)
    return made


class _Client(Protocol):
    """The other end of a session: it writes what it is told and keeps what it hears."""

    def __init__(self) -> None:
        self.received = b""
        self.is_over = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_over = True

    def heard(self) -> list[Any]:
        """Return what has come since the last time."""
        data, self.received = self.received, b""
        return answers(data)


class _Ground(SynchronousTestCase):
    """A Map-Server in memory, and hands of ETRs that have sessions with it."""

    options = ""
    patience = PatienceLimits()

    def setUp(self) -> None:
        """A Map-Server that runs."""
        self.network = Network()
        self.server: MapServer = map_server_of(self.network, map_server_text(options=self.options))
        self.server._patience = Patience(self.patience)
        self.server.startService()
        self.addCleanup(self._stop)
        self.hands: dict[_Client, EtrHand] = {}
        self.taken: dict[Session, int] = {}
        self.hashes = 0
        take_one, verify = Session._take_one, Key.verify

        def counted_take(session: Session, *arguments: Any) -> None:
            self.taken[session] = self.taken.get(session, 0) + 1
            take_one(session, *arguments)

        def counted_verify(key: Key, *arguments: Any) -> Any:
            self.hashes += 1
            return verify(key, *arguments)

        self.patch(Session, "_take_one", counted_take)
        self.patch(Key, "verify", counted_verify)

    def _stop(self) -> None:
        self.server.stopService()
        self.network.run(70)
        self.assertEqual((self.network.getDelayedCalls(), self.network.pipes), ([], []))

    def connect(self, number: int = 1, host: str = "") -> _Client:
        """Arm an xTR and connect it; it has not registered on the session."""
        host = host or f"127.0.1.{number}"
        hand = EtrHand(host, key=_KEY, xtr_id=number)
        armed = hand.map_register(record(_prefix(number), _LOCATOR))
        self.network.send((host, 4342), (MAP_SERVER_HOST, 4342), armed)
        self.network.run()
        client = _Client()
        self.network.connect(client, MAP_SERVER_HOST, 4342, host)
        self.network.run()
        self.hands[client] = hand
        return client

    def establish(self, number: int = 1, host: str = "") -> _Client:
        """Return the end of a session that is up."""
        client = self.connect(number, host)
        self.send(client, self.one(client, number))
        self.network.run()
        self.assertEqual(client.heard()[-1], ("ack", _prefix(number)))
        return client

    def one(self, client: _Client, number: int, key: Secret | None = None) -> bytes:
        """Return a Registration."""
        return self.hands[client].registration(record(_prefix(number), _LOCATOR), key=key)

    def send(self, client: _Client, *messages: bytes) -> None:
        """Write on a session; it arrives with the next turn."""
        assert client.transport is not None
        client.transport.write(b"".join(messages))

    def session_of(self, client: _Client) -> MapServerSession:
        """Return the Map-Server's end."""
        found: Any = client.transport
        session = found.other.protocol.session
        assert isinstance(session, MapServerSession)
        return session

    def turn(self) -> None:
        """Let the reactor go round once: what has arrived is read, and what was due before is
        called. What is due at once by then has to wait for the next turn, as in any reactor.
        """
        now = self.network.seconds()
        due = [call for call in self.network.calls if call.getTime() <= now]
        for call in due:
            if call.active():
                self.network.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        self.network._deliver()

    def turns_until(self, condition: Callable[[], bool]) -> int:
        """Return how many turns it takes."""
        for number in range(10_000):
            if condition():
                return number
            self.turn()
        raise AssertionError("it never came to this")


class TurnTests(_Ground):
    """No session has more of a turn of the reactor than its share."""

    patience = PatienceLimits(source_burst=10_000.0, total_burst=100_000.0)

    def junk(self, client: _Client) -> dict[str, Callable[[int], bytes]]:
        """Return what is taken one by one, whatever comes of it."""
        hand = self.hands[client]
        return {
            "wrong MAC": lambda n: self.one(client, n, _WRONG),
            "no site": lambda n: hand.registration(record(eid(f"192.0.{n >> 8}.{n & 255}/32"))),
            "withdrawal": lambda n: hand.registration(record(_prefix(n), ttl=0)),
            "unknown type": lambda n: frame(99, b""),
            "unreadable": lambda n: frame(MessageType.REGISTRATION, b""),
            "unreadable error": lambda n: frame(MessageType.ERROR_NOTIFICATION, b""),
            "no message ID": lambda n: _TINY,
        }

    def test_a_chunk_of_junk_takes_many_turns_and_the_others_none_of_theirs(self) -> None:
        """Whatever the junk is: so many messages a turn, and who registers is answered at once."""
        for number, kind in enumerate(self.junk(self.establish(1)), 2):
            flooding, honest = self.establish(2 * number), self.establish(2 * number + 1)
            session = self.session_of(flooding)
            messages = _fill(self.junk(flooding)[kind])
            self.send(flooding, *messages)
            before, counted = session.counters["messages in"], self.taken[session]
            for turn in range(4):
                mine = [self.one(honest, 1000 * number + 100 * turn + n) for n in range(100)]
                self.send(honest, *mine)
                self.turn()
                self.assertEqual(self.taken[session] - counted, _TURN * (turn + 1), kind)
                self.assertEqual(
                    [answer[0] for answer in self.drained(honest)], ["ack"] * 100, kind
                )
            self.assertEqual(session.counters["messages in"] - before, len(messages), kind)
            self.assertGreater(len(messages), 4 * _TURN)
            self.assertIs(session.state, SessionState.ESTABLISHED)
            self.session_of(flooding).close(CloseReason.CLEARED, self.network.seconds())

    def drained(self, client: _Client) -> list[Any]:
        """Return what the Map-Server wrote in the last turn."""
        found: Any = client.transport
        found.other.move()
        return client.heard()

    def test_wrong_macs_are_a_bounded_number_of_hashes_a_turn(self) -> None:
        """Each is one verification; and what is like earlier ones, one more attempt a turn."""
        client = self.establish()
        self.send(client, *_fill(lambda n: self.one(client, n, _WRONG)))
        for _turn in range(5):
            self.hashes = 0
            self.turn()
            self.assertEqual(self.hashes, _TURN)

    def test_nothing_more_is_read_of_who_sends_too_much(self) -> None:
        """What waits here is the one chunk that was read."""
        client = self.establish()
        session = self.session_of(client)
        self.send(client, *[_TINY] * 1000)
        self.turn()
        octets = session.counters["octets in"]
        self.send(client, *[_TINY] * 1000)
        for _turn in range(5):
            self.turn()
        self.assertEqual(session.counters["octets in"], octets)
        taken = self.taken[session]
        turns = self.turns_until(lambda: self.taken[session] == 2001)
        self.assertGreaterEqual(turns, (2001 - taken) // _TURN)
        self.assertEqual(session.counters["octets in"], octets + 8000)

    def test_answers_wait_for_more_of_them_but_not_for_long(self) -> None:
        """Each write costs as much as a message; and an ETR waits for its answers."""
        client = self.establish()
        self.send(client, *_fill(lambda n: self.one(client, n, _WRONG)))
        said = []
        for _turn in range(10):
            self.turn()
            said.append(len(self.drained(client)))
            self.network.rightNow += 0.004
        self.assertEqual(said, [_TURN, 0, 0, 3 * _TURN, 0, 0, 3 * _TURN, 0, 0, 3 * _TURN])

    def test_runs_of_like_registrations_are_taken_a_chunk_at_a_time(self) -> None:
        """They cost some microsecond each, and none is taken by itself."""
        client = self.establish()
        messages = _fill(lambda n: self.one(client, n))
        self.taken.clear()
        self.send(client, *messages)
        self.turn()
        self.assertEqual(self.taken, {})
        self.assertEqual([each[0] for each in self.drained(client)], ["ack"] * len(messages))

    def test_turns_change_no_answer(self) -> None:
        """What comes out is what a session without any limit says, octet for octet."""
        hand = EtrHand()
        kinds = (
            lambda n: hand.registration(record(f"10.1.0.{n % 250}/32")),
            lambda n: hand.registration(record(f"10.1.0.{n % 250}/32", ttl=0)),
            lambda n: hand.registration(record("10.1.0.0/16"), key=_WRONG),
            lambda n: frame(99, b"x" * n),
        )
        data = b"".join(kinds[n * n % 7 % 4](n) for n in range(300))
        at_once, in_turns = (self._peer(hand, patience) for patience in (None, Patience()))
        at_once.session.receive_data(data, 1.0)
        expected = at_once.session.data_to_send(1.0)
        in_turns.session.receive_data(data[:9000], 1.0)
        in_turns.session.receive_data(data[9000:], 1.0)
        said, turns = in_turns.session.data_to_send(1.0), 0
        while in_turns.session.goes_on_at is not None:
            in_turns.session.go_on(1.0)
            said += in_turns.session.data_to_send(1.0)
            turns += 1
        self.assertEqual(said, expected)
        self.assertGreater(turns, 3)
        counters = dict(in_turns.session.counters)
        self.assertEqual(counters, dict(at_once.session.counters))

    def _peer(self, hand: EtrHand, patience: Patience | None) -> Peer:
        parts = Parts()
        peer = parts.bring_up(hand, record("10.1.0.0/16"))
        if patience is not None:
            peer.session._patience = patience.with_session(b"", 0.0)
        return peer

    def test_what_was_said_before_an_orderly_end_counts(self) -> None:
        """Withdrawals of an ETR that stops, say, though they are more than a turn takes."""
        hand = EtrHand()
        peer = self._peer(hand, Patience())
        records = [f"10.1.1.{n}/32" for n in range(100)]
        for text in records:
            peer.send(hand.registration(record(text)), now=0.0)
        withdrawals = [hand.registration(record(text, ttl=0)) for text in records]
        peer.session.receive_data(b"".join(withdrawals), 1.0)
        self.assertIsNotNone(peer.session.goes_on_at)
        peer.session.connection_lost(1.0, cleanly=True)
        self.assertEqual(peer.session.counters["messages in"], 1 + 2 * len(records))
        self.assertIsNone(peer.session.goes_on_at)
        self.assertEqual(peer.session._registrar.counters["withdrawn"], 100)  # type: ignore[attr-defined]

    def test_a_session_that_is_closed_forgets_what_it_had_not_taken(self) -> None:
        """And is not called again."""
        client = self.establish()
        session = self.session_of(client)
        self.send(client, *[_TINY] * 1000)
        self.turn()
        self.server.reset(session)
        self.network.run()
        self.assertEqual((session.goes_on_at, len(session._later)), (None, 0))
        self.assertLess(self.taken[session], 200)


class PatienceTests(_Ground):
    """What comes to nothing is limited over time: of a session, of its address, and of all."""

    patience = PatienceLimits(
        session_burst=40.0,
        session_rate=2.0,
        source_burst=100.0,
        source_rate=20.0,
        total_burst=150.0,
        total_rate=30.0,
    )

    def flood(self, client: _Client, seconds: float) -> int:
        """Send wrong MACs as fast as they are taken; return how many hashes were done."""
        self.hashes = 0
        end = self.network.seconds() + seconds
        while self.network.seconds() < end:
            found: Any = client.transport
            if not found.unsent:
                self.send(client, *(self.one(client, n, _WRONG) for n in range(200)))
            self.network.run(0.1)
        return self.hashes

    def test_a_session_has_its_burst_and_its_rate_and_that_of_its_address(self) -> None:
        """No hash more; and every one of them is answered with a Rejection."""
        client = self.establish()
        hashes = self.flood(client, 10)
        self.assertLessEqual(hashes, 40 + 100 + (2 + 20) * 10 + 2)
        self.assertGreater(hashes, 40 + 100 + (2 + 20) * 10 - 12)
        heard = [each for each in client.heard() if each[0] != "refresh"]
        self.assertEqual(len(heard), hashes)
        rejections = self.server.registrar.rejections.per_verdict
        self.assertEqual(rejections[Verdict.AUTHENTICATION_FAILURE], hashes)
        self.assertGreater(self.session_of(client).counters["input held back"], 0)

    def test_sessions_of_one_address_share_what_it_has(self) -> None:
        """More of them have little more."""
        clients = [self.establish(number, "127.0.1.1") for number in range(1, 5)]
        for client in clients:
            self.send(client, *(self.one(client, n, _WRONG) for n in range(500)))
        self.hashes = 0
        self.network.run(10)
        self.assertLessEqual(self.hashes, 4 * (40 + 2 * 10) + 100 + 20 * 10 + 4)

    def test_all_together_share_what_there_is(self) -> None:
        """From however many addresses they come."""
        clients = [self.establish(number) for number in range(1, 6)]
        for client in clients:
            self.send(client, *(self.one(client, n, _WRONG) for n in range(500)))
        self.hashes = 0
        self.network.run(10)
        self.assertLessEqual(self.hashes, 5 * (40 + 2 * 10) + 150 + 30 * 10 + 5)

    def test_who_is_honest_waits_for_nobody(self) -> None:
        """Beside a flood from its own address: new mappings, withdrawals, and even refused ones."""
        flooding, honest = self.establish(1, "127.0.1.1"), self.establish(2, "127.0.1.1")
        self.flood(flooding, 5)
        self.assertIsNotNone(self.session_of(flooding).goes_on_at)
        hand = self.hands[honest]
        self.send(
            honest,
            *(self.one(honest, n) for n in range(300, 500)),
            *(hand.registration(record(_prefix(n), ttl=0)) for n in range(300, 400)),
            *(self.one(honest, n, _WRONG) for n in range(20)),
        )
        self.network.run()
        said = [each[0] for each in honest.heard()]
        self.assertEqual((said.count("ack"), said.count("reject")), (300, 20))

    def test_what_is_accepted_costs_no_patience(self) -> None:
        """An ETR that changes thousands of mappings, one unlike the other, is held back by turns
        alone.
        """
        client = self.establish()
        hand = self.hands[client]
        for rloc in range(3):
            for start in range(0, 1500, 500):
                self.send(
                    client,
                    *(
                        hand.registration(
                            record(_prefix(n), *[locator(f"127.0.2.{rloc}")] * (1 + n % 2))
                        )
                        for n in range(start, start + 500)
                    ),
                )
                self.network.run()
        self.assertEqual([each[0] for each in client.heard()], ["ack"] * 4500)
        self.assertEqual(self.session_of(client).counters["input held back"], 0)

    def test_large_ones_cost_more(self) -> None:
        """A hash over 8 KiB takes as long as ten small ones."""
        client = self.establish()
        large = record(_prefix(1), *[_LOCATOR] * 255)
        wrong = self.hands[client].registration(large, key=_WRONG)
        self.assertGreater(len(wrong), 3000)
        self.send(client, *[wrong] * 60)
        self.hashes = 0
        self.network.run(0.1)
        self.assertLessEqual(self.hashes, 1 + (40 + 100) // 4 + 1)

    def test_who_is_refused_for_long_is_closed_in_the_end(self) -> None:
        """What it has sent is in our memory all that time; nobody else is touched."""
        client, honest = self.establish(1), self.establish(2)
        session = self.session_of(client)
        self.send(client, *[_TINY] * 8000)
        self.network.run(_LIMITS.turn_timeout - 1)
        self.assertIs(session.state, SessionState.ESTABLISHED)
        with capturedLogs() as events:
            self.network.run(2)
        self.assertIs(session.close_reason, CloseReason.REFUSED)
        self.assertTrue(client.is_over)
        self.assertFalse(honest.is_over)
        self.assertEqual(len(events), 1)
        self.assertEqual(self.server.endings[CloseReason.REFUSED.value], 1)

    def test_sources_that_are_remembered_are_bounded(self) -> None:
        """The one heard of longest ago is forgotten."""
        patience = Patience(PatienceLimits(max_sources=3, source_burst=5.0, session_burst=0.0))
        for number in (1, 2, 3, 1, 4):
            patience.with_session(bytes([number]), 0.0).spend(0, 0.0)
        self.assertEqual(list(patience._sources), [b"\x03", b"\x01", b"\x04"])

    def test_the_default_figures(self) -> None:
        """So many at once of one address, then 500 a second."""
        limits = PatienceLimits()
        patience = Patience(limits)
        mine = patience.with_session(b"a", 0.0)
        taken = 0
        while mine.is_left(0.0):
            mine.spend(0, 0.0)
            taken += 1
        self.assertEqual(taken, limits.session_burst + limits.source_burst)
        self.assertEqual(mine.ready_at(0.0), 0.25)
        taken = 0
        while mine.is_left(0.25):
            mine.spend(0, 0.25)
            taken += 1
        self.assertEqual(taken, (limits.session_rate + limits.source_rate) / 4)

    def test_who_waits_for_what_is_shared_asks_seldom(self) -> None:
        """Hundreds wait for it: that each of them asks when one has come would be work, too."""
        self.asked = 0
        go_on = Session.go_on

        def counted(session: Session, now: float) -> None:
            self.asked += 1
            go_on(session, now)

        self.patch(Session, "go_on", counted)
        clients = [self.establish(number) for number in range(1, 41)]
        for client in clients:
            self.send(client, *(self.one(client, n, _WRONG) for n in range(500)))
        self.network.run(10)
        self.asked = self.hashes = 0
        self.network.run(10)
        self.assertGreater(self.hashes, (40 * 2 + 30) * 9)
        self.assertLess(self.asked, 40 * (2 + 4) * 10 + 2 * 30 * 10)


class MembershipTests(_Ground):
    """Subscriptions without end."""

    options = _MEMBERSHIP
    patience = PatienceLimits(
        session_burst=50.0, session_rate=5.0, source_burst=1.0, source_rate=0.1
    )

    def test_a_flood_of_subscriptions_is_held_back(self) -> None:
        """Each is answered; so many a turn, and so many a second."""
        client = self.establish()
        session = self.session_of(client)
        ask = frame(MessageType.MEMBERSHIP_SUBSCRIBE, bytes.fromhex("00000000 0001"))
        drop = frame(MessageType.MEMBERSHIP_UNSUBSCRIBE, bytes.fromhex("00000000 0001"))
        self.taken.clear()
        self.send(client, *[ask, drop] * 1000)
        self.turn()
        self.assertEqual(self.taken[session], _TURN)
        self.network.run(10)
        self.assertLessEqual(self.taken[session], 50 + 5 * 10 + 3)
        self.assertIs(session.state, SessionState.ESTABLISHED)
        registered = self.establish(2)
        self.send(registered, self.one(registered, 300))
        self.network.run()
        self.assertEqual(registered.heard(), [("ack", _prefix(300))])


class TrickleTests(_Ground):
    """Who says nothing, or hardly anything."""

    def test_a_thousand_that_begin_a_message_and_stop(self) -> None:
        """They cost 15 KB each, both ends and the network of this test included, take nothing while
        they wait, and are gone with their probation.
        """
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        clients = []
        for number in range(_MANY):
            client = self.connect(number, f"127.1.{number >> 8}.{number & 255}")
            self.send(client, frame(MessageType.REGISTRATION, bytes(8000))[:4000])
            clients.append(client)
        self.network.run()
        self.network.packets.clear()
        held = tracemalloc.get_traced_memory()[0] - before
        self.assertEqual(len(self.server.sessions), _MANY)
        self.assertLess(held, 20_000 * _MANY)
        self.taken.clear()
        self.network.run(_LIMITS.probation - 1)
        self.assertLess(tracemalloc.get_traced_memory()[0] - before - held, 1_000_000)
        self.assertEqual(self.taken, {})
        self.network.run(7)
        self.assertEqual(self.server.sessions, [])
        self.assertTrue(all(client.is_over for client in clients))
        self.assertEqual(self.server.endings, {CloseReason.NO_REGISTRATION.value: _MANY})

    def test_one_octet_at_a_time(self) -> None:
        """A message must end within a minute of its beginning, however busy its sender is."""
        client = self.establish()
        session = self.session_of(client)
        for octet in frame(MessageType.REGISTRATION, bytes(8000))[:59]:
            self.send(client, bytes([octet]))
            self.network.run(1)
        self.assertIs(session.state, SessionState.ESTABLISHED)
        self.network.run(2)
        self.assertIs(session.close_reason, CloseReason.MESSAGE_TIMEOUT)

    def test_a_registration_every_59_seconds_is_as_good_as_any(self) -> None:
        """Though always with the beginning of the next."""
        client = self.establish()
        message = self.one(client, 1)
        self.send(client, message[:8])
        for _time in range(5):
            self.network.run(59)
            self.send(client, message[8:], message[:8])
        self.network.run(1)
        self.assertEqual(len(client.heard()), 5)
        self.assertFalse(client.is_over)

    def test_our_own_delay_is_not_the_peers(self) -> None:
        """Who waits to be read can't end the message that it has begun."""
        self.server._patience = Patience(
            PatienceLimits(session_burst=1.0, session_rate=0.5, source_burst=1.0, source_rate=0.01)
        )
        client = self.establish()
        session = self.session_of(client)
        message = self.one(client, 1)
        self.send(client, *[_TINY] * 25, message[:20])
        self.network.run(58)
        self.assertIs(session.state, SessionState.ESTABLISHED)
        self.send(client, message[20:])
        self.network.run(1)
        self.assertEqual([each[0] for each in client.heard()][-1], "ack")
        self.network.run(70)
        self.assertIs(session.state, SessionState.ESTABLISHED)


class UnreadTests(_Ground):
    """Who does not read."""

    def test_it_costs_a_bounded_amount_and_is_reset(self) -> None:
        """Nothing more is read of it, nothing more said; a minute later it is gone."""
        client, honest = self.establish(1), self.establish(2)
        session = self.session_of(client)
        near: Any = client.transport
        near.pauseProducing()
        messages = _fill(lambda n: self.one(client, n))
        answer = 19 * len(messages)
        for _chunk in range(40):
            if not near.unsent:
                self.send(client, *messages)
            self.network.run(0.1)
        self.assertTrue(near.unsent)
        self.assertLessEqual(len(near.other.unsent), _CHUNK + answer)
        read = session.counters["octets in"]
        self.assertLess(read, 10 * _CHUNK)
        self.network.run(_LIMITS.unread_timeout - 5)
        self.send(honest, self.one(honest, 900))
        self.network.run()
        self.assertIn(("ack", _prefix(900)), honest.heard())
        self.assertEqual(session.counters["octets in"], read)
        self.network.run(10)
        self.assertIs(session.close_reason, CloseReason.NOT_READING)
        self.assertTrue(near.other.was_aborted)
        self.assertTrue(client.is_over)

    def test_junk_of_who_does_not_read_is_not_taken_on(self) -> None:
        """It is held back by both; when it reads again it is answered."""
        client = self.establish()
        session = self.session_of(client)
        near: Any = client.transport
        near.pauseProducing()
        wrong = _fill(lambda n: self.one(client, n, _WRONG))
        self.send(client, *wrong)
        self.turn()
        near.other.protocol.pauseProducing()
        taken = self.taken[session]
        for _turn in range(5):
            self.turn()
        self.assertEqual(self.taken[session], taken)
        near.resumeProducing()
        near.other.protocol.resumeProducing()
        self.network.run(1)
        self.assertEqual(len(client.heard()), len(wrong))


class ErrorTests(_Ground):
    """Junk does not make us talk."""

    def test_error_notifications_are_few(self) -> None:
        """Ten, then one a second, however much there is to complain of."""
        client = self.establish()
        for _second in range(10):
            self.send(client, *[frame(99, b"")] * 500)
            self.network.run(1)
        said = [each[0] for each in client.heard()]
        self.assertEqual(set(said), {"error"})
        self.assertLessEqual(len(said), _LIMITS.error_burst + 10)
