"""What an ETR means to register at one Map-Server, and how far it has come with each EID-prefix.

The state machine of draft-kouvelas-lisp-map-server-reliable-transport-07 §6.2 with the decisions
of docs/draft.rst ("ETR state table"). Session and UDP control plane drive it and do what it asks
for; it knows neither bytes on a wire nor time.
"""

from __future__ import annotations

from types import ModuleType

from lispmsrt.compiled import twin
from lispmsrt.mapping.etr_listing import EtrListing
from lispmsrt.mapping.etr_outcomes import EtrOutcomes
from lispmsrt.mapping.etr_queue import DUE, PROMPT, EtrQueue
from lispmsrt.mapping.etr_records import plain_eid, registrable
from lispmsrt.mapping.etr_registration import EtrRegistration
from lispmsrt.mapping.etr_states import TRANSITIONS, EtrAction, EtrEvent, EtrState
from lispmsrt.mapping.refresh_scopes import Refreshes
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.records import MappingRecord
from lispmsrt.wire.reliable_transport import (
    RegistrationRefresh,
    decode_eid_wire_form,
    eid_wire_form,
)

__all__ = ["EtrOutcomes", "EtrRegistration", "EtrRegistrations"]

# The hot path compares with these: looking a member up in its enum costs more than the comparison.
_NO_STATE = EtrState.NO_STATE
_ACK_WAIT = EtrState.ACK_WAIT
_STABLE = EtrState.STABLE
_REJECTED = EtrState.REJECTED
_ROAMED = EtrState.ROAMED
_ACK = EtrEvent.ACK

_compiled = twin("lispmsrt.mapping._etr_registrations")


class EtrRegistrations:
    """Everything an ETR means to register at one Map-Server."""

    def __init__(self, outcomes: EtrOutcomes, *, compiled: ModuleType | None = _compiled) -> None:
        """``compiled`` is the compiled twin, None for none."""
        self.compiled = compiled
        self.session_is_up = False
        self.entries: dict[bytes, EtrRegistration] = {}
        "by EID wire form; also those that are deleted until that is known at the Map-Server"
        self.listing = EtrListing(self.entries)
        self._states = self.listing.states
        self.outstanding = 0
        "Registrations written to the session and not answered, those that withdraw not counted"
        self.unanswered = 0
        "the same with those that withdraw: a Map-Server need not answer them"
        self._make_entry = compiled.EtrRegistration if compiled else EtrRegistration
        make_queue = compiled.EtrQueue if compiled else EtrQueue
        self.due: EtrQueue = make_queue(DUE)
        "to be sent on the session"
        self.prompt: EtrQueue = make_queue(PROMPT)
        "to be sent over UDP without delay"
        self.resumed: dict[EtrRegistration, None] = {}
        "to be registered over UDP within the period"
        self._model: object | None = None
        "the last record that was none like the one before it"
        self._outcomes = outcomes

    def __len__(self) -> int:
        return len(self.entries) - self._states[_NO_STATE]

    # What the ETR means

    def register(self, record: MappingRecord, *, awaited: bool = False) -> bytes:
        """Mean to register this record from now on; return its EID wire form."""
        compiled = self.compiled
        if self._model is not None and compiled is not None:
            taken: bytes | None = compiled.register_like(self._model, self, record, awaited)
            if taken is not None:
                return taken
        family, eid, wire = registrable(record)
        self._model = compiled.Model(record, eid, wire) if compiled is not None else None
        entry = self.entries.get(eid)
        if entry is None:
            entry = self.entries[eid] = self._make_entry(eid, wire)
            self.listing.add(entry)
        if entry.state is _NO_STATE:
            self.listing.meant(family, 1)
        is_new = entry.state is _NO_STATE or entry.state is _ROAMED
        is_changed = entry.record != wire
        entry.record = wire
        entry.is_awaited = entry.is_awaited or awaited
        if is_new:
            is_up = self.session_is_up
            self._apply(entry, EtrEvent.CREATED_WHILE_UP if is_up else EtrEvent.CREATED_WHILE_DOWN)
        elif is_changed or awaited:
            self._apply(entry, EtrEvent.CHANGED)
        return eid

    def withdraw(self, eid_prefix: EidPrefix, *, awaited: bool = False) -> bytes:
        """Mean to register it no longer. KeyError when it is not registered."""
        eid = eid_wire_form(plain_eid(eid_prefix))
        entry = self.entries[eid]
        if entry.state is _NO_STATE:
            raise KeyError(eid_prefix)
        self.listing.meant(eid_key(eid_prefix)[:2], -1)
        entry.is_awaited = awaited
        self._apply(entry, EtrEvent.DELETED)
        return eid

    def key_changed(self) -> None:
        """The key towards the Map-Server is another one: that counts as a change of everything."""
        for entry in list(self.entries.values()):
            self._apply(entry, EtrEvent.CHANGED)

    # What the session says

    def session_up(self) -> None:
        """A session is established."""
        self.session_is_up = True
        if self.compiled is not None:
            self.compiled.session_up(self.entries, self._states)
            return
        for entry in self.entries.values():
            self._apply(entry, EtrEvent.SESSION_UP)

    def session_down(self) -> None:
        """The session is lost: nothing that was written to it counts."""
        self.session_is_up = False
        self.outstanding = self.unanswered = 0
        self.due.clear()
        if self.compiled is not None:
            self.compiled.session_down(self.entries, self._states, self.prompt, self.resumed)
            return
        for entry in self.entries.values():
            entry.outstanding = 0
            entry.last_answer = None
            if entry.state is _NO_STATE:
                # Its withdrawal may not have arrived.
                self.prompt.add(entry)
            else:
                self._apply(entry, EtrEvent.SESSION_DOWN)

    def refresh(self, refresh: RegistrationRefresh) -> None:
        """The Map-Server wants to hear again (§6.1.4)."""
        self.refresh_all(Refreshes([refresh]))

    def refresh_all(self, refreshes: Refreshes) -> None:
        """The Map-Server wants to hear again, as several Refreshes say."""
        due = self.due
        for eid in refreshes.named:
            self.refresh_one(eid, refreshes)
        if not refreshes.is_wide:
            return
        # What is due already becomes no more so: a Refresh that is repeated costs next to nothing.
        if len(due) == len(self.entries):
            return
        if self.compiled is not None and refreshes.is_everything:
            self.compiled.refresh_everything(self.entries, self._states, due)
        else:
            for entry in [one for one in self.entries.values() if one not in due]:
                self._refresh(entry, refreshes)

    def refresh_one(self, eid: bytes, refreshes: Refreshes) -> None:
        """Do for one EID wire form what :meth:`refresh_all` will do for all."""
        entry = self.find(eid)
        if entry is not None:
            self._refresh(entry, refreshes)

    def acknowledged(self, eid: bytes) -> None:
        """An ACK came for an EID wire form."""
        entry = self.entries.get(eid) or self.find(eid)
        if entry is not None and self.session_is_up:
            self._take_answer(entry, 0)

    def rejected(self, eid: bytes, reason: int) -> None:
        """A Rejection came for an EID wire form."""
        entry = self.find(eid)
        if entry is not None and self.session_is_up:
            self._take_answer(entry, reason)

    def next_due(self) -> tuple[EtrRegistration, bytes] | None:
        """Take the next record to be written to the session: it is outstanding from now on."""
        if not self.due:
            return None
        entry = self.due.take()
        entry.outstanding += 1
        entry.last_answer = None
        self.unanswered += 1
        if entry.state is _NO_STATE:
            return entry, entry.withdrawal()
        self.outstanding += 1
        return entry, entry.record

    def count_written(self, count: int) -> None:
        """So many that are not withdrawn were taken out of :attr:`due` and written."""
        self.outstanding += count
        self.unanswered += count

    def count_acknowledged(self, count: int) -> None:
        """So many that waited for nothing but an ACK have had it."""
        self.outstanding -= count
        self.unanswered -= count
        self._states[_ACK_WAIT] -= count
        self._states[_STABLE] += count

    def send_again(self) -> bool:
        """No answer came for long. Make due what is outstanding; tell whether anything was.

        What was partly answered counts as settled, for there are Map-Servers that answer several
        copies at once; so does what withdraws, for they need not answer that.
        """
        again: list[EtrRegistration] = []
        for entry in list(self.entries.values()):
            if not entry.outstanding:
                continue
            if entry.state is _NO_STATE or entry.last_answer is not None:
                self._settle(entry)
            else:
                again.append(entry)
        self.due.put_first(again)
        return bool(again)

    # What UDP says

    def sent_over_udp(self, entry: EtrRegistration) -> None:
        """The periodic timer of an entry fired and its record was sent."""
        self._apply(entry, EtrEvent.PERIODIC_TIMER)

    def confirmed_over_udp(self, eid: bytes, *, is_final: bool) -> None:
        """A Map-Notify lists what the entry is now; ``is_final`` when no session is to confirm
        it anew.
        """
        entry = self.find(eid)
        if entry is None:
            return
        if self.is_withdrawn_over_udp(entry):
            self._acknowledge(entry)
        elif entry.state is _ROAMED and not self.session_is_up:
            # Its last Map-Register crossed the news, and came after who had taken it over: by now
            # it is the other one that is told to give way.
            self._apply(entry, _ACK)
        elif entry.over_udp and is_final:
            self._tell(entry)

    def given_up_over_udp(self, entry: EtrRegistration) -> None:
        """A withdrawal over UDP was never answered: the Map-Server's clock will end the
        registration.
        """
        if self.is_withdrawn_over_udp(entry):
            self._acknowledge(entry)

    def roamed(self, eid: bytes) -> bool:
        """Another xTR registers an EID-prefix now: leave it to that one until :meth:`register` says
        otherwise; tell whether it was ours till now.
        """
        entry = self.find(eid)
        if entry is None:
            return False
        was_ours = entry.state is not _ROAMED
        self._apply(entry, EtrEvent.TAKEN_OVER)
        if was_ours and entry.state is _ROAMED:
            self._outcomes.taken_over(entry.eid)
        return entry.state is _ROAMED

    def vacated(self, eid: bytes) -> None:
        """Nobody registers an EID-prefix any more: what was left to another xTR is ours again."""
        entry = self.find(eid)
        if entry is not None and entry.state is _ROAMED:
            is_up = self.session_is_up
            self._apply(entry, EtrEvent.CREATED_WHILE_UP if is_up else EtrEvent.CREATED_WHILE_DOWN)

    def is_roamed(self, eid: bytes) -> bool:
        """Whether an EID-prefix is left to another xTR."""
        entry = self.find(eid)
        return entry is not None and entry.state is _ROAMED

    def is_withdrawn_over_udp(self, entry: EtrRegistration) -> bool:
        """Whether an entry is deleted, the Map-Server may not know yet, and no session tells it."""
        return (
            entry.state is _NO_STATE
            and self.entries.get(entry.eid) is entry
            and not entry.outstanding
            and entry not in self.due
        )

    def find(self, eid: bytes) -> EtrRegistration | None:
        """Find the entry of an EID-prefix, with or without an LCAF around instance ID 0."""
        entry = self.entries.get(eid)
        if entry is not None:
            return entry
        try:
            prefix = decode_eid_wire_form(eid)
        except WireError:
            return None
        return self.entries.get(eid_wire_form(plain_eid(prefix)))

    # Inside

    def _apply(self, entry: EtrRegistration, event: EtrEvent) -> None:
        transition = TRANSITIONS.get((entry.state, event))
        if transition is None:
            return
        # What is outstanding of a deleted entry does not count: a Map-Server need not answer a
        # withdrawal.
        if transition[0] is _NO_STATE:
            self.outstanding -= entry.outstanding
        elif entry.state is _NO_STATE:
            self.outstanding += entry.outstanding
        states = self._states
        states[entry.state] -= 1
        entry.state, action = transition
        states[entry.state] += 1
        self._act(entry, action)

    def _act(self, entry: EtrRegistration, action: EtrAction) -> None:
        match action:
            case EtrAction.SEND_REGISTRATION | EtrAction.SEND_WITHDRAWAL:
                self.due.add(entry)
                if action is EtrAction.SEND_WITHDRAWAL:
                    self._stop_udp(entry)
            case EtrAction.REGISTER_OVER_UDP_NOW:
                entry.over_udp = True
                self.prompt.add(entry)
            case EtrAction.WITHDRAW_OVER_UDP:
                entry.over_udp = False
                self.prompt.add(entry)
            case EtrAction.RESUME_UDP if not entry.over_udp:
                entry.over_udp = True
                self.resumed[entry] = None
            case EtrAction.YIELD:
                self._stop_udp(entry)
                self._tell(entry)  # it was registered, though not for long
            case EtrAction.NOTHING if entry.state is _NO_STATE:
                self._acknowledge(entry)
            case _:
                # STOP_UDP waits for the first answer on the session (docs/draft.rst), and
                # REGISTER_OVER_UDP_AGAIN has been done by who fired the timer.
                pass

    def _refresh(self, entry: EtrRegistration, refreshes: Refreshes) -> None:
        if entry.state is _ROAMED:
            # Who asks for everything may have it of the other one; who asks for it by name has not.
            if refreshes.named.get(entry.eid):
                self.vacated(entry.eid)
            return
        event = refreshes.event_for(entry.eid, entry.record)
        if event is not None:
            self._apply(entry, event)

    def _take_answer(self, entry: EtrRegistration, reason: int) -> None:
        """An ACK (0) or a Rejection: the last one that is outstanding decides."""
        is_withdrawn = entry.state is _NO_STATE
        if entry.outstanding:
            entry.outstanding -= 1
            self.unanswered -= 1
            if not is_withdrawn:
                self.outstanding -= 1
        elif is_withdrawn:
            return  # it answers nothing that this session was told
        self._stop_udp(entry)
        entry.is_welcome = not reason
        if entry.outstanding:
            entry.last_answer = reason
        elif entry not in self.due:
            self._decide(entry, reason)

    def _settle(self, entry: EtrRegistration) -> None:
        """Wait no longer for what is outstanding of an entry."""
        self.unanswered -= entry.outstanding
        if entry.state is not _NO_STATE:
            self.outstanding -= entry.outstanding
        entry.outstanding = 0
        if entry not in self.due:
            self._decide(entry, entry.last_answer or 0)

    def _decide(self, entry: EtrRegistration, reason: int) -> None:
        if reason and entry.state is not _NO_STATE:
            self._reject(entry, reason)
        else:
            self._acknowledge(entry)

    def _reject(self, entry: EtrRegistration, reason: int) -> None:
        self._apply(entry, EtrEvent.REJECTION)
        entry.reason = reason
        entry.is_awaited = False
        self._outcomes.rejected(entry.eid, reason)

    def _acknowledge(self, entry: EtrRegistration) -> None:
        """The Map-Server knows all that it is to know of the entry."""
        state = entry.state
        if state is _NO_STATE:
            del self.entries[entry.eid]
            self.listing.discard()
            self.prompt.discard(entry)
        elif state is _ACK_WAIT:
            entry.state = _STABLE
            self._states[_ACK_WAIT] -= 1
            self._states[_STABLE] += 1
            entry.reason = None
        elif state is _REJECTED:
            self._apply(entry, _ACK)
            return
        if entry.is_awaited:
            self._tell(entry)

    def _stop_udp(self, entry: EtrRegistration) -> None:
        entry.over_udp = False
        if self.prompt:
            self.prompt.discard(entry)

    def _tell(self, entry: EtrRegistration) -> None:
        if entry.is_awaited:
            entry.is_awaited = False
            self._outcomes.acknowledged(entry.eid)
