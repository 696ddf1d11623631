"""The mapping database: registrations by EID-prefix, exact and longest match per (instance ID,
family).

It keeps each registration's record in wire form with only what lookups and policy need beside it.
Who may write is the registrar's business: nothing else calls :meth:`EidTable.put`,
:meth:`EidTable.replace` and :meth:`EidTable.remove`, but for its :mod:`lispmsrt.mapping.holdings`
and :mod:`lispmsrt.mapping.runs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lispmsrt.mapping.eid_entries import eid_entries
from lispmsrt.mapping.registration import WANT_MAP_NOTIFY, Registration
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.authentication import Coverage, Key

__all__ = ["Database", "EidTable", "Endpoint", "Lease", "Registration", "UdpPath", "Xtr"]

Endpoint = tuple[bytes, int]
"""A packed address and a UDP port."""


class Xtr(NamedTuple):
    """Who registers: xTR-ID and Site-ID where a MAC covered them, else the UDP source address."""

    site: str
    ids: bytes
    "xTR-ID (16 octets) and Site-ID (8), or empty"
    address: bytes
    "packed source address where there are no IDs, else empty"

    def __str__(self) -> str:
        who = f"xTR-ID {self.ids[:16].hex()}" if self.ids else "without xTR-ID"
        return f"{self.site} {who}"


class UdpPath(NamedTuple):
    """How an xTR's newest Map-Register came over UDP, and so how Map-Notifies reach it (RFC 9301
    §5.7).
    """

    endpoint: Endpoint
    key: Key
    length: int
    "octets of authentication data"
    coverage: Coverage
    mirrors_ids: bool
    "whether the Map-Register had xTR-ID and Site-ID, so that a Map-Notify has them too"


class Lease:
    """By which way an xTR registered, and how long that holds: one per session, one per xTR over
    UDP.

    Registrations on a live session have no clock; once it is lost they share the lease's deadline.
    Those over UDP have one each.
    """

    __slots__ = (
        "deadline",
        "held",
        "is_live",
        "key",
        "path",
        "source",
        "transport",
        "uses_ttl",
        "xtr",
    )

    def __init__(
        self,
        xtr: Xtr,
        transport: str,
        source: str,
        *,
        is_live: bool,
        path: UdpPath | None = None,
    ) -> None:
        self.xtr = xtr
        self.transport = transport
        self.source = source
        "address and port, for people"
        self.is_live = is_live
        "whether a session stands behind it"
        self.path = path
        "None on sessions"
        self.key: Key | None = path.key if path is not None else None
        "that the newest message which was accepted was made with; None where that is not known"
        self.deadline: float | None = None
        "monotonic seconds; set when the session is lost"
        self.uses_ttl = False
        "whether any registration had the T bit"
        # Ordered rather than a set: simulations must replay exactly.
        self.held: dict[Registration, None] = {}

    @property
    def ids(self) -> bytes:
        """xTR-ID and Site-ID as they stand at the end of the xTR's messages, or nothing."""
        return self.xtr.ids


class EidTable:
    """Registrations of one (instance ID, family), by prefix key
    (:func:`lispmsrt.wire.record_walk.prefix_key`).
    """

    __slots__ = ("_longest_first", "afi", "entries", "index", "instance_id", "lengths", "watching")

    def __init__(self, instance_id: int, afi: int) -> None:
        self.instance_id = instance_id
        self.afi = afi
        # Compiled, both are one: it keeps a mapping in half the memory, and in order at any time.
        self.entries, self.index = eid_entries(afi, Registration)
        self.lengths: dict[int, int] = {}
        "prefix length to how many there are"
        self.watching: dict[int, int] = {}
        "the same, counting those only that asked for notifications"
        self._longest_first: list[int] = []

    def put(self, length: int, key: int, registration: Registration) -> None:
        """Enter a registration where there is none."""
        self.entries[key] = registration
        if self.index is not None:
            self.index.enter(key)
        self.count(length, 1, is_watched=registration.wants_notification)

    def entered(self, keys: list[int]) -> None:
        """Take note of every key that a run has put into ``entries`` itself."""
        if self.index is not None:
            self.index.enter_all(keys)

    def count(self, length: int, number: int, *, is_watched: bool) -> None:
        """Count new registrations of one length; watched are those that want notifications."""
        try:
            self.lengths[length] += number
        except KeyError:
            self.lengths[length] = number
            self._longest_first = sorted(self.lengths, reverse=True)
        if is_watched:
            self.watching[length] = self.watching.get(length, 0) + number

    def replace(self, length: int, key: int, registration: Registration) -> None:
        """Enter a registration where another one is."""
        replaced = self.entries[key]
        self.entries[key] = registration
        if replaced.wants_notification != registration.wants_notification:
            self.watch(length, 1 if registration.wants_notification else -1)

    def remove(self, length: int, key: int) -> None:
        """Take out the registration that is there."""
        registration = self.entries.pop(key)
        if self.index is not None:
            self.index.discard(key)
        self.lengths[length] -= 1
        if not self.lengths[length]:
            del self.lengths[length]
            self._longest_first.remove(length)
        if registration.flags & WANT_MAP_NOTIFY:
            self.watch(length, -1)

    def watch(self, length: int, change: int) -> None:
        """Count one more or less registration of this length that wants notifications."""
        count = self.watching.get(length, 0) + change
        if count:
            self.watching[length] = count
        else:
            del self.watching[length]

    def longest_match(self, address: int, width: int) -> tuple[int, int, Registration] | None:
        """Return prefix length, key and registration of the longest prefix that covers the address.

        ``width`` is the number of bits in an address of this family.
        """
        entries = self.entries
        # RFC 9735: names match exactly or not at all.
        lengths = self._longest_first if self.afi != Afi.NAME else (width,)
        for length in lengths:
            key = address >> width - length | 1 << length
            if key in entries:
                return length, key, entries[key]
        return None

    def longest_cover(self, length: int, key: int) -> int:
        """Return the length of the longest prefix that covers this one, which may be itself; -1 for
        none. Names have no lengths to try.
        """
        entries = self.entries
        for shorter in self._longest_first:
            if shorter <= length and key >> length - shorter in entries:
                return shorter
        return -1

    def covering(self, length: int, key: int) -> Iterator[tuple[int, Registration]]:
        """Yield prefix key and registration of every prefix that covers this one, itself first."""
        for shorter in self._longest_first if self.afi != Afi.NAME else (length,):
            if shorter <= length:
                found = self.entries.get(key >> length - shorter)
                if found is not None:
                    yield key >> length - shorter, found


class Database:
    """Every table, by (instance ID, family)."""

    __slots__ = ("tables",)

    def __init__(self) -> None:
        self.tables: dict[tuple[int, int], EidTable] = {}

    def __len__(self) -> int:
        return sum(len(table.entries) for table in self.tables.values())

    def table(self, instance_id: int, afi: int) -> EidTable:
        """Return the table, made when it is asked for first."""
        table = self.tables.get((instance_id, afi))
        if table is None:
            table = self.tables[instance_id, afi] = EidTable(instance_id, afi)
        return table

    def exact(self, instance_id: int, afi: int, key: int) -> Registration | None:
        """Return the registration of exactly this prefix."""
        table = self.tables.get((instance_id, afi))
        return table.entries.get(key) if table is not None else None

    def longest_match(
        self, instance_id: int, afi: int, packed: bytes
    ) -> tuple[int, int, Registration] | None:
        """Return prefix length, key and registration of the longest prefix that covers a packed
        address.
        """
        table = self.tables.get((instance_id, afi))
        if table is None:
            return None
        return table.longest_match(int.from_bytes(packed, "big"), 8 * len(packed))

    def registrations(self) -> Iterator[Registration]:
        """Yield all of them; the database must not change meanwhile."""
        for table in self.tables.values():
            yield from table.entries.values()
