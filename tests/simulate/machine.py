"""One host: what reactor and clock are to the services on it. It crashes without a goodbye."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError

from tests.simulate.timeline import Call

if TYPE_CHECKING:
    from tests.simulate.network import Network

__all__ = ["Attempt", "Machine", "TcpPort", "UdpPort"]

_WALL = 1_700_000_000.0
"""Seconds since 1970 when a simulation begins."""


_LATE = 1e-7
"""Seconds by which timers are late."""


class UdpPort:
    """A UDP socket."""

    addressFamily = socket.AF_INET

    def __init__(self, machine: Machine, host: str, port: int, protocol: Any) -> None:
        self.machine, self.where, self.protocol = machine, (host, port), protocol

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", *self.where)

    def write(self, data: bytes, to: tuple[str, int]) -> None:
        self.machine.network.send(self.machine, self.where, to, data)

    def stopListening(self) -> Deferred[None]:
        self.machine.udp.pop(self.where, None)
        self.protocol.doStop()
        return succeed(None)


class TcpPort:
    """A TCP socket that listens."""

    def __init__(self, machine: Machine, host: str, port: int, factory: Any) -> None:
        self.machine, self.where, self.factory = machine, (host, port), factory

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.where)

    def stopListening(self) -> Deferred[None]:
        self.machine.tcp.pop(self.where, None)
        self.factory.doStop()
        return succeed(None)


class Attempt:
    """A TCP connection that is to come up."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self.is_stopped = False

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", *self._to)

    def stopConnecting(self) -> None:
        self.is_stopped = True


class Machine:
    """A host with one address at a time, a clock, and sockets."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network, self.name, self.address = network, name, address
        self.timeline = network.timeline
        self.life = 1
        "grows with every start of what runs on it"
        self.is_up = True
        self.boot = 1
        self.epoch = 0.0
        "when its monotonic clock showed 0"
        self.stalled_until = 0.0
        self.late_until = 0.0
        self.wall_step = 0.0
        "seconds by which its wall clock is wrong"
        self.udp: dict[tuple[str, int], UdpPort] = {}
        self.tcp: dict[tuple[str, int], TcpPort] = {}
        self._next_port = 50_000

    # What services call

    def seconds(self) -> float:
        return self.timeline.now - self.epoch

    def callLater(
        self, delay: float, function: Callable[..., object], *args: Any, **options: Any
    ) -> Call:
        assert not options and delay >= 0
        timeline = self.timeline
        # Never early, whatever was rounded.
        at = timeline.now + delay + _LATE if delay else timeline.now
        return timeline.at(at, function, *args, machine=self, life=self.life)

    def getDelayedCalls(self) -> list[Call]:
        raise NotImplementedError

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> UdpPort:
        where = (interface, port or self.free_port())
        if where in self.udp or interface != self.address:
            raise CannotListenError(*where, OSError(98, "Address already in use"))
        listening = self.udp[where] = UdpPort(self, *where, protocol)
        protocol.makeConnection(listening)
        return listening

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> TcpPort:
        factory.doStart()
        listening = self.tcp[interface, port] = TcpPort(self, interface, port, factory)
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Attempt:
        attempt = Attempt((host, port))
        factory.doStart()
        factory.startedConnecting(attempt)
        self.network.connect(self, attempt, factory, (host, port))
        return attempt

    # What happens to it

    def wall_ns(self) -> int:
        """Return what its wall clock shows, in nanoseconds since 1970."""
        return int((_WALL + self.timeline.now + self.wall_step) * 1e9)

    def free_port(self) -> int:
        """Return a port that nobody has had."""
        self._next_port += 1
        return self._next_port

    def vanish(self, *, is_power_cut: bool) -> None:
        """Stop in the midst of everything: timers and sockets are gone, nobody is told anything."""
        self.life += 1
        self.is_up = not is_power_cut
        self.udp.clear()
        self.tcp.clear()
        self.stalled_until = 0.0
        self.network.machine_vanished(self, is_power_cut=is_power_cut)

    def power_on(self) -> None:
        """Come up again; after a power cut the monotonic clock begins anew."""
        if not self.is_up:
            self.boot += 1
            self.epoch = self.timeline.now
            self.is_up = True

    def stall(self, seconds: float) -> None:
        """Stand still, as a virtual machine that is moved; afterwards everything is late."""
        self.stalled_until = max(self.stalled_until, self.timeline.now + seconds)

    def was_late(self, since: float) -> bool:
        """Whether it has stood still, or its timers may have been late, after a moment."""
        return max(self.stalled_until, self.late_until) >= since

    def step_clock(self, seconds: float, *, moves_timers: bool) -> None:
        """Set the wall clock; ``moves_timers`` where delayed calls wait for a time of that clock,
        as those of Twisted's reactors do.
        """
        self.wall_step += seconds
        if moves_timers:
            self.late_until = self.timeline.now - min(0.0, seconds)
            self.timeline.shift(self, -seconds)
