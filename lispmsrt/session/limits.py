"""What one peer may cost. Each limit has its reason; who exceeds it loses the session, nobody else
anything.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SessionLimits"]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one session. Durations are in seconds, sizes in octets."""

    max_registration: int = 8192
    "255 records would be larger, yet a Registration has one: more is an error or an attack"
    probation: float = 30.0
    "without a valid Registration for so long, a new session is closed by the Map-Server"
    message_timeout: float = 60.0
    "a message that was begun must end within: who sends a header and stops holds our memory"
    unread_timeout: float = 60.0
    "how long a peer may leave our output unread before it is given up"
    max_output: int = 65_536
    "octets built at one go; more only when these have left, so who doesn't read costs no more"
    error_burst: int = 10
    "Error Notifications sent at once, then one a second: junk must not make us talk"
    turn_messages: int = 16
    "taken one by one in a turn of the reactor, some 0.3 ms; runs of like Registrations besides"
    turn_timeout: float = 60.0
    "what was read must be taken within, for all that we have no patience: it holds our memory"
    max_refreshes: int = 64
    "pending Refreshes of narrow scope; with more, one of everything is cheaper"
    window: int = 4096
    "Registrations written and not yet answered; the ETR sends no more until answers come"
    answer_timeout: float = 15.0
    "without an answer for so long what is outstanding is sent again, then the session closed"
    refresh_timeout: float = 10.0
    "without a Refresh for so long after it came up, an ETR registers unasked"
    max_subscriptions: int = 256
    "EID families whose RLOC membership one xTR may follow: each costs a place to remember"
    subscribe_delay: float = 1.0
    "before an ETR subscribes again that had nothing registered there; doubled each time"
    subscribe_delay_max: float = 60.0
    "and no more than this, so that it follows soon after it has registered"
