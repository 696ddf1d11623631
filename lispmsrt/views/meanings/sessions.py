"""Counters of sessions, of all that are up and all that have ended together."""

from __future__ import annotations

from lispmsrt.session.base import CloseReason
from lispmsrt.views.meanings.groups import Group

__all__ = ["ENDINGS", "ETR_SESSIONS", "SESSIONS"]

_BOTH = {
    "octets in": "Octets received.",
    "input held back": "Times that nothing was read for a while: too much had been refused.",
    "octets out": "Octets handed to the transport.",
    "messages in": "Messages received.",
    "messages out": "Messages sent.",
    "errors in": "Error Notifications received: the peer can't make sense of something.",
    "malformed errors in": "Error Notifications that can't be read.",
    "errors out": "Error Notifications sent.",
    "errors suppressed": "Error Notifications not sent, because there were too many.",
    "unsupported in": "Messages of a type that is not expected, or not known.",
    "malformed in": "Messages that can't be read; answered with an Error Notification.",
    "framing errors in": "Streams that can't be read on: wrong length or end marker.",
}

SESSIONS = Group(
    "sessions",
    ("session/base.py", "session/map_server.py", "session/membership_publisher.py"),
    {
        **_BOTH,
        "rejections out": "Registrations that were refused.",
        "withdrawals out": "Registrations ended because the configuration changed.",
        "notifications out": "Mapping Notifications: changes told to the xTRs concerned.",
        "refreshes of vacant EID-prefixes out": (
            "EID-prefixes that another xTR had taken over and has left: who had them is asked."
        ),
        "not armed": "First Registrations of xTRs that may not have this session.",
        "certificate not of the xTR": "First Registrations whose TLS certificate is another's.",
        "subscriptions beyond the limit": "RLOC membership: more families than one xTR may follow.",
        "subscriptions cancelled": "RLOC membership: families that are no longer told.",
        "subscriptions refused": "RLOC membership: answered with a NACK.",
    },
)

ETR_SESSIONS = Group(
    "etr-sessions",
    ("session/base.py", "session/etr.py", "session/membership_subscriber.py"),
    {
        **_BOTH,
        "rejections in": "Registrations that a Map-Server refused or ended.",
        "refreshes in": "Registration Refreshes: a Map-Server asks to register again.",
        "notifications in": "Mapping Notifications from a Map-Server.",
        "no refresh in time": "Sessions whose Map-Server did not ask for everything.",
        "sent again": "Sets of Registrations sent again, because there was no answer.",
        "membership not asked for": "RLOC membership that was told unasked; dropped.",
        "members without a plain RLOC": "Members whose RLOC is no plain address; left out.",
        "subscriptions refused": "RLOC membership: the Map-Server answered with a NACK.",
    },
)

ENDINGS = Group(
    "session-endings",
    (),
    {
        CloseReason.PEER_CLOSED.value: "Sessions that the xTR closed in order.",
        CloseReason.CONNECTION_LOST.value: "Sessions whose path or xTR failed.",
        CloseReason.UNREADABLE_STREAM.value: "Sessions closed for a wrong length or end marker.",
        CloseReason.NO_REGISTRATION.value: (
            "Sessions closed because nobody authenticated on them in time."
        ),
        CloseReason.MESSAGE_TIMEOUT.value: "Sessions closed because a message stayed unfinished.",
        CloseReason.NOT_READING.value: "Sessions closed because the xTR left too much unread.",
        CloseReason.NO_ANSWERS.value: "Sessions that an ETR closed; none on a Map-Server.",
        CloseReason.REPLACED.value: "Sessions closed because their xTR came with a newer one.",
        CloseReason.SHUTDOWN.value: "Sessions closed because this Map-Server stops.",
        CloseReason.SITE_REMOVED.value: "Sessions closed because their site was removed.",
        CloseReason.CERTIFICATE.value: "Sessions closed for a TLS certificate that is not theirs.",
        CloseReason.CLEARED.value: "Sessions that an operator closed.",
        CloseReason.REFUSED.value: "Sessions closed because of too much that came to nothing.",
    },
)
