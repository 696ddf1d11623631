"""What the registrar says: verdicts on registrations, and changes of mappings."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple

from lispmsrt.mapping.database import EidTable, Lease, Registration
from lispmsrt.mapping.sites import Site
from lispmsrt.wire.authentication import Coverage, Key

__all__ = ["Change", "End", "Identity", "Verdict", "Withdrawal"]


class Verdict(IntEnum):
    """What became of a registration. The refusals are the reasons of a Registration Rejection."""

    ACCEPTED = 0
    NOT_A_VALID_SITE_EID_PREFIX = 1
    AUTHENTICATION_FAILURE = 2
    LOCATOR_SET_NOT_ALLOWED = 3
    OTHER = 4


class End(Enum):
    """Why a registration, or an xTR's part of one, is no more."""

    WITHDRAWN = "withdrawn"
    "its xTR said so"
    EXPIRED = "expired"
    "nobody confirmed it in time"
    DECONFIGURED = "deconfigured"
    "the sites in force no longer allow it"
    REFUSED = "rejected"
    "what the session that holds it registered there last was refused"


class Change(NamedTuple):
    """One mapping before and after: ``after`` is None when it is gone, ``before`` when new."""

    table: EidTable
    length: int
    key: int
    before: Registration | None
    after: Registration | None
    by: Lease | None = None
    "who ended it, where a message did; what is new says itself by whom"
    why: End | None = None
    "why a part ended; None where one came or changed"


class Identity(NamedTuple):
    """Whose authentic message it is, and what its MAC covered."""

    site: Site
    key: Key
    coverage: Coverage
    ids: bytes
    "xTR-ID and Site-ID, empty unless the MAC covered them"


class Withdrawal(NamedTuple):
    """A registration that a changed configuration no longer allows, taken out by the Map-Server."""

    lease: Lease
    record: bytes
    reason: Verdict
