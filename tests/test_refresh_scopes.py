"""Refreshes that are answered together: like one after the other, and at no more cost than one."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrEvent, EtrState
from lispmsrt.mapping.refresh_scopes import MAX_SCOPES, Refreshes
from lispmsrt.session.base import CloseReason
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    RefreshScope,
    RegistrationRefresh,
    eid_wire_form,
    encode_registration_refresh,
)
from tests.builders import KEY, eid, frame, messages, record

_EVERYTHING = RegistrationRefresh(RefreshScope.EVERYTHING)
_TEXTS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.2.0.0/16", "2001:db8::/32")


def _narrow(scope: RefreshScope, text: str, *, rejected_only: bool = False) -> RegistrationRefresh:
    return RegistrationRefresh(scope, rejected_only, EidPrefix.from_text(text))


_REFRESHES = st.one_of(
    st.builds(RegistrationRefresh, st.just(RefreshScope.EVERYTHING), st.booleans()),
    st.builds(
        _narrow,
        st.sampled_from([scope for scope in RefreshScope if scope]),
        st.sampled_from(_TEXTS),
        rejected_only=st.booleans(),
    ),
)


class _Looked(Refreshes):
    """Counts the EID-prefixes that it is asked about."""

    __slots__ = ("looked",)

    is_everything = False
    "so that it is asked about each"

    def __init__(self) -> None:
        self.looked = 0
        super().__init__([_EVERYTHING])

    def event_for(self, eid: bytes, record: bytes) -> EtrEvent | None:
        self.looked += 1
        return super().event_for(eid, record)


class Peer:
    """An ETR with a session at time 0, five EID-prefixes, and what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.states_when_told: list[EtrState | None] = []
        self.walks = 0
        peer = self

        class Registrations(EtrRegistrations):
            """Counts the walks over everything."""

            def refresh_all(self, refreshes: Refreshes) -> None:
                peer.walks += 1
                super().refresh_all(refreshes)

        self.registrations = Registrations(self)
        for text in _TEXTS:
            locators = (Locator(Address.from_text("192.0.2.1")),)
            prefix = EidPrefix.from_text(text)
            self.registrations.register(MappingRecord(prefix, 1440, locators), awaited=True)
        nonces = count(1)
        self.session = EtrSession(
            registrations=self.registrations,
            credentials=Credentials(KEY.key(), bytes(range(24)), 256, lambda: next(nonces)),
            listener=self,
            limits=SessionLimits(),
            wake=lambda: None,
            now=0.0,
        )
        self.session.start(0.0)
        self.hear(frame(20, bytes(3)))

    def hear(self, *frames: bytes) -> int:
        """Take messages in one chunk; return how many Registrations are written."""
        self.session.receive_data(b"".join(frames), 0.0)
        return len(messages(self.session.data_to_send(0.0)))

    def acknowledge(self) -> None:
        """Have everything acknowledged."""
        self.hear(*(frame(18, eid(text)) for text in _TEXTS))

    def acknowledged(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("acknowledged", eid))

    def rejected(self, eid: bytes, reason: int) -> None:
        """Note it."""
        self.heard.append(("rejected", eid, reason))

    def taken_over(self, eid: bytes) -> None:
        """Note it."""

    def mapping_notified(self, notification: MappingNotification) -> None:
        """Note how far it has come by then."""
        entry = self.registrations.find(eid_wire_form(notification.record.eid))
        self.states_when_told.append(entry.state if entry is not None else None)

    def seen(self) -> tuple[object, ...]:
        """Return all that can be seen of it."""
        entries = [
            (one.state, one.outstanding, one.reason) for one in self.registrations.entries.values()
        ]
        due = {one.eid for one in self.registrations.due}
        return entries, due, self.registrations.unanswered, self.heard, self.session.state


class GatheredTests(SynchronousTestCase):
    """Several Refreshes as one."""

    @given(st.lists(_REFRESHES, max_size=8), st.sampled_from(_TEXTS))
    def test_they_ask_for_what_each_of_them_asks_for(
        self, refreshes: list[RegistrationRefresh], text: str
    ) -> None:
        """And without R outweighs with R."""
        wire = record(text)
        each = {Refreshes([one]).event_for(eid(text), wire) for one in refreshes}
        found = Refreshes(refreshes).event_for(eid(text), wire)
        self.assertEqual(
            found,
            next((e for e in (EtrEvent.REFRESH, EtrEvent.REFRESH_REJECTED) if e in each), None),
        )

    def test_too_many_narrow_ones_are_one_of_everything(self) -> None:
        """Repeated ones count once."""
        refreshes = Refreshes()
        for number in range(MAX_SCOPES):
            for _ in range(3):
                refreshes.add(_narrow(RefreshScope.COVERED, f"10.2.{number}.0/24"))
        other = "192.0.2.0/24"
        self.assertIsNone(refreshes.event_for(eid(other), record(other)))
        refreshes.add(_narrow(RefreshScope.COVERED, "10.3.0.0/24"))
        self.assertIs(refreshes.event_for(eid(other), record(other)), EtrEvent.REFRESH)

    def test_those_that_name_an_eid_prefix_never_are(self) -> None:
        """Each costs one look-up."""
        refreshes = Refreshes()
        for number in range(4 * MAX_SCOPES):
            refreshes.add(_narrow(RefreshScope.EXACT, f"10.2.{number}.0/24"))
        self.assertFalse(refreshes.is_wide)
        self.assertEqual(len(refreshes.named), 4 * MAX_SCOPES)


class ChunkTests(SynchronousTestCase):
    """What comes in one chunk on an ETR's session."""

    def test_a_chunk_of_refreshes_is_one_walk(self) -> None:
        """However many there are: 15 octets each would buy a look at everything."""
        peer = Peer()
        peer.acknowledge()
        peer.walks = 0
        refreshes = [_EVERYTHING, _narrow(RefreshScope.COVERED, "10.1.0.0/16")] * 1000
        written = peer.hear(*(encode_registration_refresh(one, 1) for one in refreshes))
        self.assertEqual((peer.walks, written), (1, len(_TEXTS)))
        self.assertEqual(peer.session.counters["refreshes in"], 2001)

    def test_a_chunk_without_refreshes_is_no_walk(self) -> None:
        """Such as ACKs."""
        peer = Peer()
        peer.walks = 0
        peer.acknowledge()
        self.assertEqual(peer.walks, 0)

    def test_what_is_due_is_not_looked_at_again(self) -> None:
        """The answer to the Refresh before waits still."""
        registrations = Peer().registrations
        for expected in (len(_TEXTS), 0):
            refreshes = _Looked()
            registrations.refresh_all(refreshes)
            self.assertEqual(refreshes.looked, expected)
        registrations.next_due()
        refreshes = _Looked()
        registrations.refresh_all(refreshes)
        self.assertEqual(refreshes.looked, 1)

    def test_who_is_asked_for_by_name_alone_costs_the_others_nothing(self) -> None:
        """No look at all that is registered."""
        peer = Peer()
        peer.acknowledge()
        looked: list[object] = []
        self.patch(EtrRegistrations, "_refresh", lambda *one: looked.append(one))
        named = [_narrow(RefreshScope.EXACT, text) for text in (*_TEXTS[:2], "192.0.2.0/24")]
        peer.hear(*(encode_registration_refresh(one, 1) for one in named))
        self.assertEqual(len(looked), 2)

    def test_a_refresh_after_an_ack_has_it_registered_again(self) -> None:
        """The ACK counts, and then the Refresh."""
        peer = Peer()
        written = peer.hear(frame(18, eid(_TEXTS[0])), frame(20, bytes(3)))
        self.assertEqual(peer.heard, [("acknowledged", eid(_TEXTS[0]))])
        self.assertEqual(written, len(_TEXTS))

    def test_an_ack_after_a_refresh_does_not_answer_it(self) -> None:
        """It is about what was registered before; who waits is told of the next one."""
        peer = Peer()
        written = peer.hear(frame(20, bytes(3)), frame(18, eid(_TEXTS[0])))
        self.assertEqual((peer.heard, written), ([], len(_TEXTS)))

    def test_news_after_a_refresh_are_newer(self) -> None:
        """What is asked for by name, and taken by another xTR right after, is being registered."""
        peer = Peer()
        peer.acknowledge()
        entry = peer.registrations.entries[eid(_TEXTS[0])]
        peer.registrations.roamed(entry.eid)
        named = encode_registration_refresh(_narrow(RefreshScope.EXACT, _TEXTS[0]), 1)
        peer.hear(named, frame(21, bytes(24) + record(_TEXTS[0])))
        self.assertEqual(peer.states_when_told, [EtrState.ACK_WAIT])

    def test_a_rejection_after_a_refresh_does_not_answer_it(self) -> None:
        """Likewise."""
        peer = Peer()
        written = peer.hear(frame(20, bytes(3)), frame(19, b"\1\0\0" + eid(_TEXTS[0])))
        self.assertEqual((peer.heard, written), ([], len(_TEXTS)))

    def test_what_closes_the_session_ends_refreshes_too(self) -> None:
        """All goes on over UDP then."""
        peer = Peer()
        peer.acknowledge()
        peer.hear(frame(20, bytes(3)), bytes(12))
        self.assertIs(peer.session.close_reason, CloseReason.UNREADABLE_STREAM)
        self.assertFalse(peer.registrations.due)

    @given(
        st.lists(
            st.one_of(
                st.builds(
                    encode_registration_refresh,
                    _REFRESHES.filter(lambda one: not one.rejected_only),
                    st.just(1),
                ),
                st.sampled_from(_TEXTS).map(lambda text: frame(18, eid(text))),
                st.sampled_from(_TEXTS).map(lambda text: frame(19, b"\1\0\0" + eid(text))),
            ),
            max_size=12,
        )
    )
    def test_one_chunk_is_like_one_chunk_for_each_message(self, stream: list[bytes]) -> None:
        """Whatever the order of Refreshes, ACKs and Rejections."""
        whole, apart = Peer(), Peer()
        whole.session.receive_data(b"".join(stream), 0.0)
        for one in stream:
            apart.session.receive_data(one, 0.0)
        self.assertEqual(whole.seen(), apart.seen())
