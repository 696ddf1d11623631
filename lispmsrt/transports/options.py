"""The values in an endpoint string: text in, what it means or a ValueError of one sentence out."""

from __future__ import annotations

import os
import re

from lispmsrt.config.secret_files import exposure
from lispmsrt.sockets import pack_address

__all__ = [
    "addresses",
    "choice",
    "ip_address",
    "number",
    "peer_port",
    "port_number",
    "readable_file",
    "seconds",
    "secret_octets",
]

_MAX_SECRET = 1 << 20
"""Octets: a private key may have a chain of certificates beside it, a device has no end."""

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


def port_number(text: str, name: str = "port") -> int:
    """Return a port number, 0 to 65535."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ValueError(f"{name}={text}: not a port number")
    return int(text)


def peer_port(text: str, name: str = "port") -> int:
    """Return a port number that something can listen on."""
    port = port_number(text, name)
    if not port:
        raise ValueError(f"{name}={text}: not a port that anything listens on")
    return port


def number(text: str, name: str, *, at_least: int, at_most: int) -> int:
    """Return a whole number."""
    if not (text.isascii() and text.isdigit() and at_least <= int(text) <= at_most):
        raise ValueError(f"{name}={text}: not a number from {at_least} to {at_most}")
    return int(text)


def seconds(text: str, name: str, *, at_least: float, at_most: float) -> float:
    """Return a time in seconds."""
    if _DECIMAL.fullmatch(text) is None or not at_least <= float(text) <= at_most:
        raise ValueError(f"{name}={text}: not a number of seconds from {at_least:g} to {at_most:g}")
    return float(text)


def ip_address(text: str, name: str) -> str:
    """Return an IPv4 or IPv6 address as it was written."""
    if pack_address(text) is None:
        raise ValueError(f"{name}={text}: not an IPv4 or IPv6 address")
    return text


def addresses(text: str, name: str) -> tuple[str, ...]:
    """Return addresses that stand with commas between them."""
    return tuple(ip_address(part.strip(), name) for part in text.split(","))


def choice(text: str, name: str, *choices: str) -> str:
    """Return one of several words."""
    if text not in choices:
        raise ValueError(f"{name}={text}: must be one of {', '.join(choices)}")
    return text


def readable_file(text: str, name: str) -> str:
    """Return the path of a file that can be read."""
    try:
        with open(text, "rb"):
            return os.path.abspath(text)  # a daemon changes its directory
    except OSError as failure:
        raise ValueError(f"{name}={text}: can't be read: {failure.strerror}") from None


def secret_octets(path: str, name: str) -> tuple[bytes, str]:
    """Return what a file holds, and the sentence that refuses it where others than its owner and
    its group may read it: whoever named the wrong file is told that instead.
    """
    with open(readable_file(path, name), "rb") as file:
        # Of what was opened: the name may lead elsewhere a moment later.
        why = exposure(os.fstat(file.fileno()))
        return file.read(_MAX_SECRET), f"{name}={path}: {why} (chmod 640, or 600)" if why else ""
