"""Open sockets and name endpoints, with one sentence when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from lispmsrt.config import SocketAddress
from lispmsrt.protocols import ControlProtocol
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.turns import Turns
from lispmsrt.transports.udp import listen_beside, listen_udp
from lispmsrt.wire.messages import ControlType

__all__ = ["ListenError", "endpoint_from", "listen_control", "listen_questions", "stop_listening"]

_MAX_DATAGRAM = 65_535

_QUESTIONS = (ControlType.MAP_REQUEST, ControlType.ENCAPSULATED)
"""What comes from ITRs: the Map-Registers of others are not to keep them from their answers."""

Endpoint = TypeVar("Endpoint")


class ListenError(Exception):
    """A socket could not be opened; the text names it and says why."""


def endpoint_from(
    parse: Callable[[Any, str], Endpoint], reactor: Any, description: str, option: str
) -> Endpoint:
    """Make an endpoint from its string; ``parse`` is one of Twisted's two functions for that."""
    try:
        return parse(reactor, description)
    # What Twisted raises for an unknown prefix, a bad number, an unknown or a missing argument.
    except (ValueError, TypeError, LookupError) as failure:
        raise ListenError(f"{option} {description!r}: {failure}") from None
    except RuntimeError:  # out of Twisted's tokenizer
        raise ListenError(f"{option} {description!r}: ends with a backslash") from None


def listen_control(
    reactor: Any,
    address: SocketAddress,
    protocol: ControlProtocol,
    receive_buffer: int,
    turns: Turns | None = None,
) -> tuple[IListeningPort, int]:
    """Open a UDP socket; return it, and the octets of receive buffer that the kernel granted. With
    ``turns`` it leaves time to whoever shares these.
    """
    turn = turns.another() if turns is not None else None
    try:
        port = listen_udp(reactor, address.port, protocol, address.host, _MAX_DATAGRAM, turn)
    except CannotListenError as failure:
        raise ListenError(f"control {address}: {failure.socketError}") from None
    handle = getattr(port, "socket", None)
    granted = set_receive_buffer(handle, receive_buffer) if handle is not None else 0
    return port, granted


def listen_questions(
    port: IListeningPort, protocol: ControlProtocol, receive_buffer: int, turns: Turns
) -> IListeningPort | None:
    """Open a second UDP socket at a control socket's address for Map-Requests, plain or in an ECM;
    None where the kernel or the reactor can't: then the first has all.
    """
    beside = listen_beside(port, protocol, _QUESTIONS, turns.another())
    if beside is not None:
        set_receive_buffer(beside.socket, receive_buffer)
    return beside


def stop_listening(port: IListeningPort) -> Deferred[None]:
    """Close a socket; fires when it is closed."""
    stopped: Deferred[Any] = maybeDeferred(lambda: port.stopListening())
    return stopped.addCallback(lambda _: None)
