"""The ETR as a Twisted service: one UDP socket, a link to each Map-Server, and answers for who
asks.

Give it a configuration and a reactor. ``register`` and ``withdraw`` may be called at any time.
"""

from __future__ import annotations

from itertools import count
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm, MonotonicClock
from lispmsrt.config import EtrConfig, EtrMapServerConfig, make_record
from lispmsrt.control.etr_answers import EtrAnswers
from lispmsrt.control.lisp_sec import EtrSecurity
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.identity import EtrIdentity, StateError
from lispmsrt.mapping.etr_mappings import EtrMappings
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.protocols import ControlProtocol
from lispmsrt.services.connector import Transport
from lispmsrt.services.link import (
    EtrListener,
    MapServerLink,
    NullListener,
    RegistrationRejected,
)
from lispmsrt.services.listening import endpoint_from, listen_control, stop_listening
from lispmsrt.services.snapshots import EtrSnapshot
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.record_walk import EID_OFFSET, walk_records
from lispmsrt.wire.records import MappingRecord
from lispmsrt.wire.reliable_transport import eid_wire_form

__all__ = ["Etr", "EtrListener", "MapServerLink", "NullListener", "RegistrationRejected"]


_QUESTIONS = (ControlType.MAP_REQUEST, ControlType.ENCAPSULATED)


class Etr(Service):
    """An ETR. ``clock`` defaults to monotonic time on the reactor."""

    _log = Logger()

    def __init__(
        self,
        config: EtrConfig,
        reactor: Any,
        clock: IReactorTime | None = None,
        *,
        listener: EtrListener | None = None,
        random: Random | None = None,
    ) -> None:
        self.setName("etr")
        self.config = config
        self.identity = EtrIdentity.from_config(config)
        self.receive_buffer = 0
        "octets that the kernel granted the UDP socket"
        self.clock = clock or MonotonicClock(reactor)
        self.started = 0.0
        "monotonic seconds; 0 before the first start"
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self.udp = ControlProtocol(self, self.clock)
        self._session_ids = count(1)
        self._alarm = Alarm(self.clock, self._flush)
        self._soon = Alarm(self.clock, self._flush)
        random = random or SystemRandom()
        self.links = [
            self._link(server, listener or NullListener(), random) for server in config.map_servers
        ]
        self._mappings = EtrMappings()
        self.answers = self._make_answers(random) if config.answer_map_requests else None
        self._register_configured()

    def _link(
        self, server: EtrMapServerConfig, listener: EtrListener, random: Random
    ) -> MapServerLink:
        transports = [
            Transport(text, endpoint_from(clientFromString, self._reactor, text, "transports"))
            for text in server.transport_strings(self.config.control)
        ]
        return MapServerLink(
            server,
            identity=self.identity,
            listener=listener,
            transports=transports,
            etr=self.config,
            clock=self.clock,
            random=random,
            wake=self._flush_soon,
            next_session_id=lambda: next(self._session_ids),
        )

    def _make_answers(self, random: Random) -> EtrAnswers:
        address = self.config.control.packed
        return EtrAnswers(
            self._mappings,
            RequestLimits(random),
            self.udp.reaches,
            # A socket that is bound to any address does not tell which one a probe came to.
            address=address if any(address) else None,
            security=_make_security(self.config),
            is_left=self._is_left,
        )

    def _is_left(self, record: bytes) -> bool:
        """Whether every Map-Server says that another xTR has taken over what a record is about."""
        locators_at = walk_records(record, 0, len(record), 1)[0][6]
        eid = record[5:6] + record[EID_OFFSET:locators_at]
        return all(link.registrations.is_roamed(eid) for link in self.links)

    def _register_configured(self) -> None:
        for mapping in self.config.mappings:
            record = make_record(mapping)
            for link in self.links:
                link.register(record, awaited=False)
            self._answer_for(record.eid)

    # What it means

    def register(self, record: MappingRecord) -> Deferred[None]:
        """Register a mapping at every Map-Server.

        Fires when all have acknowledged; fails with :class:`RegistrationRejected` when one
        refuses. ValueError when the record can't be registered at all.
        """
        done = gatherResults(
            [link.register(record, awaited=True) for link in self.links], consumeErrors=True
        )
        self._answer_for(record.eid)
        self._flush_soon()
        return done.addCallbacks(lambda _: None, _first_error)

    def withdraw(self, eid_prefix: EidPrefix) -> Deferred[None]:
        """Withdraw a mapping from every Map-Server; fires when all know. KeyError when it is not
        registered.
        """
        done = gatherResults(
            [link.withdraw(eid_prefix, awaited=True) for link in self.links], consumeErrors=True
        )
        self._mappings.remove(eid_prefix)
        self._flush_soon()
        return done.addCallbacks(lambda _: None, _first_error)

    def _answer_for(self, eid: EidPrefix) -> None:
        """From now on, whatever the Map-Servers say."""
        entry = self.links[0].registrations.find(eid_wire_form(eid))
        if self.answers is not None and entry is not None:
            # The link's own octets: there may be a million of these.
            self._mappings.put(entry.record)

    def registers(self, eid: EidPrefix) -> bool:
        """Whether exactly this EID-prefix is among what it registers."""
        entry = self.links[0].registrations.find(eid_wire_form(eid))
        return entry is not None and entry.state is not EtrState.NO_STATE

    @property
    def mapping_count(self) -> int:
        """How many EID-prefixes it registers, the same ones at every Map-Server."""
        return len(self.links[0].registrations)

    @property
    def address(self) -> Any:
        """The UDP address that it listens on."""
        return self._port.getHost() if self._port is not None else None

    def snapshot(self) -> EtrSnapshot:
        """Return which transports are in use, which failed, and why."""
        return EtrSnapshot(tuple(link.connector.snapshot() for link in self.links))

    # Life

    def startService(self) -> None:
        """Open the UDP socket and register; ListenError says why the socket could not be opened,
        StateError why the state directory can't be written.
        """
        # Not when it was made: since then the process may have become another user's.
        self.identity.save()
        self._port, self.receive_buffer = listen_control(
            self._reactor, self.config.control, self.udp, self.config.receive_buffer
        )
        self._log.info(
            "LISP control on UDP {address}, receive buffer {granted} octets",
            address=self.config.control,
            granted=self.receive_buffer,
        )
        super().startService()
        self.started = self.started or self.clock.seconds()
        for link in self.links:
            link.start()
        self._flush()

    def stopService(self) -> Deferred[None]:
        """Close sessions and the socket; fires when nothing is left open."""
        super().stopService()
        self._alarm.set(None)
        self._soon.set(None)
        closing = [link.stop() for link in self.links]
        if self._port is not None:
            closing.append(stop_listening(self._port))
            self._port = None
        try:
            self.identity.save()
        except StateError as failure:
            # What was reserved is lost then, nothing else.
            self._log.error("the nonce was not kept: {reason}", reason=failure)
        return gatherResults(closing, consumeErrors=True).addCallback(lambda _: None)

    # UDP

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        """Answer a question, or hand the datagram to the Map-Server that it comes from."""
        if self.answers is not None and data and data[0] >> 4 in _QUESTIONS:
            self.answers.receive_datagram(data, source, now)
            return
        senders = [link for link in self.links if link.config.address.packed == source[0]]
        # A Map-Notify may come from another port than 4342; several Map-Servers may share an
        # address.
        exact = [link for link in senders if link.config.address.port == source[1]]
        for link in (exact or senders)[:1]:
            link.control.receive_datagram(data, now)
        self._set_alarm()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[bytes, int]]]:
        """Collect what is due from every Map-Server's UDP side, and answers."""
        output = [
            (data, (link.config.address.packed, link.config.address.port))
            for link in self.links
            for data in link.control.datagrams_to_send(now)
        ]
        if self.answers is not None:
            output += self.answers.datagrams_to_send(now)
        self._set_alarm()
        return output

    def _flush_soon(self) -> None:
        if self.running:
            self._soon.set(self.clock.seconds())

    def _flush(self) -> None:
        self.udp.flush()

    def _set_alarm(self) -> None:
        if not self.running:
            return
        times = [link.control.next_timeout() for link in self.links]
        self._alarm.set(min((at for at in times if at is not None), default=None))


def _first_error(failure: Any) -> Any:
    return failure.value.subFailure


def _make_security(config: EtrConfig) -> EtrSecurity | None:
    """Return LISP-SEC with the Map-Servers that are told of it; None where there are none."""
    by_id: dict[int, list[Key]] = {}
    for server in config.map_servers:
        if server.lisp_sec:
            by_id.setdefault(server.key.id, []).append(server.key.to_key())
    return EtrSecurity(lambda key_id: by_id.get(key_id, ())) if by_id else None
