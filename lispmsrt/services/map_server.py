"""The Map-Server as a Twisted service: sockets, sessions, expiry, reload.

Give it a configuration and a reactor; it builds everything below from them. What has no socket is
joined in :mod:`lispmsrt.services.mapping_service`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random, SystemRandom
from time import perf_counter
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import CooperativeTask, Cooperator, SchedulerStopped, TaskStopped
from twisted.logger import Logger
from zope.interface import implementer

from lispmsrt.clock import Alarm, MonotonicClock
from lispmsrt.config import (
    MapResolverConfig,
    MapServerConfig,
    SiteConfig,
    make_sites,
    transport_name,
)
from lispmsrt.control.arming import Claim
from lispmsrt.histogram import LATENCY_BOUNDS, Histogram, Latency
from lispmsrt.mapping.database import Database
from lispmsrt.protocols import RefusalProtocol, SessionProtocol
from lispmsrt.services.admission import Admission, Refusals, RejectionLog
from lispmsrt.services.control_sockets import ControlSockets
from lispmsrt.services.draining import Draining
from lispmsrt.services.listeners import Listeners
from lispmsrt.services.listening import ListenError
from lispmsrt.services.mapping_service import MappingService, Remembers
from lispmsrt.services.reconfiguration import Reconfiguration, judge, part
from lispmsrt.services.session_book import SessionBook
from lispmsrt.services.snapshots import MapServerSnapshot
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.session.patience import Patience
from lispmsrt.sockets import apply_tcp_options, end_text, pack_address, plain_host
from lispmsrt.storage.memory import Memory
from lispmsrt.storage.place import state_file
from lispmsrt.storage.writing import cpu_seconds_of, writer_for
from lispmsrt.transports.interfaces import IAdmission, ITakesTurns
from lispmsrt.transports.tls.identity import certificate_names
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh

__all__ = ["MapServer"]

_EXPIRY_INTERVAL = 1.0
_WRITE_TIMEOUT = 60.0
"""Seconds that the state file may take when the service stops: less than systemd waits."""

_EVERYTHING = RegistrationRefresh(RefreshScope.EVERYTHING)


@implementer(IAdmission, ITakesTurns)
class _Sessions(Factory):
    """Decides at the socket who gets a session."""

    noisy = False

    def __init__(self, server: MapServer, description: str) -> None:
        self._server = server
        self._description = description
        self.turn = server.udp.turns.another()

    def admits(self, host: str) -> bool:
        return self._server.admits(host, transport_name(self._description))

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._server.accept(addr, self._description)


class MapServer(Service):
    """A Map-Server. ``clock`` defaults to monotonic time on the reactor."""

    _log = Logger()

    def __init__(
        self,
        config: MapServerConfig,
        sites: tuple[SiteConfig, ...],
        reactor: Any,
        clock: IReactorTime | None = None,
        *,
        resolver: MapResolverConfig | None = None,
        random: Random | None = None,
        stopwatch: Callable[[], float] = perf_counter,
        is_daemon: bool = False,
    ) -> None:
        """``resolver`` makes it a Map-Resolver too. ``stopwatch`` returns seconds, finer than the
        clock's: what a chunk takes is measured by it. ``is_daemon``: it has a place to keep its
        state where the configuration names none.
        """
        self.setName("map-server")
        self.config = config
        self._resolver = resolver
        self._reactor = reactor
        self._clock = clock or MonotonicClock(reactor)
        self.started = self._clock.seconds()
        self._book = SessionBook()
        self.mapping = MappingService(
            config,
            make_sites(sites),
            resolver,
            can_reach=self._can_reach,
            wake=self._wake,
            random=random or SystemRandom(),
            clock=self._clock.seconds,
            on_rejection=RejectionLog(self._book.find).note,
            remembers=self._remembers(is_daemon),
        )
        self.registrar = self.mapping.registrar
        self.armory = self.mapping.armory
        self.latency = Histogram(LATENCY_BOUNDS)
        "seconds from a chunk's or datagram's arrival to its answers, per registration accepted"
        self._latency = Latency(self.latency, self.registrar, stopwatch)
        self.udp = ControlSockets(self.mapping.plane, reactor, self._clock, self._latency)
        self._admission = Admission(self.armory)
        self._soon = Alarm(self._clock, self.udp.flush)
        self._limits = config.session_limits()
        self._patience = Patience()
        self._refusals = Refusals(self._clock)
        self._tcp = config.tcp.options()
        self._listeners = Listeners(reactor, self._tcp)
        self._drain = Draining(self._book, self._clock, config.drain_timeout)
        # Not a LoopingCall: making one imports, and so installs, the global reactor.
        self._expiry = Alarm(self._clock, self._expire)
        self._judging: CooperativeTask[Iterator[None]] | None = None
        self._cooperator = Cooperator(
            scheduler=lambda work: self._clock.callLater(0.0, work), started=False
        )

    def _remembers(self, is_daemon: bool) -> Remembers | None:
        config = self.config
        path = state_file(config.state, config.control[0], is_daemon=is_daemon)
        if path is None:
            return None
        return lambda registrar, nonces: Memory(
            path,
            registrar,
            nonces,
            timeout=config.registration_timeout,
            clock=self._clock,
            writer=lambda: writer_for(self._reactor),
            cpu_seconds=cpu_seconds_of(self._reactor),
        )

    @property
    def clock(self) -> IReactorTime:
        """What counts its time, in monotonic seconds."""
        return self._clock

    @property
    def database(self) -> Database:
        """What is registered, to be read only."""
        return self.registrar.database

    @property
    def sessions(self) -> list[MapServerSession]:
        """The sessions that are up, bound to an xTR or not."""
        return list(self._book.sessions)

    @property
    def session_protocols(self) -> dict[MapServerSession, SessionProtocol]:
        """The sessions that are up, with the protocols that connect them; to be read only."""
        return self._book.sessions

    @property
    def ended(self) -> Counter[str]:
        """What the sessions that have ended had counted, together."""
        return self._book.ended

    @property
    def endings(self) -> Counter[str]:
        """How many sessions ended for which reason."""
        return self._book.endings

    @property
    def round_trips(self) -> Histogram:
        """Round-trip times of sessions in seconds, of 64 a second in turn."""
        return self._book.round_trips

    @property
    def addresses(self) -> list[Any]:
        """What the service listens on, UDP first, in the order of the configuration."""
        return [*self.udp.addresses, *self._listeners.addresses]

    @property
    def listening_ports(self) -> list[IListeningPort]:
        """The ports of reliable transports."""
        return self._listeners.ports

    def snapshot(self) -> MapServerSnapshot:
        """Return how the transports stand."""
        return MapServerSnapshot(self._listeners.snapshot(Counter(self._book.protocols.values())))

    # Life

    def startService(self) -> None:
        """Open every socket; ListenError says which one could not be opened."""
        self.mapping.plane.decline()
        try:
            self.udp.open(self.config.control, self.config.receive_buffer)
            if self._resolver is not None:
                self.udp.open(self._resolver.control, self._resolver.receive_buffer)
            for description in self.config.reliable_transport:
                self._listeners.listen(description, _Sessions(self, description))
            self._listeners.check()
            self._listeners.look()
        except ListenError:
            self._close_ports()
            raise
        # Nobody was heard yet: what asks or registers is read in a later turn of the reactor.
        if self.mapping.memory is not None:
            self.mapping.memory.start()
        self._expiry.set(self._clock.seconds() + _EXPIRY_INTERVAL)
        self._cooperator.start()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Take no more registrations, keep what there is, close the sessions; who asks is answered
        until that is done. Fires when nothing is left open.
        """
        super().stopService()
        self._expiry.set(None)
        self._cooperator.stop()
        # To take one and not to keep it would be a lie: the ETR asks again, and the successor
        # answers.
        self.mapping.plane.decline(ControlType.MAP_REGISTER)
        closing = [self._listeners.close()]
        if self.mapping.memory is not None:
            # Before the sessions end: whoever returns shall find what they hold now.
            closing.append(self._patiently(self.mapping.memory.stop()))
        closing.append(self._drain.begin())
        done = gatherResults(closing, consumeErrors=True)
        return done.addCallback(lambda _: self._close_sockets())

    def _patiently(self, written: Deferred[None]) -> Deferred[None]:
        """Wait for the state file, but not for ever: a disk may hang."""
        waited: Deferred[None] = Deferred()
        call = self._clock.callLater(_WRITE_TIMEOUT, self._give_up_writing, waited)
        written.addBoth(self._is_written, call, waited)
        return waited

    @staticmethod
    def _is_written(_outcome: object, call: IDelayedCall, waited: Deferred[None]) -> None:
        if call.active():
            call.cancel()
            waited.callback(None)

    def _give_up_writing(self, waited: Deferred[None]) -> None:
        self._log.error(
            "the state file was not written within {seconds} s, going without the rest of it",
            seconds=_WRITE_TIMEOUT,
        )
        waited.callback(None)

    def _close_sockets(self) -> Deferred[None]:
        self._soon.set(None)
        return self.udp.close().addCallback(lambda _: None)

    def _close_ports(self) -> Deferred[Any]:
        return gatherResults([self._listeners.close(), self.udp.close()])

    # UDP

    def _can_reach(self, afi: int) -> bool:
        return self.udp.can_reach(afi)

    def _wake(self) -> None:
        """Send what answers nobody in the next turn of the reactor."""
        if self.udp.addresses:
            self._soon.set(self._clock.seconds())

    # Sessions

    def admits(self, host: str, transport: str) -> bool:
        """Whether a connection from this address may begin: the transports ask before they make any
        state for it.
        """
        if self.armory.admits(pack_address(host) or b"", self._clock.seconds()):
            return True
        self.armory.counters["connections refused"] += 1
        self._refusals.note(plain_host(host), transport)
        return False

    def accept(self, peer: Any, description: str) -> Protocol:
        """Return the protocol for a connection from ``peer``: a session if it is armed, else one
        that resets it.
        """
        transport = transport_name(description)
        address = pack_address(getattr(peer, "host", ""))
        # Nobody is armed for what has no IP address, and it is counted like the others. What a
        # transport still had in its hands when the service stopped is nobody's.
        claim = self.armory.accept(address or b"", self._clock.seconds()) if self.running else None
        if claim is None:
            self._refusals.note(plain_host(str(getattr(peer, "host", peer))), transport)
            return RefusalProtocol()
        return SessionProtocol(
            lambda protocol: self._make_session(protocol, claim, transport, peer),
            self._clock,
            on_up=lambda protocol: self._book.began(protocol, description),
            on_closed=self._session_closed,
            latency=self._latency,
            after_chunk=self.udp.look,
        )

    def _make_session(
        self, protocol: SessionProtocol, claim: Claim, transport: str, peer: Any
    ) -> MapServerSession:
        apply_tcp_options(protocol.transport, self._tcp)
        now = self._clock.seconds()
        return MapServerSession(
            registrar=self.registrar,
            arming=self._admission,
            news=self.mapping.publisher,
            claim=claim,
            transport=transport,
            peer=end_text(peer),
            limits=self._limits,
            wake=protocol.wake,
            now=now,
            proven=certificate_names(protocol.transport),
            members=self.mapping.members,
            patience=self._patience.with_session(claim.address, now),
            id=self._book.next_id(),
            local=end_text(getattr(protocol.transport, "getHost", lambda: None)()),
        )

    def _session_closed(self, protocol: SessionProtocol) -> None:
        self._book.closed(protocol)
        self._drain.closed()

    def _expire(self) -> None:
        now = self._clock.seconds()
        is_more_due = self.registrar.expire(now)
        self._expiry.set(now if is_more_due else now + _EXPIRY_INTERVAL)
        self._book.sample(now)
        self._listeners.look()

    # Another configuration

    def reload(self, sites: tuple[SiteConfig, ...]) -> Deferred[None]:
        """Decide by other sites and keys from now on; tell sessions what that changes for them.

        Fires when every registration has been judged anew.
        """
        earlier, later = self.registrar.sites, make_sites(sites)
        self.registrar.reconfigure(later)
        now = self._clock.seconds()
        change = Reconfiguration.between(earlier, later)
        for session in self.sessions:
            change.tell(session, now)
        if self._judging is not None:
            self._judging.stop()  # what it has not judged yet is judged by the newest sites
        walk = self._cooperator.cooperate(judge(self.registrar, self.armory.session_of))
        self._judging = walk
        return walk.whenDone().addCallbacks(
            lambda _: self._judged(walk),
            lambda failure: failure.trap(SchedulerStopped, TaskStopped) and None,
        )

    def _judged(self, walk: CooperativeTask[Iterator[None]]) -> None:
        if self._judging is walk:
            self._judging = None
        part(self.sessions, self.registrar.sites, self._clock.seconds())

    def reset(self, session: MapServerSession) -> None:
        """Reset the connection of a session, unread, as if its path had failed."""
        protocol = self._book.sessions.get(session)
        if protocol is not None and protocol.transport is not None:
            # connectionLost follows in a later turn of the reactor.
            protocol.transport.abortConnection()  # type: ignore[attr-defined]

    def refresh(self, refresh: RegistrationRefresh = _EVERYTHING) -> None:
        """Ask every ETR with a session to register again."""
        for session in self.sessions:
            session.refresh(refresh)
