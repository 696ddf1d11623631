"""Runs of Registrations by which an xTR confirms what it had registered before: on an earlier
session, over UDP, or before this process began.

Nothing changes by that but who holds it: nobody is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lispmsrt.mapping.database import EidTable, Registration
from lispmsrt.mapping.likeness import MASK_OCTET, Likenesses
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.sites import Sites

__all__ = ["Confirmation", "confirmations"]


class Confirmation(NamedTuple):
    """A registration that is said again on another session."""

    table: EidTable
    key: int
    "prefix key"
    registration: Registration
    eid: bytes
    "in wire form"


def confirmations(likenesses: Likenesses, sites: Sites, run: Run) -> Iterator[Confirmation]:
    """Check the Registrations of a run, as long as each is like one before, and says what the same
    xTR has registered otherwise than on this session; parts of merged ones are left to others.
    """
    lease = run.lease
    if not _may_confirm(likenesses, run):
        return
    for like, _length, key, record, eid in likenesses.run(sites, run.data, run.frames, run.first):
        current = like.table.entries.get(key)
        if (
            current.__class__ is not Registration
            or current.lease is lease
            or current.lease.xtr != lease.xtr
            or current.record != record
            or current.flags != like.flags
        ):
            return
        yield Confirmation(like.table, key, current, eid)


def _may_confirm(likenesses: Likenesses, run: Run) -> bool:
    """Whether the first one names what the same xTR has registered otherwise. It is asked before
    there is a hash: what nobody confirms, and what is wrong, has cost one already, and will cost
    another the long way.
    """
    _kind, _message_id, start, end = run.frames[run.first]
    like = likenesses.by_size.get(end - start)
    if like is None:
        return False
    record_at = start + like.body_at
    length = run.data[record_at + MASK_OCTET]
    if length > like.width:
        return False
    address = run.data[record_at + like.address_at : record_at + like.address_end]
    key = int.from_bytes(address, "big") >> like.width - length | 1 << length
    current = like.table.entries.get(key)
    return (
        current.__class__ is Registration
        and current.lease is not run.lease
        and current.lease.xtr == run.lease.xtr
    )
