"""RLOC membership on the Map-Server's end of a session: requests, refusals, refreshes, portions."""

from __future__ import annotations

import struct
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import family_members
from lispmsrt.mapping.database import Lease
from lispmsrt.mapping.family_members import Family
from lispmsrt.mapping.rloc_members import Enabled
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.membership import MembershipElement, MembershipReply, decode_membership
from tests.builders import (
    ANY_IPV4,
    Answer,
    Etr,
    M,
    answers,
    frame,
    locator,
    messages,
    record,
    site,
    sites,
)
from tests.membership_ground import Server

_V4, _OTHER_FAMILY = (0, 1), (7, 1)
_OWN = "10.1.0.0/16"
_STARTING, _ESTABLISHED, _CLOSED = SessionState
_NAMES = {23: "ack", 24: "nack", 26: "add", 27: "delete", 29: "begin", 30: "end"}

Said = tuple[object, ...]


def _body(at: Family) -> bytes:
    return struct.pack("!HI", at[1], at[0])


def _subscribe(at: Family = _V4, message_id: int = 50) -> bytes:
    return frame(22, _body(at), message_id)


def _unsubscribe(at: Family = _V4) -> bytes:
    return frame(25, _body(at))


def _refresh(message_id: int = 60, at: Family = _V4) -> bytes:
    return frame(28, _body(at), message_id)


def _said(data: bytes) -> list[Said]:
    """Read messages of types 22 to 30; the family is left out where it is the usual one."""
    found: list[Said] = []
    for kind, _message_id, body in messages(data):
        message = decode_membership(kind, body)
        at = (message.instance_id, message.afi)
        rest: tuple[object, ...]
        if isinstance(message, MembershipElement):
            rest = (int.from_bytes(message.site_id, "big"), str(message.rloc))
        else:
            assert isinstance(message, MembershipReply)
            rest = (
                (message.request_id,)
                if message.error is None
                else (message.request_id, message.error)
            )
        found.append((_NAMES[kind], *rest, *(() if at == _V4 else (at,))))
    return found


class _End:
    """One xTR and its session, from its side."""

    def __init__(self, server: Server, number: int) -> None:
        self.etr = Etr(f"192.0.2.{number}", xtr_id=number, site_id=number)
        self.rloc = f"192.0.2.{number}"
        self.wakes = 0
        self.session: MapServerSession = server.session(self._woken)
        self.session.start(0.0)
        self.session.data_to_send(0.0)

    def _woken(self) -> None:
        self.wakes += 1

    def register(
        self, text: str = _OWN, *rlocs: str, ttl: int = 1440, instance_id: int | None = None
    ) -> list[Said]:
        """Register, and return what is said besides the ACK."""
        locators = tuple(map(locator, rlocs or (self.rloc,))) if ttl else ()
        one = record(text, *locators, ttl=ttl, instance_id=instance_id)
        self.session.receive_data(self.etr.registration(one), 0.0)
        data = self.session.data_to_send(0.0)
        ((kind, _id, _body),) = messages(data)[:1]
        assert kind == 18, data
        length = struct.unpack_from("!H", data, 2)[0]
        return _said(data[length:])

    def ask(self, *frames: bytes) -> list[Said]:
        """Send requests and return what is said."""
        self.session.receive_data(b"".join(frames), 0.0)
        return self.hear()

    def hear(self) -> list[Said]:
        """Return what the Map-Server has to say."""
        return _said(self.session.data_to_send(0.0))


class MembershipCase(SynchronousTestCase):
    """A Map-Server with two xTRs that are registered in the same family."""

    enabled: Enabled | None = "all"
    limits = SessionLimits()

    def setUp(self) -> None:
        self.make(self.enabled, self.limits)

    def make(self, enabled: Enabled | None = "all", limits: SessionLimits | None = None) -> None:
        """Start over."""
        self.server = Server(enabled, limits=limits)
        self.a, self.b = _End(self.server, 1), _End(self.server, 2)
        self.a.register()
        self.b.register("10.2.0.0/16")


class EveryMessageTests(SynchronousTestCase):
    """Every pair of state and message type, switched on and off."""

    EXPECTED: ClassVar[dict[tuple[bool, int], str]] = {
        **{(False, kind): "unrecognised" for kind in range(22, 31)},
        **{(True, kind): "unrecognised" for kind in (23, 24, 26, 27, 29, 30)},
        (True, 22): "answer",
        (True, 25): "silence",
        (True, 28): "nack",
    }

    def test_walk(self) -> None:
        """The state makes a difference to who is asking only."""
        for (is_on, kind), expected in self.EXPECTED.items():
            for state in SessionState:
                end = _End(Server("all" if is_on else None), 1)
                if state is not _STARTING:
                    end.register()
                if state is _CLOSED:
                    end.session.close(CloseReason.CLEARED, 0.0)
                end.session.receive_data(frame(kind, _body(_V4), 9), 0.0)
                data = end.session.data_to_send(0.0)
                self.assertIs(end.session.state, state)
                self._check(data, kind, expected if state is not _CLOSED else "silence", state)

    def _check(self, data: bytes, kind: int, expected: str, state: SessionState) -> None:
        if expected == "unrecognised":
            error: list[Answer] = [("error", 1, kind, 18, 9)]
            self.assertEqual(answers(data), error)
            return
        error_code = 3 if state is _STARTING else 0
        said: list[Said] = {
            "silence": [],
            "nack": [("nack", 9, error_code)],
            "answer": [("nack", 9, 3)] if state is _STARTING else [("ack", 9)],
        }[expected]
        self.assertEqual(_said(data), said, (kind, state))

    def test_malformed_requests_are_format_errors(self) -> None:
        """Cut at every octet and one too many; the session goes on."""
        end = _End(Server(), 1)
        end.register()
        for kind in (22, 25, 28):
            for size in (*range(6), 7):
                end.session._error_tokens = 10.0
                end.session.receive_data(frame(kind, (_body(_V4) + b"\0")[:size], 9), 0.0)
                found = answers(end.session.data_to_send(0.0))
                self.assertEqual(found, [("error", 2, kind, size + 12, 9)])
        self.assertEqual(end.ask(_subscribe()), [("ack", 50)])

    def test_a_message_of_eight_octets(self) -> None:
        """Type, length and marker: there is no family in it."""
        end = _End(Server(), 1)
        end.register()
        end.session.receive_data(struct.pack("!HHI", 22, 8, 0x9FACADE9), 0.0)
        self.assertEqual(answers(end.session.data_to_send(0.0)), [("error", 2, 22, 12, 0)])


class SubscribeTests(MembershipCase):
    """Who may, and what follows."""

    def test_after_the_ack_changes_follow(self) -> None:
        """Not what was there before; nobody is asked for anything but a wake-up."""
        self.assertEqual(self.a.ask(_subscribe()), [("ack", 50)])
        wakes = self.a.wakes
        self.b.register("10.2.0.0/16", "198.51.100.7")
        self.b.register("10.3.0.0/16", "198.51.100.7", "2001:db8::7")
        self.assertEqual(self.a.wakes, wakes + 1)
        self.assertEqual(
            self.a.hear(),
            [("add", 2, "198.51.100.7"), ("delete", 2, "192.0.2.2"), ("add", 2, "2001:db8::7")],
        )
        self.assertEqual(self.a.hear(), [])

    def test_an_xtr_hears_of_its_own_rlocs_after_the_ack(self) -> None:
        """They are members like all others."""
        self.a.ask(_subscribe())
        self.assertEqual(self.a.register("10.1.2.0/24", "192.0.2.9"), [("add", 1, "192.0.2.9")])

    def test_a_second_subscribe_is_acknowledged_and_loses_nothing(self) -> None:
        """The subscription is what it was."""
        self.a.ask(_subscribe())
        self.b.register("10.3.0.0/16", "198.51.100.7")
        self.assertEqual(
            self.a.ask(_subscribe(message_id=51)), [("ack", 51), ("add", 2, "198.51.100.7")]
        )
        self.a.session.receive_data(_unsubscribe(), 0.0)
        self.assertEqual(self.server.members._families[_V4]._subscriptions, {})  # type: ignore[union-attr]

    def test_refusals(self) -> None:
        """1 unknown, 2 not enabled, 3 not registered."""
        self.make(frozenset({_V4, (0, 2)}))
        self.server.registrar.reconfigure(
            sites((site(), ANY_IPV4), (site(), ANY_IPV4, 7), (site(), "2001:db8::/32"))
        )
        for at, error in (((9, 1), 1), ((0, 16387), 1), ((7, 1), 2), ((0, 2), 3)):
            expected = ("nack", 50, error, at)
            self.assertEqual(self.a.ask(_subscribe(at)), [expected])
        self.assertEqual(self.a.session.counters["subscriptions refused"], 4)

    def test_more_subscriptions_than_the_limit(self) -> None:
        """Are refused like what is not enabled; one that ends makes room."""
        self.make("all", SessionLimits(max_subscriptions=1))
        self.a.register("10.1.0.0/16", instance_id=7)
        self.assertEqual(self.a.ask(_subscribe()), [("ack", 50)])
        other = _subscribe(_OTHER_FAMILY)
        self.assertEqual(self.a.ask(other), [("nack", 50, 2, _OTHER_FAMILY)])
        self.assertEqual(self.a.session.counters["subscriptions beyond the limit"], 1)
        self.assertEqual(self.a.ask(_unsubscribe(), other), [("ack", 50, _OTHER_FAMILY)])

    def test_unsubscribe_ends_it(self) -> None:
        """Also what waits; twice does no harm."""
        self.a.ask(_subscribe())
        self.b.register("10.3.0.0/16", "198.51.100.7")
        self.assertEqual(self.a.ask(_unsubscribe(), _unsubscribe()), [])
        self.b.register("10.3.0.0/16", "198.51.100.8")
        self.assertEqual(self.a.hear(), [])

    def test_the_end_of_the_session_ends_it(self) -> None:
        """Nobody is woken any more."""
        self.a.ask(_subscribe())
        self.a.session.connection_lost(0.0)
        wakes = self.a.wakes
        self.b.register("10.3.0.0/16", "198.51.100.7")
        self.assertEqual(self.a.wakes, wakes)
        members = self.server.members
        assert members is not None
        self.assertEqual(members._families[_V4]._subscriptions, {})

    def test_its_last_registration_cancels_it(self) -> None:
        """NACK 3 with the message ID of the Subscribe, and nothing after it."""
        self.a.ask(_subscribe())
        self.assertEqual(self.a.register(ttl=0), [("nack", 50, 3)])
        self.b.register("10.3.0.0/16", "198.51.100.7")
        self.assertEqual(self.a.hear(), [])
        self.a.register()
        self.assertEqual(self.a.ask(_subscribe()), [("ack", 50)])
        self.assertEqual(self.a.session.counters["subscriptions cancelled"], 1)

    def test_another_xtr_that_replaces_its_last_registration_cancels_it(self) -> None:
        """It is woken, though it did nothing."""
        self.a.ask(_subscribe())
        wakes = self.a.wakes
        self.b.register(_OWN)
        self.assertGreater(self.a.wakes, wakes)
        self.assertEqual(self.a.hear(), [("nack", 50, 3)])

    def test_a_subscribe_before_the_cancellation_was_said(self) -> None:
        """It missed something, and must begin anew."""
        self.a.ask(_subscribe())
        self.b.register(_OWN)
        self.assertEqual(self.a.ask(_subscribe(message_id=51)), [("nack", 51, 3)])
        self.assertEqual(self.a.hear(), [])

    def test_switched_off_by_a_reload(self) -> None:
        """NACK 2."""
        self.a.ask(_subscribe())
        members = self.server.members
        assert members is not None
        members.reconfigure(frozenset(), self.server.database)
        self.assertEqual(self.a.hear(), [("nack", 50, 2)])
        self.assertEqual(self.a.ask(_subscribe()), [("nack", 50, 2)])


class RefreshTests(MembershipCase):
    """Begin, one Add per member, End."""

    def setUp(self) -> None:
        """Subscribed."""
        super().setUp()
        self.a.ask(_subscribe())

    _BOTH: ClassVar[list[Said]] = [("add", 1, "192.0.2.1"), ("add", 2, "192.0.2.2")]

    def test_a_refresh_tells_every_member(self) -> None:
        """Between Begin and End, which name the request."""
        expected = [("begin", 60), *self._BOTH, ("end", 60)]
        self.assertEqual(self.a.ask(_refresh()), expected)
        self.assertEqual(self.a.ask(_refresh(61))[0], ("begin", 61))

    def test_with_no_member_it_is_empty(self) -> None:
        """Begin and End."""
        self.a.register("10.1.0.0/16", "224.0.0.1", instance_id=7)
        answer = self.a.ask(_subscribe(_OTHER_FAMILY), _refresh(60, _OTHER_FAMILY))
        self.assertEqual([one[0] for one in answer], ["ack", "begin", "end"])

    def test_requests_while_one_is_under_way_become_one(self) -> None:
        """The newest follows it."""
        self.make("all", SessionLimits(max_output=100))
        self.b.register("10.2.0.0/16", *(f"198.51.100.{number}" for number in range(200)))
        self.a.session.data_to_send(0.0)
        said = self.a.ask(_subscribe(), _refresh(60))
        self.assertEqual(said[:2], [("ack", 50), ("begin", 60)])
        said += self.a.ask(_refresh(61), _refresh(62), _refresh(63))
        while more := self.a.hear():
            said += more
        marks = [one for one in said if one[0] in ("begin", "end")]
        self.assertEqual(marks, [("begin", 60), ("end", 60), ("begin", 63), ("end", 63)])

    def test_without_a_subscription_it_is_refused(self) -> None:
        """By the reason why there is none, and by none if there could be one."""
        self.assertEqual(self.a.ask(_refresh(60, (9, 1))), [("nack", 60, 1, (9, 1))])
        self.assertEqual(self.b.ask(_refresh()), [("nack", 60, 0)])

    def test_unsubscribing_ends_a_refresh_that_is_under_way(self) -> None:
        """Without an End."""
        self.assertEqual(self.a.ask(_refresh(), _unsubscribe()), [])

    def test_it_leaves_in_portions(self) -> None:
        """None is larger than the output limit and a piece; it asks to be called again."""
        self.make("all", SessionLimits(max_output=5000))
        rlocs = [f"198.51.{number >> 8}.{number & 0xFF}" for number in range(2000)]
        for first in range(0, 2000, 200):
            self.b.register(f"10.2.{first // 200}.0/24", *rlocs[first : first + 200])
        self.a.session.receive_data(_subscribe() + _refresh(), 0.0)
        said: list[Said] = []
        portions = 0
        while True:
            wakes = self.a.wakes
            data = self.a.session.data_to_send(0.0)
            if not data:
                break
            self.assertLess(len(data), 5000 + 64 * 32 + 50)
            portions += 1
            said += _said(data)
            if said[-1] != ("end", 60):
                self.assertGreater(self.a.wakes, wakes)
        self.assertGreater(portions, 10)
        self.assertEqual(len(said), 2002 + 3)

    def test_a_change_behind_the_walk_is_told_before_the_end_or_after(self) -> None:
        """What the xTR believes is right in the end."""
        self.make("all", SessionLimits(max_output=100))
        rlocs = [f"198.51.100.{number}" for number in range(200)]
        self.b.register("10.2.0.0/16", *rlocs)
        said = self.a.ask(_subscribe(), _refresh())
        self.b.register("10.2.0.0/16", *rlocs[100:], "203.0.113.1")
        while more := self.a.hear():
            said += more
        believed = set()
        for name, *rest in said:
            if name == "add":
                believed.add(rest[1])
            elif name == "delete":
                believed.discard(rest[1])
        self.assertEqual(believed, {"192.0.2.1", *rlocs[100:], "203.0.113.1"})

    def test_families_take_turns(self) -> None:
        """A large one does not keep a small one waiting."""
        self.make("all", SessionLimits(max_output=1000))
        self.b.register("10.2.0.0/16", *(f"198.51.100.{number}" for number in range(255)))
        self.a.register("10.1.0.0/16", instance_id=7)
        self.a.session.receive_data(
            _subscribe() + _subscribe(_OTHER_FAMILY) + _refresh() + _refresh(61, _OTHER_FAMILY), 0.0
        )
        self.a.hear()
        self.assertIn(("end", 61, _OTHER_FAMILY), self.a.hear())

    def test_news_do_not_starve_it(self) -> None:
        """Nor does it wait until all of them have left."""
        self.make("all", SessionLimits(max_output=60))
        lease = self.a.session.lease
        assert lease is not None
        self.server.on_changes = self.server.news.changed
        self.a.session.receive_data(self.a.etr.registration(record(ANY_IPV4), flags=M), 0.0)
        for number in range(100):
            self.b.register(f"10.2.{number}.0/24")
        self.a.session.receive_data(_subscribe() + _refresh(), 0.0)
        kinds = [kind for kind, _id, _data in messages(self.a.session.data_to_send(0.0))]
        self.assertIn(21, kinds)
        self.assertIn(30, kinds)
        self.assertTrue(self.server.news.has_news(lease))


class SlowPeerTests(MembershipCase):
    """A peer that does not read costs nothing but itself."""

    def setUp(self) -> None:
        """Few may be gone."""
        self.patch(family_members, "MAX_GONE", 20)
        self.patch(family_members, "_FIRST_LOOK", 4)
        super().setUp()

    def _flap(self, count: int) -> None:
        for number in range(count):
            self.b.register("10.2.0.0/16", f"198.51.100.{number}")

    def test_nothing_is_built_while_the_transport_is_full(self) -> None:
        """And the newest is said afterwards."""
        self.a.ask(_subscribe())
        self.a.session.output_paused(0.0)
        self._flap(3)
        self.assertEqual(self.a.session.data_to_send(0.0), b"")
        self.a.session.output_resumed()
        self.assertEqual(
            self.a.hear(),
            [
                ("delete", 2, "192.0.2.2"),
                ("delete", 2, "198.51.100.0"),
                ("add", 2, "198.51.100.2"),
                ("delete", 2, "198.51.100.1"),
            ],
        )

    def test_too_much_unread_ends_the_session(self) -> None:
        """As too many Mapping Notifications do; the other one lives on."""
        self.a.ask(_subscribe())
        self.b.ask(_subscribe())
        self.a.session.output_paused(0.0)
        self._flap(50)
        self.a.session.output_resumed()
        self.assertEqual(self.a.session.data_to_send(0.0), b"")
        self.assertIs(self.a.session.close_reason, CloseReason.NOT_READING)
        self.assertIs(self.b.session.state, _ESTABLISHED)
        members = self.server.members
        assert members is not None
        self.assertEqual(len(members._families[_V4]._subscriptions), 1)


class LeaseTests(MembershipCase):
    """Registrations that move from one lease to another."""

    def test_a_demanded_confirmation_cancels_nothing(self) -> None:
        """The registrations are still there."""
        self.a.ask(_subscribe())
        before = self.a.session.lease
        self.a.session.demand_confirmation(0.0)
        self.assertIsInstance(self.a.session.lease, Lease)
        self.assertIsNot(self.a.session.lease, before)
        self.a.session.data_to_send(0.0)
        self.b.register("10.3.0.0/16", "198.51.100.7")
        self.assertEqual(self.a.hear(), [("add", 2, "198.51.100.7")])

    def test_the_members_of_a_lost_session_go_with_its_registrations(self) -> None:
        """Not before."""
        self.a.ask(_subscribe())
        self.b.session.connection_lost(0.0)
        self.server.registrar.expire(179.0)
        self.assertEqual(self.a.hear(), [])
        while self.server.registrar.expire(182.0):
            pass
        self.assertEqual(self.a.hear(), [("delete", 2, "192.0.2.2")])
