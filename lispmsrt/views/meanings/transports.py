"""Counters of the listening ports of reliable transports, and of what connects to them."""

from __future__ import annotations

from lispmsrt.views.meanings.groups import Group

__all__ = ["CONNECTING", "TRANSPORTS"]

_SCTP_BOTH = {
    "messages beside the stream": "SCTP: messages unordered or on another stream; aborted.",
    "peers without a path left": "SCTP: associations all of whose paths are dead; aborted.",
    "restarts of the peer": "SCTP: peers that began anew in an association; aborted.",
    "datagrams that are no SCTP packets": "SCTP over UDP: datagrams too short to be any.",
    "packets to another port": "SCTP over UDP: packets to an SCTP port that is not ours.",
    "packets with a wrong checksum": "SCTP over UDP: packets that were damaged, or made up.",
    "packets of no association": "SCTP over UDP: packets that nobody here waits for.",
    "packets that could not be sent": "SCTP over UDP: the network refused them.",
    "peers that changed their UDP port": "SCTP over UDP: a NAT gave the peer another port.",
    "packets to nobody": "SCTP over UDP: packets of the library for who has gone.",
    "associations": "SCTP over UDP: associations set up.",
}

TRANSPORTS = Group(
    "transports",
    (
        "transports/doorway.py",
        "transports/handshakes.py",
        "transports/tls/server.py",
        "transports/tcp_md5.py",
        "transports/quic/retries.py",
        "transports/quic/server.py",
        "transports/sctp/association.py",
        "transports/sctp/kernel.py",
        "transports/sctp/usrsctp/ended.py",
        "transports/sctp/usrsctp/legs.py",
        "transports/sctp/usrsctp/stack.py",
    ),
    {
        "handshakes begun": "Handshakes of TLS, QUIC or SCTP over UDP that were admitted.",
        "handshakes failed": "TLS handshakes that failed: wrong certificate, version, or silence.",
        "handshakes not finished": "SCTP over UDP: handshakes that the peer left unfinished.",
        "handshakes refused: too many": "More were under way than there may be in all.",
        "handshakes refused: too many of one address": "One address had too many under way.",
        "handshakes refused: too often from one address": "One address begins too many a second.",
        "handshakes refused: too often in all": "All together begin too many a second.",
        "handshakes refused: no time left for more": "They have had their part of the time.",
        "connections reset: no file descriptor left": (
            "The process has as many files and sessions open as it may; those that are up stay."
        ),
        "connections refused: outside the prefixes": (
            "TCP-MD5: signed with the key, from outside the prefixes of the endpoint; reset."
        ),
        "datagrams of no connection": "QUIC: datagrams that belong to no connection.",
        "datagrams from another host than the connection's": (
            "QUIC: a connection must not move to another address; dropped."
        ),
        "datagrams that are not QUIC": "QUIC: datagrams without a QUIC header.",
        "datagrams of another QUIC version": "QUIC: versions that are not offered; dropped.",
        "Initials that are too small or too late": (
            "QUIC: first packets below 1200 octets, or after the port was closed."
        ),
        "Initials refused: not admitted": "QUIC: nobody registered from there before.",
        "Initials refused: too many without a token": (
            "QUIC: from one address or in all; it may be made up, and gets no Retry."
        ),
        "Initials refused: bad token": "QUIC: first packets with a wrong or old Retry token.",
        "Initials that made no sense": "QUIC: first packets that can't be decrypted.",
        "Retries sent": "QUIC: peers asked to prove their address.",
        "datagrams that could not be sent": "QUIC: the network refused them.",
        "associations refused": "SCTP: associations reset, because nobody registered from there.",
        "associations refused: too many": "SCTP over UDP: more than there may be in all.",
        "associations refused: too many of one address": "SCTP over UDP: one address has too many.",
        "cookies refused": "SCTP over UDP: the end of a handshake whose beginning is not known.",
        "ended associations forgotten early": (
            "SCTP over UDP: so many ended that late packets of the oldest get no answer."
        ),
        "packets of associations that have ended": "SCTP over UDP: late packets.",
        "packets refused: nobody is admitted from there": (
            "SCTP over UDP: nobody registered from there before."
        ),
        "refusals": "SCTP over UDP: attempts that the peer refused.",
        **_SCTP_BOTH,
    },
)

CONNECTING = Group(
    "connecting",
    ("transports/quic/client.py",),
    {
        "refusals of an established connection": (
            "QUIC: ICMP said that the port is closed, of a connection that is up; ignored."
        ),
        "datagrams to another address than the server's": "QUIC: not sent.",
        "datagrams that could not be sent": "QUIC: the network refused them.",
    },
)
