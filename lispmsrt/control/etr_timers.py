"""How often an ETR sends over UDP, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EtrTimers"]


@dataclass(frozen=True, slots=True)
class EtrTimers:
    """Periods and limits of the UDP side. Durations are in seconds."""

    registration_period: float = 60.0
    "RFC 9301 §8.2"
    retransmission: float = 1.0
    "first wait for a Map-Notify; doubled each time"
    max_retransmission: float = 15.0
    withdrawal_tries: int = 8
    "after that the Map-Server's own clock ends the registration"
    max_unanswered: int = 64
    """Map-Registers watched for their Map-Notify at a time; others come again with the next period
    anyway, but for withdrawals, which are always watched.
    """
    max_datagram: int = 548
    "octets of UDP payload that fit an IPv4 packet of 576 (RFC 9301 §5)"
    rearm_delay: float = 5.0
    """a lost session is followed by one Map-Register within so long, so that a Map-Server's restart
    is no storm
    """
    return_delay: float = 1.0
    "the same after a session that lasted and that the Map-Server has closed: it stops"
    leave_lifetime: float = 180.0
    "how long a Map-Notify allows a connection; the Map-Server's token lives as long"
    head_start: float = 10.0
    """a session that has begun has so long to acknowledge what would go over UDP without delay: a
    million EIDs take it less than that, and the Map-Server would have to take many of them twice
    """
