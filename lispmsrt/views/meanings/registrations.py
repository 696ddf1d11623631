"""Counters of a Map-Server's Map-Registers, registrations, tokens and rejections."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["ARMING", "MAP_REGISTERS", "REGISTRATIONS", "VERDICTS"]

MAP_REGISTERS = Group(
    "map-registers",
    ("control/map_server.py", "control/nonces.py"),
    {
        "Map-Registers in": "Map-Registers over UDP that could be read, good or bad.",
        "Map-Registers without records": "Map-Registers that registered nothing; dropped.",
        "Map-Registers refused: NOT_A_VALID_SITE_EID_PREFIX": (
            "No record lies in a configured EID-prefix: wrong EID-prefix or instance ID, or a site"
            " is missing in the configuration; dropped."
        ),
        "Map-Registers refused: AUTHENTICATION_FAILURE": (
            "The site has no such key, or the authentication data are wrong; dropped."
        ),
        "Map-Registers refused: OTHER": (
            "No record has an EID of a family that can be registered; dropped."
        ),
        "Map-Registers dropped: too many failures from their source": (
            "Not looked at: wrong ones and repeats came from this address or IPv6 /64 faster than"
            " is looked into."
        ),
        "Map-Registers dropped: too many failures from unknown sources": (
            "Not looked at: wrong ones came from too many addresses, or made-up ones. Who has"
            " registered before is heard all the same."
        ),
        "Map-Registers dropped: too many failures in the name of their xTR": (
            "Not looked at: somebody who writes this xTR's IDs and address fails all the time."
        ),
        "Map-Registers dropped: too many failures in the names of known xTRs": (
            "Not looked at: somebody fails all the time in the names and addresses of many xTRs."
        ),
        "Map-Registers from elsewhere": (
            "Sent again from another address, by an ETR without xTR-ID: caught and replayed, or a"
            " NAT that changed; dropped."
        ),
        "Map-Registers repeated": (
            "The same nonce again: a retransmission, answered as before, or a replay."
        ),
        "Map-Registers with no record accepted": (
            "Authentic, and every record was refused; not answered."
        ),
        "Map-Notifies out": "Answers to Map-Registers.",
        "Map-Replies dropped": "A Map-Server has no use for Map-Replies (RFC 9301 §8.3).",
        "Map-Notifies dropped": "A Map-Server has no use for Map-Notifies.",
        "type * not handled": "Control messages of a type that this Map-Server does not know.",
        "malformed datagrams": "Map-Registers and Map-Notify-Acks that can't be read; dropped.",
        "xTRs forgotten": (
            "xTRs whose nonces went out of memory for those of others of the site: their old"
            " Map-Registers could be replayed."
        ),
    },
)

REGISTRATIONS = Group(
    "registrations",
    ("mapping/registrar.py", "mapping/registrations.py", "mapping/rejections.py"),
    {
        "withdrawn": "Registrations that their xTR ended with a TTL of 0.",
        "expired": "Registrations that nobody confirmed in time.",
        "withdrawn by configuration": "Registrations that a changed configuration ended.",
        "refused over UDP: NOT_A_VALID_SITE_EID_PREFIX": (
            "Records of authentic Map-Registers outside the EID-prefixes of their site."
        ),
        "refused over UDP: LOCATOR_SET_NOT_ALLOWED": (
            "Records of authentic Map-Registers with RLOCs outside the allowed-rlocs of the site."
        ),
        "refused over UDP: OTHER": "Records of authentic Map-Registers that are too large.",
        "refused, no xTR-ID against a live session": (
            "A session holds the EID-prefix, and a Map-Register without xTR-ID wants it: it could"
            " be a replay."
        ),
        "refused, too many to merge": "More than 32 xTRs ask to be merged in one EID-prefix.",
        "refused, too much to merge": "The records of all xTRs of one EID-prefix are too large.",
        "refused, too many locators to merge": "Merged there would be more than 255 locators.",
        "refused, merged record too large": "Merged the record would be too large.",
        "refused, RLOCs that can't be read to merge them": (
            "A record asks to be merged, and has RLOCs that can't be read."
        ),
        "refused, database full": (
            "max-registrations are there: raise it, or find out who registers so much."
        ),
        "rejections of no group, there are too many": (
            "Rejections that are counted in all and not by rule: 4096 pairs of rule and site are."
        ),
    },
)

VERDICTS = Group(
    "verdicts",
    (),
    {
        "accepted": "Registrations and records of Map-Registers that were taken.",
        "not a valid site EID-prefix": (
            "Refused, over UDP and on sessions: no site has the EID-prefix, or another one."
        ),
        "authentication failure": (
            "Refused, over UDP and on sessions: unknown key, wrong authentication data, or a"
            " certificate that is not the xTR's."
        ),
        "locator set not allowed": (
            "Refused, over UDP and on sessions: RLOCs outside the allowed-rlocs of the site."
        ),
        "other": "Refused for other reasons: limits, merging, or a session that is not armed.",
    },
)

ARMING = Group(
    "arming",
    ("control/arming.py", "services/map_server.py"),
    {
        "tokens": "Map-Registers that allowed their xTR one connection.",
        "tokens refused": "Map-Registers that allowed none: their source address has too many.",
        "tokens displaced": (
            "Tokens taken from the site with most of them, because there were too many in all."
        ),
        "tokens expired": "Tokens that nobody used within 180 s.",
        "connections accepted": "Connections that became sessions, bound to an xTR or not yet.",
        "connections refused": (
            "Connections reset unread: nobody registered from there before, or too many are up."
        ),
        "sessions of unarmed xTRs": (
            "Sessions whose first Registration was of an xTR that had no token."
        ),
        "sessions replaced": "Sessions closed because their xTR came with a newer one.",
    },
)
