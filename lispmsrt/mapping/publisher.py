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

from lispmsrt.compiled import twin
from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.names import Name, key_of, name_of
from lispmsrt.mapping.new_mappings import NewMappings, Stretch
from lispmsrt.mapping.replaced import Replaced
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.records import MappingRecord, encode_record

__all__ = ["MAX_PENDING", "Publisher", "eid_of_key", "news_record"]

MAX_PENDING = 65_536
"""EID-prefixes with news that one session may leave unread; with more it is better off starting
again.
"""

_compiled = twin("lispmsrt.mapping._publisher")
_NO_IDS = bytes(24)
_WIDTHS = {int(Afi.IPV4): 32, int(Afi.IPV6): 128, int(Afi.MAC): 48}


class Publisher:
    """Mark what changed, per session that asked; hand it out on demand."""

    def __init__(self, tell_over_udp: Callable[[Lease, EidTable, int], None] | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self.replaced = Replaced(self.counters)
        "whose registrations were taken over by others"
        self._tell_over_udp = tell_over_udp
        self._pending: dict[Xtr, dict[Name, None]] = {}
        self._vacant: dict[Xtr, dict[Name, None]] = {}
        "what an xTR had before others, and nobody has now: it is asked whether it still means it"
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
        # What it was asked for on a session that is no more it may not have heard.
        for name in self.replaced.of_xtr(lease.xtr):
            if _is_vacant(name):
                self._ask(lease, name)

    def detach(self, lease: Lease) -> None:
        """Forget the lease's xTR."""
        self._wake.pop(lease.xtr, None)
        self._is_slow.pop(lease.xtr, None)
        self._lost.discard(lease.xtr)
        self._pending.pop(lease.xtr, None)
        self._vacant.pop(lease.xtr, None)

    def changed(self, changes: Sequence[Change]) -> None:
        """Mark changes for everyone whose registration covers them and who asked, except who made
        them.
        """
        if isinstance(changes, NewMappings):
            for new in changes.stretches:
                self._entered(new)
            return
        for change in changes:
            if change.table.watching or change.before is not None:
                self._changed(change)

    def _entered(self, new: Stretch) -> None:
        watching = new.table.watching
        if not watching or new.lengths.keys() == watching.keys() == {min(watching)}:
            # Most often nobody else: all that watch register prefixes of this one length.
            return
        for at in _under_others(new):
            self._changed(new.change(at))

    def _changed(self, change: Change) -> None:
        table, length, key, before, after, by, _why = change
        maker, gone, is_replaced, is_news, is_as_made = _weigh(before, after, by)
        if is_replaced:
            self.replaced.taken_over(name_of(table, key), gone, maker)
        elif after is None:
            name = name_of(table, key)
            for lease in self.replaced.vacated(name, gone):
                self._ask(lease, name)
        if not is_news and is_as_made:
            return
        for part in gone if is_news else ():
            # The xTR that this EID-prefix has left must hear of it.
            if part.wants_notification and part.lease.xtr != maker:
                self._mark(part.lease, table, key, over_udp=is_replaced)
        # RFC 9735: a name is more specific than no other.
        for shorter in table.watching if table.afi != Afi.NAME else (length,):
            if shorter <= length:
                covering = table.entries.get(key >> length - shorter)
                if covering is None or (covering is after and before is None):
                    continue
                for part in parts_of(covering):
                    # Over UDP the maker's Map-Notify shows the merged RLOC-set (RFC 9301 §5.7).
                    is_maker = part.lease.xtr == maker
                    if part.wants_notification and (not is_as_made if is_maker else is_news):
                        reaches = covering is after and not is_maker
                        self._mark(part.lease, table, key, over_udp=reaches)

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
        return [_news(name[0], key_of(name)) for name in taken]

    def take_vacant(self, lease: Lease, limit: int) -> list[EidPrefix]:
        """Return at most ``limit`` EID-prefixes that the lease's xTR had before another one, and
        that nobody registers now.
        """
        vacant = self._vacant.get(lease.xtr)
        found: list[EidPrefix] = []
        while vacant and len(found) < limit:
            name, _ = vacant.popitem()
            if _is_vacant(name):
                found.append(eid_of_key(name[0], key_of(name)))
        return found

    def has_news(self, lease: Lease) -> bool:
        """Whether :meth:`take` or :meth:`take_vacant` has something."""
        return bool(self._pending.get(lease.xtr) or self._vacant.get(lease.xtr))

    def waiting(self, lease: Lease) -> int:
        """How many EID-prefixes are news for the lease."""
        return len(self._pending.get(lease.xtr, ()))

    def _ask(self, lease: Lease, name: Name) -> None:
        """Have the lease's xTR asked whether it still means an EID-prefix that it had."""
        wake = self._wake.get(lease.xtr)
        if wake is None:
            # Nothing is asked over UDP; that an EID-prefix is gone can be told.
            if lease.path is not None and self._tell_over_udp is not None:
                self._tell_over_udp(lease, name[0], key_of(name))
            return
        self._vacant.setdefault(lease.xtr, {})[name] = None
        wake()

    def _mark(self, lease: Lease, table: EidTable, key: int, *, over_udp: bool) -> None:
        xtr = lease.xtr
        wake = self._wake.get(xtr)
        if wake is None:
            if over_udp and lease.path is not None and self._tell_over_udp is not None:
                self._tell_over_udp(lease, table, key)
            return
        pending = self._pending.setdefault(xtr, {})
        name = name_of(table, key)
        # Names only, and no more than there are registrations: who reads may have as many.
        if len(pending) >= MAX_PENDING and name not in pending and self._is_slow[xtr]():
            self.counters["notifications lost"] += 1
            self._lost.add(xtr)
            wake()
            return
        # Newest last, and only once.
        pending.pop(name, None)
        pending[name] = None
        if len(pending) == 1:
            wake()


def _under_others(new: Stretch) -> Sequence[int]:
    """Return which new registrations lie under what another lease has registered, by their places.

    What the maker has registered above is no news to anybody else.
    """
    if _compiled is not None:
        places: Sequence[int] | None = _compiled.under_others(new)
        if places is not None:
            return places
    watching, find = new.table.watching, new.table.entries.get
    lease = new.registrations[0].lease
    found: list[int] = []
    for at, key in enumerate(new.keys):
        length = key.bit_length() - 1
        for shorter in watching:
            above = find(key >> length - shorter) if shorter < length else None
            if above is not None and not (above.lease is lease and above.__class__ is Registration):
                found.append(at)
                break
    return found


def _weigh(
    before: Registration | None, after: Registration | None, by: Lease | None
) -> tuple[Xtr | None, Sequence[Registration], bool, bool, bool]:
    """Return who made a change, the parts whose xTRs are no longer there, whether they were
    replaced, whether it is news, and whether it is as the maker said.

    The last is wrong where others' parts make the mapping another: then the maker is told too.
    """
    if before is None or after is None:
        made_by = after.lease if after is not None else by
        maker = made_by.xtr if made_by is not None else None
        return maker, parts_of(before), False, True, True
    was, now = parts_of(before), parts_of(after)
    there = {part.lease.xtr for part in now}
    gone = [part for part in was if part.lease.xtr not in there]
    is_news = before.record != after.record
    new = now[-1]
    if new not in was:
        is_replaced = bool(gone)
        is_as_made = after.record == new.record
        return new.lease.xtr, gone, is_replaced, is_news or is_replaced, is_as_made
    return by.xtr if by is not None else None, gone, False, is_news, by is None


def eid_of_key(table: EidTable, key: int) -> EidPrefix:
    """Return the EID-prefix that a prefix key of this table stands for."""
    length = key.bit_length() - 1
    width = _WIDTHS.get(table.afi, length)
    network = (key ^ 1 << length) << width - length
    address = Address(table.afi, network.to_bytes(width // 8, "big"))
    return EidPrefix(table.instance_id, address, min(length, 255))


def _is_vacant(name: Name) -> bool:
    return key_of(name) not in name[0].entries


def _news(table: EidTable, key: int) -> bytes:
    registration = table.entries.get(key)
    ids = registration.lease.xtr.ids if registration is not None else b""
    return (ids or _NO_IDS) + news_record(table, key)


def news_record(table: EidTable, key: int) -> bytes:
    """Return the mapping as it is now, in wire form; with TTL 0 and no locators when it is gone."""
    registration = table.entries.get(key)
    if registration is None:
        return encode_record(MappingRecord(eid_of_key(table, key), 0, ()))
    return registration.record
