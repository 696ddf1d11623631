"""RLOC membership on the ETR's end of a session: when it asks, what it believes, how long."""

from __future__ import annotations

import struct
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import family_members
from lispmsrt.mapping.family_members import Family
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.membership_subscriber import Standing
from lispmsrt.wire.addresses import Address
from tests.builders import Answer, answers, eid, frame, lcaf, messages
from tests.membership_ground import Follower, Line, Server, learnt, truth

_V4, _V4_7, _V6_7 = (0, 1), (7, 1), (7, 2)
_OWN, _OWN_7 = "10.1.0.0/16", "10.7.0.0/16"
_REFRESH, _REFRESH_REJECTED = frame(20, bytes(3)), frame(20, b"\0\x80\0")
_REQUESTS = {22: "subscribe", 25: "unsubscribe", 28: "refresh"}

Asked = tuple[str, Family]


def _body(at: Family = _V4) -> bytes:
    return struct.pack("!HI", at[1], at[0])


def _reply(kind: int, request_id: int, at: Family = _V4) -> bytes:
    return frame(kind, _body(at) + struct.pack("!I", request_id))


def _nack(error: int, request_id: int, at: Family = _V4) -> bytes:
    return frame(24, _body(at) + struct.pack("!IB", request_id, error))


def _element(kind: int, rloc: str | bytes, at: Family = _V4, site_id: int = 5) -> bytes:
    wire = rloc if isinstance(rloc, bytes) else Address.from_text(rloc).encode()
    return frame(kind, _body(at) + site_id.to_bytes(8, "big") + wire)


def _add(rloc: str | bytes, at: Family = _V4) -> bytes:
    return _element(26, rloc, at)


def _delete(rloc: str, at: Family = _V4) -> bytes:
    return _element(27, rloc, at)


def _ack(text: str = _OWN, instance_id: int | None = None) -> bytes:
    return frame(18, eid(text, instance_id))


class EtrCase(SynchronousTestCase):
    """An xTR that follows some families, and what it asks."""

    families: ClassVar[tuple[Family, ...]] = (_V4,)

    def setUp(self) -> None:
        self.xtr = Follower(1, self.families)
        self.xtr.register(_OWN, "192.0.2.1")
        self.xtr.register(_OWN_7, "192.0.2.1", instance_id=7)
        self.begin()

    def begin(self) -> None:
        """Begin a session."""
        self.session: EtrSession = self.xtr.session()
        self.session.start(0.0)
        self.hear(_REFRESH)
        self.session.counters.clear()

    def hear(self, *frames: bytes, now: float = 0.0) -> list[Asked]:
        """Take messages and return what is asked of membership then."""
        self.session.receive_data(b"".join(frames), now)
        return self.asked(now)

    def asked(self, now: float = 0.0) -> list[Asked]:
        """Return what is asked of membership now."""
        found = []
        for kind, message_id, body in messages(self.session.data_to_send(now)):
            self.assertNotEqual(kind, 16)
            if kind in _REQUESTS:
                afi, instance_id = struct.unpack("!HI", body)
                found.append((_REQUESTS[kind], (instance_id, afi)))
                self.message_id = message_id
        return found

    def follow(self, *rlocs: str, now: float = 0.0) -> None:
        """Go through subscription and refresh with these members."""
        self.assertEqual(self.hear(_ack(), now=now), [("subscribe", _V4)])
        self.subscribe_id = self.message_id
        self.assertEqual(self.hear(_reply(23, self.subscribe_id), now=now), [("refresh", _V4)])
        begin, end = _reply(29, self.message_id), _reply(30, self.message_id)
        self.assertEqual(self.hear(begin, *map(_add, rlocs), end, now=now), [])
        self.assert_standing(Standing.FOLLOWING)
        self.xtr.told.clear()

    def assert_standing(self, standing: Standing, at: Family = _V4) -> None:
        """How far it has come."""
        assert self.session.membership is not None
        self.assertIs(self.session.membership.standing(*at), standing)

    def assert_learnt(self, *rlocs: str, is_current: bool = True, at: Family = _V4) -> None:
        """What it believes, of Site-ID 5."""
        self.assertEqual(learnt(self.xtr, at), {(5, rloc) for rloc in rlocs})
        assert self.xtr.learnt is not None
        self.assertEqual(self.xtr.learnt.is_current(*at), is_current)

    def assert_ignored(self, *frames: bytes) -> None:
        """Counted, and nothing else."""
        self.session.counters.clear()
        assert self.session.membership is not None
        before = self.session.membership.standing(*_V4), learnt(self.xtr, _V4)
        for one in frames:
            self.assertEqual(self.hear(one), [])
        self.assertEqual((self.session.membership.standing(*_V4), learnt(self.xtr, _V4)), before)
        self.assertEqual(self.session.counters["membership not asked for"], len(frames))


class EveryMessageTests(EtrCase):
    """Every pair of standing and message, switched on and off."""

    def test_switched_off_nothing_is_understood_and_nothing_asked(self) -> None:
        """As by an ETR that knows nothing of it."""
        off = Follower(1, follows=False)
        off.register(_OWN, "192.0.2.1")
        session = off.session()
        session.start(0.0)
        session.receive_data(_REFRESH + _ack(), 0.0)
        self.assertEqual([kind for kind, *_ in messages(session.data_to_send(0.0))], [17])
        for kind in range(22, 31):
            session._error_tokens = 10.0
            session.receive_data(frame(kind, b"whatever", 9), 0.0)
            expected: list[Answer] = [("error", 1, kind, 20, 9)]
            self.assertEqual(answers(session.data_to_send(0.0)), expected)
        self.assertIs(session.state, SessionState.ESTABLISHED)
        session.receive_data(frame(16, struct.pack("!B3xHHI", 1, 22, 18, 1)), 0.0)
        session.close(CloseReason.CLEARED, 0.0)

    def test_requests_are_not_for_an_etr(self) -> None:
        """Types 22, 25 and 28."""
        for kind in (22, 25, 28):
            self.session.receive_data(frame(kind, _body(), 9), 0.0)
            expected: list[Answer] = [("error", 1, kind, 18, 9)]
            self.assertEqual(answers(self.session.data_to_send(0.0)), expected)

    def test_malformed_ones_are_format_errors(self) -> None:
        """Cut at every octet and one too many; the session goes on."""
        self.follow("192.0.2.1")
        for whole in (
            _reply(23, 1),
            _nack(3, 1),
            _add("192.0.2.9"),
            _delete("192.0.2.1"),
            _reply(29, 1),
            _reply(30, 1),
        ):
            ((kind, _id, body),) = messages(whole)
            for size in (*range(len(body)), len(body) + 1):
                self.session._error_tokens = 10.0
                self.session.receive_data(frame(kind, (body + b"\0")[:size], 9), 0.0)
                found = answers(self.session.data_to_send(0.0))
                self.assertEqual(found, [("error", 2, kind, size + 12, 9)])
        self.assert_learnt("192.0.2.1")

    def test_what_was_not_asked_for_has_no_effect(self) -> None:
        """In every standing."""
        elements = (_add("192.0.2.9"), _delete("192.0.2.1"))
        self.assert_ignored(*elements, _reply(23, 0), _nack(3, 0), _reply(29, 0), _reply(30, 0))
        self.assertEqual(self.hear(_ack()), [("subscribe", _V4)])
        asked = self.message_id
        others = (_reply(23, asked + 1), _nack(3, asked + 1), _nack(1, asked + 1))
        self.assert_ignored(*elements, *others, _reply(29, asked), _reply(30, asked))
        self.assertEqual(self.hear(_reply(23, asked)), [("refresh", _V4)])
        asked = self.message_id
        self.assert_ignored(_reply(23, asked), _reply(29, asked + 1), _reply(30, asked + 1))
        self.hear(_reply(29, asked), _add("192.0.2.1"), _reply(30, asked))
        self.assert_ignored(_reply(23, asked), _reply(29, asked), _reply(30, asked))
        self.hear(_nack(2, 0))
        self.assert_ignored(*elements, _reply(23, asked), _nack(3, asked), _reply(30, asked))
        self.assert_learnt("192.0.2.1", is_current=False)

    def test_families_that_are_not_followed_are_ignored(self) -> None:
        """Whatever is said of them."""
        self.follow()
        self.assert_ignored(_add("192.0.2.1", _V6_7), _reply(23, 1, _V6_7), _nack(3, 1, (0, 16387)))

    def test_an_rloc_that_is_no_plain_address_is_not_kept(self) -> None:
        """No packet has it as its source."""
        self.follow("192.0.2.1")
        self.hear(_add(lcaf(200, b"?")))
        self.assertEqual(self.session.counters["members without a plain RLOC"], 1)
        self.assert_learnt("192.0.2.1")


class SubscribingTests(EtrCase):
    """When it asks."""

    def test_it_subscribes_once_something_there_is_acknowledged(self) -> None:
        """Not on the Refresh, and not on the ACK of something elsewhere."""
        self.assert_standing(Standing.UNREGISTERED)
        self.assertEqual(self.hear(_ack(_OWN_7, 7)), [])
        self.assertEqual(self.hear(_ack("10.99.0.0/16")), [])
        self.assertEqual(self.hear(_ack()), [("subscribe", _V4)])
        self.assertEqual(self.hear(_ack()), [])
        self.assert_standing(Standing.SUBSCRIBING)

    def test_a_rejection_is_no_reason(self) -> None:
        """Nothing is registered there."""
        self.assertEqual(self.hear(frame(19, b"\1\0\0" + eid(_OWN))), [])

    def test_the_ack_of_a_withdrawal_is_no_reason(self) -> None:
        """What it was about is gone."""
        self.xtr.withdraw(_OWN)
        self.assertEqual(self.asked(), [])
        self.assertEqual(self.hear(_ack(), _ack()), [])
        self.assert_standing(Standing.UNREGISTERED)

    def test_after_the_ack_it_has_everything_told(self) -> None:
        """Members count from the ACK on."""
        self.hear(_ack())
        self.assertEqual(
            self.hear(_reply(23, self.message_id), _add("192.0.2.1")), [("refresh", _V4)]
        )
        self.assert_learnt("192.0.2.1", is_current=False)
        asked = self.message_id
        self.hear(_reply(29, asked), _add("192.0.2.2"), _reply(30, asked))
        self.assert_learnt("192.0.2.1", "192.0.2.2")
        self.hear(_delete("192.0.2.1"), _add("192.0.2.3"), _delete("192.0.2.99"))
        self.assert_learnt("192.0.2.2", "192.0.2.3")

    def test_the_listener_is_called_once_per_chunk(self) -> None:
        """When all of it was taken, and when the session ends."""
        self.follow("192.0.2.1")
        self.hear(_add("192.0.2.2"), _add("192.0.2.3"), _delete("192.0.2.1"))
        self.hear(_add("192.0.2.2"))
        self.assertEqual(self.xtr.told, [_V4])
        self.session.close(CloseReason.CLEARED, 0.0)
        self.assertEqual(self.xtr.told, [_V4, _V4])

    def test_without_a_registration_it_tries_again_after_a_while(self) -> None:
        """NACK 3: 1, 2, 4 s and so on to 60 s; from the start after it has succeeded."""
        self.hear(_ack(_OWN_7, 7), _ack())
        now, waits = 0.0, []
        for _ in range(9):
            self.assertEqual(self.hear(_nack(3, self.message_id), now=now), [])
            self.assert_standing(Standing.WAITING)
            due = self.session.next_timeout()
            assert due is not None
            self.session.handle_timeout(due - 0.01)
            self.assertEqual(self.asked(due), [])
            self.session.handle_timeout(due)
            self.assertEqual(self.asked(due), [("subscribe", _V4)])
            waits.append(due - now)
            now = due
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.hear(_reply(23, self.message_id), now=now)
        self.hear(_reply(30, self.message_id), now=now)
        self.hear(_nack(3, 0), now=now)
        self.assertEqual(self.session.next_timeout(), now + 1.0)

    def test_other_refusals_hold_until_a_refresh(self) -> None:
        """NACK 1, 2, and what has no number; the next session asks anyway."""
        for error in (0, 1, 2, 99):
            self.begin()
            self.hear(_ack())
            self.assertEqual(self.hear(_nack(error, self.message_id), _ack()), [])
            self.assert_standing(Standing.REFUSED)
            self.assertEqual(self.session.next_timeout(), 15.0)  # for other Registrations
            self.assertEqual(self.hear(_REFRESH_REJECTED), [("subscribe", _V4)])
            self.assert_standing(Standing.SUBSCRIBING)
            self.assertEqual(self.hear(_REFRESH_REJECTED), [])

    def test_a_map_server_that_does_not_understand(self) -> None:
        """Its Error Notification refuses, if it is about the Subscribe."""

        def error(kind: int, message_id: int) -> bytes:
            return frame(16, struct.pack("!B3xHHI", 1, kind, 18, message_id))

        self.hear(_ack())
        asked = self.message_id
        self.hear(error(28, asked), error(22, asked + 1), error(31, 1))
        self.assert_standing(Standing.SUBSCRIBING)
        self.hear(error(22, asked))
        self.assert_standing(Standing.REFUSED)
        self.hear(error(22, asked))
        self.assertEqual(self.hear(_REFRESH_REJECTED), [("subscribe", _V4)])

    def test_a_cancelled_subscription(self) -> None:
        """What was known is out of date, and stays until the End of the next one."""
        self.follow("192.0.2.1", "192.0.2.2")
        self.assertEqual(self.hear(_nack(3, self.subscribe_id)), [])
        self.assert_learnt("192.0.2.1", "192.0.2.2", is_current=False)
        self.assertEqual(self.xtr.told, [_V4])
        self.session.handle_timeout(1.0)
        self.assertEqual(self.asked(1.0), [("subscribe", _V4)])
        self.hear(_reply(23, self.message_id), _add("192.0.2.2"), now=1.0)
        self.assert_learnt("192.0.2.1", "192.0.2.2", is_current=False)
        self.hear(_reply(29, self.message_id), _reply(30, self.message_id), now=1.0)
        self.assert_learnt("192.0.2.2")

    def test_a_cancellation_while_it_is_refreshed(self) -> None:
        """The refresh is over."""
        self.hear(_ack())
        self.hear(_reply(23, self.message_id))
        self.hear(_nack(2, 0))
        self.assert_standing(Standing.REFUSED)

    def test_unsubscribing(self) -> None:
        """In any standing; it is said only where there is something to end."""
        for standing, said in (("unregistered", []), ("subscribing", ["unsubscribe"])):
            self.begin()
            if said:
                self.hear(_ack())
            assert self.session.membership is not None
            self.session.membership.unsubscribe(*_V4)
            self.assertEqual([name for name, _at in self.asked()], said, standing)
            self.assertEqual(self.hear(_ack(), _REFRESH_REJECTED), [])
            self.assert_standing(Standing.UNSUBSCRIBED)
        self.begin()
        self.follow("192.0.2.1")
        self.session.membership.unsubscribe(*_V4)
        self.assertEqual(self.asked(), [("unsubscribe", _V4)])
        self.assert_ignored(_add("192.0.2.9"))
        self.assert_learnt("192.0.2.1", is_current=False)


class SessionLossTests(EtrCase):
    """What is known outlives the session."""

    def test_it_stays_until_the_next_end(self) -> None:
        """Then what was not told again goes."""
        self.follow("192.0.2.1", "192.0.2.2")
        self.session.connection_lost(0.0)
        self.assert_learnt("192.0.2.1", "192.0.2.2", is_current=False)
        self.begin()
        self.hear(_ack())
        self.hear(_reply(23, self.message_id))
        self.assert_learnt("192.0.2.1", "192.0.2.2", is_current=False)
        self.hear(_reply(29, self.message_id), _add("192.0.2.2"), _add("192.0.2.3"))
        self.assert_learnt("192.0.2.1", "192.0.2.2", "192.0.2.3", is_current=False)
        self.hear(_reply(30, self.message_id))
        self.assert_learnt("192.0.2.2", "192.0.2.3")


class SeveralFamiliesTests(EtrCase):
    """Each by itself."""

    families: ClassVar[tuple[Family, ...]] = (_V4, _V4_7, _V6_7, (8, 1))

    def test_each_is_asked_for_when_its_time_comes(self) -> None:
        """Plain EIDs and those with an instance ID."""
        self.xtr.register("2001:db8::/32", "192.0.2.1", instance_id=7)
        self.asked()
        self.assertEqual(self.hear(_ack(_OWN_7, 7)), [("subscribe", _V4_7)])
        self.assertEqual(
            self.hear(_ack("2001:db8::/32", 7), _ack()), [("subscribe", _V6_7), ("subscribe", _V4)]
        )
        self.assert_standing(Standing.UNREGISTERED, (8, 1))

    def test_each_waits_by_itself(self) -> None:
        """The timer rings for the earliest."""
        self.hear(_ack(_OWN_7, 7))
        self.hear(_nack(3, self.message_id, _V4_7), now=1.0)
        self.hear(_ack(), now=1.5)
        self.hear(_nack(3, self.message_id), now=1.5)
        self.assertEqual(self.session.next_timeout(), 2.0)
        self.session.handle_timeout(2.0)
        self.assertEqual(self.asked(2.0), [("subscribe", _V4_7)])
        self.assertEqual(self.session.next_timeout(), 2.5)


class BackToBackTests(SynchronousTestCase):
    """Both ends in memory."""

    def _pair(self, limits: SessionLimits | None = None) -> tuple[Server, Follower, Follower]:
        server = Server(limits=limits)
        return server, Follower(1, (_V4,)), Follower(2, (_V4,))

    def test_each_learns_of_the_other(self) -> None:
        """Over registrations, changes and the end of one."""
        server, a, b = self._pair()
        a.register(_OWN, "192.0.2.1")
        lines = [Line(server, a), Line(server, b)]
        lines[0].settle()
        self.assertEqual(learnt(a, _V4), {(1, "192.0.2.1")})
        b.register("10.2.0.0/16", "192.0.2.2", "2001:db8::2")
        for line in (lines[1], lines[0]):
            line.settle()
        both = {(1, "192.0.2.1"), (2, "192.0.2.2"), (2, "2001:db8::2")}
        self.assertEqual((learnt(a, _V4), learnt(b, _V4)), (both, both))
        a.register(_OWN, "192.0.2.77")
        for line in lines:
            line.settle()
        self.assertEqual(learnt(b, _V4), both - {(1, "192.0.2.1")} | {(1, "192.0.2.77")})
        a.withdraw(_OWN)
        for line in lines:
            line.settle()
        assert lines[0].etr.membership is not None
        self.assertIs(lines[0].etr.membership.standing(*_V4), Standing.WAITING)
        self.assertEqual(learnt(b, _V4), {(2, "192.0.2.2"), (2, "2001:db8::2")})
        a.register(_OWN, "192.0.2.1")
        lines[0].settle()
        lines[0].wait(5.0)
        self.assertEqual(learnt(a, _V4), both)

    def test_an_xtr_that_left_too_much_unread_is_told_all_on_its_next_session(self) -> None:
        """The Map-Server gives it up when the transport takes more: until then it believes what it
        heard last, from then on it knows that this is out of date.
        """
        self.patch(family_members, "MAX_GONE", 20)
        self.patch(family_members, "_FIRST_LOOK", 4)
        server, a, b = self._pair()
        assert a.learnt is not None
        a.register(_OWN, "192.0.2.1")
        b.register("10.2.0.0/16", "192.0.2.2")
        slow, other = Line(server, a), Line(server, b)
        for line in (slow, other, slow):
            line.settle()
        heard = {(1, "192.0.2.1"), (2, "192.0.2.2")}
        slow.server.output_paused(0.0)
        for number in range(30):
            b.register("10.2.0.0/16", f"198.51.100.{number}")
            other.settle()
        slow.step(is_stuck=True)
        self.assertIsNone(slow.server.close_reason)
        self.assertEqual((learnt(a, _V4), a.learnt.is_current(*_V4)), (heard, True))
        slow.server.output_resumed()
        slow.settle()
        self.assertIs(slow.server.close_reason, CloseReason.NOT_READING)
        self.assertIs(slow.etr.close_reason, CloseReason.CONNECTION_LOST)
        self.assertEqual((learnt(a, _V4), a.learnt.is_current(*_V4)), (heard, False))
        Line(server, a).settle()
        all_there_are = {(1, "192.0.2.1"), (2, "198.51.100.29")}
        self.assertEqual(truth(server, _V4), all_there_are)
        self.assertEqual((learnt(a, _V4), a.learnt.is_current(*_V4)), (all_there_are, True))

    def test_switched_on_by_a_reload(self) -> None:
        """A Refresh makes those ask that were refused."""
        server = Server(frozenset())
        a = Follower(1, (_V4,))
        a.register(_OWN, "192.0.2.1")
        line = Line(server, a)
        line.settle()
        assert line.etr.membership is not None and server.members is not None
        self.assertIs(line.etr.membership.standing(*_V4), Standing.REFUSED)
        server.members.reconfigure("all", server.database)
        self.assertFalse(server.members.glean())
        line.server.receive_data(b"", 0.0)
        line.etr.receive_data(_REFRESH_REJECTED, 0.0)
        line.settle()
        self.assertEqual(learnt(a, _V4), {(1, "192.0.2.1")})

    def test_a_map_server_that_has_it_switched_off(self) -> None:
        """Is asked once."""
        server, a = Server(None), Follower(1, (_V4,))
        a.register(_OWN, "192.0.2.1")
        line = Line(server, a)
        line.settle()
        assert line.etr.membership is not None
        self.assertIs(line.etr.membership.standing(*_V4), Standing.REFUSED)
        self.assertEqual(line.server.counters["unsupported in"], 1)
