"""A host's IP address, for sockets that take no names."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IResolutionReceiver
from zope.interface import implementer

from lispmsrt.sockets import pack_address

__all__ = ["resolve"]


def resolve(reactor: Any, host: str, like: str = "") -> Deferred[str]:
    """Return an IP address of a host, of the same family as ``like`` if that is given.

    DNSLookupError if it has none.
    """
    kinds = [IPv6Address if ":" in like else IPv4Address] if like else [IPv4Address, IPv6Address]
    if pack_address(host) is not None:
        if (IPv6Address if ":" in host else IPv4Address) not in kinds:
            return fail(DNSLookupError(f"{host} can't be reached from {like}"))
        return succeed(host)
    receiver = _First(host)
    reactor.nameResolver.resolveHostName(
        receiver, host, addressTypes=kinds, transportSemantics="UDP"
    )
    return receiver.found


@implementer(IResolutionReceiver)
class _First:
    """Takes the first address of a name."""

    def __init__(self, host: str) -> None:
        self.found: Deferred[str] = Deferred()
        self._host = host
        self._address = ""

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """A cancelled Deferred ignores what still comes."""

    def addressResolved(self, address: IAddress) -> None:
        self._address = self._address or getattr(address, "host", "")

    def resolutionComplete(self) -> None:
        if self._address:
            self.found.callback(self._address)
        else:
            self.found.errback(DNSLookupError(f"no address of {self._host} was found"))
