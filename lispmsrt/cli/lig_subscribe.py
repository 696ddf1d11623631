"""``lispmsrt lig --subscribe``: subscribe to an EID-prefix (RFC 9437), stay, and print what is
published.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.lig_keys import key_from_file
from lispmsrt.cli.lig_report import complain, eid_text, news_json, news_lines, no_answer_text
from lispmsrt.clock import MonotonicClock
from lispmsrt.config import SocketAddress
from lispmsrt.config.keys import ALGORITHMS
from lispmsrt.control.inquiries import Form
from lispmsrt.services.listening import ListenError
from lispmsrt.services.subscriber import News, SubscriberPace, SubscriberService, What
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key

__all__ = ["Follower", "Subscription", "add_arguments", "parse"]

_OVER, _REFUSED = 0, 1
_XTR_ID_OCTETS, _SITE_ID_OCTETS = 16, 8


class Subscription(NamedTuple):
    """As whom to subscribe."""

    ids: bytes
    key: Key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare as whom to subscribe."""
    group = parser.add_argument_group("subscription (RFC 9437)")
    group.add_argument("--subscribe", action="store_true", help="stay, and print what changes")
    group.add_argument("--xtr-id", metavar="HEX", help="32 hexadecimal digits")
    group.add_argument("--site-id", type=int, default=0, metavar="N", help="default: 0")
    group.add_argument("--key-file", metavar="FILE", help="the key shared with the Map-Server")
    group.add_argument("--key-id", type=int, default=0, metavar="N", help="default: 0")
    group.add_argument(
        "--algorithm",
        choices=[name for name in ALGORITHMS if name != "none"],
        default="hmac-sha-256-128",
        help="default: hmac-sha-256-128",
    )


def parse(arguments: argparse.Namespace) -> Subscription | None:
    """Return as whom to subscribe, if at all; ValueError says what is wrong."""
    if not arguments.subscribe:
        return None
    if arguments.xtr_id is None or arguments.key_file is None:
        raise ValueError("--subscribe needs --xtr-id and --key-file")
    if arguments.probe:
        raise ValueError("an RLOC-probe can't subscribe")
    try:
        xtr_id = bytes.fromhex(arguments.xtr_id)
    except ValueError:
        xtr_id = b""
    if len(xtr_id) != _XTR_ID_OCTETS:
        raise ValueError(f"--xtr-id {arguments.xtr_id!r} has not 32 hexadecimal digits")
    if not 0 <= arguments.site_id < 1 << 8 * _SITE_ID_OCTETS:
        raise ValueError(f"--site-id {arguments.site_id} does not fit 64 bits")
    algorithm_id = ALGORITHMS[arguments.algorithm]
    key = key_from_file(arguments.key_file, arguments.key_id, "--key-id", algorithm_id)
    return Subscription(xtr_id + arguments.site_id.to_bytes(_SITE_ID_OCTETS, "big"), key)


class Follower:
    """One subscription, from its first Map-Request to its end."""

    def __init__(
        self,
        reactor: Any,
        resolver: SocketAddress,
        eid: EidPrefix,
        subscription: Subscription,
        arguments: argparse.Namespace,
        *,
        clock: IReactorTime | None = None,
    ) -> None:
        self._eid = eid
        self._is_json = arguments.json
        self._patience: float = arguments.timeout * arguments.count
        self._clock = clock or MonotonicClock(reactor)
        self._began = self._clock.seconds()
        self._first: Deferred[What] | None = None
        self._over: Deferred[None] | None = None
        self._service = SubscriberService(
            reactor,
            resolver,
            ids=subscription.ids,
            key=subscription.key,
            hear=self._hear,
            source=arguments.source,
            port=arguments.port,
            form=Form.PLAIN if arguments.plain else Form.ENCAPSULATED,
            pace=SubscriberPace(interval=arguments.timeout),
            clock=self._clock,
        )

    async def follow(self) -> int:
        """Subscribe, print what comes until a signal, and unsubscribe; return the exit code."""
        try:
            self._service.startService()
        except ListenError as failure:
            return complain(str(failure))
        try:
            return await self._follow()
        finally:
            await self._service.stopService()

    async def _follow(self) -> int:
        source = self._service.address.host
        resolver = self._service.resolver
        if not self._is_json:
            _say(f"Subscribing to {eid_text(self._eid)} at {resolver} from {source}")
        try:
            if await self._subscribed() is What.REFUSED:
                complain(
                    f"{resolver} gave an ordinary answer: check that it has Publish/Subscribe"
                    " enabled, that it knows the xTR-ID and its key, and that no other lig uses"
                    " the same xTR-ID"
                )
                return _REFUSED
        except TimeoutError:
            return complain(self._remedy(source))
        try:
            await Deferred()  # until a signal
        except CancelledError:
            await self._unsubscribed()
        return _OVER

    def _subscribed(self) -> Deferred[What]:
        """Subscribe; fires with the first answer."""
        self._first = Deferred()
        self._first.addTimeout(self._patience, self._clock)
        self._service.subscribe(self._eid)
        return self._first

    async def _unsubscribed(self) -> None:
        """Unsubscribe, and wait for the Map-Server's word as long as for any answer."""
        self._over = Deferred()
        self._over.addTimeout(self._patience, self._clock)
        self._service.unsubscribe(self._eid)
        try:
            await self._over
        except (TimeoutError, CancelledError):
            complain("the Map-Server has not confirmed the end of the subscription")

    def _hear(self, news: News) -> None:
        seconds = self._clock.seconds() - self._began
        if self._is_json:
            _say(json.dumps(news_json(news, seconds)))
        else:
            _say("\n".join(news_lines(news, seconds)))
        if self._first is not None and not self._first.called:
            self._first.callback(news.what)
        if news.what is What.CANCELLED:
            # Later: it is acknowledged once it was heard, and who is over closes the socket.
            self._clock.callLater(0, self._end)

    def _end(self) -> None:
        if self._over is not None and not self._over.called:
            self._over.callback(None)

    def _remedy(self, source: str) -> str:
        counters = self._service.counters
        if (
            counters["Map-Notifies with authentication failures"]
            or (counters["Map-Notifies with another key"])
        ):
            return "Map-Notifies came with another key: check --key-file, --key-id and --algorithm"
        asked = counters["Map-Requests out"]
        return no_answer_text(self._service.resolver, source, asked)


def _say(text: str) -> None:
    # Whoever reads a pipe wants to know at once.
    print(text, flush=True)
