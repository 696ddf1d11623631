"""The ETR's UDP side towards one Map-Server: Map-Registers, Map-Notifies, leave to connect.

RFC 9301 §5.6 and §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §4 and §6.2. It sends
complete mapping information until each EID-prefix is acknowledged on a session. Times are
monotonic seconds.
"""

from __future__ import annotations

import enum
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from random import Random

from lispmsrt.control.etr_timers import EtrTimers
from lispmsrt.control.unsolicited import Unsolicited
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registrations import EtrRegistration, EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.wire.authentication import Coverage, Purpose
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import (
    MapRegisterSpan,
    NotifyFlag,
    RegisterFlag,
    walk_map_notify,
)
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.record_walk import EID_OFFSET
from lispmsrt.wire.reliable_transport import MappingNotification

__all__ = ["EtrControl", "EtrTimers", "SessionMode"]


MAX_NONCES = 4096
"""Map-Registers sent whose Map-Notify would still be believed."""

_MAX_DOUBLINGS = 32

_NO_STATE = EtrState.NO_STATE


class SessionMode(enum.Enum):
    """Whether an ETR wants a session."""

    OFF = "off"
    AUTO = "auto"
    "after a Map-Notify with the r bit"
    ALWAYS = "always"
    "after any authentic Map-Notify: Map-Servers that predate the r bit"


class _Unanswered:
    __slots__ = ("attempt", "due", "entries")

    def __init__(self, entries: list[EtrRegistration], attempt: int, due: float) -> None:
        self.entries = entries
        self.attempt = attempt
        self.due = due


class EtrControl:
    """Keep one Map-Server informed over UDP, as long as no session does it better."""

    def __init__(
        self,
        registrations: EtrRegistrations,
        credentials: Credentials,
        *,
        mode: SessionMode,
        random: Random,
        timers: EtrTimers | None = None,
        on_leave_to_connect: Callable[[], None] = lambda: None,
        on_mapping_notified: Callable[[MappingNotification], None] = lambda notification: None,
        yields: bool = True,
    ) -> None:
        """``yields`` is whether an EID-prefix that another xTR has taken over is left to it; the
        application hears of it in any case.
        """
        self.counters: Counter[str] = Counter()
        self.last_notify: float | None = None
        "when an authentic Map-Notify came last"
        self._registrations = registrations
        self._credentials = credentials
        self._mode = mode
        self._random = random
        self._timers = timers or EtrTimers()
        self._on_leave_to_connect = on_leave_to_connect
        self._output: list[bytes] = []
        self._schedule: list[tuple[float, int, EtrRegistration]] = []
        self._scheduled: dict[EtrRegistration, float] = {}
        self._sequence = 0
        self._prompt_at = float("-inf")
        self._head_start_until = float("-inf")
        self._unanswered: dict[int, _Unanswered] = {}
        self._nonces: OrderedDict[int, list[bytes] | None] = OrderedDict()
        "of Map-Registers, with the records in them; None once their Map-Notify has come"
        self._rearm_at: float | None = None
        self._leave_until = float("-inf")
        self._has_failed = False
        self._unsolicited = Unsolicited(
            registrations,
            credentials,
            counters=self.counters,
            on_mapping_notified=on_mapping_notified,
            is_being_registered=self._is_being_registered,
            yields=yields,
        )

    # Input

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take one datagram from the Map-Server."""
        try:
            if message_type(data) == ControlType.MAP_NOTIFY:
                self._on_map_notify(data, now)
            else:
                self.counters["not handled"] += 1
        except WireError:
            self.counters["malformed"] += 1

    def session_lost(self, now: float, *, was_closed: bool = False) -> None:
        """Authenticate anew, soon but not at once: one Map-Register, the rest keeps its period.

        ``was_closed``: the Map-Server has taken leave, and of its ETRs one after the other, so that
        they need not spread so much by themselves.
        """
        self._has_failed = False
        delay = self._timers.rearm_delay
        if was_closed:
            delay = min(delay, self._timers.return_delay)
        self.rearm(now + self._random.uniform(0.0, delay))

    def rearm(self, at: float) -> None:
        """Send one Map-Register with the r bit at this time."""
        if self._rearm_at is None or at < self._rearm_at:
            self._rearm_at = at

    def notified_on_session(self, notification: MappingNotification) -> None:
        """Give way as over UDP: a Mapping Notification says who registers an EID-prefix now."""
        self._unsolicited.told_on_session(notification.record)

    # Leave to connect

    def may_connect(self, now: float) -> bool:
        """Whether an authentic Map-Notify allows a connection (K07 §4: none without a new one)."""
        return self._mode is not SessionMode.OFF and now < self._leave_until

    def connected(self) -> None:
        """The leave is used up by a connection that came up."""
        self._leave_until = float("-inf")

    def session_began(self, now: float) -> None:
        """A session has a head start on what would be sent without delay."""
        self._head_start_until = now + self._timers.head_start

    def connect_failed(self) -> None:
        """No transport came up: until one does, a Map-Notify is the surest answer there is."""
        self._has_failed = True

    # Output

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Return what is due now."""
        self._take_in_resumed(now)
        self._retransmit(now)
        self._send_prompt(now)
        self._send_rearm(now)
        self._send_periodic(now)
        output, self._output = self._output, []
        return output

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something."""
        times = [unanswered.due for unanswered in self._unanswered.values()]
        if self._registrations.prompt:
            times.append(self._prompt_due())
        if self._registrations.resumed:
            times.append(self._prompt_at)
        if self._rearm_at is not None:
            times.append(self._rearm_at)
        if self._schedule:
            times.append(self._schedule[0][0])
        return min(times, default=None)

    # Inside

    def _send_prompt(self, now: float) -> None:
        prompt = self._registrations.prompt
        if not prompt or now < self._prompt_due():
            return
        batch = next(self._batches(prompt))
        self._send(batch, now, 0)
        # The first datagram goes at once; a million EIDs must not be a burst, so the rest spread
        # over the period.
        datagrams = max(1, len(self._registrations.entries) // max(1, len(batch)))
        self._prompt_at = now + min(1.0, self._timers.registration_period / datagrams)

    def _prompt_due(self) -> float:
        registrations = self._registrations
        # No session tells of what was withdrawn before it began.
        is_ahead = registrations.session_is_up and not registrations.listing.states[_NO_STATE]
        return max(self._prompt_at, self._head_start_until) if is_ahead else self._prompt_at

    def _send_rearm(self, now: float) -> None:
        if self._rearm_at is None or now < self._rearm_at:
            return
        self._rearm_at = None
        if self._registrations.session_is_up:
            return
        entries = self._registrations.entries.values()
        candidates = [entry for entry in entries if entry.state is EtrState.PERIODIC]
        if candidates:
            # Who registers nothing that is welcome gets no Map-Notify, and no leave to connect.
            welcome = (entry for entry in candidates if entry.is_welcome)
            self._send([next(welcome, candidates[0])], now, 0)

    def _send_periodic(self, now: float) -> None:
        due: list[EtrRegistration] = []
        while self._schedule and self._schedule[0][0] <= now:
            at, _sequence, entry = heapq.heappop(self._schedule)
            if self._scheduled.get(entry) != at:
                continue  # it was sent otherwise, and has a later date
            del self._scheduled[entry]
            if entry.over_udp:
                due.append(entry)
        for batch in self._batches(due):
            self._send(batch, now, None)

    def _retransmit(self, now: float) -> None:
        late = [nonce for nonce, unanswered in self._unanswered.items() if unanswered.due <= now]
        for nonce in late:
            unanswered = self._unanswered.pop(nonce)
            entries = [entry for entry in unanswered.entries if self._is_wanted(entry)]
            attempt = unanswered.attempt + 1
            if attempt >= self._timers.withdrawal_tries:
                for entry in entries:
                    self._registrations.given_up_over_udp(entry)
                entries = [entry for entry in entries if entry.over_udp]
            # Another one in front each time: see _send.
            # The records may have grown: no longer one datagram for sure.
            for batch in self._batches(entries[1:] + entries[:1]):
                self.counters["retransmissions"] += 1
                self._send(batch, now, attempt)

    def _is_wanted(self, entry: EtrRegistration) -> bool:
        return entry.over_udp or self._registrations.is_withdrawn_over_udp(entry)

    def _batches(self, waiting: Iterable[EtrRegistration]) -> Iterator[list[EtrRegistration]]:
        """Yield as many entries as one datagram holds, at least one, until there are no more."""
        room = self._timers.max_datagram - 16 - self._credentials.key.sent_length
        room -= len(self._credentials.ids)
        batch: list[EtrRegistration] = []
        left = room
        for entry in waiting:
            size = len(entry.record)
            if batch and (size > left or len(batch) == 255):
                yield batch
                batch, left = [], room
            left -= size
            batch.append(entry)
        if batch:
            yield batch

    def _send(self, entries: list[EtrRegistration], now: float, attempt: int | None) -> None:
        """Send one Map-Register and see to it that its entries come again in time. Queues output.

        ``attempt`` is None for what the period repeats anyway: nobody waits for its Map-Notify.
        """
        # There are Map-Servers to which the first record tells the site: where that one is refused,
        # all are, and nothing is said. So what was accepted before goes first, and who has been
        # first has to be accepted once more.
        entries.sort(key=_is_unwelcome)
        entries[0].is_welcome = False
        records = list(map(_record, entries))
        nonce, data = self._credentials.map_register(records, self._flags())
        self.counters["Map-Registers out"] += 1
        self._nonces[nonce] = records
        if len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        self._output.append(data)
        # One time for all: what went together goes together again, in one datagram.
        again = now + self._timers.registration_period * self._random.uniform(0.9, 1.0)
        for entry in entries:
            self._registrations.prompt.discard(entry)
            if entry.over_udp:
                self._registrations.sent_over_udp(entry)
                # A retransmission does not put off what the period brings anyway.
                if not attempt or entry not in self._scheduled:
                    self._put_on_schedule(entry, again)
        if attempt is not None and self._must_watch(entries):
            # Where the Map-Server is away for days the exponent must not grow for ever.
            wait = self._timers.retransmission * 2 ** min(attempt, _MAX_DOUBLINGS)
            wait = min(self._timers.max_retransmission, wait)
            self._unanswered[nonce] = _Unanswered(entries, attempt, now + wait)

    def _must_watch(self, entries: list[EtrRegistration]) -> bool:
        return len(self._unanswered) < self._timers.max_unanswered or any(
            entry.state is EtrState.NO_STATE for entry in entries
        )

    def _is_being_registered(self, entry: EtrRegistration) -> bool:
        return entry in self._registrations.prompt or any(
            entry in unanswered.entries for unanswered in self._unanswered.values()
        )

    def _flags(self) -> int:
        flags = RegisterFlag.WANT_MAP_NOTIFY
        # While its session is up an ETR clears r: with a session, r = 1 means that it restarted
        # (docs/draft.rst).
        if self._mode is not SessionMode.OFF and not self._registrations.session_is_up:
            flags |= RegisterFlag.RELIABLE_TRANSPORT
        return flags

    def _take_in_resumed(self, now: float) -> None:
        period = self._timers.registration_period
        resumed = self._registrations.resumed
        waiting = [entry for entry in resumed if entry.over_udp]
        resumed.clear()
        # Not before the one Map-Register that follows a lost session (docs/draft.rst, "ETR state
        # table" 3), and whole datagrams: a restarted Map-Server hears from everybody at once.
        first = min(self._timers.rearm_delay, period)
        for batch in self._batches(waiting):
            at = now + self._random.uniform(first, period)
            for entry in batch:
                self._put_on_schedule(entry, at)

    def _put_on_schedule(self, entry: EtrRegistration, at: float) -> None:
        self._scheduled[entry] = at
        self._sequence += 1
        heapq.heappush(self._schedule, (at, self._sequence, entry))

    def _on_map_notify(self, data: bytes, now: float) -> None:
        notify = walk_map_notify(data)
        coverage = self._coverage(data, notify)
        if coverage is None:
            self.counters["Map-Notifies with authentication failures"] += 1
            return
        self.counters["Map-Notifies in"] += 1
        word, nonce, *_, records, records_end = notify
        sent = self._nonces.get(nonce)
        if sent is None:
            # Whoever replays an old Map-Notify gets neither a connection nor belief.
            self.counters["Map-Notifies unasked"] += 1
            if nonce not in self._nonces:
                ack = self._unsolicited.take(data, notify, coverage, now)
                self._output += [ack] if ack is not None else []
            return
        self._nonces[nonce] = None
        self._unanswered.pop(nonce, None)
        self.last_notify = now
        self._unsolicited.identified(data[records_end:], coverage)
        if self._gives_leave(word):
            self._leave_until = now + self._timers.leave_lifetime
            self._on_leave_to_connect()
        for record in records:
            eid = data[record[0] + 5 : record[0] + 6] + data[record[0] + EID_OFFSET : record[6]]
            self._confirm(eid, sent, now)
            self._unsolicited.answered(eid, data[record[0] : record[7]], sent)

    def _coverage(self, data: bytes, notify: MapRegisterSpan) -> Coverage | None:
        """Return what the MAC covers; None when it is wrong."""
        _word, _nonce, key_id, algorithm_id, length, _records, records_end = notify
        key = self._credentials.key
        if (key_id, algorithm_id) != (key.key_id, key.algorithm_id):
            return None
        return key.verify(data, 0, records_end, len(data), length, Purpose.MAP_NOTIFY)

    def _gives_leave(self, word: int) -> bool:
        # K07 §4: what came while a session is up is not the new Map-Notify that its successor
        # needs.
        if self._mode is SessionMode.OFF or self._registrations.session_is_up:
            return False
        return self._mode is SessionMode.ALWAYS or bool(word & NotifyFlag.RELIABLE_TRANSPORT)

    def _confirm(self, eid: bytes, sent: list[bytes], now: float) -> None:
        entry = self._registrations.find(eid)
        if entry is None:
            return
        entry.is_welcome = True
        # What has changed since is not what the Map-Notify answers.
        if _record(entry) in sent:
            # A session will give a surer answer, if there is to be one.
            may_follow = self.may_connect(now) and not self._has_failed
            is_final = not (may_follow or self._registrations.session_is_up)
            self._registrations.confirmed_over_udp(eid, is_final=is_final)


def _is_unwelcome(entry: EtrRegistration) -> bool:
    return not entry.is_welcome


def _record(entry: EtrRegistration) -> bytes:
    return entry.withdrawal() if entry.state is EtrState.NO_STATE else entry.record
