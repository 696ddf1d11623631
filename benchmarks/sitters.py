"""Many ETRs on plain sockets: armed, connected, registered, and silent from then on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence

from benchmarks.load import ACK_LENGTH, MAP_SERVER, LoadError
from benchmarks.messages import CHUNK, host_records, map_registers, registrations, xtr_ids
from benchmarks.roles import etr_address
from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["Sitters"]

_GROUP = 40
"""Who arm and connect together: fewer than a listening socket's queue holds."""

_PATIENCE = 30.0


class Sitters:
    """Sessions of as many ETRs, each at an address of its own."""

    def __init__(self, ports: tuple[int, int], count: int, eids: int) -> None:
        """Open them. Each registers the first of its ``eids`` EIDs; they are numbered through."""
        self._udp, self._tcp = ports
        self._eids = eids
        self._sessions: list[socket.socket] = []
        for group in _groups(count):
            self._arm(group)
            opened = [self._connect(number) for number in group]
            for number, session in zip(group, opened, strict=True):
                _expect_refresh(session)
                # A session without a Registration would be on probation, and closed.
                session.sendall(b"".join(registrations(self._first(number), xtr_ids(number + 1))))
            for session in opened:
                _read(session, ACK_LENGTH)
            self._sessions += opened

    def __enter__(self) -> Sitters:
        return self

    def __exit__(self, *reason: object) -> None:
        for session in self._sessions:
            session.close()

    def register(self, stream_of: Callable[[int], Sequence[bytes]], octets: int) -> None:
        """Write what ``stream_of`` gives for each number, and read so many octets of answers."""
        for group in _groups(len(self._sessions)):
            for number in group:
                self._sessions[number].sendall(b"".join(stream_of(number)))
            for number in group:
                _read(self._sessions[number], octets)

    def octets_waiting(self) -> int:
        """Return how much has come unasked; LoadError where a session has ended."""
        found = 0
        for session in self._sessions:
            session.setblocking(False)
            try:
                data = session.recv(CHUNK)
            except BlockingIOError:
                continue
            if not data:
                raise LoadError("the Map-Server closed a session at rest")
            found += len(data)
        return found

    def _arm(self, group: range) -> None:
        clients = []
        for number in group:
            (message,) = map_registers(
                self._first(number), flags=RegisterFlag.RELIABLE_TRANSPORT, ids=xtr_ids(number + 1)
            )
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.bind((etr_address(number), 0))
            client.connect((MAP_SERVER, self._udp))
            client.settimeout(_PATIENCE)
            client.send(message)
            clients.append(client)
        for client in clients:
            client.recv(CHUNK)
            client.close()

    def _first(self, number: int) -> Iterator[bytes]:
        """Return the record of the first EID of an ETR."""
        return host_records(1, number * self._eids, etr_address(number))

    def _connect(self, number: int) -> socket.socket:
        return socket.create_connection(
            (MAP_SERVER, self._tcp), source_address=(etr_address(number), 0), timeout=_PATIENCE
        )


def _groups(count: int) -> Iterator[range]:
    for first in range(0, count, _GROUP):
        yield range(first, min(first + _GROUP, count))


def _expect_refresh(session: socket.socket) -> None:
    kinds = [frame[0] for frame in FrameBuffer().receive(session.recv(CHUNK))[1]]
    if kinds != [MessageType.REGISTRATION_REFRESH]:
        raise LoadError(f"the Map-Server began with messages of types {kinds}")


def _read(session: socket.socket, octets: int) -> None:
    while octets > 0:
        data = session.recv(CHUNK)
        if not data:
            raise LoadError("the Map-Server closed a session")
        octets -= len(data)
