"""What an observer knows from the wire alone: who sent what, what arrived where, who was told what.

Invariants hold the services against this. Nothing in here asks the code under test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.simulate.hosts import EtrHost, MapServerHost
from tests.simulate.machine import Machine
from tests.simulate.network import Packet, Taps
from tests.simulate.streams import End, Stream
from tests.simulate.wire_reading import (
    Eid,
    Record,
    Register,
    StreamMessage,
    read_register,
    split_stream,
)

__all__ = ["SURELY_WRITTEN", "Book", "Conversation", "Name", "Sent"]

Name = tuple[str, Eid]
"""A Map-Server and an EID-prefix."""

REGISTRATION, ACK, REJECTION = 17, 18, 19

SURELY_WRITTEN = 2.0
"""Seconds after which a Map-Server with a memory has what it knows on its disk."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A Map-Register that an honest ETR has made."""

    etr: EtrHost
    key: int
    register: Register
    server: str
    "the address to which it went"
    at: float


@dataclass(slots=True, eq=False)
class Conversation:
    """What was said on one connection."""

    server: str
    etr: EtrHost | None
    "None: a stranger"
    key: int
    opened: float
    heard: bytearray = field(default_factory=bytearray)
    said: bytearray = field(default_factory=bytearray)
    unanswered: deque[Record] = field(default_factory=deque)
    "Registrations that the Map-Server has read"
    latest: list[tuple[Register, Record]] = field(default_factory=list)
    "of the octets that it has read just now"
    registered: dict[Eid, None] = field(default_factory=dict)
    "EID-prefixes that it was about"
    meant: dict[Eid, None] = field(default_factory=dict)
    "those that were registered and not withdrawn"
    has_spoken: bool = False
    borrowed: bytes = b""
    "the identity that a stranger uses"

    @property
    def ids(self) -> bytes:
        """Return whose identity is used on it."""
        return self.etr.ids if self.etr is not None else self.borrowed


class Book(Taps):
    """Take note of everything on the wire."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.etrs: dict[str, EtrHost] = {}
        "by the name of the machine"
        self.servers: dict[str, MapServerHost] = {}
        self.sent: dict[bytes, Sent] = {}
        self.captured: list[Packet] = []
        "what an attacker on the path has seen"
        self.arrived: dict[str, dict[bytes, float]] = {}
        """Map-Registers by Map-Server that has taken them, and since when: of what is refused none
        remembers the nonce
        """
        self.conversations: dict[Stream, Conversation] = {}
        self.heard: dict[tuple[str, Eid, bytes], float] = {}
        "when a Map-Server was told of an EID-prefix by an xTR last"
        self.started_at: dict[str, float] = {}
        "when a Map-Server forgot all that it does not keep in a file"
        self.taking: Sent | Conversation | None = None
        "what a Map-Server is taking right now; None also for what nobody honest has made"
        self.is_repeat = False
        "whether it had that before"
        self._taken = b""
        self.told: tuple[Conversation, list[StreamMessage]] | None = None
        "what a Map-Server has said on a connection just now"

    # Datagrams

    def datagram_sent(self, packet: Packet) -> None:
        if packet.sender is None:
            return
        self._note_answer(packet.sender.name, packet.data)
        etr = self.etrs.get(packet.sender.name)
        if etr is not None and packet.data[0] >> 4 == 3:
            register = read_register(packet.data)
            assert register is not None, "an ETR has sent what can't be read"
            self.sent[packet.data] = Sent(etr, etr.key, register, packet.to[0], self.now())
            if len(self.captured) < 5000:
                self.captured.append(packet)

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        if machine.name not in self.servers:
            return
        self.taking = self.sent.get(packet.data)
        self.is_repeat = packet.data in self.arrived.get(machine.name, ())
        self._taken = packet.data
        if self.taking is not None and not self.is_repeat:
            for record in self.taking.register.records:
                self._hear(machine.name, record, self.taking.etr)

    def _note_answer(self, server: str, data: bytes) -> None:
        """A Map-Register that is answered is remembered."""
        cause = self.taking
        if isinstance(cause, Sent) and not self.is_repeat and data[0] >> 4 == 4:
            notify = read_register(data)
            if notify is not None and notify.nonce == cause.register.nonce:
                self.arrived.setdefault(server, {})[self._taken] = self.now()

    def _hear(self, server: str, record: Record, etr: EtrHost) -> None:
        if record.ttl:
            self.heard[server, record.eid, etr.ids] = self.now()

    def taken_over_at(self, server: str, eid: Eid, ids: bytes, since: float) -> float:
        """Return when another xTR has registered it last, after a moment; 0 for never."""
        times = (
            at
            for name, at in self.heard.items()
            if name[:2] == (server, eid) and name[2] != ids and at > since
        )
        return max(times, default=0.0)

    def datagram_taken(self, packet: Packet, machine: Machine) -> None:
        self.taking, self.is_repeat = None, False

    # Connections

    def stream_opened(self, stream: Stream) -> None:
        server = stream.server.machine.name
        if server in self.servers:
            etr = self.etrs.get(stream.client.machine.name)
            key = etr.key if etr is not None else 0
            self.conversations[stream] = Conversation(server, etr, key, self.now())

    def stream_read(self, end: End, data: bytes) -> None:
        conversation = self.conversations.get(end.stream)
        if conversation is None or end is not end.stream.server:
            return
        conversation.heard += data
        conversation.latest = []
        self.taking = conversation
        for message in split_stream(conversation.heard):
            register = read_register(message.data) if message.kind == REGISTRATION else None
            if register is not None and register.records:
                record = register.records[0]
                conversation.latest.append((register, record))
                conversation.borrowed = register.ids
                conversation.unanswered.append(record)
                conversation.registered[record.eid] = None
                if conversation.etr is not None:
                    self._hear(conversation.server, record, conversation.etr)
                if record.ttl:
                    conversation.meant[record.eid] = None
                else:
                    conversation.meant.pop(record.eid, None)

    def news_of_stranger(self, conversation: Conversation) -> Iterator[Sent]:
        """Yield Map-Registers of ETRs that a stranger says on a connection, and that are new to a
        Map-Server: it was started after they were made, or they were made for another one.
        """
        address = self.servers[conversation.server].machine.address
        started = self.started_at.get(conversation.server, 0.0)
        said = [register for register, _record in conversation.latest]
        for sent in self.sent.values():
            if sent.register in said and (sent.server != address or sent.at < started):
                yield sent

    def stream_was_read(self, end: End) -> None:
        self.taking = None

    def stream_written(self, end: End, data: bytes) -> None:
        self.told = None
        conversation = self.conversations.get(end.stream)
        if conversation is not None and end is end.stream.server:
            conversation.said += data
            self.told = conversation, split_stream(conversation.said)

    def stream_ended(self, end: End) -> None:
        if end is end.stream.server:
            self.conversations.pop(end.stream, None)

    # Crashes

    def forgotten(self, server: MapServerHost) -> None:
        """A Map-Server has ended: it knows at most what it has written."""
        self.started_at[server.name] = self.now()
        arrived = self.arrived.get(server.name, {})
        written = self.now() - SURELY_WRITTEN * (not server.has_stopped)
        self.arrived[server.name] = {
            data: at for data, at in arrived.items() if server.state is not None and at < written
        }
