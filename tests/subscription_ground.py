"""A Map-Server with subscriptions, subscribers, and a network between them that loses what it is
told to, all in virtual time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from lispmsrt.control.inquiries import Form
from lispmsrt.control.map_requests import MapRequests
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.control.retransmission import RetransmissionLimits, Retransmissions
from lispmsrt.control.subscriber import News, Subscriber, SubscriberPace, What
from lispmsrt.control.subscription_table import SecurityAssociation
from lispmsrt.control.subscriptions import SubscriptionLimits, Subscriptions
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.records import MappingRecord
from tests.builders import Etr, M, MapServer, P, Secret, ip, record

__all__ = [
    "SERVER",
    "SUBSCRIBER_KEY",
    "Datagram",
    "Ground",
    "PublishingMapServer",
    "Xtr",
    "covers",
    "ids",
    "prefix",
    "registered",
]

SERVER: Endpoint = (ip("198.51.100.1"), 4342)
SUBSCRIBER_KEY = Secret(7, 2, b"for subscribers")

Datagram = tuple[bytes, Endpoint, Endpoint]
"""Data, source, destination."""


def ids(number: int, site: int = 1) -> bytes:
    """Return an xTR-ID and a Site-ID."""
    return number.to_bytes(16, "big") + site.to_bytes(8, "big")


def prefix(text: str, instance_id: int = 0) -> EidPrefix:
    """Return an EID-prefix."""
    return EidPrefix.from_text(text, instance_id)


class PublishingMapServer(MapServer):
    """The Map-Server's parts, those that answer Map-Requests and publish too."""

    def __init__(
        self,
        configured: Sites | None = None,
        *,
        find_key: Callable[[bytes], Key | None] = lambda ids: SUBSCRIBER_KEY.key(),
        find_association: Callable[[bytes], SecurityAssociation | None] | None = None,
        subscription_limits: SubscriptionLimits | None = None,
        retransmission_limits: RetransmissionLimits | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(configured)
        self.sites = self.registrar.sites
        self.lookup = Lookup(self.registrar.database, lambda: self.sites)
        self.retransmissions = Retransmissions(retransmission_limits)
        self.subscriptions = Subscriptions(
            self.registrar.database,
            self.lookup,
            lambda: self.sites,
            self.retransmissions,
            find_association
            or (lambda ids: SecurityAssociation("all", lambda site: find_key(ids))),
            limits=subscription_limits,
            wake=wake,
        )
        questions = Questions(RequestLimits(random.Random(1), rate=0), lambda afi: True)
        self.requests = MapRequests(
            self.lookup,
            lambda: self.sites,
            questions,
            can_reach=lambda afi: True,
            subscriptions=self.subscriptions,
        )

    def _changed(self, changes: Sequence[Change]) -> None:
        super()._changed(changes)
        self.subscriptions.changed(changes)

    def register(
        self, etr: Etr, eid: str, *locators: bytes, now: float, ttl: int = 1440, flags: int = P | M
    ) -> None:
        """Have an ETR register, or with TTL 0 withdraw, an EID-prefix."""
        self.hear(etr, etr.map_register(record(eid, *locators, ttl=ttl), flags=flags), now)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take what subscribers send."""
        if message_type(data) == ControlType.MAP_NOTIFY_ACK:
            self.subscriptions.acknowledge(data, source, now)
        else:
            self.requests.receive_datagram(data, source, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is due."""
        return self.requests.datagrams_to_send(now) + self.subscriptions.datagrams_to_send(now)

    def count(self, name: str) -> int:
        """Return a counter of the subscriptions."""
        return self.subscriptions.counters[name]


class Xtr:
    """One subscriber, and what it knows by what it has heard."""

    def __init__(
        self,
        number: int = 1,
        address: str = "203.0.113.1",
        *,
        port: int = 4342,
        rlocs: Iterable[str] = (),
        key: Secret = SUBSCRIBER_KEY,
        form: Form = Form.ENCAPSULATED,
        pace: SubscriberPace | None = None,
        seed: int = 0,
    ) -> None:
        self.endpoint: Endpoint = (ip(address), port)
        self.addresses = {ip(address), *map(ip, rlocs)}
        self.heard: list[News] = []
        self.known: dict[EidPrefix, dict[EidPrefix, MappingRecord]] = {}
        nonces = random.Random(1000 * seed + number)
        self.subscriber = Subscriber(
            ids(number),
            key.key(),
            self.endpoint,
            SERVER,
            draw_nonce=lambda: nonces.getrandbits(64),
            hear=self._hear,
            itr_rlocs=[ip(rloc) for rloc in rlocs],
            form=form,
            pace=pace,
        )

    def _hear(self, news: News) -> None:
        self.heard.append(news)
        if news.what in (What.CONFIRMED, What.PUBLISHED):
            mappings = self.known.setdefault(news.eid, {})
            if news.what is What.CONFIRMED:
                mappings.clear()
            for each in news.records:
                if each.ttl:
                    mappings[each.eid] = each
                else:
                    mappings.pop(each.eid, None)

    def said(self) -> list[tuple[str, str, list[tuple[str, int, int]]]]:
        """Return and forget what was heard: what, of which subscription, and of each record EID,
        TTL and number of locators.
        """
        found = [
            (
                news.what.value,
                str(news.eid),
                [(str(one.eid), one.ttl, len(one.locators)) for one in news.records],
            )
            for news in self.heard
        ]
        self.heard.clear()
        return found


class Ground:
    """Server, subscribers, time, and a network in which each datagram takes 10 ms."""

    def __init__(self, server: PublishingMapServer, *xtrs: Xtr) -> None:
        self.server = server
        self.xtrs = list(xtrs)
        self.now = 100.0
        self.loses: Callable[[Datagram], bool] = lambda datagram: False
        self.seen: list[tuple[float, Datagram]] = []
        "everything sent, lost or not"
        self._flying: list[tuple[float, Datagram]] = []

    def subscribe(self, eid: str, xtr: Xtr | None = None) -> None:
        """Subscribe, and wait a second."""
        (xtr or self.xtrs[0]).subscriber.subscribe(prefix(eid), self.now)
        self.run(1.0)

    def register(self, etr: Etr, eid: str, *locators: bytes, **options: int) -> None:
        """Register, and wait a second."""
        self.server.register(etr, eid, *locators, now=self.now, **options)
        self.run(1.0)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while True:
            self._collect()
            at = self._next()
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            self._deliver()
        self.now = end

    def sent(self, kind: ControlType, to: Endpoint | None = None) -> list[float]:
        """Return when messages of a type were sent."""
        return [
            at
            for at, (data, _source, destination) in self.seen
            if message_type(data) == kind and to in (None, destination)
        ]

    def _collect(self) -> None:
        found = [
            (data, SERVER, destination)
            for data, destination in self.server.datagrams_to_send(self.now)
        ]
        for xtr in self.xtrs:
            found += [
                (data, xtr.endpoint, destination)
                for data, destination in xtr.subscriber.datagrams_to_send(self.now)
            ]
        for datagram in found:
            self.seen.append((self.now, datagram))
            if not self.loses(datagram):
                self._flying.append((self.now + 0.01, datagram))

    def _deliver(self) -> None:
        arrived = [datagram for at, datagram in self._flying if at <= self.now]
        self._flying = [one for one in self._flying if one[0] > self.now]
        for data, source, destination in arrived:
            if destination == SERVER:
                self.server.receive_datagram(data, source, self.now)
            for xtr in self.xtrs:
                if destination[0] in xtr.addresses and destination[1] == xtr.endpoint[1]:
                    xtr.subscriber.receive_datagram(data, SERVER, self.now)

    def _next(self) -> float | None:
        times = [at for at, _datagram in self._flying]
        times += [
            at
            for at in (
                self.server.subscriptions.next_timeout(),
                *(xtr.subscriber.next_timeout() for xtr in self.xtrs),
            )
            if at is not None
        ]
        return max(min(times), self.now) if times else None


def registered(server: PublishingMapServer, eid: EidPrefix) -> dict[str, list[str]]:
    """Return what a subscriber to an EID-prefix should know: each mapping inside it, and the one
    that covers it; EID-prefix to its RLOCs.
    """
    found = {}
    best = -1
    cover = None
    for registration in server.registrar.database.registrations():
        mapping = registration.decode()
        inner = mapping.eid
        rlocs = [str(locator.rloc) for locator in mapping.locators]
        if covers(eid, inner):
            found[str(inner)] = rlocs
        if covers(inner, eid) and inner.length > best:
            best, cover = inner.length, (str(inner), rlocs)
    if cover is not None:
        found[cover[0]] = cover[1]
    return found


def covers(outer: EidPrefix, inner: EidPrefix) -> bool:
    """Whether ``inner`` lies inside ``outer``, by its text alone."""
    return (
        outer.instance_id == inner.instance_id
        and _bits(inner).startswith(_bits(outer))
        and len(_address(outer)) == len(_address(inner))
    )


def _address(eid: EidPrefix) -> bytes:
    return ip(str(eid.address))


def _bits(eid: EidPrefix) -> str:
    packed = _address(eid)
    return f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"[: eid.length]
