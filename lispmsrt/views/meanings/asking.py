"""Counters of who asks for mappings and subscribes to them: ``lispmsrt lig``, and whoever embeds
a Requester or Subscriber.
"""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["REQUESTER", "SUBSCRIBER"]

REQUESTER = Group(
    "requester",
    ("control/inquiries.py",),
    {
        "Map-Requests out": "Map-Requests, repetitions too.",
        "Map-Replies in": "Map-Replies that could be read.",
        "Map-Replies to no inquiry": "With a nonce of no Map-Request that waits.",
        "Map-Replies about another EID-prefix": "About something that was not asked for; dropped.",
        "without an answer": "Questions that were not answered in all their tries.",
        "type * not handled": "Control messages of other types than Map-Reply.",
        "malformed datagrams": "Datagrams that can't be read.",
        "Map-Replies malformed": "Map-Replies that can't be read.",
        "Map-Replies with another nonce": "The signed part has another nonce; dropped.",
        "Map-Replies without LISP-SEC to a secured Map-Request": "Not signed; dropped.",
        "Map-Replies with LISP-SEC algorithms that were not asked for": "Dropped.",
        "Map-Replies with a wrong EID HMAC": "The Map-Server's part is not authentic; dropped.",
        "Map-Replies with a wrong packet HMAC": "The answer is not authentic; dropped.",
        "Map-Replies about EID-prefixes that no Map-Server vouched for": "Dropped.",
        "Map-Replies to what was answered already": "The second of two; dropped.",
    },
)

SUBSCRIBER = Group(
    "subscriber",
    ("control/subscriber.py",),
    {
        "Map-Requests out": "Map-Requests that subscribe or cancel, repetitions too.",
        "subscriptions confirmed": "Subscriptions that a Map-Server has confirmed, renewals too.",
        "subscriptions refused": "Answered with an ordinary Map-Reply.",
        "subscriptions cancelled without an answer": "Ended, and nobody said so.",
        "publications": "Changes of mappings that were told.",
        "Map-Notify-Acks out": "Answers to Map-Notifies.",
        "Map-Notifies repeated": "Again, because our Map-Notify-Ack was lost.",
        "Map-Notifies out of date": "With a nonce that is not greater than the last; dropped.",
        "Map-Notifies with another key": "With another key ID or algorithm; dropped.",
        "Map-Notifies with authentication failures": "With wrong authentication data; dropped.",
        "Map-Replies to no Map-Request": "With a nonce of no Map-Request that waits.",
        "type * not handled": "Control messages of other types.",
        "malformed datagrams": "Datagrams that can't be read.",
    },
)
