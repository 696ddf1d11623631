"""The protocol that TLS carries: nobody's until the handshake is over, then the application's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.transports.tls.failures import TlsFailed, explained, verification_problem

__all__ = ["SecuredStream"]


class _Verification:
    """What OpenSSL did not like. pyOpenSSL keeps its callbacks in a circle of references, so that
    they had better hold nothing else.
    """

    def __init__(self) -> None:
        self.problem: str | None = None

    def note(
        self, connection: SSL.Connection, certificate: Any, number: int, depth: int, ok: int
    ) -> bool:
        """Take note of the first problem."""
        if not ok and self.problem is None:
            self.problem = verification_problem(number, depth)
        return bool(ok)


@implementer(IHandshakeListener)
class SecuredStream(Protocol):
    """Keep the application away from a connection until its peer is known.

    The application's transport is the TLS transport itself, with all that it can do.
    """

    def __init__(
        self,
        *,
        check: Callable[[SSL.Connection], None],
        build: Callable[[], IProtocol | None],
        ready: Callable[[IProtocol], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """Of ``ready`` and ``failed`` one is called, once. ``check`` raises TlsFailed."""
        self._check = check
        self._build = build
        self._ready = ready
        self._failed = failed
        self._tls: Any = None
        self._application: IProtocol | None = None
        self._is_over = False
        self._verification = _Verification()

    def connectionMade(self) -> None:
        self._tls = self.transport

    def watch_verification(self, connection: SSL.Connection) -> None:
        """Take note of why OpenSSL does not accept a certificate: its error has no room for it."""
        mode = connection.get_verify_mode()
        if mode & SSL.VERIFY_PEER:
            connection.set_verify(mode, self._verification.note)

    def handshakeCompleted(self) -> None:
        if self._is_over:
            return
        try:
            self._check(self._tls.getHandle())
            self._application = self._build()
            if self._application is None:
                raise TlsFailed("no protocol was wanted for the connection")
            self._application.makeConnection(self._tls)
        except TlsFailed:
            self.give_up(Failure())
        except BaseException:
            self._fail(Failure())
            raise  # a mistake of the application's is logged by the reactor, which disconnects
        else:
            ready = self._ready
            self._end()
            ready(self._application)

    def give_up(self, reason: Failure) -> None:
        """End a connection that is in its handshake; it is reset."""
        self._fail(reason)
        if self._tls is not None:
            self._tls.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._application is not None:
            self._application.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reason = explained(reason)
        application, self._application = self._application, None
        self._tls = self.transport = None
        if application is not None:
            application.connectionLost(reason)
        elif self._verification.problem is not None:
            self._fail(Failure(TlsFailed(self._verification.problem)))
        elif isinstance(reason.value, TlsFailed):
            self._fail(reason)
        else:
            self._fail(Failure(TlsFailed("the peer closed the connection during the handshake")))

    def _fail(self, reason: Failure) -> None:
        if not self._is_over:
            failed = self._failed
            self._end()
            failed(reason)

    def _end(self) -> None:
        """The handshake is over. Who waited for that holds the stream; were it held by the stream
        too, only a collector of cycles would free both.
        """
        self._is_over = True
        del self._check, self._build, self._ready, self._failed
