"""What is asked for of a long list. What is None matches everything."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.wire.addresses import EidPrefix

__all__ = ["HistoryFilter", "MappingFilter", "RegistrationFilter", "SessionFilter"]


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions."""

    site: str | None = None
    transport: str | None = None
    "as shown, in any case"
    peer: str | None = None
    "an address, or an address and port"
    established: bool | None = None
    since: float | None = None
    "seconds since 1970: up since then or later"
    troubled: bool | None = None
    "whether there were errors, or the peer does not read for now"


@dataclass(frozen=True, slots=True)
class RegistrationFilter:
    """Which registrations."""

    site: str | None = None
    instance_id: int | None = None
    transport: str | None = None
    "UDP, or of a session; of any part"
    eid: EidPrefix | None = None
    "what covers it and what lies inside; its instance ID is not looked at"
    xtr_id: str | None = None
    since: float | None = None
    "seconds since 1970: registered then or later"


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which lines of the history, or which rejections."""

    site: str | None = None
    instance_id: int | None = None
    transport: str | None = None
    eid: EidPrefix | None = None
    "what covers it, or lies inside"
    event: str | None = None
    since: float | None = None
    after: int | None = None
    "only lines with a greater number"


@dataclass(frozen=True, slots=True)
class MappingFilter:
    """Which mappings of an ETR."""

    map_server: str | None = None
    instance_id: int | None = None
    state: str | None = None
    eid: EidPrefix | None = None
