"""The states of one (EID-prefix, Map-Server) at an ETR, as a table.

draft-kouvelas-lisp-map-server-reliable-transport-07 §6.2. Who acts on it is
:mod:`lispmsrt.mapping.etr_registrations`.
"""

from __future__ import annotations

import enum

__all__ = ["TRANSITIONS", "EtrAction", "EtrEvent", "EtrState"]


class EtrState(enum.IntEnum):
    """State of one (EID-prefix, Map-Server)."""

    NO_STATE = 0
    PERIODIC = 1
    STABLE = 2
    ACK_WAIT = 3
    REJECTED = 4
    ROAMED = 5
    "ours: left to the xTR that has taken it over, until the application registers it again"


class EtrEvent(enum.IntEnum):
    """What moves it."""

    CREATED_WHILE_DOWN = 0
    CREATED_WHILE_UP = 1
    DELETED = 2
    CHANGED = 3
    SESSION_UP = 4
    SESSION_DOWN = 5
    REFRESH = 6
    REFRESH_REJECTED = 7
    ACK = 8
    REJECTION = 9
    PERIODIC_TIMER = 10
    TAKEN_OVER = 11
    "the Map-Server says that another xTR registers it now (RFC 9301 §5.7)"


class EtrAction(enum.IntEnum):
    """What is to be done then; A1 to A7 of the draft."""

    NOTHING = 0
    REGISTER_OVER_UDP_NOW = 1
    SEND_REGISTRATION = 2
    WITHDRAW_OVER_UDP = 3
    STOP_UDP = 4
    REGISTER_OVER_UDP_AGAIN = 5
    SEND_WITHDRAWAL = 6
    RESUME_UDP = 7
    YIELD = 8


_S, _E, _A = EtrState, EtrEvent, EtrAction

TRANSITIONS: dict[tuple[int, int], tuple[EtrState, EtrAction]] = {
    (_S.NO_STATE, _E.CREATED_WHILE_DOWN): (_S.PERIODIC, _A.REGISTER_OVER_UDP_NOW),
    (_S.NO_STATE, _E.CREATED_WHILE_UP): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.PERIODIC, _E.DELETED): (_S.NO_STATE, _A.WITHDRAW_OVER_UDP),
    (_S.PERIODIC, _E.CHANGED): (_S.PERIODIC, _A.REGISTER_OVER_UDP_NOW),
    (_S.PERIODIC, _E.SESSION_UP): (_S.STABLE, _A.STOP_UDP),
    (_S.PERIODIC, _E.PERIODIC_TIMER): (_S.PERIODIC, _A.REGISTER_OVER_UDP_AGAIN),
    (_S.STABLE, _E.DELETED): (_S.NO_STATE, _A.SEND_WITHDRAWAL),
    (_S.STABLE, _E.CHANGED): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.STABLE, _E.SESSION_DOWN): (_S.PERIODIC, _A.RESUME_UDP),
    (_S.STABLE, _E.REFRESH): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.STABLE, _E.REJECTION): (_S.REJECTED, _A.NOTHING),
    (_S.ACK_WAIT, _E.DELETED): (_S.NO_STATE, _A.SEND_WITHDRAWAL),
    (_S.ACK_WAIT, _E.CHANGED): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.ACK_WAIT, _E.SESSION_DOWN): (_S.PERIODIC, _A.RESUME_UDP),
    (_S.ACK_WAIT, _E.REFRESH): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.ACK_WAIT, _E.REFRESH_REJECTED): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.ACK_WAIT, _E.ACK): (_S.STABLE, _A.NOTHING),
    (_S.ACK_WAIT, _E.REJECTION): (_S.REJECTED, _A.NOTHING),
    (_S.REJECTED, _E.DELETED): (_S.NO_STATE, _A.NOTHING),
    (_S.REJECTED, _E.CHANGED): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.REJECTED, _E.SESSION_DOWN): (_S.PERIODIC, _A.RESUME_UDP),
    (_S.REJECTED, _E.REFRESH): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.REJECTED, _E.REFRESH_REJECTED): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.REJECTED, _E.ACK): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    # Not of the draft. Registering on would take the EID-prefix back with every period, and the
    # other xTR likewise: no packet would know where to go.
    (_S.PERIODIC, _E.TAKEN_OVER): (_S.ROAMED, _A.YIELD),
    (_S.STABLE, _E.TAKEN_OVER): (_S.ROAMED, _A.YIELD),
    (_S.ROAMED, _E.CREATED_WHILE_DOWN): (_S.PERIODIC, _A.REGISTER_OVER_UDP_NOW),
    (_S.ROAMED, _E.CREATED_WHILE_UP): (_S.ACK_WAIT, _A.SEND_REGISTRATION),
    (_S.ROAMED, _E.DELETED): (_S.NO_STATE, _A.NOTHING),
    (_S.ROAMED, _E.ACK): (_S.PERIODIC, _A.RESUME_UDP),
}
"""(state, event) to (next state, action). What is absent changes nothing."""
