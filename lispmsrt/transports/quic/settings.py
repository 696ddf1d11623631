"""The options of ``quic:`` endpoint strings, checked and turned into what aioquic wants."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TextIO, cast

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from cryptography.hazmat.primitives.serialization import Encoding

from lispmsrt.transports.certificates import parse_pin
from lispmsrt.transports.key_log import KeyLog
from lispmsrt.transports.options import number, seconds
from lispmsrt.transports.pem import certificates_in, private_key_in
from lispmsrt.transports.quic.connection import FIRST_WINDOW, RECEIVE_WINDOW

__all__ = [
    "ALPN",
    "DEFAULT_PORT",
    "IDLE_TIMEOUT",
    "KEEPALIVE",
    "MAX_DATAGRAM",
    "ClientSettings",
    "ServerSettings",
    "client_settings",
    "server_settings",
]

DEFAULT_PORT = "4343"
ALPN = "lisp-rt"
IDLE_TIMEOUT = "30"
KEEPALIVE = "10"
MAX_DATAGRAM = "1200"
"""What every path of QUIC must carry (RFC 9000 §14)."""

_MAX_ALPN = 255


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a listening port needs to know."""

    configuration: QuicConfiguration
    keepalive: float


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a connection to a server needs to know."""

    configuration: QuicConfiguration
    keepalive: float
    pin: str | None
    "of the server's public key; None where only CA and name are checked"


class _SecretsFile:
    """A key log as aioquic writes to it: a text file."""

    def __init__(self, log: KeyLog) -> None:
        self._log = log

    def write(self, line: str) -> None:
        self._log.add(line.encode())

    def flush(self) -> None:
        """Nothing is held back."""


def server_settings(
    *,
    certificate: str,
    private_key: str,
    alpn: str,
    idle_timeout: str,
    keepalive: str,
    key_log: str,
    max_datagram: str,
) -> ServerSettings:
    """Check a server's options; ValueError says in one sentence what is wrong."""
    if not certificate:
        raise ValueError(
            "quic: needs certificate= and privateKey=; `lispmsrt make-certificate` makes both"
        )
    chain = certificates_in(certificate, "certificate")
    configuration, interval = _common(
        alpn, idle_timeout, keepalive, key_log, max_datagram, is_client=False
    )
    key_name = "privateKey" if private_key else "certificate"
    configuration.certificate, *configuration.certificate_chain = chain
    configuration.private_key = private_key_in(private_key or certificate, key_name, chain[0])
    return ServerSettings(configuration, interval)


def client_settings(
    *,
    ca_file: str,
    pin: str,
    server_name: str,
    alpn: str,
    idle_timeout: str,
    keepalive: str,
    key_log: str,
    max_datagram: str,
) -> ClientSettings:
    """Check a client's options; ValueError says in one sentence what is wrong."""
    if not (ca_file or pin):
        raise ValueError(
            "quic: needs caFile= (a file, or the word system) or pin= to know the server by"
        )
    configuration, interval = _common(
        alpn, idle_timeout, keepalive, key_log, max_datagram, is_client=True
    )
    configuration.server_name = server_name
    if not ca_file:
        # The pin is the identity: whose name is in the certificate, and until when, is nothing.
        configuration.verify_mode = ssl.CERT_NONE
    elif ca_file == "system":
        found = ssl.get_default_verify_paths()
        configuration.cafile, configuration.capath = found.cafile, found.capath
    else:
        trusted = certificates_in(ca_file, "caFile")
        configuration.cadata = b"".join(one.public_bytes(Encoding.PEM) for one in trusted)
    return ClientSettings(configuration, interval, parse_pin(pin) if pin else None)


def _common(
    alpn: str,
    idle_timeout: str,
    keepalive: str,
    key_log: str,
    max_datagram: str,
    *,
    is_client: bool,
) -> tuple[QuicConfiguration, float]:
    if not (alpn.isascii() and alpn.isprintable() and 0 < len(alpn) <= _MAX_ALPN):
        raise ValueError(f"alpn={alpn}: a protocol's name has 1 to {_MAX_ALPN} ASCII characters")
    idle = seconds(idle_timeout, "idleTimeout", at_least=1, at_most=3600)
    interval = seconds(keepalive, "keepalive", at_least=0.1, at_most=3600)
    if interval > idle / 2:
        raise ValueError(
            f"keepalive={keepalive}: must be at most half of idleTimeout={idle_timeout}"
        )
    window = RECEIVE_WINDOW if is_client else FIRST_WINDOW
    configuration = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[alpn],
        idle_timeout=idle,
        max_data=window,
        max_stream_data=window,
        max_datagram_size=number(max_datagram, "maxDatagram", at_least=1200, at_most=65_000),
        # Version 2 (RFC 9369) differs in its constants only.
        supported_versions=[QuicProtocolVersion.VERSION_1],
        secrets_log_file=_secrets_file(key_log),
    )
    return configuration, interval


def _secrets_file(key_log: str) -> TextIO | None:
    log = KeyLog.from_option(key_log)
    return cast(TextIO, _SecretsFile(log)) if log is not None else None
