"""What an ETR means to register: the state table of draft A.8 and the decisions below it."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.etr_registrations import EtrRegistration, EtrRegistrations
from lispmsrt.mapping.etr_states import TRANSITIONS, EtrAction, EtrEvent, EtrState
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.lcaf import UnknownLcaf
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from lispmsrt.wire.reliable_transport import (
    RefreshScope,
    RegistrationRefresh,
    decode_eid_wire_form,
)
from tests.builders import eid, lcaf

_EID = "10.1.0.0/16"
_EVERYTHING = RegistrationRefresh(RefreshScope.EVERYTHING)
_REJECTED_ONLY = RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)

_TABLE = """
event                      | No state     | Periodic     | Stable       | AckWait      | Rejected
entry created, session down| Periodic A1  |              |              |              |
entry created, session up  | AckWait A2   |              |              |              |
entry deleted              |              | No state A3  | No state A6  | No state A6  | No state
entry or key changed       |              | Periodic A1  | AckWait A2   | AckWait A2   | AckWait A2
session up                 |              | Stable A4    |              |              |
session down               |              |              | Periodic A7  | Periodic A7  | Periodic A7
Refresh                    |              |              | AckWait A2   | AckWait A2   | AckWait A2
Refresh with R             |              |              |              | AckWait A2   | AckWait A2
ACK                        |              |              |              | Stable       | AckWait A2
Rejection                  |              |              | Rejected     | Rejected     |
periodic timer             |              | Periodic A5  |              |              |
"""
"""K07 §6.2 (docs/draft.rst), copied by hand; an empty cell leaves everything as it is."""

_STATES = {
    "No state": EtrState.NO_STATE,
    "Periodic": EtrState.PERIODIC,
    "Stable": EtrState.STABLE,
    "AckWait": EtrState.ACK_WAIT,
    "Rejected": EtrState.REJECTED,
}
_EVENTS = {
    "entry created, session down": EtrEvent.CREATED_WHILE_DOWN,
    "entry created, session up": EtrEvent.CREATED_WHILE_UP,
    "entry deleted": EtrEvent.DELETED,
    "entry or key changed": EtrEvent.CHANGED,
    "session up": EtrEvent.SESSION_UP,
    "session down": EtrEvent.SESSION_DOWN,
    "Refresh": EtrEvent.REFRESH,
    "Refresh with R": EtrEvent.REFRESH_REJECTED,
    "ACK": EtrEvent.ACK,
    "Rejection": EtrEvent.REJECTION,
    "periodic timer": EtrEvent.PERIODIC_TIMER,
}
_ACTIONS = {
    "": EtrAction.NOTHING,
    "A1": EtrAction.REGISTER_OVER_UDP_NOW,
    "A2": EtrAction.SEND_REGISTRATION,
    "A3": EtrAction.WITHDRAW_OVER_UDP,
    "A4": EtrAction.STOP_UDP,
    "A5": EtrAction.REGISTER_OVER_UDP_AGAIN,
    "A6": EtrAction.SEND_WITHDRAWAL,
    "A7": EtrAction.RESUME_UDP,
}


def _read_table() -> dict[tuple[str, str], tuple[str, str]]:
    """Return (state, event) to (next state, action); an empty cell is the same state and none."""
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in _TABLE.split("\n")[1:-1]]
    cells = {}
    for event, *row in rows:
        for state, cell in zip(head[1:], row, strict=True):
            name, _, action = cell.rpartition(" A")
            cells[state, event] = (name, "A" + action) if name else (cell or state, "")
    return cells


def _record(text: str = _EID, *, weight: int = 100, instance_id: int = 0) -> MappingRecord:
    locators = (Locator(Address.from_text("192.0.2.1"), weight=weight),)
    return MappingRecord(EidPrefix.from_text(text, instance_id), 1440, locators)


@dataclass
class _Outcomes:
    heard: list[tuple[object, ...]] = field(default_factory=list)

    def acknowledged(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("acknowledged", str(decode_eid_wire_form(eid))))

    def rejected(self, eid: bytes, reason: int) -> None:
        """Note it."""
        self.heard.append(("rejected", str(decode_eid_wire_form(eid)), reason))

    def taken_over(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("taken over", str(decode_eid_wire_form(eid))))


class EtrCase(SynchronousTestCase):
    """Registrations, and the hand of a session that writes what is due."""

    def setUp(self) -> None:
        """Nothing is meant yet."""
        self.outcomes = _Outcomes()
        self.registrations = EtrRegistrations(self.outcomes)

    def entry(self, text: str = _EID) -> EtrRegistration:
        """Return the entry."""
        return self.registrations.entries[eid(text)]

    def write(self) -> list[bytes]:
        """Write all that is due to the session."""
        written = []
        while (due := self.registrations.next_due()) is not None:
            written.append(due[1])
        return written

    def ack(self, text: str = _EID) -> None:
        """Let an ACK come."""
        self.registrations.acknowledged(eid(text))

    def reject(self, text: str = _EID, reason: int = 1) -> None:
        """Let a Rejection come."""
        self.registrations.rejected(eid(text), reason)

    def bring(self, state: str, text: str = _EID) -> EtrRegistration:
        """Return an entry that has come to a state, with nothing due and nothing outstanding."""
        registrations = self.registrations
        if state == "No state":
            return EtrRegistration(eid(text), encode_record(_record(text)))
        registrations.register(_record(text))
        entry = self.entry(text)
        registrations.prompt.clear()
        if state != "Periodic":
            registrations.session_up()
        if state in ("AckWait", "Rejected"):
            registrations.refresh(_EVERYTHING)
            self.write()
        if state == "AckWait":
            entry.outstanding = registrations.outstanding = registrations.unanswered = 1
        elif state == "Rejected":
            self.reject(text)
        self.outcomes.heard.clear()
        return entry


class TooLargeTests(EtrCase):
    """What no Registration could hold."""

    def test_it_is_refused_at_once(self) -> None:
        """It would cost the session, and all others their registrations."""
        locators = tuple(Locator(UnknownLcaf(200, bytes(300))) for _ in range(40))
        record = MappingRecord(EidPrefix.from_text(_EID), 1440, locators)
        self.assertRaises(ValueError, self.registrations.register, record)
        self.assertEqual(self.registrations.entries, {})


class StateTableTests(EtrCase):
    """Every (state, event) pair."""

    def test_every_pair_of_the_table(self) -> None:
        """Next state and action are those of the draft."""
        cells = _read_table()
        self.assertEqual(len(cells), 5 * 11)
        for (state, event), (next_state, action) in cells.items():
            expected = (_STATES[next_state], _ACTIONS[action])
            pair = (_STATES[state], _EVENTS[event])
            if expected == (pair[0], EtrAction.NOTHING):
                self.assertNotIn(pair, TRANSITIONS, (state, event))
            else:
                self.assertEqual(TRANSITIONS[pair], expected, (state, event))

    def test_every_pair_does_what_the_table_says(self) -> None:
        """The same, by what can be seen from outside."""
        walked = 0
        for (state, event), (next_state, action) in _read_table().items():
            if state == "No state" and event not in (
                "entry created, session down",
                "entry created, session up",
            ):
                continue  # there is no entry that it could happen to: test_what_is_not_known
            if state != "No state" and event.startswith("entry created"):
                continue  # what is there already is changed, not created
            self.setUp()
            entry = self.bring(state)
            self.happen(event, entry)
            now = self.registrations.entries.get(eid(_EID))
            entry = now if now is not None else entry
            found = (entry.state if now is not None else EtrState.NO_STATE, self.seen(entry))
            # A4 and A5 are done by others: at the first answer, and by who has sent.
            action = "" if action in ("A4", "A5") else action
            self.assertEqual(found, (_STATES[next_state], action), (state, event))
            walked += 1
        self.assertEqual(walked, 2 + 4 * 9)

    def test_roamed_is_ours(self) -> None:
        """Only what the application says, and an answer that shows otherwise, lead out of it."""
        found = {pair: after for pair, after in TRANSITIONS.items() if EtrState.ROAMED in pair[:1]}
        self.assertEqual(
            found,
            {
                (EtrState.ROAMED, EtrEvent.CREATED_WHILE_DOWN): (
                    EtrState.PERIODIC,
                    EtrAction.REGISTER_OVER_UDP_NOW,
                ),
                (EtrState.ROAMED, EtrEvent.CREATED_WHILE_UP): (
                    EtrState.ACK_WAIT,
                    EtrAction.SEND_REGISTRATION,
                ),
                (EtrState.ROAMED, EtrEvent.DELETED): (EtrState.NO_STATE, EtrAction.NOTHING),
                (EtrState.ROAMED, EtrEvent.ACK): (EtrState.PERIODIC, EtrAction.RESUME_UDP),
            },
        )

    def test_what_is_taken_over_is_left_to_others(self) -> None:
        """From Periodic and Stable; elsewhere something newer is on its way."""
        for name, state in _STATES.items():
            if name == "No state":
                continue
            self.setUp()
            entry = self.bring(name)
            roams = name in ("Periodic", "Stable")
            self.assertEqual(self.registrations.roamed(entry.eid), roams, name)
            self.assertEqual(self.registrations.is_roamed(entry.eid), roams, name)
            heard = [event for event in self.outcomes.heard if event[0] == "taken over"]
            self.assertEqual(len(heard), int(roams), name)
            self.assertEqual(entry.state, EtrState.ROAMED if roams else state)
            self.assertFalse(roams and entry.over_udp)
        self.assertFalse(self.registrations.roamed(eid("10.9.0.0/16")))

    def happen(self, event: str, entry: EtrRegistration) -> None:
        """Let it happen."""
        registrations = self.registrations
        match event:
            case "entry created, session up":
                registrations.session_up()
                registrations.register(_record())
            case "entry created, session down":
                registrations.register(_record())
            case "entry deleted":
                registrations.withdraw(EidPrefix.from_text(_EID))
            case "entry or key changed":
                registrations.register(_record(weight=50))
            case "session up":
                registrations.session_up()
            case "session down":
                registrations.session_down()
            case "Refresh":
                registrations.refresh(_EVERYTHING)
            case "Refresh with R":
                registrations.refresh(_REJECTED_ONLY)
            case "ACK":
                self.ack()
            case "Rejection":
                self.reject()
            case "periodic timer":
                registrations.sent_over_udp(entry)

    def seen(self, entry: EtrRegistration) -> str:
        """Return the action as it shows."""
        registrations = self.registrations
        is_gone = entry.state is EtrState.NO_STATE
        if entry in registrations.prompt:
            return "A3" if is_gone else "A1"
        if entry in registrations.due:
            ((_entry, record),) = [registrations.next_due()]  # type: ignore[misc]
            is_withdrawal = record[:5] == bytes(5)
            self.assertEqual(is_withdrawal, is_gone)
            return "A6" if is_gone else "A2"
        # What was never answered on the session goes on over UDP anyway.
        if entry in registrations.resumed or (
            entry.state is EtrState.PERIODIC and registrations.unanswered == 0 and self.was_up()
        ):
            return "A7"
        return ""

    def was_up(self) -> bool:
        """Whether a session has ended in this walk."""
        return not self.registrations.session_is_up and self._ended

    _ended = False

    def bring(self, state: str, text: str = _EID) -> EtrRegistration:
        """Note whether there is a session that may end."""
        self._ended = state in ("Stable", "AckWait", "Rejected")
        return super().bring(state, text)

    def test_what_is_not_known_is_ignored(self) -> None:
        """No state and any event but creation: nothing is made."""
        self.registrations.session_up()
        self.ack()
        self.reject()
        self.registrations.acknowledged(b"\xff")
        self.registrations.rejected(b"\xff", 1)
        self.registrations.refresh(_EVERYTHING)
        self.registrations.key_changed()
        self.registrations.confirmed_over_udp(eid(_EID), is_final=True)
        self.assertRaises(KeyError, self.registrations.withdraw, EidPrefix.from_text(_EID))
        self.registrations.session_down()
        self.assertEqual(self.registrations.entries, {})
        self.assertEqual(self.outcomes.heard, [])

    def test_a_withdrawal_is_the_record_with_ttl_0_and_no_locators(self) -> None:
        """The EID is the same, and so is the rest of its fixed part."""
        self.bring("Stable")
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        expected = encode_record(MappingRecord(EidPrefix.from_text(_EID), 0, ()))
        self.assertEqual(self.write(), [expected])

    def test_what_can_not_be_registered_is_refused(self) -> None:
        """A TTL of 0, and EIDs that nobody can look up; nothing of it is kept."""
        record = _record()
        record.ttl = 0
        self.assertRaises(ValueError, self.registrations.register, record)
        self.assertEqual(len(self.registrations), 0)

    def test_a_second_withdrawal_is_an_error(self) -> None:
        """While the first is on its way."""
        self.bring("Stable")
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        self.assertRaises(KeyError, self.registrations.withdraw, EidPrefix.from_text(_EID))
        self.assertEqual(len(self.registrations), 0)

    def test_the_same_record_again_changes_nothing(self) -> None:
        """Unless somebody waits for an ACK."""
        entry = self.bring("Stable")
        self.registrations.register(_record())
        self.assertEqual(entry.state, EtrState.STABLE)
        self.registrations.register(_record(), awaited=True)
        self.assertEqual(entry.state, EtrState.ACK_WAIT)

    def test_a_changed_key_counts_as_a_change_of_everything(self) -> None:
        """Over UDP and on the session."""
        self.bring("Periodic", "10.1.0.0/16")
        self.bring("Periodic", "10.2.0.0/16")
        self.registrations.key_changed()
        self.assertEqual(len(self.registrations.prompt), 2)
        self.registrations.session_up()
        self.registrations.key_changed()
        self.assertEqual(len(self.write()), 2)

    def test_instance_id_0_is_the_same_with_and_without_its_lcaf(self) -> None:
        """Whichever form is registered, withdrawn or answered."""
        self.registrations.session_up()
        record = _record()
        explicit = EidPrefix(0, record.eid.address, record.eid.length, explicit_instance=True)
        record.eid = explicit
        self.registrations.register(record)
        self.registrations.register(_record())
        self.assertEqual(len(self.registrations.entries), 1)
        self.write()
        self.registrations.acknowledged(eid(_EID, 0))
        self.assertEqual(self.entry().state, EtrState.STABLE)
        self.registrations.rejected(eid(_EID, 0), 1)
        self.assertEqual(self.entry().state, EtrState.REJECTED)
        self.registrations.withdraw(explicit)
        self.assertEqual(self.registrations.entries, {})


class UdpStopsTests(EtrCase):
    """Decision 1: UDP goes on until the first answer of a session."""

    def test_session_up_does_not_stop_udp(self) -> None:
        """Nor do a Refresh, a change, or writing the Registration."""
        entry = self.bring("Stable")
        for act in (
            lambda: self.registrations.refresh(_EVERYTHING),
            self.write,
            lambda: self.registrations.register(_record(weight=1)),
            self.write,
        ):
            act()
            self.assertTrue(entry.over_udp)

    def test_the_first_ack_stops_it(self) -> None:
        """Even while another copy is outstanding."""
        entry = self.bring("Stable")
        for weight in (1, 2):
            self.registrations.register(_record(weight=weight))
            self.write()
        self.registrations.prompt.add(entry)
        self.ack()
        self.assertEqual(entry.state, EtrState.ACK_WAIT)
        self.assertFalse(entry.over_udp)
        self.assertEqual(list(self.registrations.prompt), [])

    def test_the_first_rejection_stops_it(self) -> None:
        """Even where a newer Registration is due."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=1))
        self.reject()
        self.assertFalse(entry.over_udp)
        self.assertEqual(entry.state, EtrState.ACK_WAIT)

    def test_one_answer_stops_only_its_own_eid(self) -> None:
        """Complete mapping information for all others."""
        self.bring("Periodic", "10.1.0.0/16")
        self.bring("AckWait", "10.2.0.0/16")
        self.ack("10.2.0.0/16")
        self.assertTrue(self.entry("10.1.0.0/16").over_udp)
        self.assertFalse(self.entry("10.2.0.0/16").over_udp)

    def test_what_was_answered_goes_on_over_udp_once_the_session_is_lost(self) -> None:
        """Acknowledged or rejected; what never was has never stopped."""
        self.bring("Rejected", "10.2.0.0/16")
        rejected = self.entry("10.2.0.0/16")
        self.registrations.register(_record())
        self.write()
        self.ack()
        self.registrations.session_down()
        self.assertEqual(set(self.registrations.resumed), {rejected, self.entry()})
        self.assertTrue(self.entry().over_udp and rejected.over_udp)

    def test_what_comes_while_a_session_is_up_never_goes_over_udp(self) -> None:
        """Its Registration is written at once."""
        self.registrations.session_up()
        self.registrations.register(_record())
        self.assertFalse(self.entry().over_udp)
        self.assertEqual(list(self.registrations.prompt), [])

    def test_an_answer_that_comes_after_the_session_is_nothing(self) -> None:
        """UDP goes on."""
        entry = self.bring("Periodic")
        self.ack()
        self.reject()
        self.assertTrue(entry.over_udp)
        self.assertEqual(entry.state, EtrState.PERIODIC)


class OutstandingTests(EtrCase):
    """Decision 4: answers are counted, and the last one decides."""

    def test_an_old_ack_does_not_satisfy_what_was_deleted_and_created_again(self) -> None:
        """Registration, withdrawal, Registration: three answers are awaited."""
        self.registrations.session_up()
        self.registrations.register(_record())
        self.write()
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        self.write()
        self.registrations.register(_record(weight=7), awaited=True)
        self.write()
        entry = self.entry()
        self.assertEqual((entry.outstanding, self.registrations.outstanding), (3, 3))
        for _ in range(2):
            self.ack()
            self.assertEqual(entry.state, EtrState.ACK_WAIT)
            self.assertEqual(self.outcomes.heard, [])
        self.ack()
        self.assertEqual(entry.state, EtrState.STABLE)
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])

    def test_a_withdrawal_that_was_not_written_yet_is_not_needed_any_more(self) -> None:
        """Delete and create within one turn: one Registration."""
        self.bring("Stable")
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        self.registrations.register(_record(weight=9))
        self.assertEqual(self.write(), [encode_record(_record(weight=9))])

    def test_an_old_rejection_does_not_decide_about_a_newer_registration(self) -> None:
        """Whether that is outstanding or still to be written."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=3), awaited=True)
        self.write()
        self.reject()
        self.assertEqual((entry.state, self.outcomes.heard), (EtrState.ACK_WAIT, []))
        self.ack()
        self.assertEqual(entry.state, EtrState.STABLE)
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])
        self.registrations.register(_record(weight=4))
        self.write()
        self.registrations.register(_record(weight=5))
        self.reject()
        self.assertEqual(entry.state, EtrState.ACK_WAIT)
        self.assertEqual(self.write(), [encode_record(_record(weight=5))])

    def test_the_last_answer_may_be_a_rejection(self) -> None:
        """An ACK for the old, a Rejection for the new."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=3), awaited=True)
        self.write()
        self.ack()
        self.reject(reason=3)
        self.assertEqual((entry.state, entry.reason), (EtrState.REJECTED, 3))
        self.assertEqual(self.outcomes.heard, [("rejected", _EID, 3)])
        self.assertEqual((self.registrations.outstanding, self.registrations.unanswered), (0, 0))

    def test_a_map_server_that_coalesces_acks(self) -> None:
        """One ACK for three copies: silence after it settles the rest."""
        entry = self.bring("AckWait")
        for weight in (1, 2):
            self.registrations.register(_record(weight=weight))
            self.write()
        self.ack()
        self.assertEqual((entry.state, entry.outstanding), (EtrState.ACK_WAIT, 2))
        self.assertFalse(self.registrations.send_again())
        self.assertEqual((entry.state, entry.outstanding), (EtrState.STABLE, 0))
        self.assertEqual((self.registrations.outstanding, self.registrations.unanswered), (0, 0))

    def test_a_map_server_that_coalesces_rejections(self) -> None:
        """The same."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=1))
        self.write()
        self.reject(reason=2)
        self.assertFalse(self.registrations.send_again())
        self.assertEqual((entry.state, entry.reason), (EtrState.REJECTED, 2))
        self.assertEqual(self.registrations.unanswered, 0)

    def test_what_was_written_after_an_ack_is_not_settled_by_it(self) -> None:
        """Its own answer is missing: it is sent again."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=1))
        self.write()
        self.ack()
        self.registrations.register(_record(weight=2))
        self.write()
        self.assertTrue(self.registrations.send_again())
        self.assertEqual(entry.state, EtrState.ACK_WAIT)
        self.assertEqual(self.write(), [encode_record(_record(weight=2))])

    def test_what_is_settled_while_a_newer_copy_is_due_stays_due(self) -> None:
        """The newer one's answer decides."""
        entry = self.bring("AckWait")
        self.registrations.register(_record(weight=1))
        self.write()
        self.ack()
        self.registrations.register(_record(weight=2))
        self.assertFalse(self.registrations.send_again())
        self.assertEqual((entry.state, entry.outstanding), (EtrState.ACK_WAIT, 0))
        self.assertEqual(len(self.write()), 1)

    def test_silence_sends_again_what_is_outstanding_and_first(self) -> None:
        """What waits for its turn comes after it."""
        self.bring("AckWait", "10.1.0.0/16")
        self.registrations.register(_record("10.2.0.0/16"))
        self.assertTrue(self.registrations.send_again())
        first, second = self.write()
        self.assertEqual(first, encode_record(_record("10.1.0.0/16")))
        self.assertEqual(second, encode_record(_record("10.2.0.0/16")))
        self.assertEqual(self.entry("10.1.0.0/16").outstanding, 2)

    def test_withdrawals_that_are_never_answered_are_settled_by_silence(self) -> None:
        """The draft does not say that they are answered."""
        self.bring("Stable")
        self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
        self.write()
        self.assertEqual((self.registrations.outstanding, self.registrations.unanswered), (0, 1))
        self.assertFalse(self.registrations.send_again())
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])
        self.assertEqual(self.registrations.entries, {})
        self.assertEqual(self.registrations.unanswered, 0)

    def test_withdrawals_end_with_any_answer(self) -> None:
        """Refused or not, it is gone; one that was not asked for counts for nothing."""
        for answer in (self.ack, self.reject):
            self.setUp()
            self.bring("Stable")
            self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
            answer()
            self.assertEqual(len(self.registrations.entries), 1)
            self.write()
            answer()
            self.assertEqual(self.registrations.entries, {})
            self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])

    def test_a_withdrawal_waits_for_the_answer_to_the_registration_before_it(self) -> None:
        """Two are outstanding."""
        self.bring("AckWait")
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        self.write()
        self.reject()
        self.assertEqual(len(self.registrations.entries), 1)
        self.ack()
        self.assertEqual(self.registrations.entries, {})

    def test_a_lost_session_answers_nothing(self) -> None:
        """All counts start again, and a withdrawal that may be lost goes over UDP."""
        gone = self.bring("AckWait")
        self.registrations.withdraw(EidPrefix.from_text(_EID))
        self.write()
        self.registrations.register(_record("10.2.0.0/16"))
        self.write()
        self.registrations.session_down()
        self.assertEqual((self.registrations.outstanding, self.registrations.unanswered), (0, 0))
        self.assertIn(gone, self.registrations.prompt)
        self.assertTrue(self.registrations.is_withdrawn_over_udp(gone))
        self.registrations.given_up_over_udp(gone)
        self.assertEqual(list(self.registrations.entries), [eid("10.2.0.0/16")])
        self.registrations.given_up_over_udp(self.entry("10.2.0.0/16"))
        self.assertEqual(len(self.registrations), 1)


class RejectedTests(EtrCase):
    """Decision 5, and the way back."""

    def test_an_ack_in_rejected_sends_another_registration(self) -> None:
        """It can't loop: the answer moves on to Stable or Rejected."""
        entry = self.bring("Rejected")
        self.ack()
        self.assertEqual(entry.state, EtrState.ACK_WAIT)
        self.assertEqual(len(self.write()), 1)
        self.ack()
        self.assertEqual((entry.state, entry.reason), (EtrState.STABLE, None))
        self.assertEqual(self.write(), [])

    def test_rejected_prefixes_come_back_on_refreshes(self) -> None:
        """With R they alone."""
        self.bring("Rejected", "10.1.0.0/16")
        self.registrations.register(_record("10.2.0.0/16"))
        self.write()
        self.ack("10.2.0.0/16")
        self.registrations.refresh(_REJECTED_ONLY)
        self.assertEqual(self.write(), [encode_record(_record("10.1.0.0/16"))])
        self.reject("10.1.0.0/16")
        self.registrations.refresh(_EVERYTHING)
        self.assertEqual(len(self.write()), 2)

    def test_a_later_rejection_withdraws_what_was_accepted(self) -> None:
        """Stable becomes Rejected, and the reason is kept."""
        entry = self.bring("Stable")
        self.reject(reason=77)
        self.assertEqual((entry.state, entry.reason), (EtrState.REJECTED, 77))
        self.assertEqual(self.outcomes.heard, [("rejected", _EID, 77)])

    def test_deleting_what_is_rejected_needs_no_message(self) -> None:
        """It is gone at once."""
        self.bring("Rejected")
        self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
        self.assertEqual(self.registrations.entries, {})
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])


class RefreshScopeTests(EtrCase):
    """All scopes of a Refresh."""

    _ALL = (
        ("10.0.0.0/8", 0),
        ("10.1.0.0/16", 0),
        ("10.1.1.0/24", 0),
        ("10.1.0.0/16", 7),
        ("2001:db8::/32", 7),
        ("2001:db8::/32", 0),
    )

    def asked(self, refresh: RegistrationRefresh) -> set[tuple[str, int]]:
        """Return what is registered after a Refresh."""
        self.registrations.session_up()
        for text, instance_id in self._ALL:
            self.registrations.register(_record(text, instance_id=instance_id))
        self.write()
        for entry in list(self.registrations.entries.values()):
            self.registrations.acknowledged(entry.eid)
        self.registrations.refresh(refresh)
        records = self.write()
        return {
            one
            for one in self._ALL
            if encode_record(_record(one[0], instance_id=one[1])) in records
        }

    def scope(self, scope: RefreshScope, text: str, instance_id: int) -> set[tuple[str, int]]:
        """Ask for a scope of a prefix."""
        return self.asked(RegistrationRefresh(scope, eid=EidPrefix.from_text(text, instance_id)))

    def test_scope_0_is_everything(self) -> None:
        """No EID."""
        self.assertEqual(self.asked(_EVERYTHING), set(self._ALL))

    def test_scope_1_is_an_instance(self) -> None:
        """All of its families."""
        found = self.scope(RefreshScope.INSTANCE, "0.0.0.0/0", 7)
        self.assertEqual(found, {("10.1.0.0/16", 7), ("2001:db8::/32", 7)})

    def test_scope_2_is_a_family_of_an_instance(self) -> None:
        """Not the other one."""
        found = self.scope(RefreshScope.FAMILY, "0.0.0.0/0", 7)
        self.assertEqual(found, {("10.1.0.0/16", 7)})

    def test_scope_3_is_what_a_prefix_covers(self) -> None:
        """Itself included."""
        found = self.scope(RefreshScope.COVERED, "10.1.0.0/16", 0)
        self.assertEqual(found, {("10.1.0.0/16", 0), ("10.1.1.0/24", 0)})

    def test_scope_4_is_one_prefix(self) -> None:
        """Nothing more specific."""
        found = self.scope(RefreshScope.EXACT, "10.1.0.0/16", 0)
        self.assertEqual(found, {("10.1.0.0/16", 0)})

    def test_an_eid_that_is_no_prefix_asks_for_nothing(self) -> None:
        """An LCAF inside."""
        other = decode_eid_wire_form(bytes(1) + lcaf(99, bytes(12)))
        self.assertEqual(self.asked(RegistrationRefresh(RefreshScope.EXACT, eid=other)), set())


class UdpConfirmationTests(EtrCase):
    """What Map-Notifies say."""

    def test_a_withdrawal_is_over_when_it_is_confirmed(self) -> None:
        """Once."""
        self.bring("Periodic")
        self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
        self.registrations.confirmed_over_udp(eid(_EID), is_final=False)
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])
        self.assertEqual((self.registrations.entries, list(self.registrations.prompt)), ({}, []))

    def test_a_registration_is_acknowledged_only_where_no_session_will_do_so(self) -> None:
        """A session's answer is surer."""
        self.registrations.register(_record(), awaited=True)
        self.registrations.confirmed_over_udp(eid(_EID), is_final=False)
        self.assertEqual(self.outcomes.heard, [])
        self.registrations.confirmed_over_udp(eid(_EID), is_final=True)
        self.registrations.confirmed_over_udp(eid(_EID), is_final=True)
        self.assertEqual(self.outcomes.heard, [("acknowledged", _EID)])

    def test_a_withdrawal_on_the_session_is_not_confirmed_over_udp(self) -> None:
        """Its ACK is awaited."""
        self.bring("Stable")
        self.registrations.withdraw(EidPrefix.from_text(_EID), awaited=True)
        self.registrations.confirmed_over_udp(eid(_EID), is_final=True)
        self.write()
        self.registrations.confirmed_over_udp(eid(_EID), is_final=True)
        self.registrations.given_up_over_udp(self.entry())
        self.assertEqual(self.outcomes.heard, [])
