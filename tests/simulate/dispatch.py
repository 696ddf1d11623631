"""Tells the book, the trace and the invariants what goes over the network, in the right order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.simulate.book import Book
from tests.simulate.network import Packet, Taps
from tests.simulate.streams import End, Stream
from tests.simulate.timeline import Timeline
from tests.simulate.trace import Trace

__all__ = ["Dispatch"]


class Dispatch(Taps):
    """The book is the first to hear that something begins, and the last to hear that it ends."""

    def __init__(
        self, book: Book, watchers: Sequence[Taps], trace: Trace, timeline: Timeline
    ) -> None:
        self._book, self._trace, self._timeline = book, trace, timeline
        names = [name for name in vars(Taps) if not name.startswith("_")]
        self._watching: dict[str, list[Callable[..., None]]] = {
            name: [getattr(one, name) for one in watchers if _overrides(one, name)]
            for name in names
        }

    def _tell(self, name: str, *what: Any) -> None:
        for tell in self._watching[name]:
            tell(*what)

    def datagram_sent(self, packet: Packet) -> None:
        self._trace.note(self._timeline.now, "sent", packet)
        self._book.datagram_sent(packet)
        self._tell("datagram_sent", packet)

    def datagram_arrives(self, packet: Packet, machine: Any) -> None:
        self._trace.note(self._timeline.now, "arrives", packet)
        self._book.datagram_arrives(packet, machine)
        self._tell("datagram_arrives", packet, machine)

    def datagram_taken(self, packet: Packet, machine: Any) -> None:
        self._tell("datagram_taken", packet, machine)
        self._book.datagram_taken(packet, machine)

    def stream_opened(self, stream: Stream) -> None:
        names = stream.client.machine.name, stream.server.machine.name
        self._trace.note(self._timeline.now, "**", f"{names[0]} connects to {names[1]}")
        self._book.stream_opened(stream)
        self._tell("stream_opened", stream)

    def stream_written(self, end: End, data: bytes) -> None:
        self._book.stream_written(end, data)
        if self._book.told is not None:
            names = end.machine.name, end.other.machine.name
            self._trace.note(self._timeline.now, "says", (*names, list(self._book.told[1])))
        self._tell("stream_written", end, data)

    def stream_read(self, end: End, data: bytes) -> None:
        self._book.stream_read(end, data)
        conversation = self._book.conversations.get(end.stream)
        if conversation is not None and self._book.taking is conversation:
            names = end.other.machine.name, end.machine.name
            read = [_Shown(17, register, record) for register, record in conversation.latest]
            if read:
                self._trace.note(self._timeline.now, "reads", (*names, read))
        self._tell("stream_read", end, data)

    def stream_was_read(self, end: End) -> None:
        self._tell("stream_was_read", end)
        self._book.stream_was_read(end)

    def stream_ended(self, end: End) -> None:
        names = end.machine.name, end.other.machine.name
        text = f"the connection of {names[0]} with {names[1]} is over at {names[0]}"
        self._trace.note(self._timeline.now, "**", text)
        self._tell("stream_ended", end)
        self._book.stream_ended(end)


class _Shown:
    """A Registration as the trace shows it."""

    def __init__(self, kind: int, register: Any, record: Any) -> None:
        self.kind, self.register, self.record = kind, register, record


def _overrides(watcher: Taps, name: str) -> bool:
    return getattr(type(watcher), name) is not getattr(Taps, name)
