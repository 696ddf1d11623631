"""The endpoint strings of our own: which prefix is whose, and what it needs.

Twisted's plugin scan imports this in any program on the machine that meets a prefix which it does
not know: nothing is imported here before one of ours is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

__all__ = ["PARSERS", "TransportParser"]


@implementer(
    IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor
)
@dataclass(frozen=True)
class TransportParser:
    """Turns ``prefix:...`` into endpoints. Every mistake is a ValueError of one sentence."""

    prefix: str
    module: str
    "where ``server_endpoint`` and ``client_endpoint`` are"
    extra: str = ""
    "of this package, without which the transport can't be had"
    packages: tuple[str, ...] = ()
    "that the extra brings"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        return self._make("server_endpoint", reactor, args, kwargs)

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        return self._make("client_endpoint", reactor, args, kwargs)

    def _make(self, what: str, reactor: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        try:
            make: Callable[..., Any] = getattr(import_module(self.module), what)
            self._check_arguments(make, reactor, args, kwargs)
            return make(reactor, *args, **kwargs)
        except ImportError as failure:
            if (failure.name or "").partition(".")[0] not in self.packages:
                raise
            raise ValueError(
                f"{self.prefix}: needs the extra {self.extra!r}:"
                f" pip install 'lispmsrt[{self.extra}]'"
            ) from None

    def _check_arguments(
        self, make: Callable[..., Any], reactor: Any, args: tuple[Any, ...], kwargs: Any
    ) -> None:
        try:
            inspect.signature(make).bind(reactor, *args, **kwargs)
        except TypeError as failure:
            # Too many parts: mostly an IPv6 address.
            is_too_many = "multiple values" in str(failure)
            hint = r" (in an address write \: for a colon)" if is_too_many else ""
            raise ValueError(f"{self.prefix}: {failure}{hint}") from None


PARSERS = (
    TransportParser("quic", "lispmsrt.transports.quic.endpoints", "quic", ("aioquic",)),
    TransportParser("sctp", "lispmsrt.transports.sctp.endpoints", "sctp", ("sctp", "_sctp")),
    TransportParser("tls13", "lispmsrt.transports.tls.endpoints"),
    TransportParser("tcpmd5", "lispmsrt.transports.tcp_md5"),
)
