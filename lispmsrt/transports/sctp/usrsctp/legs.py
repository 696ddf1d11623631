"""The UDP side: which association a datagram is for, and who may have one (RFC 6951)."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol

from lispmsrt.clock import Alarm
from lispmsrt.sockets import set_receive_buffer
from lispmsrt.transports.handshakes import Handshakes
from lispmsrt.transports.sctp.usrsctp.association import Association
from lispmsrt.transports.sctp.usrsctp.ended import EndedAssociations
from lispmsrt.transports.sctp.usrsctp.packets import Chunk, Header, abort_of, parse_header
from lispmsrt.transports.sctp.usrsctp.peers import Peer
from lispmsrt.transports.sctp.usrsctp.sockets import Socket
from lispmsrt.transports.sctp.usrsctp.stack import OUT_OF_THE_BLUE, Stack
from lispmsrt.transports.udp import outlive_refusals

__all__ = ["ClientLeg", "ServerLeg"]

_MAX_ASSOCIATIONS = 4096
"""Of one listening port: each may hold half a megabyte in the stack."""

_MAX_ASSOCIATIONS_PER_HOST = 64
"""NAT and simulators put many peers behind one address."""

_RECEIVE_BUFFER = 1 << 21
"""Octets asked for: the kernel's usual 200 kB hold a hundred packets, one association's window
twice as many.
"""

_NEVER_ANSWERED = frozenset({Chunk.ABORT, Chunk.SHUTDOWN_COMPLETE})
"""What says itself that an association is over (RFC 9260 §8.4): no stranger's knock either."""

_Key = tuple[str, int, int]


class _Leg(DatagramProtocol):
    """What both ends have in common: associations by where their peers are."""

    noisy = False

    def __init__(self, stack: Stack, clock: IReactorTime, heartbeat: float) -> None:
        self.counters: Counter[str] = Counter()
        self._stack = stack
        self._clock = clock
        self._heartbeat = heartbeat
        self._associations: dict[_Key, Association] = {}
        self._tags: dict[_Key, Association] = {}
        "by host, SCTP port and verification tag: where a peer is whose UDP port may change"

    def __len__(self) -> int:
        return len(self._associations)

    @property
    def host(self) -> str:
        """The address of the UDP socket."""
        return str(self.transport.getHost().host) if self.transport is not None else ""

    def startProtocol(self) -> None:
        handle = getattr(self.transport, "socket", None)
        if isinstance(handle, socket.socket):
            set_receive_buffer(handle, _RECEIVE_BUFFER)

    # In

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        header = parse_header(datagram)
        if header is None:
            self.counters["datagrams that are no SCTP packets"] += 1
            return
        peer = Peer(_host(addr[0]), addr[0], addr[1], header.source)
        association = self._associations.get(peer.key) or self._moved(header, peer)
        if association is None:
            self._out_of_the_blue(header, peer)
        elif header.destination != association.local_port:
            self.counters["packets to another port"] += 1
        else:
            self._stack.receive(datagram, association.handle, association)
            association.heard(header)

    def _moved(self, header: Header, peer: Peer) -> Association | None:
        """Find the association of a peer whose UDP port is another now.

        RFC 6951 §5.4: the port of the latest packet with the right verification tag is the one to
        answer to. The checksum is looked at first: the stack does so too late for us.
        """
        if not header.tag:
            return None
        association = self._tags.get((peer.host, peer.port, header.tag))
        if association is None or not self._is_intact(header):
            return None
        self._associations.pop(association.peer.key, None)
        association.peer = peer
        self._associations[peer.key] = association
        self.counters["peers that changed their UDP port"] += 1
        return association

    def _is_intact(self, header: Header) -> bool:
        if self._stack.checksum(header.without_checksum) == header.checksum:
            return True
        self.counters["packets with a wrong checksum"] += 1
        return False

    def _out_of_the_blue(self, header: Header, peer: Peer) -> None:
        self.counters["packets of no association"] += 1

    # Out

    def send(self, packet: bytes, peer: Peer) -> None:
        """Send a packet; what the network refuses is lost, as anything over UDP may be."""
        if self.transport is None:
            self.counters["packets that could not be sent"] += 1
            return
        try:
            self.transport.write(packet, (peer.address, peer.udp_port))
        except (OSError, InvalidAddressError, MessageLengthError):
            self.counters["packets that could not be sent"] += 1

    # Associations

    def ended(self, association: Association) -> Deferred[None] | None:
        """An association is over; a Deferred fires when what it alone used is closed."""
        peer = association.peer
        self._associations.pop(peer.key, None)
        self._tags.pop((peer.host, peer.port, association.tag), None)
        return None


class ClientLeg(_Leg):
    """The UDP socket of one association that we set up.

    It is connected to the peer's: a peer whose UDP port changes (RFC 6951 §5.4) is lost. Servers
    have a port that everybody knows.
    """

    def __init__(self, stack: Stack, clock: IReactorTime, heartbeat: float) -> None:
        super().__init__(stack, clock, heartbeat)
        self._local_host = ""

    @property
    def host(self) -> str:
        """The address that packets to the peer leave from."""
        return self._local_host

    def connect(self, peer: Peer, **callbacks: Any) -> Association:
        """Begin to set up an association; OSError without a route to the peer, or a socket."""
        udp: Any = self.transport
        outlive_refusals(udp)
        # From now on the kernel drops what comes from others, and reports a refusal.
        udp.connect(peer.address, peer.udp_port)
        self._local_host = str(udp.getHost().host)
        opened = Socket.open(self._stack)
        association = Association(
            self._stack,
            opened,
            handle=self._stack.take_handle(),
            peer=peer,
            leg=self,
            clock=self._clock,
            heartbeat=self._heartbeat,
            **callbacks,
        )
        self._associations[peer.key] = association
        association.connect()
        return association

    def connectionRefused(self) -> None:
        """Twisted's name for ICMP's answer that the peer's UDP port is closed."""
        self.counters["refusals"] += 1
        for association in list(self._associations.values()):
            association.refused()

    def ended(self, association: Association) -> Deferred[None] | None:
        """The one association is over, and the socket not needed any more."""
        super().ended(association)
        return self.close()

    def close(self) -> Deferred[None] | None:
        """Close the UDP socket; a Deferred fires when it is."""
        udp: Any = self.transport
        closing: Deferred[None] | None = None if udp is None else udp.stopListening()
        return closing


class _Answer:
    """The way back for a packet that belongs to no association."""

    def __init__(self, leg: _Leg, peer: Peer) -> None:
        self._leg = leg
        self._peer = peer

    def send_packet(self, packet: bytes) -> None:
        """Send a packet to where the other one came from."""
        self._leg.send(packet, self._peer)


class ServerLeg(_Leg):
    """A UDP socket that takes associations to one SCTP port.

    The stack keeps nothing of who has only sent INIT: what it must know later is in the cookie (RFC
    9260 §5.1.3). Here an address for the peer is kept, with which the cookie is signed.
    """

    def __init__(
        self,
        stack: Stack,
        clock: IReactorTime,
        heartbeat: float,
        *,
        port: int,
        listening: Socket,
        admits: Callable[[str], bool],
        on_association: Callable[[Association], None],
        on_ended: Callable[[], None],
    ) -> None:
        super().__init__(stack, clock, heartbeat)
        self.is_accepting = True
        self.handshakes = Handshakes()
        self._port = port
        self._listening = listening
        self._admits = admits
        self._on_association = on_association
        self._on_ended = on_ended
        self._per_host: Counter[str] = Counter()
        self._begun: dict[_Key, tuple[int, float]] = {}
        "peers that sent INIT: their handle, and until when it is theirs; oldest first"
        self._forget = Alarm(clock, self._forget_old)
        self._ended = EndedAssociations(self.counters)

    def stop_accepting(self) -> None:
        """Take no more associations."""
        self.is_accepting = False
        for key in list(self._begun):
            self._give_up(key)
        self._forget.set(None)

    def _out_of_the_blue(self, header: Header, peer: Peer) -> None:
        if header.destination != self._port:
            self.counters["packets to another port"] += 1
        elif header.chunk in _NEVER_ANSWERED:
            self.counters["packets of no association"] += 1
        elif self._ended.has(peer.host, header, self._clock.seconds()):
            self._repeat_end(header, peer)
        elif not self.is_accepting:
            self.counters["packets of no association"] += 1
        elif not self._admits(peer.host):
            self.counters["packets refused: nobody is admitted from there"] += 1
        elif header.chunk == Chunk.INIT:
            self._begin(header, peer)
        elif header.chunk == Chunk.COOKIE_ECHO:
            self._set_up(header, peer)
        else:
            # ABORT, most likely: the peer need not wait for a timeout.
            self._answer(header, OUT_OF_THE_BLUE, peer)

    def _repeat_end(self, header: Header, peer: Peer) -> None:
        """Answer a peer that goes on: our last packet was lost."""
        self.counters["packets of associations that have ended"] += 1
        if header.chunk != Chunk.COOKIE_ECHO:
            # ABORT or SHUTDOWN COMPLETE, with the tag of the packet (RFC 9260 §8.4).
            self._answer(header, OUT_OF_THE_BLUE, peer)
        elif self._is_intact(header):
            # COOKIE ACK was lost too. The stack would be silent: the cookie is another address's.
            self.send(abort_of(header, self._stack.checksum), peer)

    def _answer(self, header: Header, handle: int, peer: Peer) -> None:
        self._stack.receive(header.octets, handle, _Answer(self, peer))

    # Handshakes

    def _begin(self, header: Header, peer: Peer) -> None:
        """Answer INIT with a cookie."""
        if peer.key in self._begun:
            handle, _until = self._begun[peer.key]
        elif not self._has_room(peer.host) or not self._may_begin(peer.host):
            return
        else:
            handle = self._stack.take_handle()
            until = self._clock.seconds() + self.handshakes.limits.timeout
            self._begun[peer.key] = (handle, until)
            self._rearm()
        self._answer(header, handle, peer)

    def _may_begin(self, host: str) -> bool:
        """Whether there may be one more handshake; the oldest of the same host's makes room.

        Whoever forges its address must be faster than its own COOKIE ECHO to keep it out.
        """
        if self.handshakes.begin(host):
            return True
        oldest = next((key for key in self._begun if key[0] == host), None)
        if oldest is None:
            return False
        self._give_up(oldest)
        return self.handshakes.begin(host)

    def _give_up(self, key: _Key) -> None:
        handle, _until = self._begun.pop(key)
        self._stack.give_back_handle(handle)
        self.handshakes.end(key[0])

    def _rearm(self) -> None:
        self._forget.set(next((until for _handle, until in self._begun.values()), None))

    def _forget_old(self) -> None:
        now = self._clock.seconds()
        old = list(takewhile(lambda key: self._begun[key][1] <= now, self._begun))
        for key in old:
            self._give_up(key)
            self.counters["handshakes not finished"] += 1
        self._rearm()

    def _has_room(self, host: str) -> bool:
        if len(self._associations) >= _MAX_ASSOCIATIONS:
            self.counters["associations refused: too many"] += 1
        elif self._per_host[host] >= _MAX_ASSOCIATIONS_PER_HOST:
            self.counters["associations refused: too many of one address"] += 1
        else:
            return True
        return False

    def _set_up(self, header: Header, peer: Peer) -> None:
        """Take the association that the cookie makes, if it is one of ours."""
        if peer.key not in self._begun or not self._has_room(peer.host):
            self.counters["cookies refused"] += 1
            return
        handle, _until = self._begun[peer.key]
        self._answer(header, handle, peer)
        accepted = self._listening.accept()
        if accepted is None:
            self.counters["cookies refused"] += 1
            return
        del self._begun[peer.key]
        self._rearm()
        self.handshakes.end(peer.host)
        association = Association(
            self._stack,
            accepted,
            handle=handle,
            peer=peer,
            leg=self,
            clock=self._clock,
            heartbeat=self._heartbeat,
            local_port=self._port,
            tag=header.tag,
        )
        self._associations[peer.key] = association
        self._tags[peer.host, peer.port, header.tag] = association
        self._per_host[peer.host] += 1
        self.counters["associations"] += 1
        self._on_association(association)

    def ended(self, association: Association) -> None:
        """An association is over: its peer may have missed the last packet."""
        super().ended(association)
        host, port = association.peer.host, association.peer.port
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        self._ended.add(host, port, association.tag, self._clock.seconds())
        self._on_ended()


def _host(address: str) -> str:
    """Return an address as it is written: IPv4 may have come mapped into IPv6."""
    mapped = address.removeprefix("::ffff:")
    if mapped != address:
        try:
            socket.inet_pton(socket.AF_INET, mapped)
        except OSError:
            return address
        return mapped
    return address
