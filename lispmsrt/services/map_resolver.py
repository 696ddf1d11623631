"""A Map-Resolver that is no Map-Server, as a Twisted service (RFC 9301 §8.4)."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lispmsrt.clock import MonotonicClock
from lispmsrt.config import MapResolverConfig
from lispmsrt.control.plane import ControlPlane, Takes
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.services.control_sockets import ControlSockets
from lispmsrt.services.listening import ListenError
from lispmsrt.services.mapping_service import make_resolver, make_security, own_addresses
from lispmsrt.wire.messages import ControlType

__all__ = ["MapResolverService"]


class MapResolverService(Service):
    """A Map-Resolver on its own. ``clock`` defaults to monotonic time on the reactor."""

    def __init__(
        self,
        config: MapResolverConfig,
        reactor: Any,
        clock: IReactorTime | None = None,
        *,
        random: Random | None = None,
    ) -> None:
        self.setName("map-resolver")
        self.config = config
        limits = RequestLimits(
            random or SystemRandom(), rate=config.request_rate, burst=config.request_burst
        )
        self.resolver = make_resolver(
            config,
            Questions(limits, self._can_reach),
            self._can_reach,
            own_addresses(config.sockets()),
            make_security(config.itr_keys),
        )
        takes: dict[int, Takes] = {
            ControlType.MAP_REQUEST: self.resolver,
            ControlType.ENCAPSULATED: self.resolver,
        }
        self.plane = ControlPlane(takes, (self.resolver,))
        self.udp = ControlSockets(self.plane, reactor, clock or MonotonicClock(reactor))

    @property
    def addresses(self) -> list[Any]:
        """What it listens on, in the order of the configuration."""
        return self.udp.addresses

    def startService(self) -> None:
        """Open every socket; ListenError says which one could not be opened."""
        try:
            self.udp.open(self.config.sockets(), self.config.receive_buffer)
        except ListenError:
            self.udp.close()
            raise
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Close the sockets; fires when nothing is left open."""
        super().stopService()
        return self.udp.close()

    def _can_reach(self, afi: int) -> bool:
        return self.udp.can_reach(afi)
