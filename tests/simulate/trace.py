"""What happened, kept cheaply and put into words only where somebody reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from twisted.logger import formatEvent

from tests.simulate.network import Packet
from tests.simulate.wire_reading import eid_of_wire, read_map_reply, read_record, read_register

__all__ = ["Trace"]

_KEPT = 20_000
_KINDS = {16: "Error", 17: "Registration", 18: "ACK", 19: "Rejection", 20: "Refresh", 21: "News"}


class Trace:
    """The latest things that happened."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, str, Any]] = deque(maxlen=_KEPT)
        self.is_over = False
        "whether what comes now is only the end of the world"

    def note(self, now: float, kind: str, what: Any) -> None:
        """Keep something: a text, a packet, octets of a stream, an event of the log."""
        if not self.is_over:
            self._kept.append((now, kind, what))

    def lines(self, since: float) -> Iterator[str]:
        """Yield it in words, from a moment on."""
        for now, kind, what in self._kept:
            if now >= since:
                yield f"{_clock(now)}  {_in_words(kind, what)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"


def _in_words(kind: str, what: Any) -> str:
    if kind == "log":
        name, event = what
        return f"    {name} logs: {formatEvent(event)}"
    if isinstance(what, Packet):
        return f"  {kind:8} {what.path}: {_datagram(what.data)}"
    if isinstance(what, tuple):
        source, to, messages = what
        return f"  {kind:8} {source} -> {to}: {', '.join(map(_message, messages))}"
    return f"{kind}: {what}"


def _datagram(data: bytes) -> str:
    if not data:
        return "nothing"
    register = read_register(data)
    if register is not None:
        name = "Map-Register" if register.kind == 3 else "Map-Notify"
        records = ", ".join(f"{one.eid} TTL {one.ttl}" for one in register.records)
        r_bit = " r" if register.r_bit else ""
        return f"{name}{r_bit} nonce ...{register.nonce % 10**9} key {register.key_id}: {records}"
    reply = read_map_reply(data)
    if reply is not None:
        return "Map-Reply: " + ", ".join(
            f"{one.eid} {'negative' if not one.locators else 'positive'}" for one in reply.records
        )
    names = {1: "Map-Request", 5: "Map-Notify-Ack", 8: "encapsulated Map-Request"}
    return names.get(data[0] >> 4, f"{len(data)} octets")


def _message(message: Any) -> str:
    name = _KINDS.get(message.kind, f"type {message.kind}")
    if message.kind == 17:
        return f"{name} {message.record.eid} TTL {message.record.ttl}"
    if message.kind == 20 and message.data[0] == 4:
        return f"{name} of {eid_of_wire(message.data[3:])}"
    if message.kind == 21:
        record = read_record(message.data[24:])
        return f"{name} of {record.eid}, TTL {record.ttl}"
    if message.kind in (18, 19):
        return f"{name} {eid_of_wire(message.data[3:] if message.kind == 19 else message.data)}"
    return name
