"""Who subscribes to mappings (RFC 9437), as a Twisted service.

Give it a Map-Resolver, an identity with its key, and a reactor; start it, and
:meth:`SubscriberService.subscribe`. Stopping does not unsubscribe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Endpoint, Form
from lispmsrt.control.subscriber import News, Subscriber, SubscriberPace, What
from lispmsrt.services.asking import AskingService
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key

__all__ = ["News", "SubscriberPace", "SubscriberService", "What"]

_NONCE_BITS = 64


class SubscriberService(AskingService):
    """Subscribes at a Map-Server, through a Map-Resolver or plainly."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        resolver: SocketAddress,
        *,
        ids: bytes,
        key: Key,
        hear: Callable[[News], object],
        source: str | None = None,
        port: int = 0,
        form: Form = Form.ENCAPSULATED,
        pace: SubscriberPace | None = None,
        clock: IReactorTime | None = None,
        random: Random | None = None,
    ) -> None:
        """``ids`` are xTR-ID and Site-ID (24 octets). ``port`` is what it asks from: there are
        Map-Servers that send their Map-Notifies to 4342 only; 0 is any that is free.
        """
        super().__init__(reactor, resolver, source=source, port=port, clock=clock)
        self.setName("subscriber")
        self._ids = ids
        self._key = key
        self._hear = hear
        self._form = form
        self._pace = pace
        self._random = random or SystemRandom()
        self._subscriber: Subscriber | None = None

    @property
    def counters(self) -> Counter[str]:
        """What was sent and received, and what was not believed."""
        return self._subscriber.counters if self._subscriber is not None else Counter()

    def subscribe(self, eid: EidPrefix) -> None:
        """Subscribe from now on; ValueError for an EID that can't be looked up."""
        self._running().subscribe(eid, self._clock.seconds())
        self._udp.flush()

    def unsubscribe(self, eid: EidPrefix) -> None:
        """Cancel a subscription; ``hear`` is told when the Map-Server knows."""
        self._running().unsubscribe(eid, self._clock.seconds())
        self._udp.flush()

    def stopService(self) -> Deferred[None]:
        """Close the socket; fires when it is closed."""
        self._subscriber = None
        return super().stopService()

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Look for news in a datagram."""
        if self._subscriber is not None:
            self._subscriber.receive_datagram(data, source, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Collect what is due."""
        subscriber = self._subscriber
        if subscriber is None:
            return []
        output = subscriber.datagrams_to_send(now)
        # Whoever heard of the end may have stopped the service.
        if self._subscriber is subscriber:
            self._alarm.set(subscriber.next_timeout())
        return output

    def _running(self) -> Subscriber:
        if self._subscriber is None:
            raise RuntimeError("the subscriber is not running")
        return self._subscriber

    def _opened(self, source: Endpoint) -> None:
        self._subscriber = Subscriber(
            self._ids,
            self._key,
            source,
            (self.resolver.packed, self.resolver.port),
            draw_nonce=lambda: self._random.getrandbits(_NONCE_BITS),
            hear=self._heard,
            form=self._form,
            pace=self._pace,
        )

    def _heard(self, news: News) -> None:
        # What a listener does wrong is logged, and costs nobody a subscription.
        with self._log.failuresHandled("listener of {resolver}", resolver=str(self.resolver)):
            self._hear(news)
