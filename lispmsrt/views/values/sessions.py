"""Sessions, as ``show lisp session`` of other systems has them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SessionUseView", "SessionView"]


@dataclass(frozen=True, slots=True)
class SessionUseView:
    """What a session is used for, per instance ID and EID family."""

    kind: str
    "ETR Reliable Registration, or RLOC membership"
    instance_id: int
    afi: str
    "IPv4, IPv6, MAC, name"
    count: int
    "registrations, or members told; -1 for more than could be counted"


@dataclass(frozen=True, slots=True)
class SessionView:
    """One reliable-transport session."""

    id: int
    "unique in the life of the process"
    peer: str
    "address and port"
    local: str
    "our address and port; empty where the transport does not tell"
    transport: str
    "TCP, TLS, TCP-MD5, QUIC, SCTP"
    role: str
    "passive on a Map-Server, active on an ETR"
    state: str
    "starting, established, closed"
    since: float
    "when it came up"
    site: str
    "empty before the first valid Registration"
    xtr_id: str
    "32 hexadecimal digits; empty where there is none"
    site_id: str
    "decimal; empty where there is none"
    rtt: float | None
    "round-trip time that the transport has measured, in seconds"
    messages_in: int
    messages_out: int
    octets_in: int
    octets_out: int
    registrations: int
    "EID-prefixes that it holds"
    queued_octets: int
    "written and not yet taken by the transport"
    pending_notifications: int
    "changed EID-prefixes that it has not been told of"
    is_paused: bool
    "whether the peer does not read for now"
    errors: dict[str, int]
    "kind of error to how many"
    uses: tuple[SessionUseView, ...]
    "empty in lists"
    counters: dict[str, int]
    "every counter of the session; empty in lists"
    key: str
    """key ID and algorithm that its newest accepted message was made with, as `show site` has them;
    empty where not known"""
