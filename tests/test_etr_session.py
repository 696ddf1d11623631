"""The ETR's end of a session: every (state, message type) pair, the window, the clocks."""

from __future__ import annotations

import struct
from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag, walk_map_register
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import MappingNotification
from tests.builders import KEY, answers, eid, frame, locator, messages, record

_IDS = bytes(range(24))
_REFRESH = frame(20, bytes(3))
_REFRESH_REJECTED = frame(20, b"\0\x80\0")
_LIMITS = SessionLimits()
_ERROR = bytes(12)
_STARTING, _ESTABLISHED, _CLOSED = (
    SessionState.STARTING,
    SessionState.ESTABLISHED,
    SessionState.CLOSED,
)


def _ack(text: str) -> bytes:
    return frame(18, eid(text))


def _reject(text: str, reason: int = 1) -> bytes:
    return frame(19, bytes((reason, 0, 0)) + eid(text))


_NOTIFICATION = frame(21, _IDS + record("10.0.0.0/8"))


class EtrSessionCase(SynchronousTestCase):
    """A session at time 0, and what it says and tells."""

    def setUp(self) -> None:
        """Two prefixes are meant."""
        self.make("10.1.0.0/16", "10.2.0.0/16")

    def make(
        self,
        *texts: str,
        limits: SessionLimits = _LIMITS,
        speaks_first: bool = False,
    ) -> None:
        """Start over with these prefixes."""
        self.heard: list[object] = []
        self.wakes = 0
        self.ups = 0
        self.registrations = EtrRegistrations(self)
        for text in texts:
            self.mean(text)
        nonces = count(1)
        credentials = Credentials(
            KEY.key(), _IDS, RegisterFlag.WANT_MAP_NOTIFY, lambda: next(nonces)
        )
        self.session = EtrSession(
            registrations=self.registrations,
            credentials=credentials,
            listener=self,
            limits=limits,
            wake=self._woken,
            now=0.0,
            speaks_first=speaks_first,
            on_established=self._established,
        )
        self.session.start(0.0)

    def mean(self, text: str, *, weight: int = 100, awaited: bool = False) -> None:
        """Mean to register a prefix."""
        locators = (Locator(Address.from_text("192.0.2.1"), weight=weight),)
        prefix = EidPrefix.from_text(text)
        self.registrations.register(MappingRecord(prefix, 1440, locators), awaited=awaited)

    def _woken(self) -> None:
        self.wakes += 1

    def _established(self) -> None:
        self.ups += 1

    def acknowledged(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("acknowledged", eid))

    def rejected(self, eid: bytes, reason: int) -> None:
        """Note it."""
        self.heard.append(("rejected", eid, reason))

    def mapping_notified(self, notification: MappingNotification) -> None:
        """Note it."""
        self.heard.append(notification)

    def hear(self, *frames: bytes, now: float = 0.0) -> list[str]:
        """Take messages, and return what is registered in answer."""
        self.session.receive_data(b"".join(frames), now)
        return self.written(now)

    def written(self, now: float = 0.0) -> list[str]:
        """Return the EID-prefixes of the Registrations that are written."""
        found = []
        for kind, _message_id, data in messages(self.session.data_to_send(now)):
            self.assertEqual(kind, 17)
            ((at, ttl, _iid, _afi, length, _key, *_),) = walk_map_register(data, 0, len(data))[5]
            address = ".".join(map(str, data[at + 12 : at + 16]))
            found.append(f"{'' if ttl else '-'}{address}/{length}")
        return found

    def states(self) -> list[EtrState]:
        """Return the state of every entry."""
        return [entry.state for entry in self.registrations.entries.values()]

    def reach(self, state: SessionState) -> None:
        """Bring the session there, with both prefixes registered and nothing outstanding."""
        if state is _CLOSED:
            self.session.close(CloseReason.CLEARED, 0.0)
        elif state is _ESTABLISHED:
            self.hear(_REFRESH)
            self.hear(_ack("10.1.0.0/16"), _ack("10.2.0.0/16"))
        self.heard.clear()
        self.session.counters.clear()
        self.assertIs(self.session.state, state)


_BODIES = {
    16: _ERROR,
    17: b"anything",
    18: eid("10.1.0.0/16"),
    19: b"\2\0\0" + eid("10.1.0.0/16"),
    20: bytes(3),
    21: _IDS + record("10.0.0.0/8"),
}

_EXPECTED = {
    # type: (what STARTING does, what ESTABLISHED does); anything else is answered with an error.
    16: ("counted", "counted"),
    18: ("ack", "ack"),
    19: ("rejection", "rejection"),
    20: ("becomes established", "registers everything"),
    21: ("told", "told"),
}


class EveryPairTests(EtrSessionCase):
    """Every (session state, message type) pair of the ETR."""

    def test_every_pair(self) -> None:
        """Against the table above, types 16 to 31 and one of the experimental range."""
        for state in (_STARTING, _ESTABLISHED, _CLOSED):
            for kind in (*range(16, 32), 65000):
                self.setUp()
                self.reach(state)
                self.session.receive_data(frame(kind, _BODIES.get(kind, b"what?"), 99), 1.0)
                starting, established = _EXPECTED.get(kind, ("error", "error"))
                expected = {_STARTING: starting, _ESTABLISHED: established}.get(state, "swallowed")
                self.assertEqual(self.effect(state, kind), expected, (state, kind))

    def effect(self, before: SessionState, kind: int) -> str:
        """Name what the message has done, having looked that it has done nothing else."""
        session, counters = self.session, self.session.counters
        was_up = self.ups
        output = session.data_to_send(1.0)
        if session.state is _CLOSED:
            self.assertEqual((output, self.heard, counters["messages in"]), (b"", [], 0))
            return "swallowed"
        self.assertEqual(counters["messages in"], 1)
        if counters["unsupported in"]:
            unsupported = frame(kind, _BODIES.get(kind, b"what?"))
            expected = [("error", 1, kind, len(unsupported), 99)]
            self.assertEqual((answers(output), self.heard), (expected, []))
            self.assertIs(session.state, before)
            return "error"
        if counters["refreshes in"]:
            self.assertEqual([kind for kind, _id, _data in messages(output)], [17, 17])
            self.assertEqual((session.state, was_up), (_ESTABLISHED, 1))
            return "becomes established" if before is _STARTING else "registers everything"
        self.assertEqual((session.state, output), (before, b""))
        if counters["errors in"]:
            return "counted"
        if counters["rejections in"]:
            self.assertEqual(self.heard, [("rejected", eid("10.1.0.0/16"), 2)])
            return "rejection"
        if counters["notifications in"]:
            self.assertEqual(len(self.heard), 1)
            return "told"
        self.assertFalse(next(iter(self.registrations.entries.values())).over_udp)
        return "ack"

    def test_unknown_types_never_close_and_are_answered_at_a_limited_rate(self) -> None:
        """Ten at once, then one a second."""
        self.reach(_ESTABLISHED)
        junk = frame(65000, b"junk") * 100
        self.session.receive_data(junk, 1.0)
        self.assertEqual(len(answers(self.session.data_to_send(1.0))), 10)
        self.session.receive_data(junk, 3.0)
        self.assertEqual(len(answers(self.session.data_to_send(3.0))), 2)
        self.assertIs(self.session.state, _ESTABLISHED)
        self.assertEqual(self.session.counters["errors suppressed"], 188)

    def test_malformed_bodies_are_answered_and_change_nothing(self) -> None:
        """Types 18 to 21, cut at every octet, and with one too many."""
        for kind in (18, 19, 20, 21):
            body = _BODIES[kind] if kind != 20 else b"\4\0\0" + eid("10.1.0.0/16")
            for wrong in [body[:cut] for cut in range(len(body))] + [body + b"\0"]:
                if kind == 20 and wrong == b"\0\0\0":
                    continue
                self.setUp()
                self.reach(_ESTABLISHED)
                before = self.states()
                self.session.receive_data(frame(kind, wrong, 5), 1.0)
                found = answers(self.session.data_to_send(1.0))
                self.assertEqual(found, [("error", 2, kind, len(wrong) + 12, 5)], wrong)
                self.assertEqual((self.states(), self.heard), (before, []))
                self.assertIs(self.session.state, _ESTABLISHED)

    def test_an_unknown_scope_and_a_malformed_first_refresh_do_not_establish(self) -> None:
        """The session goes on waiting."""
        self.session.receive_data(frame(20, b"\5\0\0" + eid("10.1.0.0/16")), 1.0)
        self.assertEqual(answers(self.session.data_to_send(1.0))[0][:3], ("error", 2, 20))
        self.assertIs(self.session.state, _STARTING)
        self.assertEqual(self.session.next_timeout(), _LIMITS.refresh_timeout)

    def test_an_error_notification_is_never_answered(self) -> None:
        """Whole or broken."""
        self.session.receive_data(frame(16, _ERROR) + frame(16, b"short"), 0.0)
        self.assertEqual(self.session.data_to_send(0.0), b"")
        self.assertEqual(self.session.counters["malformed errors in"], 1)

    def test_an_ack_for_what_is_not_known_is_ignored(self) -> None:
        """As an ACK for something that was withdrawn would be."""
        self.reach(_ESTABLISHED)
        self.assertEqual(self.hear(_ack("10.9.0.0/16")), [])
        self.assertEqual(self.states(), [EtrState.STABLE] * 2)

    def test_a_framing_error_closes(self) -> None:
        """And all falls back to UDP."""
        self.reach(_ESTABLISHED)
        self.session.receive_data(bytes(12), 1.0)
        self.assertIs(self.session.close_reason, CloseReason.UNREADABLE_STREAM)
        self.assertEqual(self.states(), [EtrState.PERIODIC] * 2)


class RegistrationTests(EtrSessionCase):
    """What is written, and when."""

    def test_nothing_is_written_before_the_refresh(self) -> None:
        """But what changes meanwhile."""
        self.assertEqual(self.written(), [])
        self.mean("10.2.0.0/16", weight=1)
        self.assertEqual(self.written(), ["10.2.0.0/16"])
        self.assertEqual(self.hear(_REFRESH), ["10.1.0.0/16", "10.2.0.0/16"])

    def test_a_registration_is_a_signed_map_register_of_one_record_with_r_clear(self) -> None:
        """With the xTR-ID, M as configured, and a nonce that grows."""
        self.session.receive_data(_REFRESH, 0.0)
        nonces = []
        ids = []
        for _kind, message_id, data in messages(self.session.data_to_send(0.0)):
            word, nonce, key_id, algorithm_id, length, records, _end = walk_map_register(
                data, 0, len(data)
            )
            self.assertFalse(word & RegisterFlag.RELIABLE_TRANSPORT)
            self.assertTrue(word & RegisterFlag.WANT_MAP_NOTIFY and word & RegisterFlag.XTR_ID)
            self.assertEqual((len(records), data[-24:]), (1, _IDS))
            self.assertEqual((key_id, algorithm_id, length), (KEY.key_id, KEY.algorithm_id, 32))
            covered = data[:16] + bytes(32) + data[48:]
            expected = KEY.mac(covered, 32, b"Map-Register Authentication")
            self.assertEqual(data[16:48], expected)
            nonces.append(nonce)
            ids.append(message_id)
        self.assertEqual((nonces, ids), ([1, 2], [1, 2]))

    def test_without_a_refresh_everything_is_registered_after_10_s(self) -> None:
        """Once, with a counter to tell."""
        self.session.handle_timeout(9.9)
        self.assertEqual(self.written(9.9), [])
        self.assertEqual(self.session.next_timeout(), 10.0)
        self.session.handle_timeout(10.0)
        self.assertEqual(self.written(10.0), ["10.1.0.0/16", "10.2.0.0/16"])
        self.assertEqual(self.session.counters["no refresh in time"], 1)
        self.assertEqual((self.session.state, self.ups), (_STARTING, 0))
        self.assertEqual(len(self.hear(_REFRESH, now=11.0)), 2)
        self.assertEqual((self.session.was_established, self.ups), (True, 1))

    def test_where_the_map_server_can_not_speak_first_it_registers_at_once(self) -> None:
        """QUIC. A Refresh that does not come makes it say nothing twice."""
        self.make("10.1.0.0/16", speaks_first=True)
        self.assertEqual(self.written(), ["10.1.0.0/16"])
        self.hear(_ack("10.1.0.0/16"), now=1.0)
        self.session.handle_timeout(10.0)
        self.assertEqual(self.session.counters["no refresh in time"], 1)
        self.assertEqual(self.written(10.0), [])

    def test_where_it_spoke_first_the_refresh_that_begins_the_session_is_answered(self) -> None:
        """Everything is on its way: nothing is sent twice. Any later Refresh counts."""
        self.make("10.1.0.0/16", speaks_first=True)
        self.assertEqual(self.written(), ["10.1.0.0/16"])
        self.assertEqual(self.hear(_REFRESH), [])
        self.assertEqual(self.ups, 1)
        self.assertEqual(self.hear(_ack("10.1.0.0/16"), _REFRESH), ["10.1.0.0/16"])

    def test_where_it_spoke_first_another_or_a_late_refresh_is_obeyed(self) -> None:
        """It is not the one that a Map-Server begins with."""
        self.make("10.1.0.0/16", speaks_first=True)
        self.written()
        self.hear(_reject("10.1.0.0/16"))
        self.assertEqual(self.hear(_REFRESH_REJECTED), ["10.1.0.0/16"])
        self.make("10.1.0.0/16", speaks_first=True)
        self.written()
        self.hear(_ack("10.1.0.0/16"), now=1.0)
        self.session.handle_timeout(10.0)
        self.assertEqual(self.hear(_REFRESH, now=3600.0), ["10.1.0.0/16"])

    def test_a_refresh_with_r_brings_back_what_was_rejected(self) -> None:
        """Nothing else."""
        self.hear(_REFRESH)
        self.hear(_ack("10.1.0.0/16"), _reject("10.2.0.0/16"))
        self.assertEqual(self.hear(_REFRESH_REJECTED), ["10.2.0.0/16"])

    def test_a_session_has_served_once_something_was_acknowledged(self) -> None:
        """Or if there was nothing to acknowledge; a Rejection is no service."""
        self.make("10.1.0.0/16")
        self.assertFalse(self.session.has_served)
        self.hear(_REFRESH)
        self.hear(_reject("10.1.0.0/16"))
        self.assertFalse(self.session.has_served)
        self.hear(_REFRESH_REJECTED, _ack("10.1.0.0/16"))
        self.assertTrue(self.session.has_served)
        self.make()
        self.assertFalse(self.session.has_served)
        self.hear(_REFRESH)
        self.assertTrue(self.session.has_served)

    def test_a_withdrawal_is_written(self) -> None:
        """With TTL 0."""
        self.reach(_ESTABLISHED)
        self.registrations.withdraw(EidPrefix.from_text("10.1.0.0/16"))
        self.assertEqual(self.written(), ["-10.1.0.0/16"])
        self.hear(_ack("10.1.0.0/16"))
        self.assertEqual(len(self.registrations.entries), 1)
        self.assertIsNone(self.session.next_timeout())

    def test_a_notification_is_told_with_its_ids(self) -> None:
        """And the record."""
        self.hear(frame(21, _IDS + record("10.0.0.0/8", locator("192.0.2.9"))))
        (notification,) = self.heard
        assert isinstance(notification, MappingNotification)
        self.assertEqual((notification.xtr_id, notification.site_id), (_IDS[:16], _IDS[16:]))
        self.assertEqual(str(notification.record.eid), "10.0.0.0/8")

    def test_the_end_of_the_session_is_the_end_of_its_promises(self) -> None:
        """All goes back to UDP; nothing more is written or heard."""
        self.hear(_REFRESH)
        self.hear(_ack("10.1.0.0/16"))
        self.session.connection_lost(1.0)
        self.assertEqual(self.states(), [EtrState.PERIODIC] * 2)
        self.assertEqual(self.hear(_ack("10.2.0.0/16"), _REFRESH, now=2.0), [])
        self.assertTrue(all(one.over_udp for one in self.registrations.entries.values()))


class WindowTests(EtrSessionCase):
    """Flow: the window, the output limit, a transport that is full."""

    _TEXTS = tuple(f"10.{number}.0.0/16" for number in range(10))

    def test_no_more_than_a_window_is_outstanding(self) -> None:
        """Each answer lets one more go."""
        self.make(*self._TEXTS, limits=SessionLimits(window=4))
        self.assertEqual(self.hear(_REFRESH), list(self._TEXTS[:4]))
        self.assertEqual(self.written(), [])
        self.assertEqual(self.hear(_ack(self._TEXTS[0])), [self._TEXTS[4]])
        self.assertEqual(self.hear(*map(_reject, self._TEXTS[1:4])), list(self._TEXTS[5:8]))

    def test_no_more_than_the_output_limit_is_built_at_one_go(self) -> None:
        """It asks to be called again."""
        self.make(*self._TEXTS, limits=SessionLimits(max_output=250))
        self.session.receive_data(_REFRESH, 0.0)
        self.wakes = 0
        first = self.session.data_to_send(0.0)
        self.assertTrue(250 <= len(first) < 400)
        self.assertEqual(self.wakes, 1)
        rest = 0
        while data := self.session.data_to_send(0.0):
            rest += len(messages(data))
        self.assertEqual(len(messages(first)) + rest, 10)

    def test_nothing_is_built_while_the_transport_is_full(self) -> None:
        """It goes on afterwards; a peer that does not read at all is given up."""
        self.session.receive_data(_REFRESH, 0.0)
        self.session.output_paused(0.0)
        self.assertEqual(self.written(), [])
        self.session.output_resumed()
        self.assertEqual(len(self.written()), 2)
        self.session.output_paused(1.0)
        self.hear(_ack("10.1.0.0/16"), _ack("10.2.0.0/16"), now=2.0)
        self.session.handle_timeout(1.0 + _LIMITS.unread_timeout)
        self.assertIs(self.session.close_reason, CloseReason.NOT_READING)


class AnswerClockTests(EtrSessionCase):
    """Decision 2: one clock per session for Registrations that are written and not answered."""

    def fire(self, now: float) -> list[str]:
        """Let time come, not before it is asked for."""
        self.assertEqual(self.session.next_timeout(), now)
        self.session.handle_timeout(now)
        return self.written(now)

    def test_silence_resends_once_and_then_closes(self) -> None:
        """After 15 s, and 15 s more."""
        self.hear(_REFRESH, now=1.0)
        self.assertEqual(self.fire(16.0), ["10.1.0.0/16", "10.2.0.0/16"])
        self.assertEqual(self.session.counters["sent again"], 1)
        self.assertEqual(self.fire(31.0), [])
        self.assertIs(self.session.close_reason, CloseReason.NO_ANSWERS)
        self.assertEqual(self.states(), [EtrState.PERIODIC] * 2)

    def test_every_answer_starts_the_clock_anew(self) -> None:
        """ACK or Rejection; what is still outstanding is resent 15 s after it."""
        self.mean("10.3.0.0/16")
        self.hear(_REFRESH, now=0.0)
        self.hear(_ack("10.1.0.0/16"), now=14.0)
        self.hear(_reject("10.2.0.0/16"), now=28.0)
        self.assertEqual(self.fire(43.0), ["10.3.0.0/16"])
        self.hear(_ack("10.3.0.0/16"), now=57.0)
        # Two copies were written and one ACK has come: this one may coalesce.
        self.assertEqual(self.fire(72.0), [])
        self.assertIsNone(self.session.next_timeout())
        self.assertIsNone(self.session.close_reason)
        self.assertEqual(self.registrations.entries[eid("10.3.0.0/16")].state, EtrState.STABLE)

    def test_other_messages_do_not_move_it(self) -> None:
        """A Refresh, a Mapping Notification, an Error Notification."""
        self.hear(_REFRESH, now=0.0)
        self.hear(_NOTIFICATION, frame(16, _ERROR), now=10.0)
        self.assertEqual(self.session.next_timeout(), 15.0)

    def test_it_stands_still_while_all_is_answered(self) -> None:
        """For as long as there is nothing to say."""
        self.reach(_ESTABLISHED)
        self.assertIsNone(self.session.next_timeout())
        self.mean("10.1.0.0/16", weight=3)
        self.written(100.0)
        self.assertEqual(self.session.next_timeout(), 115.0)

    def test_what_waits_in_the_window_is_not_resent(self) -> None:
        """And what is resent needs no room in a window that is full."""
        self.make("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", limits=SessionLimits(window=2))
        self.hear(_REFRESH)
        self.assertEqual(self.fire(15.0), ["10.1.0.0/16", "10.2.0.0/16"])
        self.hear(_ack("10.1.0.0/16"), _ack("10.1.0.0/16"), _ack("10.2.0.0/16"), now=16.0)
        self.assertEqual(self.hear(_ack("10.2.0.0/16"), now=17.0), [])
        self.assertEqual(self.registrations.outstanding, 1)
        self.assertEqual(self.session.next_timeout(), 32.0)

    def test_it_runs_for_what_was_deleted_and_created_again(self) -> None:
        """Its withdrawal was outstanding when it came back."""
        self.reach(_ESTABLISHED)
        self.registrations.withdraw(EidPrefix.from_text("10.1.0.0/16"))
        self.written(0.0)
        self.mean("10.1.0.0/16")
        self.assertEqual(self.written(1.0), ["10.1.0.0/16"])
        self.assertEqual(self.fire(15.0), ["10.1.0.0/16"])
        self.fire(30.0)
        self.assertIs(self.session.close_reason, CloseReason.NO_ANSWERS)

    def test_withdrawals_alone_close_nothing(self) -> None:
        """The draft does not say that they are answered: silence settles them."""
        self.reach(_ESTABLISHED)
        self.registrations.withdraw(EidPrefix.from_text("10.1.0.0/16"), awaited=True)
        self.written(0.0)
        self.assertEqual(self.fire(15.0), [])
        self.assertEqual(self.heard, [("acknowledged", eid("10.1.0.0/16"))])
        self.assertIsNone(self.session.next_timeout())
        self.assertIs(self.session.state, _ESTABLISHED)

    def test_a_registration_after_a_withdrawal_has_its_full_time(self) -> None:
        """Although the clock was running."""
        self.reach(_ESTABLISHED)
        self.registrations.withdraw(EidPrefix.from_text("10.1.0.0/16"))
        self.written(0.0)
        self.mean("10.2.0.0/16", weight=5)
        self.written(14.0)
        self.assertEqual(self.session.next_timeout(), 29.0)

    def test_what_was_resent_and_then_withdrawn_closes_nothing(self) -> None:
        """And what comes next is resent before the session is given up."""
        self.hear(_REFRESH)
        self.hear(_ack("10.2.0.0/16"), now=0.0)
        self.assertEqual(self.fire(15.0), ["10.1.0.0/16"])
        self.registrations.withdraw(EidPrefix.from_text("10.1.0.0/16"))
        self.written(16.0)
        self.fire(30.0)
        self.assertIs(self.session.state, _ESTABLISHED)
        self.mean("10.2.0.0/16", weight=5)
        self.written(31.0)
        self.assertEqual(self.fire(46.0), ["10.2.0.0/16"])
        self.assertIs(self.session.state, _ESTABLISHED)


class ChunkingTests(EtrSessionCase):
    """The stream comes in any chunks."""

    _STREAM = b"".join(
        (
            _REFRESH,
            _ack("10.1.0.0/16"),
            frame(65000, b"unknown"),
            _reject("10.2.0.0/16", 3),
            _NOTIFICATION,
            frame(20, b"\0"),
            _REFRESH_REJECTED,
            struct.pack("!HHI", 30000, 8, 0x9FACADE9),
            _ack("10.2.0.0/16"),
        )
    )

    def outcome(self, cuts: list[int]) -> tuple[object, ...]:
        """Return everything that can be seen after the stream came in these chunks."""
        self.setUp()
        output = b""
        places = sorted({0, len(self._STREAM), *cuts})
        for start, end in pairwise(places):
            self.session.receive_data(self._STREAM[start:end], 0.0)
        for _kind, _message_id, data in messages(self.session.data_to_send(0.0)):
            output += data[:4]
        counters = {name: n for name, n in self.session.counters.items() if n}
        entries = [(one.state, one.over_udp) for one in self.registrations.entries.values()]
        return output, counters, entries, self.heard, self.session.state

    def test_one_octet_at_a_time_is_the_same_as_all_at_once(self) -> None:
        """To the last counter."""
        expected = self.outcome([])
        self.assertEqual(self.outcome(list(range(len(self._STREAM)))), expected)

    @given(st.lists(st.integers(0, len(_STREAM)), max_size=20))
    def test_every_chunking_is_the_same(self, cuts: list[int]) -> None:
        """Hypothesis cuts."""
        self.assertEqual(self.outcome(cuts), self.outcome([]))
