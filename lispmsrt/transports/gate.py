"""What stands between a TCP port and an application's factory."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ITransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

__all__ = ["Gate", "Reset"]


@implementer(IProtocolFactory)
class Gate:
    """Starts and stops with the application's factory; subclasses say who comes in, and how."""

    def __init__(self, application: IProtocolFactory) -> None:
        self.application = application

    def doStart(self) -> None:
        self.application.doStart()

    def doStop(self) -> None:
        self.application.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        return self.application.buildProtocol(addr)


class Reset(Protocol):
    """Reset a connection, unread."""

    def makeConnection(self, transport: ITransport) -> None:
        transport.abortConnection()  # type: ignore[attr-defined]
