"""What every counter means to an operator, in one line, by group."""

from __future__ import annotations

from lispmsrt.views.meanings.asking import REQUESTER, SUBSCRIBER
from lispmsrt.views.meanings.etr import ETR_ANSWERS, ETR_MEMBERSHIP, ETR_REGISTERING
from lispmsrt.views.meanings.groups import Group
from lispmsrt.views.meanings.management import MANAGEMENT
from lispmsrt.views.meanings.notifies import (
    MAP_NOTIFIES,
    MEMBERSHIP,
    NOTIFICATIONS,
    RETRANSMISSIONS,
    SUBSCRIPTIONS,
)
from lispmsrt.views.meanings.registrations import (
    ARMING,
    MAP_REGISTERS,
    REGISTRATIONS,
    VERDICTS,
)
from lispmsrt.views.meanings.requests import (
    CONTROL_PLANE,
    LISP_SEC,
    MAP_REFERRALS,
    MAP_REQUESTS,
    UDP_SOCKETS,
)
from lispmsrt.views.meanings.sessions import ENDINGS, ETR_SESSIONS, SESSIONS
from lispmsrt.views.meanings.state import STATE
from lispmsrt.views.meanings.transports import CONNECTING, TRANSPORTS

__all__ = [
    "ARMING",
    "CONNECTING",
    "CONTROL_PLANE",
    "ENDINGS",
    "ETR_ANSWERS",
    "ETR_MEMBERSHIP",
    "ETR_REGISTERING",
    "ETR_SESSIONS",
    "GROUPS",
    "LISP_SEC",
    "MANAGEMENT",
    "MAP_NOTIFIES",
    "MAP_REFERRALS",
    "MAP_REGISTERS",
    "MAP_REQUESTS",
    "MEMBERSHIP",
    "NOTIFICATIONS",
    "REGISTRATIONS",
    "REQUESTER",
    "RETRANSMISSIONS",
    "SESSIONS",
    "STATE",
    "SUBSCRIBER",
    "SUBSCRIPTIONS",
    "TRANSPORTS",
    "UDP_SOCKETS",
    "VERDICTS",
    "Group",
]

GROUPS = (
    MAP_REGISTERS,
    REGISTRATIONS,
    VERDICTS,
    ARMING,
    SESSIONS,
    ENDINGS,
    NOTIFICATIONS,
    MEMBERSHIP,
    MAP_REQUESTS,
    LISP_SEC,
    MAP_REFERRALS,
    MAP_NOTIFIES,
    RETRANSMISSIONS,
    SUBSCRIPTIONS,
    CONTROL_PLANE,
    UDP_SOCKETS,
    STATE,
    TRANSPORTS,
    CONNECTING,
    ETR_REGISTERING,
    ETR_SESSIONS,
    ETR_ANSWERS,
    ETR_MEMBERSHIP,
    MANAGEMENT,
    REQUESTER,
    SUBSCRIBER,
)
