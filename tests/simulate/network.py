"""What is between machines: datagrams that get lost, paths that close, connections."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from tests.simulate.machine import Attempt, Machine
from tests.simulate.streams import End, Stream
from tests.simulate.timeline import Timeline

__all__ = ["Network", "Packet", "Taps", "Weather"]


@dataclass(slots=True)
class Weather:
    """How datagrams fare: chances, and the greatest delay in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.0


@dataclass(slots=True, eq=False)
class Packet:
    """A datagram under way."""

    sender: Machine | None
    "None: an attacker"
    source: tuple[str, int]
    to: tuple[str, int]
    data: bytes
    receiver: str = ""
    "name of the machine that has the address right now"

    @property
    def path(self) -> str:
        """Return in words from whom to whom it goes."""
        who = f"attacker as {self.source[0]}" if self.sender is None else self.sender.name
        return f"{who} -> {self.receiver or self.to[0]}"


class Taps:
    """Hears of everything that goes over the network; derive from it."""

    def datagram_sent(self, packet: Packet) -> None:
        """A machine has sent a datagram."""

    def datagram_arrives(self, packet: Packet, machine: Machine) -> None:
        """A datagram is about to be given to a service."""

    def datagram_taken(self, packet: Packet, machine: Machine) -> None:
        """A service has taken it, and answered."""

    def stream_opened(self, stream: Stream) -> None:
        """A connection has reached a Map-Server, which has not said anything yet."""

    def stream_written(self, end: End, data: bytes) -> None:
        """One end has written something."""

    def stream_read(self, end: End, data: bytes) -> None:
        """Octets are about to be given to a service."""

    def stream_was_read(self, end: End) -> None:
        """A service has taken them, and answered."""

    def stream_ended(self, end: End) -> None:
        """One end's socket is gone."""


class Network:
    """The paths between machines."""

    def __init__(self, timeline: Timeline, seed: object, taps: Taps) -> None:
        self.timeline = timeline
        self.taps = taps
        self.weather = Weather()
        self.machines: dict[str, Machine] = {}
        "by address"
        self.refusing: Counter[str] = Counter()
        "names of machines where nobody answers connections but with a reset"
        self.streams: dict[Stream, None] = {}
        self.faults: Counter[str] = Counter()
        "what befell datagrams"
        self.high_water = 1 << 16
        self.cuts_segments = False
        self.digest = 0
        "of all that arrived, and when"
        self._seed = seed
        self._closed: Counter[tuple[str, str]] = Counter()
        self._randoms: dict[tuple[str, str], Random] = {}
        self._stream_count = 0

    def add(self, machine: Machine) -> None:
        """Have a machine at its address."""
        self.machines[machine.address] = machine

    def readdress(self, machine: Machine, address: str) -> None:
        """Have a machine at another address from now on."""
        del self.machines[machine.address]
        machine.address = address
        self.machines[address] = machine

    # Paths

    def is_open(self, source: str, to: str) -> bool:
        """Whether packets from one machine get to another."""
        return not self._closed[source, to]

    def close_path(self, source: str, to: str) -> None:
        """Let nothing pass in this direction, until it is opened as often."""
        self._closed[source, to] += 1
        self._check_streams(source, to)

    def open_path(self, source: str, to: str) -> None:
        """Let everything pass again."""
        self._closed[source, to] -= 1

    def _check_streams(self, *names: str) -> None:
        for stream in self.streams:
            if {stream.client.machine.name, stream.server.machine.name} <= set(names):
                stream.check()

    def latency(self, random: Random) -> float:
        """Return how long a segment takes, in seconds."""
        seconds = random.uniform(0.001, 0.03)
        weather = self.weather
        if weather.loss and random.random() < weather.loss:
            seconds += random.uniform(0.2, 2.0)  # it was retransmitted
        return seconds + random.random() * min(weather.delay, 1.0)

    def segment_size(self, random: Random, most: int) -> int:
        """Return how many octets go at once."""
        return random.randint(1, most) if self.cuts_segments and most > 1 else most

    # Datagrams

    def send(
        self, sender: Machine | None, source: tuple[str, int], to: tuple[str, int], data: bytes
    ) -> None:
        """Send a datagram, which may have any fate."""
        machine = self.machines.get(to[0])
        receiver = machine.name if machine is not None else ""
        packet = Packet(sender, source, to, data, receiver)
        self.taps.datagram_sent(packet)
        if machine is None:
            return
        random = self._random(source[0], to[0])
        weather = self.weather
        if sender is not None and not self.is_open(sender.name, machine.name):
            self.faults["datagrams lost in partitions"] += 1
            return
        copies = 1
        if weather.loss and random.random() < weather.loss:
            self.faults["datagrams lost"] += 1
            copies = 0
        if weather.duplication and random.random() < weather.duplication:
            self.faults["datagrams duplicated"] += 1
            copies += 1
        for _copy in range(copies):
            delay = random.uniform(0.001, 0.03)
            if weather.delay and random.random() < 0.3:
                self.faults["datagrams delayed"] += 1
                delay += random.uniform(0.0, weather.delay)
            at = self.timeline.now + delay
            self.timeline.at(at, self._arrive, packet, machine=machine)

    def _random(self, source: str, to: str) -> Random:
        random = self._randoms.get((source, to))
        if random is None:
            random = self._randoms[source, to] = Random(f"{self._seed} {source} {to}")
        return random

    def _arrive(self, packet: Packet) -> None:
        machine = self.machines.get(packet.to[0])
        if machine is None or not machine.is_up:
            return
        port = machine.udp.get(packet.to)
        if port is None:
            return
        self._note(packet.data)
        self.taps.datagram_arrives(packet, machine)
        port.protocol.datagramReceived(packet.data, packet.source)
        self.taps.datagram_taken(packet, machine)

    def _note(self, data: bytes) -> None:
        self.digest = zlib.crc32(data, self.digest ^ int(self.timeline.now * 1e6) & 0xFFFFFFFF)

    # Connections

    def connect(
        self, machine: Machine, attempt: Attempt, factory: Any, to: tuple[str, int]
    ) -> None:
        """Have a connection come up, or not."""
        random = Random(f"{self._seed} stream {self._stream_count}")
        self._stream_count += 1
        server = self.machines.get(to[0])
        if server is None or not server.is_up:
            return  # silence: whoever waits gives up
        if not self.is_open(machine.name, server.name):
            self.faults["connection attempts unheard"] += 1
            return
        delay = self.latency(random) + self.latency(random)
        self.timeline.at(
            self.timeline.now + delay,
            self._answered,
            *(machine, attempt, factory, server, to, random),
            machine=machine,
            life=machine.life,
        )

    def _answered(
        self,
        machine: Machine,
        attempt: Attempt,
        factory: Any,
        server: Machine,
        to: tuple[str, int],
        random: Random,
    ) -> None:
        if attempt.is_stopped or not server.is_up or not self.is_open(server.name, machine.name):
            return
        if to not in server.tcp or self.refusing[server.name]:
            self.faults["connections refused"] += 1
            factory.clientConnectionFailed(attempt, Failure(ConnectionRefusedError()))
            return
        source = (machine.address, machine.free_port())
        client, far = End(machine, source, to), End(server, to, source)
        stream = Stream(self, client, far, random)
        self.streams[stream] = None
        client.protocol = factory.buildProtocol(IPv4Address("TCP", *to))
        far.is_reading = False
        self.timeline.at(
            self.timeline.now + self.latency(random),
            self._accept,
            stream,
            machine=server,
            life=server.life,
        )
        client.protocol.makeConnection(client)

    def _accept(self, stream: Stream) -> None:
        far = stream.server
        listening = far.machine.tcp.get(far.host)
        if listening is None or not stream.client.connected or not far.connected:
            if far.connected:
                far.forget(is_silent=False)
            return
        self.taps.stream_opened(stream)
        far.is_reading = True
        far.protocol = listening.factory.buildProtocol(IPv4Address("TCP", *far.peer))
        far.protocol.makeConnection(far)
        far.read()

    def stream_written(self, end: End, data: bytes) -> None:
        """Tell the taps."""
        self.taps.stream_written(end, data)

    def stream_read(self, end: End, data: bytes) -> None:
        """Tell the taps."""
        self._note(data)
        self.taps.stream_read(end, data)

    def stream_was_read(self, end: End) -> None:
        """Tell the taps."""
        self.taps.stream_was_read(end)

    def stream_ended(self, end: End) -> None:
        """Forget a connection that neither end has any more."""
        self.taps.stream_ended(end)
        if not end.other.connected:
            self.streams.pop(end.stream, None)

    def machine_vanished(self, machine: Machine, *, is_power_cut: bool) -> None:
        """End the sockets of a machine; its kernel resets them where only the process has died."""
        for stream in list(self.streams):
            for end in (stream.client, stream.server):
                if end.machine is machine and end.connected:
                    end.forget(is_silent=is_power_cut)
