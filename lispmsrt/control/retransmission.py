"""Map-Notifies that are repeated until their Map-Notify-Ack comes (RFC 9301 §5.7).

It knows nothing of what they say: who sends one gives the datagram, the nonce and the key, and is
told how it ended. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from lispmsrt.control.acknowledgements import Acknowledgements
from lispmsrt.control.unproven import Unproven
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import walk_map_notify_ack

__all__ = ["INTERVALS", "RetransmissionLimits", "Retransmissions"]

INTERVALS = (3.0, 3.0, 3.0, 6.0, 12.0, 24.0, 24.0)
"""Seconds to wait after each try: three retransmissions after 3 s each, three more with doubling
(RFC 9301 §5.7), and as long as before the last for the end.
"""

_MAX_SAME_NONCE = 16
"""Outstanding under one nonce and key: subscribers choose nonces, and an Ack is compared with
each.
"""


@dataclass(frozen=True, slots=True)
class RetransmissionLimits:
    """How much is watched, and how fast it leaves."""

    max_outstanding: int = 65_536
    "in all: some 60 MB"
    max_per_address: int = 1024
    "per destination; whoever does not answer must not use up what is there for all"
    max_unwatched: int = 4096
    "that wait for their only try, beyond the other limits"
    burst: int = 64
    "datagrams in one pace: what a socket's send buffer takes without loss"
    pace: float = 0.01
    "seconds; 6,400 datagrams a second"


class _Outstanding:
    __slots__ = (
        "about",
        "datagram",
        "due",
        "endpoints",
        "is_current",
        "is_watched",
        "key",
        "nonce",
        "on_end",
        "tries",
    )

    def __init__(
        self,
        about: Hashable,
        nonce: int,
        datagram: bytes,
        endpoints: Sequence[Endpoint],
        key: Key,
        due: float,
        on_end: Callable[[bool], None],
        is_current: Callable[[], bool],
        is_watched: bool,
    ) -> None:
        self.about = about
        self.nonce = nonce
        self.datagram = datagram
        self.endpoints = endpoints
        self.key = key
        self.due = due
        self.on_end = on_end
        self.is_current = is_current
        self.is_watched = is_watched
        self.tries = 0


def _ignore(is_acknowledged: bool) -> None:
    """Nobody asks how it ended."""


def _always() -> bool:
    return True


class Retransmissions:
    """Send Map-Notifies, and send them again until they are acknowledged or given up."""

    def __init__(
        self, limits: RetransmissionLimits | None = None, unproven: Unproven | None = None
    ) -> None:
        """``unproven`` bounds what is done for wrong Map-Notify-Acks."""
        self.counters: Counter[str] = Counter()
        self._limits = limits or RetransmissionLimits()
        self._acknowledgements = Acknowledgements(self.counters, unproven or Unproven())
        self._by_about: dict[Hashable, _Outstanding] = {}
        self._by_nonce: dict[int, list[_Outstanding]] = {}
        self._per_address: Counter[bytes] = Counter()
        self._watched = 0
        # One queue for each number of tries: all in one wait equally long, so each is in order of
        # time, and nothing that was acknowledged stays behind as it would in a heap.
        self._queues: list[OrderedDict[_Outstanding, None]] = [
            OrderedDict() for _ in range(len(INTERVALS) + 1)
        ]
        self._burst_ends = float("-inf")
        self._left_of_burst = self._limits.burst

    @property
    def outstanding(self) -> int:
        """How many wait for a Map-Notify-Ack."""
        return self._watched

    def start(
        self,
        about: Hashable,
        nonce: int,
        datagram: bytes,
        endpoints: Sequence[Endpoint],
        key: Key,
        now: float,
        on_end: Callable[[bool], None] = _ignore,
        *,
        is_current: Callable[[], bool] = _always,
    ) -> bool:
        """Send a Map-Notify to the first endpoint, and again, to the next one each time, until
        ``on_end`` hears whether it was acknowledged. Queues output.

        It takes the place of what is outstanding ``about`` the same thing, whose own ``on_end``
        hears nothing. ``is_current`` is asked before each retransmission; when it says no, the
        thing is dropped, and who says so knows. False when limits forbid to watch it: it is sent
        once, and nobody hears how it ended.
        """
        self.cancel(about)
        is_watched = self._may_watch(nonce, key, endpoints[0][0])
        one = _Outstanding(
            about, nonce, datagram, endpoints, key, now, on_end, is_current, is_watched
        )
        if is_watched:
            self._watched += 1
            self._per_address[endpoints[0][0]] += 1
            self._by_nonce.setdefault(nonce, []).append(one)
        elif len(self._by_about) - self._watched >= self._limits.max_unwatched:
            self.counters["Map-Notifies dropped"] += 1
            return False
        else:
            self.counters["Map-Notifies not watched"] += 1
        self._by_about[about] = one
        self._queues[0][one] = None
        return is_watched

    def cancel(self, about: Hashable) -> bool:
        """Forget what is outstanding about this; tell whether there was something."""
        one = self._by_about.get(about)
        if one is None:
            return False
        del self._queues[one.tries][one]
        self._forget(one)
        return True

    def acknowledge(self, data: bytes, source: Endpoint, now: float) -> bool:
        """Take a Map-Notify-Ack; tell whether it is authentic and answers something outstanding.

        ``source`` may be any, for there are NATs. Raises WireError when it can't be read.
        """
        span = walk_map_notify_ack(data)
        self.counters["Map-Notify-Acks in"] += 1
        candidates = self._by_nonce.get(span[1])
        if candidates is None:
            # Most often the second Ack of two, where the first crossed a retransmission.
            self.counters["Map-Notify-Acks unasked"] += 1
            return False
        one = self._acknowledgements.answered(data, span, candidates, source, now)
        if one is None:
            return False
        del self._queues[one.tries][one]
        self._forget(one)
        self.counters["acknowledged"] += 1
        one.on_end(True)
        return True

    def room(self, now: float) -> int:
        """How many more could be sent at once if they were started now.

        Who has much to say starts so many and keeps the rest: what is not sent yet can change.
        """
        self._begin_burst(now)
        return max(0, self._left_of_burst - len(self._queues[0]))

    def next_room(self) -> float:
        """When :meth:`room` may be more than 0, in monotonic seconds; the past is at once."""
        has_room = self._left_of_burst > len(self._queues[0])
        return float("-inf") if has_room else self._burst_ends

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is due now, as much as the pace allows."""
        if not any(self._queues):
            return []  # asked for after every datagram that a Map-Server takes
        self._end_overdue(now)
        self._begin_burst(now)
        output: list[tuple[bytes, Endpoint]] = []
        while self._left_of_burst:
            one = self._next_due(now)
            if one is None:
                break
            if one.tries and not one.is_current():
                self.counters["outdated"] += 1
                # Who was asked may have replaced it at once.
                if self._by_about.get(one.about) is one:
                    self.cancel(one.about)
                continue
            self._left_of_burst -= 1
            output.append(self._send(one, now))
        return output

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something, in monotonic seconds."""
        if not any(self._queues):
            return None
        due = min((next(iter(queue)).due for queue in self._queues if queue), default=None)
        if due is not None and not self._left_of_burst:
            return max(due, self._burst_ends)
        return due

    # Inside

    def _may_watch(self, nonce: int, key: Key, address: bytes) -> bool:
        limits = self._limits
        return (
            self._watched < limits.max_outstanding
            and self._per_address[address] < limits.max_per_address
            and sum(one.key is key for one in self._by_nonce.get(nonce, ())) < _MAX_SAME_NONCE
        )

    def _begin_burst(self, now: float) -> None:
        if now >= self._burst_ends:
            self._burst_ends = now + self._limits.pace
            self._left_of_burst = self._limits.burst

    def _next_due(self, now: float) -> _Outstanding | None:
        """Return the one that has been due for longest."""
        heads = (next(iter(queue)) for queue in self._queues[:-1] if queue)
        one = min(heads, key=_due, default=None)
        return one if one is not None and one.due <= now else None

    def _send(self, one: _Outstanding, now: float) -> tuple[bytes, Endpoint]:
        self.counters["Map-Notifies out"] += 1
        if one.tries:
            self.counters["retransmissions"] += 1
        endpoint = one.endpoints[one.tries % len(one.endpoints)]
        del self._queues[one.tries][one]
        if one.is_watched:
            one.due = now + INTERVALS[one.tries]
            one.tries += 1
            self._queues[one.tries][one] = None
        else:
            self._forget(one)
        return one.datagram, endpoint

    def _end_overdue(self, now: float) -> None:
        """Give up what was tried often enough; as many at a time as are sent."""
        last = self._queues[-1]
        for _ in range(self._limits.burst):
            one = next(iter(last), None)
            if one is None or one.due > now:
                return
            del last[one]
            self._forget(one)
            # RFC 9301 §5.7 wants it logged: whoever sent it knows to whom.
            self.counters["given up"] += 1
            one.on_end(False)

    def _forget(self, one: _Outstanding) -> None:
        del self._by_about[one.about]
        if not one.is_watched:
            return
        self._watched -= 1
        address = one.endpoints[0][0]
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        same = self._by_nonce[one.nonce]
        same.remove(one)
        if not same:
            del self._by_nonce[one.nonce]


def _due(one: _Outstanding) -> float:
    return one.due
