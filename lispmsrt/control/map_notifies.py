"""Unsolicited Map-Notifies: xTRs that register over UDP hear that their mapping has changed (RFC
9301 §5.7).

It keeps names, not messages, as :mod:`lispmsrt.mapping.publisher` does for sessions: a record is
read from the database when it is sent. Who is to be told is the publisher's business.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.mapping.database import EidTable, Lease, UdpPath, Xtr
from lispmsrt.mapping.publisher import news_record
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET
from lispmsrt.wire.map_register import MAX_RECORDS, write_map_notify

__all__ = ["MapNotifies", "MapNotifyLimits"]


@dataclass(frozen=True, slots=True)
class MapNotifyLimits:
    """How much is told over UDP at a time."""

    max_datagram: int = 548
    "octets of UDP payload that fit an IPv4 packet of 576 (RFC 9301 §5); a larger record goes alone"
    window: int = 32
    "Map-Notifies that one xTR has not acknowledged: more are sent as it answers"
    max_names: int = 262_144
    "EID-prefixes that xTRs are still to hear of, in all: some 80 MB"
    max_names_per_xtr: int = 65_536
    "the same for one xTR; no more than a session may leave unread"


_Name = tuple[EidTable, int]


class _Notify:
    """One Map-Notify that is outstanding."""

    __slots__ = ("answers", "names", "path", "records")

    def __init__(
        self, names: list[_Name], records: list[bytes], path: UdpPath, answers: int
    ) -> None:
        self.names = names
        self.records = records
        self.path = path
        self.answers = answers
        "how many its xTR had given when it was sent"


class _Recipient:
    __slots__ = ("answers", "lease", "outstanding", "pending", "sent")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.pending: dict[_Name, None] = {}
        self.sent: dict[_Name, int] = {}
        "in which outstanding Map-Notify an EID-prefix is"
        self.outstanding: dict[int, _Notify] = {}
        self.answers = 0


class MapNotifies:
    """Tell xTRs without a session what has become of the EID-prefixes that they registered."""

    def __init__(
        self,
        retransmissions: Retransmissions,
        next_nonce: Callable[[], int],
        *,
        limits: MapNotifyLimits | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``next_nonce`` returns growing numbers, across restarts too; ``wake`` is called when
        there is something to send where there was nothing.
        """
        self.counters: Counter[str] = Counter()
        self._retransmissions = retransmissions
        self._next_nonce = next_nonce
        self._limits = limits or MapNotifyLimits()
        self._wake = wake
        self._recipients: dict[Xtr, _Recipient] = {}
        self._ready: OrderedDict[_Recipient, None] = OrderedDict()
        "who has something to hear and room in its window, in turn"
        self._names = 0
        self._sequence = 0

    def tell(self, lease: Lease, table: EidTable, key: int) -> None:
        """Let the lease's xTR hear what the mapping is by the time of sending.

        Nothing is sent where it has not come over UDP. Queues output.
        """
        if lease.path is None:
            self.counters["not told, no path"] += 1
            return
        recipient = self._recipients.get(lease.xtr)
        if recipient is None:
            recipient = self._recipients[lease.xtr] = _Recipient(lease)
        recipient.lease = lease
        was_idle = not self._ready
        self._note(recipient, (table, key))
        self._settle(recipient)
        if was_idle and self._ready:
            self._wake()

    def _note(self, recipient: _Recipient, name: _Name) -> None:
        number = recipient.sent.get(name)
        if number is not None:
            self._retransmissions.cancel((recipient.lease.xtr, number))
            self._take_back(recipient, number)
        elif name in recipient.pending:
            self.counters["coalesced"] += 1
        elif self._has_room(recipient):
            recipient.pending[name] = None
            self._names += 1
        else:
            self.counters["not told, too much waits"] += 1

    def start_due(self, now: float) -> None:
        """Hand what may leave now to the retransmissions, one Map-Notify of each xTR in turn."""
        room = self._retransmissions.room(now) if self._ready else 0
        while room > 0 and self._ready:
            recipient, _ = self._ready.popitem(last=False)
            if recipient.lease.path is None:
                self.counters["not told, no path"] += len(recipient.pending)
                self._drop_pending(recipient)
            else:
                self._start(recipient, recipient.lease.path, now)
                room -= 1
            self._settle(recipient)

    def next_timeout(self) -> float | None:
        """When :meth:`start_due` has something to do, in monotonic seconds; the past is at once."""
        return self._retransmissions.next_room() if self._ready else None

    # Inside

    def _has_room(self, recipient: _Recipient) -> bool:
        waiting = len(recipient.pending) + len(recipient.sent)
        return self._names < self._limits.max_names and waiting < self._limits.max_names_per_xtr

    def _settle(self, recipient: _Recipient) -> None:
        """Note whether the xTR is to be served, or can be forgotten."""
        if recipient.pending and len(recipient.outstanding) < self._limits.window:
            self._ready[recipient] = None
            return
        self._ready.pop(recipient, None)
        if not recipient.pending and not recipient.outstanding:
            del self._recipients[recipient.lease.xtr]

    def _start(self, recipient: _Recipient, path: UdpPath, now: float) -> None:
        ids = recipient.lease.ids if path.mirrors_ids else b""
        names, records = self._fill(recipient, path.length + len(ids))
        nonce = self._next_nonce()
        data = write_map_notify(
            nonce=nonce,
            records=records,
            ids=ids,
            reliable_transport=False,
            key=path.key,
            length=path.length,
            coverage=path.coverage,
        )
        self._sequence += 1
        number = self._sequence
        self.counters["Map-Notifies"] += 1
        self.counters["EID-prefixes told"] += len(names)
        recipient.outstanding[number] = _Notify(names, records, path, recipient.answers)
        recipient.sent.update(dict.fromkeys(names, number))
        is_watched = self._retransmissions.start(
            (recipient.lease.xtr, number),
            nonce,
            data,
            (path.endpoint,),
            path.key,
            now,
            lambda is_acknowledged: self._ended(recipient, number, is_acknowledged),
            is_current=lambda: self._is_current(recipient, number),
        )
        if not is_watched:
            self._finish(recipient, number)

    def _fill(self, recipient: _Recipient, overhead: int) -> tuple[list[_Name], list[bytes]]:
        """Take as many EID-prefixes as one datagram holds, at least one."""
        room = self._limits.max_datagram - AUTHENTICATION_OFFSET - overhead
        names: list[_Name] = []
        records: list[bytes] = []
        for name in recipient.pending:
            record = news_record(*name)
            if names and (len(record) > room or len(names) == MAX_RECORDS):
                break
            room -= len(record)
            names.append(name)
            records.append(record)
        for name in names:
            del recipient.pending[name]
        return names, records

    def _is_current(self, recipient: _Recipient, number: int) -> bool:
        """Whether a retransmission would still be true: what it says, and the way that it takes."""
        notify = recipient.outstanding[number]
        path = recipient.lease.path
        if path == notify.path and [news_record(*name) for name in notify.names] == notify.records:
            return True
        self._take_back(recipient, number)
        self._settle(recipient)
        return False

    def _take_back(self, recipient: _Recipient, number: int) -> None:
        """What an outstanding Map-Notify says is out of date: it goes again, with a new nonce."""
        notify = recipient.outstanding.pop(number)
        self.counters["replaced by newer ones"] += 1
        for name in notify.names:
            del recipient.sent[name]
            recipient.pending[name] = None

    def _ended(self, recipient: _Recipient, number: int, is_acknowledged: bool) -> None:
        notify = recipient.outstanding[number]
        self._finish(recipient, number)
        if is_acknowledged:
            recipient.answers += 1
        else:
            self.counters["given up"] += 1
            if recipient.answers == notify.answers:
                # It has left a whole schedule unanswered, and nothing else was answered meanwhile:
                # it is not there. What it registered ends by the clock.
                self.counters["not told, no answers"] += len(recipient.pending)
                self._drop_pending(recipient)
        self._settle(recipient)

    def _finish(self, recipient: _Recipient, number: int) -> None:
        notify = recipient.outstanding.pop(number)
        for name in notify.names:
            del recipient.sent[name]
        self._names -= len(notify.names)

    def _drop_pending(self, recipient: _Recipient) -> None:
        self._names -= len(recipient.pending)
        recipient.pending.clear()
