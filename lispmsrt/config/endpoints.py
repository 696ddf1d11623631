"""Addresses and endpoint strings as a configuration writes them, with their default ports."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.sockets import pack_address

__all__ = [
    "DEFAULT_PORTS",
    "LISP_CONTROL_PORT",
    "SocketAddress",
    "checked",
    "escaped",
    "transport_name",
    "with_bind_address",
    "with_default_port",
    "with_host",
]

LISP_CONTROL_PORT = 4342

DEFAULT_PORTS = {
    "tcp": "4342",
    "tcp6": "4342",
    "tls13": "4342",
    "tcpmd5": "4342",
    "quic": "4343",
    "sctp": "4342",
}
"""What an endpoint string without a port means (docs/draft.rst, "Ports")."""

# A socket that systemd opened and handed over is one of TCP.
_NAMES = {"tcp6": "TCP", "tls13": "TLS", "tcpmd5": "TCP-MD5", "systemd": "TCP"}

_REFUSED = ("ssl", "tls")
"""Twisted's own: they can't ask for client certificates, and an ``ssl:`` client without
``hostname=`` checks nobody.
"""


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Address and port of a UDP socket, written ``192.0.2.1:4342`` or ``[2001:db8::1]:4342``."""

    host: str
    port: int

    @classmethod
    def from_text(cls, text: object) -> SocketAddress:
        """Parse one; without a port it is 4342."""
        if isinstance(text, SocketAddress):
            return text
        if not isinstance(text, str):
            raise ValueError("an address is a text like 192.0.2.1:4342")
        host, port = _split_port(text)
        if pack_address(host) is None:
            raise ValueError(f"{host!r} is no IPv4 or IPv6 address")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{port!r} is no port number")
        return cls(host, int(port))

    @property
    def packed(self) -> bytes:
        """The packed address."""
        packed = pack_address(self.host)
        assert packed is not None
        return packed

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _bracket, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or str(LISP_CONTROL_PORT)
    if text.count(":") > 1:
        return text, str(LISP_CONTROL_PORT)
    host, _colon, port = text.partition(":")
    return host, port or str(LISP_CONTROL_PORT)


def checked(text: object) -> str:
    """Return an endpoint string that may be used at all; ValueError for any other."""
    if not isinstance(text, str):
        raise ValueError("an endpoint is a text like tcp:4342")
    prefix = _splitescaped(text)[0]
    if prefix in _REFUSED:
        raise ValueError(f"{prefix}: does not check both ends; write tls13: in its place")
    return text


def with_host(text: str, host: str) -> str:
    """Complete a client endpoint string that names no host: ``tcp``, ``tcp:4342``,
    ``quic:pin=...``.
    """
    parts = _splitescaped(text)
    has_host = len(parts) > 1 and "=" not in parts[1] and not parts[1].isdigit()
    if parts[0] in DEFAULT_PORTS and not has_host and not _has_option(parts, "host"):
        parts.insert(1, escaped(host))
    return ":".join(parts)


def with_default_port(text: str, *, is_server: bool) -> str:
    """Complete an endpoint string that names no port: ``tcp`` for a server, ``tcp:192.0.2.1`` for
    a client.
    """
    parts = _splitescaped(text)
    port = DEFAULT_PORTS.get(parts[0])
    position = 1 if is_server else 2
    if port is None or _has_option(parts, "port"):
        return text
    if _has_option(parts, "host"):
        parts.append(f"port={port}")
    elif len(parts) <= position or "=" in parts[position]:
        parts.insert(position, port)
    return ":".join(parts)


def transport_name(text: str) -> str:
    """Return how the transport of an endpoint string is called: TCP, TLS, QUIC, SCTP."""
    prefix = text.partition(":")[0]
    return _NAMES.get(prefix, prefix.upper())


def with_bind_address(text: str, host: str) -> str:
    """Complete a client endpoint string that binds no address: a Map-Server knows an ETR by it."""
    parts = _splitescaped(text)
    is_any = host in ("0.0.0.0", "::")
    if parts[0] not in DEFAULT_PORTS or is_any or _has_option(parts, "bindAddress"):
        return text
    return f"{text}:bindAddress={escaped(host)}"


def _has_option(parts: list[str], name: str) -> bool:
    return any(part.startswith(f"{name}=") for part in parts)


def _splitescaped(text: str) -> list[str]:
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            parts[-1] += character + next(characters, "")
        elif character == ":":
            parts.append("")
        else:
            parts[-1] += character
    return parts


def escaped(host: str) -> str:
    """Return an address as it stands in an endpoint string, where colons separate."""
    return host.replace(":", "\\:")
