"""What these transports agree on with whoever uses them, beyond Twisted's own interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.x509 import Certificate
from twisted.internet.interfaces import IAddress
from zope.interface import Attribute, Interface, implementer

from lispmsrt.transports.turns import Turn

__all__ = [
    "IAdmission",
    "ISpeaksFirst",
    "ITakesTurns",
    "StreamAddress",
    "TransportUnavailable",
    "admission_of",
    "certificate_of",
    "turn_of",
]


class IAdmission(Interface):
    """A factory that takes connections from some addresses only.

    The endpoints here ask it before they make any state for a peer, and again in ``buildProtocol``
    it may refuse. A factory that does not provide it takes everybody.
    """

    def admits(host: str) -> bool:  # noqa: N805
        """Whether a connection from this address may begin now. What is refused the factory
        counts.
        """


class ITakesTurns(Interface):
    """A factory that has better to do than to take connections, at times.

    It says so by ``others_worked()`` of the Turns that its turn is of, after each piece of that.
    Where it does not provide this, what is done for those who connect is limited by number only.
    """

    turn = Attribute("The Turn that pays for it until they are connected; None where none is to.")


class ISpeaksFirst(Interface):
    """A client's transport whose server hears nothing of it, and can't write, before it has written
    (a QUIC stream that the client opens).
    """


class TransportUnavailable(Exception):  # noqa: N818
    """This machine can't do it at all: no such protocol in its kernel. The text is one sentence.

    A server goes on without, a client with its next transport.
    """


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a stream ends. ``type`` is the transport: QUIC, SCTP."""

    type: str
    host: str
    port: int


def admission_of(factory: object) -> Callable[[str], bool]:
    """Return the question to ask before anything is done for a peer's address."""
    admission = IAdmission(factory, None)
    return admission.admits if admission is not None else lambda host: True


def turn_of(factory: object) -> Turn | None:
    """Return when there is time for those who connect; None where that is always."""
    takes_turns = ITakesTurns(factory, None)
    turn: Turn | None = takes_turns.turn if takes_turns is not None else None
    return turn


def certificate_of(endpoint: object) -> Certificate | None:
    """Return what a listening endpoint shows to its peers; None where that is nothing."""
    certificate = getattr(endpoint, "certificate", None)
    return certificate if isinstance(certificate, Certificate) else None
