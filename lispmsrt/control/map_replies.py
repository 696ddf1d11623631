"""Map-Replies of a Map-Server put together from records, and kept small (RFC 9301 §5.4, §5.5).

Whoever spoofs a Map-Request's ITR-RLOC has the Map-Reply sent to a victim: what asks pays for the
size of what answers. Everything that is left out leaves a smaller but right mapping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lispmsrt.control.eid_nesting import hole_beside
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.mapping.lookup import Found, Hit
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_reply import MAX_RECORDS
from lispmsrt.wire.served_records import (
    record_ttl,
    served_record,
    with_fewer_locators,
    with_ttl,
)

__all__ = [
    "AMPLIFICATION",
    "HEADER_OCTETS",
    "MAX_UNFRAGMENTED",
    "Answer",
    "is_small_enough",
    "octets_used_up",
    "prefix_of",
    "records_that_fit",
    "with_one_ttl",
]

AMPLIFICATION = 8
"""How many times as large as the datagram that asked a Map-Reply may be, IP and UDP headers
counted: enough for some ten records with a locator each.
"""

HEADER_OCTETS = 28
"""IPv4 and UDP headers; those of IPv6 are larger for both sides."""

MAX_UNFRAGMENTED = 1232
"""Octets that fit the smallest packet every IPv6 path carries, with its headers: more-specifics are
left out beyond, but not locators.
"""

_MAP_REPLY_HEADER = 12


class Answer(NamedTuple):
    """The records that answer for one EID."""

    asked: EidPrefix
    found: Found
    record: bytes
    "what covers the EID asked for"
    more_specifics: tuple[bytes, ...] = ()
    "without these the record above would be wrong; each of them is right on its own"


def is_small_enough(reply: bytes, octets: int) -> bool:
    """Whether a Map-Reply may answer a datagram of this many octets."""
    return len(reply) + HEADER_OCTETS <= AMPLIFICATION * (octets + HEADER_OCTETS)


def octets_used_up(answer: bytes) -> int:
    """Return how many octets of a question one answer of several takes: for all of them together
    the bound is the same.
    """
    return -(-(len(answer) + HEADER_OCTETS) // AMPLIFICATION)


def prefix_of(hit: Hit, asked: EidPrefix) -> EidPrefix:
    """Return the EID-prefix of a registration, in the form that was asked for."""
    table = hit.table
    width = WIDTHS[table.afi]
    network = (hit.key ^ 1 << hit.length) << width - hit.length
    address = Address(table.afi, network.to_bytes(width >> 3, "big"))
    return EidPrefix(table.instance_id, address, hit.length, asked.explicit_instance)


def with_one_ttl(answer: Answer) -> Answer:
    """Return the answer with the least of its TTLs in all records."""
    # RFC 9301 §5.5: overlapping EID-prefixes have to expire together.
    ttl = min(map(record_ttl, (answer.record, *answer.more_specifics)))
    more = tuple(with_ttl(record, ttl) for record in answer.more_specifics)
    return Answer(answer.asked, answer.found, with_ttl(answer.record, ttl), more)


def records_that_fit(
    answers: Sequence[Answer], octets: int, counters: Counter[str], reserved: int = 0
) -> list[bytes]:
    """Return the records for a Map-Reply to a datagram of this many octets; ``reserved`` octets are
    needed for what comes after them.

    As long as they are too large, more-specifics are left out first, then locators of worse
    priority, then whole records; each step is counted.
    """
    headers = HEADER_OCTETS + _MAP_REPLY_HEADER
    room = AMPLIFICATION * (octets + HEADER_OCTETS) - headers - reserved
    if len(answers) == 1 and not answers[0].more_specifics and len(answers[0].record) <= room:
        return [answers[0].record]  # nearly always
    records = [record for one in answers for record in (one.record, *one.more_specifics)]
    size = sum(map(len, records))
    if len(records) > len(answers) and (
        size > min(room, MAX_UNFRAGMENTED - _MAP_REPLY_HEADER - reserved)
        or len(records) > MAX_RECORDS
    ):
        counters["Map-Replies without more-specifics"] += 1
        records = [record for one in answers for record in _narrowed(one)]
        size = sum(map(len, records))
    if size > room or len(records) > MAX_RECORDS:
        records = _cut(records[:MAX_RECORDS], room, counters)
    return records


def _narrowed(answer: Answer) -> Sequence[bytes]:
    """Do without the more-specifics by covering less: just the hole between them around the EID.

    Where something lies inside what was asked for there is none; the more-specifics alone are
    right then.
    """
    if not answer.more_specifics:
        return (answer.record,)
    hole = hole_beside(answer.asked, answer.found.more_specifics)
    return answer.more_specifics if hole is None else (served_record(answer.record, hole),)


def _cut(records: Sequence[bytes], room: int, counters: Counter[str]) -> list[bytes]:
    kept = []
    for record in records:
        fitting: bytes | None = record
        if len(record) > room:
            fitting = with_fewer_locators(record, room)
            what = "locators" if fitting is not None else "records"
            counters[f"Map-Replies with {what} left out"] += 1
        if fitting is not None:
            kept.append(fitting)
            room -= len(fitting)
    return kept
