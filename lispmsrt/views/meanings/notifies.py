"""Counters of what a Map-Server tells unasked: Map-Notifies, publications, notifications."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["MAP_NOTIFIES", "MEMBERSHIP", "NOTIFICATIONS", "RETRANSMISSIONS", "SUBSCRIPTIONS"]

MAP_NOTIFIES = Group(
    "map-notifies",
    ("control/map_notifies.py",),
    {
        "Map-Notifies": "Unsolicited Map-Notifies to xTRs over UDP, repetitions not counted.",
        "EID-prefixes told": "EID-prefixes in unsolicited Map-Notifies.",
        "coalesced": "Changes of what was waiting to be told anyway.",
        "replaced by newer ones": "Map-Notifies out of date before they were acknowledged.",
        "given up": "Map-Notifies that an xTR did not acknowledge in seven tries.",
        "not told, no path": "Changes for xTRs whose UDP address is not known.",
        "not told, no answers": "Changes for xTRs that have left whole schedules unanswered.",
        "not told, too much waits": "Changes for xTRs for which too much waits already.",
    },
)

RETRANSMISSIONS = Group(
    "retransmissions",
    ("control/retransmission.py", "control/acknowledgements.py"),
    {
        "Map-Notifies out": "Unsolicited Map-Notifies and publications, repetitions too.",
        "retransmissions": "Those of them that were sent again.",
        "acknowledged": "Map-Notifies whose Map-Notify-Ack came.",
        "given up": "Map-Notifies that stayed without Map-Notify-Ack after seven tries.",
        "outdated": "Map-Notifies not sent again, because they were no longer true.",
        "Map-Notifies dropped": "Never sent: too many wait.",
        "Map-Notifies not watched": "Sent only once: too many are outstanding.",
        "Map-Notify-Acks in": "Map-Notify-Acks that could be read.",
        "Map-Notify-Acks unasked": "With a nonce that is not, or no longer, outstanding.",
        "Map-Notify-Acks of something else": "Right nonce and key, and other records.",
        "Map-Notify-Acks with authentication failures": "With another key, or wrong data.",
        "Map-Notify-Acks dropped: too many failures from their source": (
            "Not looked at: wrong ones came from this address or IPv6 /64 faster than is looked"
            " into."
        ),
        "Map-Notify-Acks dropped: too many failures from unknown sources": (
            "Not looked at: wrong ones came from too many addresses, none of which was told."
        ),
        "Map-Notify-Acks dropped: too many failures in the name of their xTR": (
            "Not looked at: too many wrong ones came from an address that was told something."
        ),
        "Map-Notify-Acks dropped: too many failures in the names of known xTRs": (
            "Not looked at: too many wrong ones came from addresses that were told something."
        ),
    },
)

SUBSCRIPTIONS = Group(
    "subscriptions",
    (
        "control/subscriptions.py",
        "control/subscription_proofs.py",
        "control/subscription_proposals.py",
        "control/subscription_admission.py",
        "control/subscription_cancellations.py",
        "control/publications.py",
    ),
    {
        "subscriptions": "Subscriptions that were confirmed (RFC 9437).",
        "subscriptions renewed": "Subscriptions that their xTR asked for again.",
        "subscriptions repeated": "Map-Requests sent again before they were confirmed.",
        "subscriptions cancelled": "Subscriptions that their xTR ended.",
        "subscriptions cancelled in vain": "Ended by their xTR, and not there any more.",
        "subscriptions displaced": "Taken from the site with most, because there were too many.",
        "subscriptions not confirmed": "The Map-Notify that confirms was not acknowledged.",
        "subscriptions not confirmed: nonce used twice": (
            "The nonce has served already, and one Map-Notify-Ack must not confirm two things."
        ),
        "subscriptions not confirmed: too many at once": (
            "Forgotten for newer ones of the same xTR that wait too."
        ),
        "subscriptions refused: no key": "No xTR of this ID has registered, or none with a key.",
        "subscriptions refused: too many failures from their source": (
            "Too many from this address or IPv6 /64 wait, or were not acknowledged."
        ),
        "subscriptions refused: too many failures from unknown sources": (
            "Too many in all wait, or were not acknowledged, and follow no subscription."
        ),
        "subscriptions refused: too many failures in the name of their xTR": (
            "Too many renewals of this xTR wait, or were not acknowledged."
        ),
        "subscriptions refused: too many failures in the names of known xTRs": (
            "Too many renewals in all wait, or were not acknowledged."
        ),
        "subscriptions refused: no EID that can be looked up": "No EID that can be registered.",
        "subscriptions refused: no site in that instance": "Nothing is configured there.",
        "subscriptions refused: no proxy-reply": (
            "The mapping's ETRs answer themselves: they register without the proxy bit."
        ),
        "subscriptions refused: policy": "An RLOC is outside the allowed-itrs of the site.",
        "subscriptions refused: replay": "The nonce is old: a replay, or the xTR has forgotten.",
        "subscriptions refused: too many": "Of this xTR, of this EID-prefix, or in all.",
        "subscriptions refused: Map-Request too small": (
            "The Map-Notify would be several times as large; ask with padding or in an ECM."
        ),
        "subscriptions ended: no Map-Notify-Ack": "The xTR has left too many unanswered.",
        "subscriptions ended: no key any more": "The configuration has another key now.",
        "subscriptions ended: too much news": "More changes waited than are kept.",
        "publications": "Map-Notifies to subscribers, repetitions not counted.",
        "publications replaced": "Publications out of date before they were acknowledged.",
        "publications given up": "Publications that were not acknowledged in seven tries.",
    },
)

NOTIFICATIONS = Group(
    "notifications",
    ("mapping/publisher.py", "mapping/replaced.py"),
    {
        "notifications lost": (
            "Changes for a session that did not read: it is closed, and begins anew."
        ),
        "replaced registrations forgotten": (
            "Taken over by another xTR, and the oldest of too many: who had them is not asked"
            " when they are free again."
        ),
    },
)

MEMBERSHIP = Group(
    "membership",
    ("mapping/family_members.py", "mapping/rloc_members.py"),
    {
        "subscriptions lost": (
            "RLOC membership for a session that did not read: it is closed, and begins anew."
        ),
    },
)
