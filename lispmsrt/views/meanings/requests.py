"""Counters of Map-Requests, LISP-SEC and Map-Referrals, of a Map-Server or Map-Resolver."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["CONTROL_PLANE", "LISP_SEC", "MAP_REFERRALS", "MAP_REQUESTS", "UDP_SOCKETS"]

CONTROL_PLANE = Group(
    "control-plane",
    ("control/plane.py",),
    {
        "malformed datagrams": "Datagrams to the control port without even a message type.",
        "type * not handled": "Control messages of a type that nobody here takes.",
    },
)

UDP_SOCKETS = Group(
    "udp-sockets",
    ("protocols.py", "transports/turns.py"),
    {
        "datagrams from no IP address": "Datagrams whose source is no IP address; dropped.",
        "datagrams that could not be sent": (
            "The network refused them: no route, a full buffer, or a firewall."
        ),
        "turns left to sessions": (
            "Times that datagrams or connections waited: with handshakes they had taken a quarter"
            " of the time while sessions were busy."
        ),
    },
)

MAP_REQUESTS = Group(
    "map-requests",
    (
        "control/questions.py",
        "control/map_requests.py",
        "control/map_resolver.py",
        "control/answers.py",
        "control/forwarding.py",
        "control/map_replies.py",
        "control/request_limits.py",
    ),
    {
        "Map-Requests in": "Map-Requests that were taken, plain or in an ECM.",
        "Map-Replies out": "Map-Requests answered by this node itself.",
        "Map-Requests forwarded to ETRs": "Map-Requests passed on to an ETR of the mapping.",
        "Map-Requests forwarded to Map-Servers": (
            "Map-Requests that this Map-Resolver passed on to a Map-Server."
        ),
        "EIDs not registered": (
            "Answered that a site has the EID, and that nobody has registered it now."
        ),
        "EIDs of no site": "Answered that no site has the EID: hosts ask for what is not there.",
        "Map-Requests answered in part": (
            "Of several EIDs some were answered; the ITR asks again for the others."
        ),
        "Map-Requests denied by policy": (
            "The ITR-RLOCs are outside the allowed-itrs of the site; answered with Drop/Policy."
        ),
        "Map-Requests for EIDs of several Map-Servers": (
            "Only some of the EIDs were asked for, of one Map-Server; the ITR asks again."
        ),
        "Map-Requests of DDT answered without": (
            "Asked for a Map-Referral, and this Map-Server is in no tree; answered as others."
        ),
        "Map-Requests with LISP-SEC answered without": (
            "No key in common with who secured them; whether that will do is for the ITR to say."
        ),
        "Map-Referrals out": "Map-Referrals sent to who asked with the D bit (RFC 8111).",
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
        "subscriptions to cancel that nobody has": (
            "Asked to end a subscription where there are none; dropped."
        ),
        "ETRs that are ourselves passed over: loop": (
            "An RLOC is an address of this very Map-Server; another ETR was looked for."
        ),
        "Map-Requests dropped: too large": "Datagrams of more than 4096 octets.",
        "Map-Requests dropped: malformed": "Map-Requests and ECMs that can't be read.",
        "dropped: no Map-Request": "ECMs with anything but a Map-Request inside.",
        "dropped: ECM in ECM": "ECMs inside of ECMs, which make no sense.",
        "dropped: ECM not to port 4342": "ECMs whose inner UDP port is not that of LISP control.",
        "Map-Requests dropped: loop": (
            "Sent on already by another node, or would go to ourselves: look at map-servers."
        ),
        "Map-Requests dropped: RLOC-probe": "Probes go to ETRs, not to a Map-Server.",
        "Map-Requests dropped: SMR": "Solicit-Map-Requests go to ITRs, not to a Map-Server.",
        "Map-Requests dropped: no Map-Reply wanted": "They asked for no answer, and had none.",
        "Map-Requests dropped: no EID that can be looked up": (
            "Only EIDs of families that nobody can register."
        ),
        "Map-Requests dropped: no ITR-RLOC to send to": (
            "No ITR-RLOC is a unicast address of a family that a socket is there for."
        ),
        "Map-Requests dropped: rate limit": (
            "One source, or one ITR-RLOC, asks too often: see request-rate."
        ),
        "Map-Requests dropped: no ETR to send to": (
            "No ETR of the mapping has an address that a socket reaches."
        ),
        "Map-Requests dropped: no Map-Server to send to": (
            "No Map-Server for the EID has an address that a socket reaches."
        ),
        "Map-Requests dropped: no key for LISP-SEC with the ETR": (
            "The ETR's key protects nothing: its site uses algorithm none."
        ),
        "Map-Requests dropped: LISP-SEC, and nothing of it is the ETR's": (
            "Nothing that was asked for was registered by the ETR whose turn it was."
        ),
        "dropped, too many to send at once": (
            "More answers in one turn than may wait to be sent; whoever asked asks again."
        ),
    },
)

LISP_SEC = Group(
    "lisp-sec",
    ("control/lisp_sec.py",),
    {
        "LISP-SEC Map-Requests unwrapped": "Secured Map-Requests whose One-Time Key was readable.",
        "LISP-SEC without a key in common": "Secured with a key ID that is not in itr-keys.",
        "LISP-SEC One-Time Keys not unwrapped": (
            "The key ID is known, the secret is another one; answered with Drop/Auth-Failure."
        ),
        "LISP-SEC One-Time Keys unprotected": (
            "One-Time Keys sent in the clear, which anybody on the path could use; dropped."
        ),
        "LISP-SEC data malformed": "Authentication data in ECMs that can't be read; dropped.",
        "LISP-SEC Map-Replies signed": "Map-Replies that this ETR signed.",
    },
)

MAP_REFERRALS = Group(
    "map-referrals",
    ("control/referrals.py",),
    {
        "Map-Referrals MS_ACK": "The EID is registered here.",
        "Map-Referrals MS_NOT_REGISTERED": "A site has the EID-prefix, and has not registered it.",
        "Map-Referrals DELEGATION_HOLE": "Delegated to this Map-Server, and no site has it.",
        "Map-Referrals NOT_AUTHORITATIVE": (
            "Not delegated to this Map-Server: look at who refers to it."
        ),
    },
)
