"""The live stream: one JSON object a second to everybody who listens, of one look at the views."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lispmsrt.views.node import NodeViews
from lispmsrt.views.values import HistoryFilter, HistoryView, OverviewView
from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.errors import ApiError
from lispmsrt.web.rendering import to_json

__all__ = ["MAX_LINES", "MAX_STREAMS", "PATIENCE", "StreamLine", "Streams"]

MAX_STREAMS = 64
"""Streams at a time: each costs some kilobytes a second. That is many browsers."""

MAX_LINES = 200
"""Lines of the history in one object: a burst of a million must not go to every browser."""

PATIENCE = 30.0
"""Seconds that a reader may leave what was written unread; nothing is added meanwhile."""

_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class StreamLine:
    """One line of the stream."""

    overview: OverviewView
    history: tuple[HistoryView, ...]
    "what is new, oldest first"
    lost: bool
    "whether there was more than this: the reader asks for the history anew"


class _Look(NamedTuple):
    """What everybody is told of, who is behind and who is not."""

    overview: OverviewView
    history: tuple[HistoryView, ...]
    "oldest first; of what is new to those who know least"
    newest: int
    "number of the newest line there is; 0 for none"


class _News(NamedTuple):
    """A line as it is written."""

    octets: bytes
    newest: int
    "number of the newest line of the history that it has"


@implementer(IPushProducer)
class _Stream:
    """One who listens."""

    def __init__(self, request: ManagementRequest, position: int) -> None:
        self.request = request
        self.position = position
        "the newest line of the history that it has been sent"
        self.is_paused = False
        self.paused_since: float | None = None
        "when it was first passed over"

    def pauseProducing(self) -> None:
        """Wait for the reader."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self.is_paused, self.paused_since = False, None

    def stopProducing(self) -> None:
        """The connection is gone; its request is told of it by itself."""
        self.is_paused = True


class Streams:
    """Everybody who listens. While nobody does, there is no timer."""

    _log = Logger()

    def __init__(self, views: NodeViews, clock: IReactorTime, counters: Counter[str]) -> None:
        self._views = views
        self._clock = clock
        self._counters = counters
        self._streams: dict[_Stream, Deferred[None]] = {}
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, request: ManagementRequest, number: int | None) -> Deferred[None]:
        """Begin to write a stream, with what is newer than a line of the history; fires when it has
        ended. ApiError when there are too many.
        """
        if len(self._streams) >= MAX_STREAMS:
            self._counters["streams refused: too many"] += 1
            raise ApiError(503, f"there are {MAX_STREAMS} streams already")
        position = self._newest() if number is None else number
        # First of all: what fails here fails this request, and leaves nothing in the table.
        news = _news(self._look(position), position)
        stream = _Stream(request, news.newest)
        request.registerProducer(stream, True)
        request.write(news.octets)
        ended: Deferred[None] = Deferred(lambda _: self._forget(stream))
        self._streams[stream] = ended
        self._counters["streams"] += 1
        if self._call is None:
            self._call = self._clock.callLater(_INTERVAL, self._tick)
        return ended

    def stop(self) -> None:
        """End every stream."""
        for stream, ended in list(self._streams.items()):
            self._forget(stream)
            stream.request.unregisterProducer()
            ended.callback(None)

    def _forget(self, stream: _Stream) -> None:
        self._streams.pop(stream, None)
        if not self._streams and self._call is not None:
            self._call.cancel()
            self._call = None

    def _tick(self) -> None:
        self._call = self._clock.callLater(_INTERVAL, self._tick)
        # Read once: many who are behind, each by another number, cost no more than one.
        look = self._look(min(stream.position for stream in self._streams))
        written: dict[int, _News] = {}
        now = self._clock.seconds()
        for stream in list(self._streams):
            if not stream.is_paused:
                writing = maybeDeferred(self._write, stream, look, written)
                writing.addErrback(self._drop, stream)
            elif stream.paused_since is None:
                stream.paused_since = now
            elif now - stream.paused_since >= PATIENCE:
                self._counters["streams dropped: not read"] += 1
                # It leaves the table when its request hears of this.
                stream.request.abort()

    def _drop(self, failure: Failure, stream: _Stream) -> None:
        """End a stream that can't be written to, so that the others go on."""
        self._log.failure("management: a stream failed", failure)
        self._counters["streams dropped: failed"] += 1
        self._forget(stream)
        stream.request.abort()

    def _look(self, position: int) -> _Look:
        """Look at everything; of the history at what is newer than a line."""
        overview, newest = self._views.overview(), self._newest()
        if self._views.map_server is None or newest <= position:
            return _Look(overview, (), newest)
        page = self._views.map_server.history(HistoryFilter(after=position), None, MAX_LINES)
        return _Look(overview, page.items[::-1], newest)

    def _write(self, stream: _Stream, look: _Look, written: dict[int, _News]) -> None:
        """Write one line; ``written`` has those of this second, by what the reader knows."""
        news = written.get(stream.position)
        if news is None:
            news = written[stream.position] = _news(look, stream.position)
        stream.position = news.newest
        stream.request.write(news.octets)

    def _newest(self) -> int:
        """Return the number of the newest line; 0 where there is none."""
        if self._views.map_server is None:
            return 0
        lines = self._views.map_server.history(HistoryFilter(), None, 1).items
        return lines[0].number if lines else 0


def _news(look: _Look, position: int) -> _News:
    """Return what is new to who knows the history up to a line."""
    lines = tuple([line for line in look.history if line.number > position])
    # The reader of a process that has been started again knows lines that are still to come.
    newest = lines[-1].number if lines else min(look.newest, position)
    is_lost = len(lines) != abs(newest - position)
    # An overview may be older than the history that is read here.
    seen = replace(look.overview, history_number=newest)
    return _News(to_json(StreamLine, StreamLine(seen, lines, is_lost)) + b"\n", newest)
