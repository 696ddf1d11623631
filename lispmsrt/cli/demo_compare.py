"""Compare what a Map-Server holds with what ETRs mean to register, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lispmsrt.mapping.database import Registration
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord, encode_record

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome."""

    compared: int
    "EID-prefixes that are meant or held"
    differences: tuple[str, ...]
    "one sentence each"


def compare(
    meant: Mapping[EidPrefix, tuple[bytes, MappingRecord]], held: Iterable[Registration]
) -> Comparison:
    """Compare every EID-prefix, its xTR-ID and the octets of its record.

    ``meant`` has xTR-ID and record of each EID-prefix.
    """
    found = {registration.decode().eid: registration for registration in held}
    differences = []
    for eid, (xtr_id, record) in meant.items():
        registration = found.get(eid)
        if registration is None:
            differences.append(f"{eid} is meant to be registered and is not")
        elif registration.record != encode_record(record):
            differences.append(
                f"{eid} is registered as {_locators(registration.decode())}, "
                f"meant is {_locators(record)}"
            )
        elif registration.lease.ids[:16] != xtr_id:
            differences.append(f"{eid} is registered by {registration.lease.xtr}")
    for eid in found.keys() - meant.keys():
        differences.append(f"{eid} is registered and nobody means it")
    return Comparison(len(found.keys() | meant.keys()), tuple(differences))


def _locators(record: MappingRecord) -> str:
    rlocs = ", ".join(
        f"{locator.rloc} priority {locator.priority} weight {locator.weight}"
        for locator in record.locators
    )
    return f"{rlocs or 'no locator'}, TTL {record.ttl} min"
