"""What operators call a session: its number, its peer's address and port, or the address alone."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from lispmsrt.config import SocketAddress
from lispmsrt.control.arming import normalised

__all__ = ["canonical", "is_number", "naming"]

_MAX_DIGITS = 20


def naming(text: str) -> Callable[[int, str], bool]:
    """Return what tells whether a text names the session of this number with this peer. There may
    be thousands to ask about, so the text is read once.
    """
    if is_number(text):
        wanted = int(text)
        return lambda number, peer: bool(number) and number == wanted
    try:
        meant = SocketAddress.from_text(text)
    except ValueError:
        return lambda number, peer: peer == text
    whole = canonical(meant)
    if text not in (meant.host, f"[{meant.host}]"):
        return lambda number, peer: peer == whole
    start = whole.removesuffix(str(meant.port))
    return lambda number, peer: peer.startswith(start)


def canonical(address: SocketAddress) -> str:
    """Return address and port as they stand where the kernel has written the address."""
    host = ip_address(normalised(address.packed))
    return str(SocketAddress(str(host), address.port))


def is_number(text: str) -> bool:
    """Whether a text is the number of a session; Python takes 4300 digits, and no more."""
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
