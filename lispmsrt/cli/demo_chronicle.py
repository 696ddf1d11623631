"""What the demo's ETRs live through, told as it happens."""

from __future__ import annotations

from lispmsrt.cli.demo_cast import Actor, EtrEvents
from lispmsrt.cli.demo_director import Director, milliseconds
from lispmsrt.cli.demo_stage import Stage, rlocs_text
from lispmsrt.session.base import CloseReason
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.reliable_transport import MappingNotification

__all__ = ["SERVER", "Chronicle", "Notices"]

SERVER = "map-server"
"""Who tells what the Map-Server does."""


class Notices(EtrEvents):
    """Tells of Mapping Notifications, and of nothing else."""

    def __init__(self, director: Director) -> None:
        self._director = director
        self._elapsed = director.stopwatch()
        self._heard: dict[str, set[str]] = {}

    def restart(self) -> None:
        """What is heard from now on is timed from now on; what was heard before is forgotten."""
        self._elapsed = self._director.stopwatch()
        self._heard.clear()

    def heard(self, address: str) -> set[str] | None:
        """Return the RLOCs that an ETR heard of last; None where it has heard nothing."""
        return self._heard.get(address)

    def mapping_notified(self, actor: Actor, notification: MappingNotification) -> None:
        """Tell whose RLOCs they are now."""
        record, address = notification.record, actor.site.address
        self._heard[address] = {str(locator.rloc) for locator in record.locators}
        self._director.event(
            address,
            f"Mapping Notification after {milliseconds(self._elapsed())}: "
            f"{record.eid}: {rlocs_text(record)}",
        )


class Chronicle(EtrEvents):
    """Tells of Map-Notifies, sessions and rates."""

    def __init__(self, director: Director, stage: Stage) -> None:
        self.notices = Notices(director)
        self.lost: MapServerSession | None = None
        "the session that is going to be reset"
        self.is_over = False
        "whether the ends of sessions are part of the demo's own end"
        self._director = director
        self._stage = stage

    def authenticated(self, actor: Actor) -> None:
        """A Map-Notify with r."""
        over_udp = sum(one.lease.transport == "UDP" for one in self._stage.held(actor))
        self._event(
            actor,
            f"Map-Notify with r over UDP (Map-Register no. {actor.map_registers}, "
            f"EID-prefixes: {over_udp})",
        )

    def session_up(self, actor: Actor) -> None:
        """The Refresh came: which transports failed before, and which one works."""
        self.failures(actor)
        assert actor.up_after is not None
        self._event(
            actor,
            f"{actor.transport.name} connected from {self._stage.session_of(actor).peer}, "
            f"Refresh with scope 0 {milliseconds(actor.up_after)} after the Map-Notify",
        )

    def failures(self, actor: Actor) -> None:
        """Tell which transports failed, and why."""
        for transport, reason in actor.failed:
            self._event(actor, f"{transport} failed: {reason}")

    def session_down(self, actor: Actor, reason: CloseReason) -> None:
        """The session is lost: both ends know by now."""
        if self.is_over:
            return
        self._event(actor, f"session ended: {reason.value}")
        if self.lost is not None:
            self._tell_loss(actor, self.lost)

    def mapping_notified(self, actor: Actor, notification: MappingNotification) -> None:
        """What is registered was changed by somebody else."""
        self.notices.mapping_notified(actor, notification)

    def registered(self, actor: Actor, registrations: int, acks: int) -> None:
        """Everything was acknowledged on a session: tell how fast."""
        took = actor.finished(acks)
        self._event(
            actor,
            f"{registrations} Registrations, {acks} ACKs {milliseconds(took)} after it: "
            f"{actor.rate:,.0f}/s, connecting included",
        )

    def summary(self) -> None:
        """Tell how the last sessions came up, where that was measured, and what has passed."""
        for actor in self._stage.actors:
            if actor.up_after is not None and actor.rate is not None:
                self._event(
                    actor,
                    f"{actor.transport.name}: up after {milliseconds(actor.up_after)}, "
                    f"{actor.rate:,.0f} Registrations/s",
                )
        for total in self._stage.totals():
            self._director.event(SERVER, total)

    def _tell_loss(self, actor: Actor, session: MapServerSession) -> None:
        held = self._stage.held(actor)
        left = self._stage.first_end(held) or 0.0
        running = sum(one.expires is not None for one in held)
        reason = session.close_reason.value if session.close_reason is not None else "not yet"
        self._director.event(SERVER, f"session with {session.peer} ended: {reason}")
        self._director.event(
            SERVER, f"{running} of {len(held)} registrations run the clock: {left:.1f} s left"
        )

    def _event(self, actor: Actor, text: str) -> None:
        self._director.event(actor.site.address, text)
