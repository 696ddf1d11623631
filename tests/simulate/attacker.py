"""Somebody on the path who has seen everything and has no key."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import ClientFactory, Protocol

from tests import builders
from tests.simulate.machine import Machine
from tests.simulate.network import Packet
from tests.simulate.picking import pick

if TYPE_CHECKING:
    from tests.simulate.world import World

__all__ = ["Attacker"]

_ADDRESS = "203.0.113.66"


class Attacker:
    """Sends again what it has seen, changes it, and makes up its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._machine = Machine(world.network, "ATTACKER", _ADDRESS)
        world.network.add(self._machine)

    def _seen(self, number: float) -> Packet | None:
        captured = self._world.book.captured
        return pick(number, captured) if captured else None

    def on_replay(
        self, _: float, which: float, where: float, times: float, server: float
    ) -> str | None:
        """A Map-Register is sent again, from where it came or from elsewhere."""
        packet = self._seen(which)
        if packet is None:
            return None
        source = packet.source if where < 0.5 else (_ADDRESS, 4342)
        to = (pick(server, self._world.servers).machine.address, 4342)
        for _time in range(1 + int(times * 3)):
            self._world.network.send(None, source, to, packet.data)
        return f"a Map-Register of {packet.source[0]}, as from {source[0]} to {to[0]}"

    def on_forge(
        self, _: float, which: float, what: float, how: float, server: float
    ) -> str | None:
        """A Map-Register is changed on its way, or made with a key that was guessed."""
        packet = self._seen(which)
        if packet is None:
            return None
        to = (pick(server, self._world.servers).machine.address, 4342)
        random = Random(f"{what} {how}")
        if what < 0.4:
            etr = builders.Etr(xtr_id=random.randrange(4), key=builders.Secret(1, 2, b"guessed"))
            etr.nonce = random.randrange(1 << 62)
            data = etr.map_register(builders.record("10.1.1.0/24"))
        else:
            octets = bytearray(packet.data)
            for _change in range(random.randint(1, 3)):
                octets[random.randrange(len(octets))] ^= 1 << random.randrange(8)
            data = bytes(octets) if what < 0.8 else bytes(octets[: random.randrange(len(octets))])
        if data == packet.data or not data:
            return None
        self._world.network.send(None, packet.source, to, data)
        return f"{len(data)} octets as from {packet.source[0]} to {to[0]}"

    def on_stranger(
        self, lasts: float, which: float, what: float, server: float, __: float
    ) -> str | None:
        """Somebody connects who was not armed, or by a Map-Register that was sent again, and
        registers what was caught.
        """
        packet = self._seen(which)
        if packet is None:
            return None
        octets = builders.frame(17, packet.data) if what < 0.7 else bytes(range(100))
        to = pick(server, self._world.servers).machine.address
        factory = _StrangerFactory(octets)
        self._machine.connectTCP(to, 4342, factory)
        self._world.timeline.after(lasts, factory.leave)
        return f"connects to {to} for {lasts:g} s"


class _Stranger(Protocol):
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self._octets)


class _StrangerFactory(ClientFactory):
    noisy = False

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._strangers: list[_Stranger] = []

    def buildProtocol(self, addr: object) -> _Stranger:
        self._strangers.append(_Stranger(self._octets))
        return self._strangers[-1]

    def leave(self) -> None:
        """End the connection, if there is one."""
        for stranger in self._strangers:
            transport: Any = stranger.transport
            if transport is not None:
                transport.loseConnection()
