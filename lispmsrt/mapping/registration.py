"""What is kept of a registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lispmsrt.compiled import twin
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import MappingRecord, decode_record

if TYPE_CHECKING:
    from lispmsrt.mapping.database import Lease

__all__ = ["WANT_MAP_NOTIFY", "Registration"]

WANT_MAP_NOTIFY = int(RegisterFlag.WANT_MAP_NOTIFY)


class Registration:
    """One EID-prefix registered by one xTR. Written by the registrar only."""

    __slots__ = ("deadline", "flags", "lease", "record", "since")

    def __init__(
        self, record: bytes, lease: Lease, flags: int, since: float, deadline: float | None
    ) -> None:
        self.record = record
        "the mapping record in wire form"
        self.lease = lease
        self.flags = flags
        "bits of the Map-Register's first word (RegisterFlag)"
        self.since = since
        "monotonic seconds when this record was first registered"
        self.deadline = deadline
        "monotonic seconds, of its own; None where the lease decides"

    @property
    def expires(self) -> float | None:
        """When the registration ends unless it is confirmed, in monotonic seconds; None while a
        session holds it.
        """
        return self.lease.deadline if self.deadline is None else self.deadline

    @property
    def wants_notification(self) -> bool:
        """Whether the xTR asked to hear of changes."""
        return bool(self.flags & WANT_MAP_NOTIFY)

    def decode(self) -> MappingRecord:
        """Return the mapping record as a value."""
        return decode_record(Reader(self.record))


_compiled = twin("lispmsrt.mapping._registration")
if not TYPE_CHECKING and _compiled is not None:
    Registration = _compiled.Registration
