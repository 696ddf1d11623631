"""Counters of an ETR: its Map-Registers over UDP, its answers, what it has learnt."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["ETR_ANSWERS", "ETR_MEMBERSHIP", "ETR_REGISTERING"]

ETR_REGISTERING = Group(
    "registering",
    ("control/etr.py", "control/unsolicited.py"),
    {
        "Map-Registers out": "Map-Registers over UDP, repetitions too.",
        "retransmissions": "Map-Registers sent again, because no Map-Notify came.",
        "Map-Notifies in": "Authentic Map-Notifies.",
        "Map-Notifies with authentication failures": (
            "Map-Notifies with another key, or wrong data: compare the keys of both sides."
        ),
        "Map-Notifies unasked": "With a nonce of none of our latest Map-Registers.",
        "Map-Notifies for another xTR": "With the xTR-ID of another xTR; dropped.",
        "Map-Notifies replayed": "Older than what was heard before; dropped.",
        "Map-Notifies repeated": "Again, because our Map-Notify-Ack was lost.",
        "Map-Notifies without our IDs": (
            "From a Map-Server that mirrors the xTR-ID otherwise: not believed that we moved."
        ),
        "Map-Notify-Acks out": "Answers to unsolicited Map-Notifies.",
        "EID-prefixes taken over by others": "Another xTR has registered what we had.",
        "not handled": "Control messages of other types than Map-Notify.",
        "malformed": "Map-Notifies that can't be read.",
    },
)

ETR_ANSWERS = Group(
    "answers",
    ("control/etr_answers.py", "control/map_replies.py", "control/request_limits.py"),
    {
        "Map-Requests in": "Map-Requests for our mappings.",
        "RLOC-probes in": "RLOC-probes: an ITR asks whether this RLOC is there.",
        "Map-Replies out": "Answers to both.",
        "Map-Replies without more-specifics": (
            "Too large otherwise for the Map-Request: a narrower mapping without those inside."
        ),
        "Map-Replies with locators left out": (
            "Too large otherwise for the Map-Request: only locators of better priority."
        ),
        "Map-Replies with records left out": (
            "Too large otherwise for the Map-Request: fewer EIDs than were asked for."
        ),
        "Map-Replies too large with LISP-SEC": (
            "Not sent: signed they would be too large for the Map-Request."
        ),
        "too large": "Datagrams of more than 4096 octets; dropped.",
        "malformed": "Map-Requests and ECMs that can't be read; dropped.",
        "dropped: ECM in ECM": "ECMs inside of ECMs, which make no sense.",
        "dropped: no Map-Request": "ECMs with anything but a Map-Request inside.",
        "dropped: SMR": "Solicit-Map-Requests, which are for ITRs.",
        "dropped: no Map-Reply wanted": "They asked for no answer, and had none.",
        "dropped: RLOC-probe in an ECM": "It says nothing of the path to the RLOC.",
        "dropped: no ITR-RLOC to send to": "No ITR-RLOC is an address that the socket reaches.",
        "dropped: rate limit": "One source, or one ITR-RLOC, asks too often.",
        "dropped: left to another xTR": "Every Map-Server says that another xTR has the EID now.",
        "dropped: no mapping of ours": "The EID is in none of our mappings: a stale map-cache.",
        "dropped, too many to send at once": (
            "More answers in one turn than may wait to be sent; whoever asked asks again."
        ),
    },
)

ETR_MEMBERSHIP = Group(
    "etr-membership",
    ("mapping/learnt_members.py",),
    {
        "members beyond the limit": (
            "Members that a Map-Server told and that are not kept: the family is incomplete."
        ),
    },
)
