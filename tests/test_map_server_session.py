"""The Map-Server's end of a session: every message in every state, and what a peer may cost."""

from __future__ import annotations

import itertools
import struct
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import publisher
from lispmsrt.mapping.database import Lease
from lispmsrt.mapping.likeness import MAX_LIKENESSES
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.session.base import CloseReason, Session, SessionState, SessionTimer
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh
from tests.builders import (
    ANY_IPV4,
    KEY,
    OTHER_KEY,
    SHA1_KEY,
    Answer,
    Etr,
    M,
    MapServer,
    Peer,
    R,
    Secret,
    T,
    answers,
    eid,
    frame,
    lcaf,
    locator,
    messages,
    record,
    site,
    sites,
)

_EID = "10.1.0.0/16"
_OTHER_EID = "10.2.0.0/16"
_ACK: Answer = ("ack", eid(_EID))
_OTHER_ACK: Answer = ("ack", eid(_OTHER_EID))
_REFRESH: Answer = ("refresh", 0, False, b"")
_STARTING, _ESTABLISHED, _CLOSED = SessionState
_UNRECOGNISED, _FORMAT = 1, 2


def _error(code: int, kind: int, data: bytes, message_id: int = 7) -> Answer:
    return "error", code, kind, len(data) + 12, message_id


class SessionCase(SynchronousTestCase):
    """One Map-Server, one ETR and its session."""

    limits = SessionLimits()

    def setUp(self) -> None:
        """Armed, connected, nothing registered on the session."""
        self.server = MapServer(
            sites((site(), ANY_IPV4), (site("shop", OTHER_KEY), "172.16.0.0/12")),
            limits=self.limits,
        )
        self.etr = Etr()
        self.peer = self.connect(self.etr)

    def connect(self, etr: Etr, now: float = 0.0) -> Peer:
        """Arm and connect."""
        self.assertEqual(len(self.server.hear(etr, etr.map_register(record(_OTHER_EID)), now)), 1)
        peer = self.server.connect("192.0.2.1", now)
        self.assertEqual(peer.pull(now), [_REFRESH])
        return peer

    def establish(self, now: float = 0.0) -> None:
        """Register one EID-prefix."""
        self.assertEqual(self.register(record(_EID), now=now), [_ACK])

    def register(
        self,
        *records: bytes,
        etr: Etr | None = None,
        flags: int = M,
        now: float = 0.0,
        key: Secret | None = None,
    ) -> list[Answer]:
        """Send Registrations of one record each."""
        etr = etr or self.etr
        frames = [etr.registration(one, flags=flags, key=key) for one in records]
        return self.peer.send(*frames, now=now)

    def assert_state(self, state: SessionState) -> None:
        """Where the session is."""
        self.assertIs(self.peer.session.state, state)

    def assert_closed(self, reason: CloseReason) -> None:
        """Why it ended, and that nothing is left to wait for."""
        self.assert_state(_CLOSED)
        self.assertIs(self.peer.session.close_reason, reason)
        self.assertIsNone(self.peer.session.next_timeout())


class CertificateTests(SynchronousTestCase):
    """An xTR that must show a certificate."""

    def setUp(self) -> None:
        self.etr, self.free = Etr(), Etr("192.0.2.2", xtr_id=2)
        demanded = {self.etr.ids[:16]: frozenset({"etr1.example.net", "sha256:ab"})}
        self.server = MapServer(sites((site(certificates=demanded), ANY_IPV4)))

    def _connect(self, etr: Etr, address: str, *proven: str) -> Peer:
        self.assertTrue(self.server.hear(etr, etr.map_register(record(_OTHER_EID))))
        peer = self.server.connect(address, 0.0, *proven)
        self.assertEqual(peer.pull(), [_REFRESH])
        return peer

    def test_one_of_its_certificates_makes_the_session_its_own(self) -> None:
        """A name or a pin."""
        for proven in ("etr1.example.net", "sha256:ab"):
            peer = self._connect(self.etr, "192.0.2.1", "other", proven)
            self.assertEqual(peer.send(self.etr.registration(record(_EID))), [_ACK])

    def test_without_it_the_session_is_not_the_xtrs(self) -> None:
        """A Rejection with reason 2 and the end; the session that is there lives on."""
        right = self._connect(self.etr, "192.0.2.1", "etr1.example.net")
        right.send(self.etr.registration(record(_EID)))
        for proven in ((), ("etr2.example.net",)):
            wrong = self._connect(self.etr, "192.0.2.1", *proven)
            answer = wrong.send(self.etr.registration(record(_EID)))
            self.assertEqual(answer, [("reject", 2, eid(_EID))])
            self.assertEqual(wrong.session.counters["certificate not of the xTR"], 1)
            self.assertIsNone(wrong.session.lease)
            self.assertIs(wrong.session.close_reason, CloseReason.CERTIFICATE)
        self.assertIs(right.session.state, _ESTABLISHED)
        self.assertEqual(self.server.holder(_EID), right.session.lease)

    def test_an_xtr_that_is_not_tied_needs_none(self) -> None:
        """It may have one."""
        for proven in ((), ("anything",)):
            peer = self._connect(self.free, "192.0.2.2", *proven)
            self.assertEqual(peer.send(self.free.registration(record(_EID))), [_ACK])


class EveryMessageTests(SessionCase):
    """Every pair of state and message type."""

    _DATA = b"whatever it is"

    EXPECTED: ClassVar[dict[tuple[SessionState, int], str]] = {
        (_STARTING, 16): "silence",
        (_STARTING, 17): "ack",
        (_ESTABLISHED, 16): "silence",
        (_ESTABLISHED, 17): "ack",
        **{
            (state, kind): "unrecognised"
            for state in (_STARTING, _ESTABLISHED)
            for kind in (*range(18, 31), 31, 65000, 0, 15, 65535)
        },
        **{(_CLOSED, kind): "silence" for kind in (*range(16, 32), 65000, 0, 15, 65535)},
    }

    def test_walk(self) -> None:
        """Against the table; the session goes on wherever it was open."""
        for (state, kind), expected in self.EXPECTED.items():
            self.setUp()
            if state is not _STARTING:
                self.establish()
            if state is _CLOSED:
                self.peer.session.close(CloseReason.CLEARED, 0.0)
            self.peer.pull()
            self._try(kind, expected)
            if kind == 17 and state is _STARTING:
                state = _ESTABLISHED
            self.assert_state(state)

    def _try(self, kind: int, expected: str) -> None:
        registration = self.etr.registration(record(_EID))
        message = registration if kind == 17 else frame(kind, self._DATA, 99)
        found = self.peer.send(message)
        answer = {
            "silence": [],
            "ack": [_ACK],
            "unrecognised": [_error(_UNRECOGNISED, kind, self._DATA, 99)],
        }[expected]
        self.assertEqual(found, answer, f"type {kind}")

    def test_table_is_complete(self) -> None:
        """Nothing was forgotten."""
        for state in SessionState:
            for kind in (*range(16, 31), 31, 65000):
                self.assertIn((state, kind), self.EXPECTED)


class RegistrationTests(SessionCase):
    """Layouts and what a Registration means."""

    def test_start_asks_for_everything(self) -> None:
        """Scope 0, exactly 15 octets, message IDs from 1."""
        etr = Etr(xtr_id=2)
        self.server.hear(etr, etr.map_register(record(_OTHER_EID)))
        data = self.server.connect("192.0.2.1").session.data_to_send(0.0)
        self.assertEqual(data.hex(), "0014000f" + "00000001" + "000000" + "9facade9")
        self.assertEqual(self.register(record(_EID)), [_ACK])

    def test_message_ids_count_our_own_messages(self) -> None:
        """Whatever the peer's are."""
        self.peer.send(self.etr.registration(record(_EID)))
        self.peer.session.receive_data(self.etr.registration(record(_EID)), 0.0)
        ((_, message_id, _),) = messages(self.peer.session.data_to_send(0.0))
        self.assertEqual(message_id, 3)
        self.peer.session._next_id = 0xFFFFFFFF
        for expected in (0xFFFFFFFF, 0):
            self.peer.session.receive_data(self.etr.registration(record(_EID)), 0.0)
            ((_, message_id, _),) = messages(self.peer.session.data_to_send(0.0))
            self.assertEqual(message_id, expected)

    def test_answers_come_in_order_and_echo_the_form_received(self) -> None:
        """Instance 0 in an LCAF, host bits, names: octet by octet."""
        self.server.registrar.reconfigure(
            sites((site(), ANY_IPV4), (site("n"), "name:printer"), (site("m"), "2001:db8::/32"))
        )
        self.peer.pull()
        forms = [eid(_EID), eid(_EID, 0), eid("10.1.9.9/16"), eid("192.0.2.0/24")]
        found = self.register(*map(record, forms))
        self.assertEqual(found, [*(("ack", form) for form in forms[:3]), ("reject", 1, forms[3])])

    def test_ttl_0_is_acknowledged(self) -> None:
        """And withdraws."""
        self.establish()
        self.assertEqual(self.register(record(_EID, ttl=0)), [_ACK])
        self.assertIsNone(self.server.at(_EID))
        self.assertEqual(self.register(record(_EID, ttl=0)), [_ACK])

    def test_ttl_0_may_come_first(self) -> None:
        """An ETR whose last EID went while it connected."""
        self.assertEqual(self.register(record(_EID, ttl=0)), [_ACK])
        self.assert_state(_ESTABLISHED)

    def test_every_reason_of_rejection(self) -> None:
        """The session goes on."""
        strict = site(allowed=("192.0.2.0/24",))
        self.server.registrar.reconfigure(sites((strict, ANY_IPV4)))
        self.establish()
        odd = b"\0" + lcaf(200, b"x")
        unknown_key_id = Secret(9, 2, KEY.secret)
        wrong_algorithm = Secret(1, 1, KEY.secret)
        self.assertEqual(
            self.register(record("192.0.2.0/24")), [("reject", 1, eid("192.0.2.0/24"))]
        )
        for key in (OTHER_KEY, unknown_key_id, wrong_algorithm):
            self.assertEqual(self.register(record(_EID), key=key), [("reject", 2, eid(_EID))])
        outside = record(_EID, locator("198.51.100.1"))
        self.assertEqual(self.register(outside), [("reject", 3, eid(_EID))])
        self.assertEqual(self.register(record(odd)), [("reject", 4, odd)])
        odd_name = b"\x08" + eid("name:printer")[1:]
        self.assertEqual(self.register(record(odd_name)), [("reject", 4, odd_name)])
        self.assertEqual(self.register(record(_EID)), [_ACK])

    def test_two_records_or_none_are_discarded_whole(self) -> None:
        """Error Notification (format error); nothing is registered, the session goes on."""
        self.peer.pull()
        for state in (_STARTING, _ESTABLISHED):
            for records in ((record("10.3.0.0/16"), record("10.4.0.0/16")), ()):
                message = self.etr.registration(*records)
                self.assertEqual(self.peer.send(message), [_error(_FORMAT, 17, message[12:])])
            self.assert_state(state)
            self.establish()
        self.assertIsNone(self.server.at("10.3.0.0/16"))

    def test_oversized_registrations_are_discarded(self) -> None:
        """One octet more than the limit."""
        self.establish()
        plain = record(_EID)
        for size, ok in ((8192, True), (8193, False)):
            rest = size - len(self.etr.map_register(plain)) - 14
            filler = locator(lcaf(200, bytes(rest)))
            message = self.etr.registration(record(_EID, locator(), filler))
            self.assertEqual(len(message), size + 12)
            expected = _ACK if ok else _error(_FORMAT, 17, message[12:])
            self.assertEqual(self.peer.send(message), [expected])

    def test_broken_map_registers_are_format_errors(self) -> None:
        """Cut at every octet."""
        self.peer.pull()
        whole = self.etr.map_register(record(_EID))
        for size in range(len(whole)):
            self.peer.session._error_tokens = 10.0
            message = frame(17, whole[:size])
            self.assertEqual(self.peer.send(message), [_error(_FORMAT, 17, whole[:size])])
        self.assert_state(_STARTING)
        notify = frame(17, b"\x40" + whole[1:])
        self.assertEqual(self.peer.send(notify), [_error(_FORMAT, 17, whole)])

    def test_an_error_notification_quotes_the_beginning(self) -> None:
        """64 octets of what offended."""
        self.peer.pull()
        self.peer.session.receive_data(frame(31, bytes(range(200)), 5), 0.0)
        ((_, _, body),) = messages(self.peer.session.data_to_send(0.0))
        self.assertEqual(body[:12], struct.pack("!B3xHHI", _UNRECOGNISED, 31, 212, 5))
        self.assertEqual(body[12:], bytes(range(64)))

    def test_r_on_the_session_arms_nobody(self) -> None:
        """It is ignored there, and no Map-Notify is sent."""
        self.establish()
        self.assertEqual(self.register(record(_EID), flags=R | M), [_ACK])
        self.assertFalse(self.server.armory.admits(self.etr.source[0], 0.0))
        self.assertEqual(self.server.control.datagrams_to_send(0.0), [])

    def test_nonces_are_not_compared_on_the_session(self) -> None:
        """The MAC is."""
        message = frame(17, self.etr.map_register(record(_EID), nonce=1))
        self.peer.pull()
        self.assertEqual(self.peer.send(message, message), [_ACK, _ACK])

    @given(st.data())
    def test_every_chunking_gives_the_same(self, data: st.DataObject) -> None:
        """Octet by octet or all at once."""
        etr = Etr()
        stream = b"".join(
            (
                etr.registration(record(_EID)),
                frame(31, b"x"),
                etr.registration(record(_EID, ttl=0)),
                struct.pack("!HHI", 31, 8, 0x9FACADE9),
                etr.registration(record("192.0.2.0/24")),
            )
        )
        cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=9)))
        found = []
        for pieces in ([0, len(stream)], [0, *cuts, len(stream)]):
            self.setUp()
            for begin, end in itertools.pairwise(pieces):
                self.peer.session.receive_data(stream[begin:end], 0.0)
            found.append(self.peer.pull())
        self.assertEqual(found[0], found[1])
        self.assertEqual([answer[0] for answer in found[0]].count("error"), 2)


class BindingTests(SessionCase):
    """Arming 5 to 9."""

    def test_probation(self) -> None:
        """30 seconds without a valid Registration, whatever else is sent."""
        for now in (5.0, 15.0, 29.0):
            self.register(record(_EID), key=OTHER_KEY, now=now)
        self.assertEqual(self.peer.session.next_timeout(), 30.0)
        self.peer.session.handle_timeout(29.9)
        self.assert_state(_STARTING)
        self.peer.wait(30.0)
        self.assert_closed(CloseReason.NO_REGISTRATION)

    def test_probation_ends_with_a_valid_registration(self) -> None:
        """After that an idle session stays."""
        self.establish(now=29.0)
        self.assertIsNone(self.peer.session.next_timeout())
        self.peer.wait(1e6)
        self.assert_state(_ESTABLISHED)

    def test_an_unarmed_xtr_is_rejected_and_may_not_stay(self) -> None:
        """It knows the key, but has not authenticated over UDP."""
        self.peer.pull()
        found = self.register(record(_EID), etr=Etr(xtr_id=2))
        self.assertEqual(found, [("reject", 4, eid(_EID))])
        self.assert_state(_STARTING)
        self.assertEqual(self.peer.session.counters["not armed"], 1)
        self.assertEqual(self.register(record(_EID)), [_ACK])

    def test_another_xtr_on_a_bound_session_is_rejected(self) -> None:
        """Even if it is armed itself; what the bound one registered stays."""
        self.establish()
        other = Etr(xtr_id=2)
        self.connect(other)
        for one in (record("10.9.0.0/16"), record(_EID, ttl=0)):
            found = self.register(one, etr=other)
            self.assertEqual(found[0][:2], ("reject", 4))
        self.assertIs(self.server.holder(_EID), self.peer.session.lease)
        self.assert_state(_ESTABLISHED)

    def test_another_site_on_a_bound_session_is_rejected(self) -> None:
        """The same xTR-ID under another site's key."""
        self.establish()
        shop = Etr(key=OTHER_KEY)
        found = self.register(record("172.16.0.0/12"), etr=shop)
        self.assertEqual(found, [("reject", 4, eid("172.16.0.0/12"))])

    def test_replacement_at_the_first_valid_registration(self) -> None:
        """Both stand until then; the old one ends, its registrations run for three minutes."""
        self.establish()
        self.register(record("10.3.0.0/16"))
        second = self.connect(self.etr, 100.0)
        for junk in (
            self.etr.registration(record(_EID), key=OTHER_KEY),
            frame(31, b""),
            self.etr.registration(),
            Etr(xtr_id=2).registration(record(_EID)),
        ):
            second.send(junk, now=100.0)
            self.assert_state(_ESTABLISHED)
            self.assertIs(self.server.holder(_EID), self.peer.session.lease)
        wakes = self.peer.wakes
        self.assertEqual(second.send(self.etr.registration(record(_EID)), now=100.0), [_ACK])
        self.assert_closed(CloseReason.REPLACED)
        self.assertGreater(self.peer.wakes, wakes)
        self.assertIs(self.server.holder(_EID), second.session.lease)
        found = self.server.at("10.3.0.0/16")
        assert found is not None
        self.assertEqual(found.expires, 280.0)
        self.server.registrar.expire(281.0)
        self.assertIsNone(self.server.at("10.3.0.0/16"))
        self.assertIsNotNone(self.server.at(_EID))

    def test_several_xtrs_behind_one_address(self) -> None:
        """Each keeps its session, in whatever order they register."""
        etrs = [Etr(xtr_id=number) for number in range(2, 6)]
        for etr in etrs:
            self.server.hear(etr, etr.map_register(record(_OTHER_EID)))
        peers = [self.server.connect("192.0.2.1") for _ in etrs]
        for number, (peer, etr) in enumerate(zip(peers, reversed(etrs), strict=True)):
            message = etr.registration(record(f"10.{number + 10}.0.0/16"))
            self.assertEqual(peer.send(message)[0][0], "ack")
        self.assertEqual({peer.session.state for peer in peers}, {_ESTABLISHED})

    def test_without_xtr_id(self) -> None:
        """Known by address: the session takes over what UDP registered."""
        etr = Etr("192.0.2.50", xtr_id=None)
        self.peer = self.server.bring_up(etr, record(_EID))
        self.assertEqual(len(self.server.changes), 2)
        self.assertIs(self.server.holder(_EID), self.peer.session.lease)
        found = self.register(record("10.3.0.0/16"), etr=Etr(xtr_id=7))
        self.assertEqual(found[0][:2], ("reject", 4))

    def test_loss_starts_the_clock(self) -> None:
        """And asks for UDP again before the next connection."""
        self.establish()
        self.peer.session.connection_lost(50.0)
        self.assert_closed(CloseReason.CONNECTION_LOST)
        self.assertFalse(self.server.armory.admits(self.etr.source[0], 50.0))
        self.server.registrar.expire(229.0)
        self.assertIsNotNone(self.server.at(_EID))
        self.server.registrar.expire(231.0)
        self.assertIsNone(self.server.at(_EID))

    def test_t_bit_counts_after_loss_only(self) -> None:
        """One minute."""
        self.register(record(_EID, ttl=1), flags=T)
        self.server.registrar.expire(5000.0)
        self.peer.session.connection_lost(5000.0, cleanly=True)
        self.assert_closed(CloseReason.PEER_CLOSED)
        self.server.registrar.expire(5061.0)
        self.assertIsNone(self.server.at(_EID))

    def test_nothing_is_left_of_an_unbound_session(self) -> None:
        """Lost before it registered anything."""
        self.peer.session.connection_lost(1.0)
        self.assertEqual(self.server.armory._claimed, 0)
        self.assertIsNone(self.peer.session.lease)

    def test_a_refused_first_registration_binds(self) -> None:
        """It is authentic: the xTR is known, only its record is not wanted."""
        strict = site(allowed=("192.0.2.0/24",))
        self.server.registrar.reconfigure(sites((strict, ANY_IPV4)))
        self.peer.pull()
        found = self.register(record(_EID, locator("198.51.100.1")))
        self.assertEqual(found, [("reject", 3, eid(_EID))])
        self.assert_state(_ESTABLISHED)


class NewsTests(SessionCase):
    """Mapping Notifications."""

    def setUp(self) -> None:
        """Two sessions, the first with a covering prefix."""
        super().setUp()
        self.other = self.connect(Etr(xtr_id=2))
        self.register(record(ANY_IPV4))
        self.peer.pull()

    def other_registers(self, *records: bytes) -> list[Answer]:
        """From the second session."""
        etr = Etr(xtr_id=2)
        return self.other.send(*(etr.registration(one, flags=0) for one in records))

    def test_who_asked_hears_and_the_maker_gets_its_ack(self) -> None:
        """With the IDs of who registered."""
        wakes = self.peer.wakes
        self.assertEqual(self.other_registers(record(_EID))[-1], _ACK)
        self.assertGreater(self.peer.wakes, wakes)
        self.assertEqual(self.peer.pull(), [("notification", Etr(xtr_id=2).ids, record(_EID))])
        self.assertEqual(self.register(record(_EID)), [_ACK])
        self.assertEqual(self.other.pull(), [])

    def test_ack_comes_before_news(self) -> None:
        """Of the same pull."""
        self.other_registers(record(_EID))
        found = self.register(record("10.9.0.0/16"))
        self.assertEqual([answer[0] for answer in found], ["ack", "notification"])

    def test_news_leave_in_portions(self) -> None:
        """max_output at one go; the session asks to be called again."""
        big = [
            record(f"10.{number}.0.0/16", locator(lcaf(200, bytes(4000)))) for number in range(200)
        ]
        for one in big:
            self.other_registers(one)
        sizes = []
        while self.server.news.has_news(self.lease()):
            wakes = self.peer.wakes
            data = self.peer.session.data_to_send(0.0)
            sizes.append(len(answers(data)))
            self.assertLess(len(data), self.limits.max_output + 64 * 8192)
            self.assertEqual(self.peer.wakes > wakes, self.server.news.has_news(self.lease()))
        self.assertEqual(sum(sizes), 200)
        self.assertGreater(len(sizes), 2)

    def test_a_portion_may_be_all(self) -> None:
        """Then nobody is woken for nothing."""
        self.peer.session._limits = SessionLimits(max_output=1)
        self.other_registers(record(_EID))
        wakes = self.peer.wakes
        self.assertEqual(len(self.peer.pull()), 1)
        self.assertEqual(self.peer.wakes, wakes)

    def lease(self) -> Lease:
        """The first session's."""
        lease = self.peer.session.lease
        assert lease is not None
        return lease

    def test_an_unread_mountain_of_news_ends_the_session(self) -> None:
        """It is better off starting again."""
        self.patch(publisher, "MAX_PENDING", 5)
        self.peer.session.output_paused(0.0)
        self.other_registers(*(record(f"10.{number}.0.0/16") for number in range(7)))
        self.peer.session.output_resumed()
        self.assertEqual(self.peer.pull(), [])
        self.assert_closed(CloseReason.NOT_READING)
        self.assertEqual(self.server.news._pending, {})

    def test_a_closed_session_hears_nothing(self) -> None:
        """Nothing is kept for it."""
        self.other_registers(record(_EID))
        self.peer.session.close(CloseReason.SHUTDOWN, 0.0)
        self.other_registers(record("10.3.0.0/16"))
        self.assertEqual(self.peer.pull(), [])
        self.assertEqual(self.server.news._pending, {})


class RefreshTests(SessionCase):
    """Registration Refresh, Rejection as withdrawal, confirmation on demand."""

    def setUp(self) -> None:
        """Established, nothing pending."""
        super().setUp()
        self.establish()
        self.register(record("10.3.0.0/16"))

    def refresh(self, *wanted: tuple[int, bool, str | None]) -> list[Answer]:
        """Ask for several and pull them."""
        for scope, rejected_only, text in wanted:
            prefix = None if text is None else EidPrefix.from_text(text)
            self.peer.session.refresh(RegistrationRefresh(scope, rejected_only, prefix))
        return self.peer.pull()

    def test_scope_0_absorbs_all_others(self) -> None:
        """Before and after, R included, itself included."""
        narrow = (4, False, _EID)
        everything, rejected = (0, False, None), (0, True, None)
        for wanted in (
            (everything, narrow, rejected),
            (narrow, rejected, everything),
            (everything, everything),
        ):
            self.assertEqual(self.refresh(*wanted), [_REFRESH])

    def test_r_absorbs_only_itself(self) -> None:
        """Who asks for what was rejected does not ask for the rest."""
        found = self.refresh((4, False, _EID), (0, True, None), (0, True, None))
        self.assertEqual(found, [("refresh", 4, False, eid(_EID)), ("refresh", 0, True, b"")])

    def test_equal_ones_are_sent_once(self) -> None:
        """Others each, in their order."""
        found = self.refresh((4, False, _EID), (3, False, ANY_IPV4), (4, False, _EID))
        self.assertEqual([answer[1] for answer in found], [4, 3])

    def test_too_many_become_one_of_everything(self) -> None:
        """64 may wait."""
        narrow = [(int(RefreshScope.EXACT), False, f"10.{n}.0.0/16") for n in range(65)]
        self.assertEqual(len(self.refresh(*narrow[:64])), 64)
        self.assertEqual(self.refresh(*narrow), [_REFRESH])

    def test_withdrawal(self) -> None:
        """A later Rejection, in the form that was registered."""
        self.register(record(eid("10.3.0.0/16", 0), ttl=7))
        self.server.registrar.reconfigure(sites((site(), _EID)))
        (withdrawals,) = self.server.registrar.reexamine()
        mine = [one for one in withdrawals if one.lease is self.peer.session.lease]
        self.assertEqual(len(mine), 1)
        self.peer.session.withdraw(mine[0].record, mine[0].reason)
        self.assertEqual(self.peer.pull()[0], ("reject", 1, eid("10.3.0.0/16", 0)))
        self.assertIsNone(self.server.at("10.3.0.0/16"))

    def test_withdrawal_of_rlocs(self) -> None:
        """Reason 3."""
        strict = site(allowed=("198.51.100.0/24",))
        self.server.registrar.reconfigure(sites((strict, ANY_IPV4)))
        for some in self.server.registrar.reexamine():
            for withdrawal in some:
                if withdrawal.lease is self.peer.session.lease:
                    self.peer.session.withdraw(withdrawal.record, withdrawal.reason)
        found = [answer for answer in self.peer.pull() if answer[0] == "reject"]
        self.assertEqual({answer[1] for answer in found}, {3})
        self.assertEqual(len(found), 2)

    def test_a_changed_key_demands_confirmation(self) -> None:
        """Refresh; what is confirmed stays, what is not ends after 180 s, as does the rejected."""
        new = Secret(1, 2, b"new")
        self.register(record("10.4.0.0/16"))
        self.server.registrar.reconfigure(sites((site("office", new), ANY_IPV4)))
        self.peer.session.demand_confirmation(1000.0)
        self.assertEqual(self.peer.pull(1000.0), [_REFRESH])
        self.assertEqual(self.register(record(_EID), key=new, now=1001.0), [_ACK])
        rejected = self.register(record("10.4.0.0/16"), now=1001.0)
        self.assertEqual(rejected, [("reject", 2, eid("10.4.0.0/16"))])
        self.assertIsNone(self.server.at("10.4.0.0/16"))
        self.server.registrar.expire(1179.0)
        self.assertIsNotNone(self.server.at("10.3.0.0/16"))
        self.server.registrar.expire(1181.0)
        self.assertIsNone(self.server.at("10.3.0.0/16"))
        self.assertIs(self.server.holder(_EID), self.peer.session.lease)
        self.assertIsNone(self.server.registrar.next_expiry())
        self.assert_state(_ESTABLISHED)

    def test_confirmation_before_anything_was_registered(self) -> None:
        """A Refresh, no more."""
        self.peer = self.connect(self.etr)
        self.peer.session.demand_confirmation(0.0)
        self.assertEqual(self.peer.pull(), [_REFRESH])

    def test_news_survive_a_demanded_confirmation(self) -> None:
        """They are about mappings, not about keys."""
        self.register(record(ANY_IPV4))
        etr = Etr(xtr_id=2)
        other = self.connect(etr)
        other.send(etr.registration(record("10.7.0.0/16")))
        self.peer.session.demand_confirmation(0.0)
        other.send(etr.registration(record("10.8.0.0/16")))
        kinds = [answer[0] for answer in self.peer.pull()]
        self.assertEqual(kinds.count("notification"), 2 + 1)  # and the Map-Register over UDP

    def test_a_closed_session_is_asked_for_nothing(self) -> None:
        """And grows no new lease."""
        lease = self.peer.session.lease
        self.peer.session.close(CloseReason.SHUTDOWN, 5.0)
        self.peer.session.demand_confirmation(100.0)
        self.peer.session.withdraw(record(_EID), Verdict.OTHER)
        self.assertEqual(self.refresh((0, False, None)), [])
        self.assertIs(self.peer.session.lease, lease)
        found = self.server.at(_EID)
        assert found is not None
        self.assertEqual(found.expires, 185.0)


class LimitTests(SessionCase):
    """What one peer may cost."""

    def test_error_notifications_are_rate_limited(self) -> None:
        """Ten at once, then one a second; never more than ten saved up."""
        self.peer.pull()
        junk = frame(31, b"junk")
        self.assertEqual(len(self.peer.send(*[junk] * 50)), 10)
        self.assertEqual(len(self.peer.send(*[junk] * 5, now=0.9)), 0)
        self.assertEqual(len(self.peer.send(*[junk] * 5, now=2.0)), 2)
        self.assertEqual(len(self.peer.send(*[junk] * 50, now=1e6)), 10)
        self.assertEqual(self.peer.session.counters["unsupported in"], 110)
        self.assertEqual(self.peer.session.counters["errors suppressed"], 110 - 22)

    def test_malformed_ones_share_the_limit(self) -> None:
        """Junk is junk."""
        self.peer.pull()
        self.assertEqual(len(self.peer.send(*[frame(17, b"junk")] * 50)), 10)

    def test_an_error_notification_is_never_answered(self) -> None:
        """However broken."""
        self.peer.pull()
        for data in (b"", b"short", struct.pack("!B3xHHI", 1, 17, 40, 3) + b"quoted"):
            self.assertEqual(self.peer.send(frame(16, data)), [])
        self.assertEqual(self.peer.session.counters["errors in"], 3)
        self.assertEqual(self.peer.session.counters["malformed errors in"], 2)

    def test_a_header_without_its_message(self) -> None:
        """A minute, however slowly octets drip."""
        self.establish()
        header = struct.pack("!HHI", 17, 1000, 1)
        self.peer.session.receive_data(header, 100.0)
        for now in range(101, 160, 10):
            self.peer.session.receive_data(b"x", float(now))
        self.assertEqual(self.peer.session.next_timeout(), 160.0)
        self.peer.wait(160.0)
        self.assert_closed(CloseReason.MESSAGE_TIMEOUT)

    def test_progress_gives_the_next_message_its_own_minute(self) -> None:
        """And a complete one stops the clock."""
        self.establish()
        message = self.etr.registration(record(_EID))
        self.peer.session.receive_data(message[:9], 100.0)
        self.peer.session.receive_data(message[9:] + message[:9], 150.0)
        self.assertEqual(self.peer.session.next_timeout(), 210.0)
        self.peer.session.receive_data(message[9:], 200.0)
        self.assertIsNone(self.peer.session.next_timeout())

    def test_unreadable_streams(self) -> None:
        """Wrong marker, lengths that can't be: Error Notification, then the end."""
        good = frame(31, b"abcd", 3)
        for broken, length, message_id in (
            (good[:-1] + b"\0", 16, 3),
            (struct.pack("!HHI", 31, 7, 3), 7, 3),
            (struct.pack("!HHI", 31, 11, 3), 11, 3),
            (struct.pack("!HHI", 31, 8, 3), 8, 0),
        ):
            self.setUp()
            self.peer.pull()
            found = self.peer.send(self.etr.registration(record(_EID)), broken, good)
            self.assertEqual(found, [_ACK, ("error", _FORMAT, 31, length, message_id)])
            self.assert_closed(CloseReason.UNREADABLE_STREAM)
            self.assertEqual(self.peer.send(good), [])

    def test_an_unreadable_stream_without_a_word_left_to_say(self) -> None:
        """The limit holds here too."""
        self.peer.pull()
        self.peer.send(*[frame(31, b"")] * 10)
        self.assertEqual(self.peer.send(struct.pack("!HHI", 31, 7, 3)), [])
        self.assert_closed(CloseReason.UNREADABLE_STREAM)

    def test_a_message_of_eight_octets_is_tolerated(self) -> None:
        """The text's smallest: no message ID."""
        self.peer.pull()
        found = self.peer.send(struct.pack("!HHI", 31, 8, 0x9FACADE9))
        self.assertEqual((found[0][:3], found[0][4]), (("error", _UNRECOGNISED, 31), 0))
        self.assert_state(_STARTING)

    def test_a_peer_that_never_reads(self) -> None:
        """Nothing of our own is built for it; a minute later it is given up."""
        self.register(record(ANY_IPV4))
        etr = Etr(xtr_id=2)
        other = self.connect(etr)
        self.peer.pull()
        self.peer.session.output_paused(100.0)
        for number in range(50):
            other.send(etr.registration(record(f"10.{number}.0.0/16")))
            self.peer.session.refresh(RegistrationRefresh(RefreshScope.EVERYTHING))
            self.assertEqual(self.peer.session.data_to_send(110.0), b"")
        self.assertEqual(self.register(record(_EID), now=120.0), [_ACK])
        self.assertEqual(self.peer.session.next_timeout(), 160.0)
        self.peer.wait(160.0)
        self.assert_closed(CloseReason.NOT_READING)

    def test_a_peer_that_reads_again(self) -> None:
        """Everything follows, coalesced; the clock stops."""
        self.establish()
        self.peer.session.output_paused(100.0)
        for _ in range(50):
            self.peer.session.refresh(RegistrationRefresh(RefreshScope.EVERYTHING))
        self.peer.session.output_resumed()
        self.assertIsNone(self.peer.session.next_timeout())
        self.assertEqual(self.peer.pull(), [_REFRESH])

    def test_two_deadlines_at_once_close_once(self) -> None:
        """The first reason counts."""
        self.peer.session.output_paused(0.0)
        self.peer.session.receive_data(b"\0", 0.0)
        self.peer.session.handle_timeout(1000.0)
        self.assert_closed(CloseReason.NO_REGISTRATION)
        self.peer.session.close(CloseReason.CLEARED, 1000.0)
        self.assert_closed(CloseReason.NO_REGISTRATION)

    def test_what_was_queued_may_still_leave(self) -> None:
        """An answer given before the end."""
        self.peer.pull()
        self.peer.session.receive_data(self.etr.registration(record(_EID)), 0.0)
        self.peer.session.close(CloseReason.SHUTDOWN, 0.0)
        self.assertEqual(self.peer.pull(), [_ACK])
        self.assertEqual(self.peer.pull(), [])

    def test_an_error_of_session_scope_ends_it(self) -> None:
        """The strongest rung of the ladder; later messages of the chunk are not looked at."""

        def walk(chunk: bytes, start: int, end: int) -> None:
            raise WireError("beyond repair", ErrorScope.SESSION)

        self.patch(self.peer.session, "_walk", walk)
        self.peer.pull()
        message = self.etr.registration(record(_EID))
        self.assertEqual(self.peer.send(message, message), [_error(_FORMAT, 17, message[12:])])
        self.assert_closed(CloseReason.UNREADABLE_STREAM)

    def test_counters(self) -> None:
        """What an operator sees."""
        self.peer.pull()
        message = self.etr.registration(record(_EID))
        self.peer.send(message, frame(31, b""))
        counters = self.peer.session.counters
        self.assertEqual(counters["octets in"], len(message) + 12)
        self.assertEqual((counters["messages in"], counters["messages out"]), (2, 3))
        self.assertEqual(counters["octets out"], 15 + 19 + 24)

    def test_without_sites_everything_is_rejected(self) -> None:
        """Reason 1, on an established session too."""
        self.establish()
        self.server.registrar.reconfigure(Sites())
        self.assertEqual(self.register(record(_EID))[0], ("reject", 1, eid(_EID)))


class RunTests(SessionCase):
    """Registrations alike are taken together; nobody can tell but by the clock."""

    def setUp(self) -> None:
        """Two Map-Servers, one of which takes every Registration by itself."""
        super().setUp()
        self.calls = 0
        register = self.server.registrar.register

        def counted(*arguments: Any) -> Verdict:
            self.calls += 1
            return register(*arguments)

        self.patch(self.server.registrar, "register", counted)

    def configured(self) -> Sites:
        """Prefixes inside prefixes, several families, restricted RLOCs, two keys of one ID."""
        office = site("office", KEY, Secret(1, 2, b"new"), SHA1_KEY)
        strict = site("office", KEY, allowed=("192.0.2.0/24",))
        made = [
            SitePrefix.of(office, EidPrefix.from_text("10.0.0.0/8"), True),
            SitePrefix.of(office, EidPrefix.from_text("10.64.0.0/10"), True),
            SitePrefix.of(office, EidPrefix.from_text("10.128.0.0/16")),
            SitePrefix.of(office, EidPrefix.from_text("172.16.0.0/16"), True),
            SitePrefix.of(strict, EidPrefix.from_text("172.17.0.0/16"), True),
            SitePrefix.of(office, EidPrefix.from_text("172.16.0.0/16", 5), True),
            SitePrefix.of(office, EidPrefix.from_text("2001:db8::/32"), True),
            SitePrefix.of(office, EidPrefix.from_text("02:00:00:00:00:00/8"), True),
            SitePrefix.of(office, EidPrefix.from_text("name:printer"), True),
        ]
        return Sites(made)

    def test_registrations_alike_are_taken_together(self) -> None:
        """Only the first goes the long way; what was registered over UDP (10.2.0.0/16) is
        confirmed.
        """
        records = [record(f"10.{number}.0.0/16") for number in range(20)]
        expected = [("ack", eid(f"10.{number}.0.0/16")) for number in range(20)]
        self.assertEqual(self.register(*records), expected)
        self.assertEqual(self.calls, 1)
        self.assertEqual(self.register(*records), expected)
        self.assertEqual(self.calls, 1)

    def test_what_differs_goes_the_long_way(self) -> None:
        """Withdrawals, other flags, other sizes, prefixes outside; then on as before."""
        self.register(record(_EID))
        wide = eid(_EID)
        odd = bytes((33,)) + wide[1:]
        self.peer.send(*(self.etr.registration(record(f"10.{n}.0.0/16")) for n in range(5)))
        self.assertEqual(self.register(record(_EID, ttl=0), record(_EID)), [_ACK, _ACK])
        self.assertIsNotNone(self.server.at(_EID))
        self.assertEqual(self.register(record("192.0.2.0/24"))[0][:2], ("reject", 1))
        self.assertEqual(self.register(record("0.0.0.0/0"))[0][:2], ("reject", 1))
        self.assertEqual(self.register(record(odd))[0][:3], ("error", _FORMAT, 17))
        self.assertEqual(self.register(record(_EID), flags=0), [_ACK])
        found = self.server.at(_EID)
        assert found is not None
        self.assertFalse(found.wants_notification)

    def test_a_wrong_mac_in_the_middle(self) -> None:
        """Rejected; those around it are not."""
        self.register(record(_EID))
        frames = [self.etr.registration(record(f"10.{n}.0.0/16")) for n in range(3, 6)]
        frames[1] = frames[1][:40] + bytes((frames[1][40] ^ 1,)) + frames[1][41:]
        self.assertEqual(
            [answer[0] for answer in self.peer.send(*frames)], ["ack", "reject", "ack"]
        )
        self.assertIsNone(self.server.at("10.4.0.0/16"))

    def test_another_xtr_in_the_middle(self) -> None:
        """Its ID is covered, and not the one that the session is bound to."""
        self.register(record(_EID))
        others = Etr(xtr_id=2).registration(record("10.4.0.0/16"))
        mine = self.etr.registration(record("10.5.0.0/16"))
        self.assertEqual([answer[0] for answer in self.peer.send(others, mine)], ["reject", "ack"])

    def test_the_same_octets_under_another_message_type(self) -> None:
        """Are no Registration."""
        self.register(record(_EID))
        data = self.etr.map_register(record("10.4.0.0/16"), flags=M)
        self.assertEqual(self.peer.send(frame(31, data)), [_error(_UNRECOGNISED, 31, data)])
        self.assertIsNone(self.server.at("10.4.0.0/16"))

    def test_another_instance_of_the_same_size(self) -> None:
        """Is another EID."""
        self.server.registrar.reconfigure(self.configured())
        places = [(5, 1), (5, 2), (0, 3), (5, 4), (0, 5), (0, 6), (0, 1)]
        records = [record(f"172.16.{n}.0/24", instance_id=instance) for instance, n in places]
        self.assertEqual([answer[0] for answer in self.register(*records)], ["ack"] * 7)
        for instance_id in (0, 5):
            for n in range(8):
                found = self.server.at(f"172.16.{n}.0/24", instance_id)
                self.assertEqual(found is not None, (instance_id, n) in places)

    def test_a_configured_prefix_inside_another(self) -> None:
        """It has rules of its own."""
        self.server.registrar.reconfigure(self.configured())
        self.register(record("10.1.0.0/16"))
        found = self.register(
            record("10.2.0.0/16"), record("10.128.1.0/24"), record("10.128.0.0/16")
        )
        self.assertEqual(
            found[:3],
            [_OTHER_ACK, ("reject", 1, eid("10.128.1.0/24")), ("ack", eid("10.128.0.0/16"))],
        )

    def test_withdrawals_one_after_the_other(self) -> None:
        """Also of what is not registered: nothing is, afterwards."""
        self.register(record(_EID), record(_OTHER_EID))
        gone = [record(f"10.{n}.0.0/16", ttl=0) for n in range(6)]
        for _ in range(2):
            found = self.register(*gone)
            self.assertEqual([answer[0] for answer in found], ["ack"] * 6)
            self.assertEqual(len(self.server.registrar.database), 0)

    def test_a_longer_prefix_than_the_address(self) -> None:
        """Signed as it may be: a format error."""
        self.register(record(_EID))
        for length in (33, 64, 255):
            odd = record(bytes((length,)) + eid("10.4.0.0/16")[1:])
            self.assertEqual(self.register(odd)[0][:3], ("error", _FORMAT, 17))

    def test_new_sites_end_every_likeness(self) -> None:
        """What was like what was good then need not be good now."""
        self.register(record(_EID), record("10.3.0.0/16"))
        self.server.registrar.reconfigure(sites((site("office", OTHER_KEY), ANY_IPV4)))
        self.assertEqual(self.register(record("10.4.0.0/16"))[0][:2], ("reject", 2))
        self.server.registrar.reconfigure(sites((site(), "10.4.0.0/16")))
        self.assertEqual(self.register(record("10.5.0.0/16"))[0][:2], ("reject", 1))

    def test_a_full_database(self) -> None:
        """Rejected in the middle of a run."""
        self.server = MapServer(max_registrations=3, limits=self.limits)
        self.peer = self.connect(self.etr)
        found = self.register(*(record(f"10.{n}.0.0/16") for n in range(4, 8)))
        self.assertEqual([answer[0] for answer in found], ["ack", "ack", "reject", "reject"])
        self.assertEqual(self.server.registrar.counters["refused, database full"], 2)

    def test_likenesses_are_bounded(self) -> None:
        """A peer with ever new sizes empties them, nothing more."""
        for size in range(40):
            self.register(record(_EID, locator(lcaf(200, bytes(size)))))
            lease = self.peer.session.lease
            assert lease is not None
            likenesses = self.server.registrar._likenesses
            self.assertLessEqual(len(likenesses[lease]), MAX_LIKENESSES)
        self.peer.session.connection_lost(0.0)
        self.assertEqual(likenesses, {})

    def test_what_another_xtr_took_meanwhile(self) -> None:
        """Is taken back: the newest replaces."""
        self.register(record(_EID), record("10.3.0.0/16"))
        other = Etr(xtr_id=2)
        self.server.hear(other, other.map_register(record("10.3.0.0/16")))
        self.register(record(_EID), record("10.3.0.0/16"))
        self.assertIs(self.server.holder("10.3.0.0/16"), self.peer.session.lease)

    _EIDS = st.one_of(
        st.sampled_from(
            (
                eid("10.0.0.0/8"),
                eid("10.64.0.0/10"),
                eid("10.128.0.0/16"),
                eid("10.128.1.0/24"),
                eid("172.17.3.0/24"),
                eid("172.16.3.0/24", 5),
                eid("172.16.3.0/24", 0),
                eid("2001:db8:1::/48"),
                eid("02:00:00:00:00:01/48"),
                eid("name:printer"),
                eid("name:printers"),
                bytes((33,)) + eid("10.0.0.0/8")[1:],
                bytes((255,)) + eid("2001:db8::/32")[1:],
            )
        ),
        st.builds(
            lambda a, b, length: bytes((length,)) + eid(f"172.16.{a}.{b}/32")[1:],
            st.integers(0, 2),
            st.sampled_from((0, 255)),
            st.sampled_from((0, 8, 15, 16, 17, 24, 32, 33)),
        ),
    )
    _MESSAGES = st.tuples(
        _EIDS,
        st.sampled_from((1440, 1440, 1440, 5, 0)),
        st.sampled_from((M, M, M, 0, M | T, M | R)),
        st.sampled_from(("192.0.2.1", "192.0.2.1", "198.51.100.1")),
        st.sampled_from((KEY, KEY, KEY, Secret(1, 2, b"new"), SHA1_KEY, OTHER_KEY)),
        st.sampled_from((None, None, None, 16)),
        st.sampled_from((1, 1, 1, 1, 2)),
        st.sampled_from((True, True, True, False)),
        st.one_of(st.none(), st.none(), st.none(), st.integers(0, 800)),
    )

    @given(st.lists(_MESSAGES, max_size=25), st.integers(1, 6))
    def test_no_difference(self, drawn: list[tuple[Any, ...]], at_once: int) -> None:
        """Same answers, same database, whatever is sent: valid, withdrawn, refused, damaged."""
        frames = [self._frame(*one) for one in drawn]
        etr = Etr()
        found = []
        for alone in (True, False):
            server = MapServer(self.configured(), limits=self.limits)
            server.hear(etr, etr.map_register(record("172.16.0.0/16")))
            peer = server.connect("192.0.2.1")
            first = Etr().registration(record("172.16.0.0/16"))
            replies: list[object] = [peer.send(first)]
            if alone:
                self.patch(peer.session, "_take_run", lambda *_: 0)
            for position in range(0, len(frames), at_once):
                chunk = b"".join(frames[position : position + at_once])
                peer.session.receive_data(chunk, 1.0)
                data = peer.session.data_to_send(1.0)
                replies.append(messages(data))
            found.append((replies, peer.session.counters, _dump(server)))
        self.assertEqual(found[0], found[1])

    def _frame(
        self,
        prefix: bytes,
        ttl: int,
        flags: int,
        rloc: str,
        key: Secret,
        length: int | None,
        xtr_id: int,
        covers_ids: bool,
        flip: int | None,
    ) -> bytes:
        message = Etr(xtr_id=xtr_id).map_register(
            record(prefix, locator(rloc), ttl=ttl),
            flags=flags,
            key=key,
            length=length,
            covers_ids=covers_ids,
        )
        if flip is not None:
            at = flip % (8 * len(message))
            octet = bytes((message[at // 8] ^ 1 << at % 8,))
            message = message[: at // 8] + octet + message[at // 8 + 1 :]
        return frame(17, message)


def _dump(server: MapServer) -> list[tuple[object, ...]]:
    """Everything that is registered and what changed."""
    state: list[tuple[object, ...]] = []
    for (instance_id, afi), table in server.registrar.database.tables.items():
        for key, one in table.entries.items():
            state.append((instance_id, afi, key, one.record, one.flags, one.lease.transport))
        state.append((instance_id, afi, table.lengths, table.watching))
    state.append((server.registrar.counters, server.registrar.count, len(server.changes)))
    return state


class _Bare(Session):
    """The least that a role must have."""

    ALLOWED: ClassVar[dict[SessionState, dict[int, str]]] = {}

    def start(self, now: float) -> None:
        pass

    def _pull(self, now: float) -> None:
        pass

    def _on_timeout(self, timer: SessionTimer, now: float) -> None:
        pass

    def _on_close(self, now: float) -> None:
        pass


class BareSessionTests(SynchronousTestCase):
    """What both roles share."""

    def test_a_role_that_takes_nothing(self) -> None:
        """Answers everything with an error."""
        session = _Bare(SessionLimits(), lambda: None, 0.0)
        session.receive_data(frame(16, b"") + frame(17, b""), 0.0)
        kinds = [answer[1:3] for answer in answers(session.data_to_send(0.0))]
        self.assertEqual(kinds, [(_UNRECOGNISED, 16), (_UNRECOGNISED, 17)])
        self.assertFalse(session.was_established)
