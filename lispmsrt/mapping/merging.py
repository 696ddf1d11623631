"""One mapping of several xTRs: their Map-Registers ask with the a bit that the RLOC-sets be merged
(RFC 9301 §5.6).

What is merged depends on who registered what, never on the order in which it came: so whoever asks
again is told the same. It decides nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.mapping.merged_record import (
    LegibleRecord,
    merged_eid,
    merged_record,
    merged_rlocs,
)
from lispmsrt.mapping.policy import MAX_RECORD
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import MappingRecord

__all__ = [
    "MAX_LOCATORS",
    "MAX_OCTETS",
    "MAX_PARTS",
    "MergeError",
    "MergedRegistration",
    "merging_work",
    "part_of",
    "parts_of",
    "with_part",
    "without_part",
]

MAX_PARTS = 32
"""How many xTRs one EID-prefix may be merged of: whatever one of them changes, all are merged
anew.
"""

MAX_OCTETS = 2 * MAX_RECORD
"""What the records of all parts may have together, for the same reason: each of 32 xTRs may
register the 32 RLOCs of all.
"""

MAX_LOCATORS = 255
"""What the locator count of a record can say."""

_LOCATORS_READ_AGAIN = 8
"""With no more in all parts together these are read with every change: that takes some 60 us, and
most of what is merged is as small.
"""

_INSTANCE_OCTETS = 12  # what an LCAF with the instance ID adds to an EID

_WORK_PER_PART = 5
"""Reading a record and merging it, measured against taking out a registration."""

# Numbers: of 32 parts each is looked at, and an enum's operators cost more than all the rest.
_MERGE = int(RegisterFlag.MERGE)
_ANY = int(RegisterFlag.PROXY_REPLY | RegisterFlag.WANT_MAP_NOTIFY)
_ALL = int(RegisterFlag.SECURITY)


class MergeError(ValueError):
    """The registration can't be merged with what is there; its text says why."""


class MergedRegistration(Registration):
    """What two or more xTRs registered with the a bit for one EID-prefix; a new one with every
    change.
    """

    __slots__ = ("parts", "read")

    def __init__(self, parts: dict[Xtr, Registration], before: Registration | None = None) -> None:
        """Merge parts, newest last; raises MergeError where a record can't be read or limits
        forbid it. What ``before`` has read of the same parts is not read again.
        """
        self.parts = parts
        read = _readable(parts, before)
        flags = [part.flags for part in parts.values()]
        merged = _MERGE
        for one in flags:
            merged |= one & _ANY
        if all(one & _ALL for one in flags):
            merged |= _ALL
        newest = self.newest
        record = _merged_record([read[parts[xtr]] for xtr in sorted(parts)])
        super().__init__(record, newest.lease, merged, newest.since, None)
        locators = sum([len(one.rlocs) for one in read.values()])
        self.read = read if locators > _LOCATORS_READ_AGAIN else {}
        "what was read of the parts, some 300 octets for a locator; where there are few, nothing"

    @property
    def newest(self) -> Registration:
        """The part that changed last."""
        return next(reversed(self.parts.values()))

    @property
    def expires(self) -> float | None:
        """When the last part ends unless it is confirmed; None while a session holds one."""
        ends = [part.expires for part in self.parts.values()]
        return None if None in ends else max(end for end in ends if end is not None)


def parts_of(registration: Registration | None) -> Sequence[Registration]:
    """Return what each xTR registered, newest last: the parts, or the registration itself."""
    if registration is None:
        return ()
    if isinstance(registration, MergedRegistration):
        return tuple(registration.parts.values())
    return (registration,)


def merging_work(registration: Registration | None) -> int:
    """Say what a change of one part costs, in changes of a registration that is not merged."""
    parts = len(registration.parts) if isinstance(registration, MergedRegistration) else 0
    # Of two one is left, and nothing to merge.
    return _WORK_PER_PART * parts if parts > 2 else 1


def part_of(registration: Registration | None, lease: Lease) -> Registration | None:
    """Return what the lease's xTR registered, by whatever way."""
    if registration is None:
        return None
    if isinstance(registration, MergedRegistration):
        return registration.parts.get(lease.xtr)
    if registration.lease is lease or registration.lease.xtr == lease.xtr:
        return registration
    return None


def with_part(current: Registration | None, part: Registration) -> Registration:
    """Return what stands in the place of ``current`` once ``part`` is registered.

    Without the a bit on both sides the newest replaces, and between sites. Raises MergeError.
    """
    if not part.flags & _MERGE:
        return part
    xtr = part.lease.xtr
    parts = {
        one.lease.xtr: one
        for one in parts_of(current)
        if one.flags & _MERGE and one.lease.xtr != xtr and one.lease.xtr.site == xtr.site
    }
    if not parts:
        _decode(part)  # or it could never be merged with what comes
        return part
    if len(parts) >= MAX_PARTS:
        raise MergeError("too many to merge")
    parts[xtr] = part
    return MergedRegistration(parts, current)


def without_part(current: Registration, part: Registration) -> Registration | None:
    """Return what stands in the place of ``current`` once ``part``, one of its parts, is gone."""
    if current is part:
        return None
    left = {one.lease.xtr: one for one in parts_of(current) if one is not part}
    if len(left) > 1:
        return MergedRegistration(left, current)
    return next(iter(left.values()))


def _readable(
    parts: Mapping[Xtr, Registration], before: Registration | None
) -> dict[Registration, LegibleRecord]:
    known = before.read if isinstance(before, MergedRegistration) else {}
    if sum([len(part.record) for part in parts.values()]) > MAX_OCTETS:
        raise MergeError("too much to merge")
    return {part: known.get(part) or LegibleRecord(_decode(part)) for part in parts.values()}


def _merged_record(records: Sequence[LegibleRecord]) -> bytes:
    rlocs = merged_rlocs(records)
    if len(rlocs) > MAX_LOCATORS:
        raise MergeError("too many locators to merge")
    merged = merged_record(records, rlocs)
    eid = merged_eid(records)
    # When the only part with a plain EID goes, the rest must still fit.
    may_grow = 0 if eid.instance_id or eid.explicit_instance else _INSTANCE_OCTETS
    if len(merged) + may_grow > MAX_RECORD:
        raise MergeError("merged record too large")
    return merged


def _decode(part: Registration) -> MappingRecord:
    try:
        return part.decode()
    except WireError:
        raise MergeError("RLOCs that can't be read to merge them") from None
