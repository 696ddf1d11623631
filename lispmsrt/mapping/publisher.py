"""Who must hear of a changed mapping (draft-kouvelas-lisp-map-server-reliable-transport-07
§6.1.5).

It keeps names, not messages: a session pulls what is news for it when it can write, and gets the
mapping as it is by then. So notifications of one EID-prefix coalesce, and a slow session costs
nobody else anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.records import MappingRecord, encode_record

__all__ = ["MAX_PENDING", "Publisher", "eid_of_key"]

MAX_PENDING = 65_536
"""EID-prefixes with news that one session may leave unread; with more it is better off starting
again.
"""

_NO_IDS = bytes(24)
_WIDTHS = {int(Afi.IPV4): 32, int(Afi.IPV6): 128, int(Afi.MAC): 48}


class Publisher:
    """Mark what changed, per session that asked; hand it out on demand."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._pending: dict[Xtr, dict[tuple[EidTable, int], None]] = {}
        self._wake: dict[Xtr, Callable[[], None]] = {}
        self._is_slow: dict[Xtr, Callable[[], bool]] = {}
        self._lost: set[Xtr] = set()

    def attach(
        self,
        lease: Lease,
        wake: Callable[[], None],
        is_slow: Callable[[], bool] = lambda: False,
    ) -> None:
        """Collect news for the xTR of a session's lease, whatever lease it goes on with.

        ``wake`` is called when the first one comes; ``is_slow`` says whether the peer has left
        unread what was written to it.
        """
        self._wake[lease.xtr] = wake
        self._is_slow[lease.xtr] = is_slow

    def detach(self, lease: Lease) -> None:
        """Forget the lease's xTR."""
        self._wake.pop(lease.xtr, None)
        self._is_slow.pop(lease.xtr, None)
        self._lost.discard(lease.xtr)
        self._pending.pop(lease.xtr, None)

    def changed(self, changes: Sequence[Change]) -> None:
        """Mark changes for everyone whose registration covers them and who asked, except who made
        them.
        """
        for change in changes:
            watching = change[0].watching
            # Most often nobody else watches: all that do register prefixes of this one length.
            if change[3] is None and len(watching) <= 1 and change[1] in watching:
                continue
            if watching or change[3] is not None:
                self._changed(change)

    def _changed(self, change: Change) -> None:
        table, length, key, before, after, by = change
        made_by = after.lease if after is not None else by
        if before is not None and after is not None and _is_same(before, after):
            return
        if before is not None and before.wants_notification:
            # The xTR that this EID-prefix has left must hear of it.
            self._mark(before.lease, table, key, made_by)
        # RFC 9735: a name is more specific than no other.
        for shorter in table.watching if table.afi != Afi.NAME else (length,):
            if shorter <= length:
                covering = table.entries.get(key >> length - shorter)
                if covering is None or covering is after:
                    continue
                if covering.wants_notification:
                    self._mark(covering.lease, table, key, made_by)

    def take(self, lease: Lease, limit: int) -> list[bytes] | None:
        """Return at most ``limit`` pieces of news, each the data of a Mapping Notification.

        None says that some are lost: more than MAX_PENDING waited for a peer that did not read.
        """
        if lease.xtr in self._lost:
            return None
        pending = self._pending.get(lease.xtr)
        if not pending:
            return []
        taken = list(islice(pending, limit))
        for item in taken:
            del pending[item]
        return [_news(table, key) for table, key in taken]

    def has_news(self, lease: Lease) -> bool:
        """Whether :meth:`take` has something."""
        return bool(self._pending.get(lease.xtr))

    def _mark(self, lease: Lease, table: EidTable, key: int, made_by: Lease | None) -> None:
        xtr = lease.xtr
        wake = self._wake.get(xtr)
        if wake is None or (made_by is not None and made_by.xtr == xtr):
            return
        pending = self._pending.setdefault(xtr, {})
        # Names only, and no more than there are registrations: who reads may have as many.
        if len(pending) >= MAX_PENDING and (table, key) not in pending and self._is_slow[xtr]():
            self.counters["notifications lost"] += 1
            self._lost.add(xtr)
            wake()
            return
        # Newest last, and only once.
        pending.pop((table, key), None)
        pending[table, key] = None
        if len(pending) == 1:
            wake()


def _is_same(before: Registration, after: Registration) -> bool:
    """Whether the mapping is what it was, though registered with other flags."""
    return before.record == after.record and before.lease.xtr == after.lease.xtr


def eid_of_key(table: EidTable, key: int) -> EidPrefix:
    """Return the EID-prefix that a prefix key of this table stands for."""
    length = key.bit_length() - 1
    width = _WIDTHS.get(table.afi, length)
    network = (key ^ 1 << length) << width - length
    address = Address(table.afi, network.to_bytes(width // 8, "big"))
    return EidPrefix(table.instance_id, address, min(length, 255))


def _news(table: EidTable, key: int) -> bytes:
    registration: Registration | None = table.entries.get(key)
    if registration is None:
        return _NO_IDS + encode_record(MappingRecord(eid_of_key(table, key), 0, ()))
    return (registration.lease.xtr.ids or _NO_IDS) + registration.record
