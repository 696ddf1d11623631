"""The demo's Map-Server and ETRs seen from outside: who holds what, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twisted.internet.interfaces import IReactorTime

from lispmsrt.cli.demo_cast import Actor
from lispmsrt.cli.demo_display import EtrStatus, Status
from lispmsrt.cli.demo_transports import MAP_SERVER_ADDRESS
from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import eid_key
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord

__all__ = ["Stage", "StepError", "rlocs_text"]


class StepError(Exception):
    """A step did not happen as it should. The text is a sentence."""


class Stage:
    """Everybody who plays, and what can be seen of them. Changes nothing."""

    def __init__(self, map_server: MapServer, clock: IReactorTime) -> None:
        self.map_server = map_server
        self.actors: list[Actor] = []
        self._clock = clock

    def held(self, actor: Actor) -> list[Registration]:
        """Return what the Map-Server holds of an ETR."""
        ids = actor.site.xtr_id
        return [one for one in self._parts() if one.lease.ids[:16] == ids]

    def clock_of(self, actor: Actor) -> float | None:
        """Return the seconds until the first registration of an ETR ends, None if none will."""
        return self.first_end(self.held(actor))

    def first_end(self, held: Iterable[Registration]) -> float | None:
        """Return the seconds until the first of these registrations ends, None if none will."""
        ends = [one.expires for one in held if one.expires is not None]
        return min(ends) - self._clock.seconds() if ends else None

    def locators(self, eid: EidPrefix) -> str:
        """Return in words what the Map-Server holds of exactly this EID-prefix."""
        instance_id, afi, _length, key = eid_key(eid)
        registration = self.map_server.database.exact(instance_id, afi, key)
        if registration is None:
            return "not registered"
        return rlocs_text(registration.decode())

    def meant(self) -> dict[EidPrefix, tuple[bytes, MappingRecord]]:
        """Return xTR-ID and record of everything that the ETRs mean to register."""
        return {
            eid: (actor.site.xtr_id, record)
            for actor in self.actors
            for eid, record in actor.meant.items()
        }

    def missing(self) -> dict[str, str]:
        """Return why the Map-Server could not open an endpoint, by endpoint string."""
        listeners = self.map_server.snapshot().listeners
        return {
            # Without the part of it that says which endpoint.
            listener.endpoint: listener.reason.partition(f"{listener.endpoint}: ")[2]
            for listener in listeners
            if not listener.address
        }

    def port_of(self, endpoint: str) -> int:
        """Return the port at which the Map-Server opened an endpoint string."""
        listeners = self.map_server.snapshot().listeners
        (address,) = (each.address for each in listeners if each.endpoint == endpoint)
        return int(address.rpartition(":")[2])

    def udp_address(self) -> str:
        """Return the address and port that Map-Registers and Map-Requests go to."""
        udp = self.map_server.addresses[0]
        return f"{udp.host}:{udp.port}"

    def session_of(self, actor: Actor) -> MapServerSession:
        """Return the Map-Server's end of an ETR's session; StepError when there is none."""
        address = f"{actor.site.address}:"
        for session in reversed(self.map_server.sessions):
            if session.peer.startswith(address):
                return session
        raise StepError(f"The Map-Server has no session with {actor.site.address}.")

    def totals(self) -> Iterator[str]:
        """Yield in words what has passed over UDP and over sessions so far."""
        counters = self.map_server.mapping.registrations.counters
        yield (
            f"UDP: {counters['Map-Registers in']} Map-Registers in, "
            f"{counters['Map-Notifies out']} Map-Notifies out; connections accepted: "
            f"{self.map_server.armory.counters['connections accepted']}"
        )
        yield (
            f"sessions: {sum(actor.registrations for actor in self.actors)} Registrations in, "
            f"{sum(actor.acks for actor in self.actors)} ACKs and "
            f"{sum(actor.rejections for actor in self.actors)} Rejection out"
        )

    def status(self) -> Status:
        """Return how things stand."""
        held: dict[bytes, list[Registration]] = {actor.site.xtr_id: [] for actor in self.actors}
        for registration in self._parts():
            held[registration.lease.ids[:16]].append(registration)
        etrs = (self._etr_status(actor, held[actor.site.xtr_id]) for actor in self.actors)
        total = sum(actor.site.count for actor in self.actors)
        return Status(f"Map-Server {MAP_SERVER_ADDRESS}", tuple(etrs), total)

    def _parts(self) -> Iterator[Registration]:
        """Yield what each ETR has registered: where it is merged, each one's part."""
        for registration in self.map_server.database.registrations():
            yield from parts_of(registration)

    def _etr_status(self, actor: Actor, held: list[Registration]) -> EtrStatus:
        return EtrStatus(
            address=actor.site.address,
            transport=actor.transport.name,
            is_up=actor.is_up,
            up_after=actor.up_after,
            registered=len(held),
            meant=len(actor.meant),
            clock=self.first_end(held),
            rate=actor.rate,
            acks=actor.acks,
        )


def rlocs_text(record: MappingRecord) -> str:
    """Return a mapping's RLOCs in words."""
    return ", ".join(f"RLOC {locator.rloc}" for locator in record.locators) or "no RLOC"
