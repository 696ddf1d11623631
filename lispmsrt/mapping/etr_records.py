"""What an ETR may register, in wire form, and what it may not."""

from __future__ import annotations

from dataclasses import replace

from lispmsrt.mapping.etr_registration import UnregistrableError
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord, encode_record
from lispmsrt.wire.reliable_transport import eid_wire_form

__all__ = ["plain_eid", "registrable"]

MAX_RECORD = 8000
"""Octets of a record: with MAC and xTR-ID it fits the 8 kB that a Registration may have."""


def registrable(record: MappingRecord) -> tuple[tuple[int, int], bytes, bytes]:
    """Return instance ID and AFI, EID wire form and wire form of a record; UnregistrableError,
    or ValueError for what can't be a lookup key, says why there is none.
    """
    instance_id, afi, *_ = eid_key(record.eid)
    if not record.ttl:
        raise UnregistrableError(f"{record.eid}: a record TTL of 0 withdraws")
    if record.eid.explicit_instance:
        record = replace(record, eid=plain_eid(record.eid))
    wire = encode_record(record)
    if len(wire) > MAX_RECORD:
        raise UnregistrableError(
            f"{record.eid}: {len(wire)} octets of locators and EID are too large"
        )
    return (instance_id, afi), eid_wire_form(record.eid), wire


def plain_eid(eid: EidPrefix) -> EidPrefix:
    """Return it without an LCAF that only says instance ID 0."""
    return EidPrefix(eid.instance_id, eid.address, eid.length)
