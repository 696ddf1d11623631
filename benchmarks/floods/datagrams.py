"""Floods of datagrams: what is in them, and how they are sent.

From one source they cross the kernel many at a time (UDP_SEGMENT), as a network card hands over
what comes from one host; from many sources each is alone.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, cycle, islice

from benchmarks.load import MAP_SERVER
from benchmarks.messages import FIRST_EID, host_records, map_registers, xtr_ids
from benchmarks.questions import host_of
from benchmarks.roles import etr_address
from lispmsrt import Address
from lispmsrt.compiled import twin
from lispmsrt.control.inquiries import to_map_resolver
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request

__all__ = [
    "COMPROMISED_EIDS",
    "FIRST_SOURCE",
    "MANY",
    "Build",
    "DatagramFlood",
    "armings",
    "garbage",
    "map_requests",
    "spoiled",
    "subscriptions",
    "wrong_macs",
]

FIRST_SOURCE = 62_500
"""The attacker's first address, as :func:`etr_address` counts: 127.2.0.1."""

COMPROMISED_EIDS = 1 << 24
"""The first EID of the compromised site, as :func:`host_records` counts."""

MANY = 2000
"""Source addresses of a flood from many."""

_PREPARED = 4096
"""Different messages of a flood that may repeat itself."""

_ALIKE = 64
"""Garbage of one length in a row."""

_MAC = AUTHENTICATION_OFFSET
_SMALL_BUFFER = 4096
"""Octets of receive buffer: nobody reads what is answered."""

Build = Callable[[], Iterator[bytes]]
"""Makes the endless stream of messages."""

_datagrams = twin("lispmsrt.transports.udp._datagrams")


class DatagramFlood:
    """Messages to the Map-Server's UDP port, which nobody reads the answers to."""

    room = _PREPARED

    def __init__(self, ports: tuple[int, ...], build: Build, *, sources: int = 1) -> None:
        self._messages = build()
        self._destination = (socket.inet_aton(MAP_SERVER), ports[0])
        self._clients = [_client(number) for number in range(sources)]
        self._batches = None
        if sources == 1 and _datagrams is not None:
            self._batches = _datagrams.Batches(self._clients[0].fileno())
        else:
            for client in self._clients:
                client.connect((MAP_SERVER, ports[0]))
        self._turns = cycle([client.send for client in self._clients])
        self.handled: int | None = None
        "None: the Map-Server counts its datagrams itself"

    def offer(self, number: int) -> int:
        """Send so many."""
        messages = islice(self._messages, number)
        if self._batches is not None:
            destination = self._destination
            self._batches.send([(message, destination) for message in messages])
            return number
        for send, message in zip(self._turns, messages, strict=False):
            with suppress(OSError):
                send(message)
        return number

    def look(self) -> None:
        """Nothing comes back that anybody wants."""

    def close(self) -> None:
        """Close the sockets."""
        for client in self._clients:
            client.close()


def _client(number: int) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((etr_address(FIRST_SOURCE + number), 0))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    client.setblocking(False)
    return client


# What is in them


def garbage() -> Iterator[bytes]:
    """Yield octets at random."""
    draw = random.Random(1)
    lengths = [draw.randrange(1, 200) for _ in range(_PREPARED // _ALIKE)]
    return cycle([draw.randbytes(length) for length in lengths for _ in range(_ALIKE)])


def wrong_macs(records: int) -> Iterator[bytes]:
    """Yield Map-Registers of so many records with MACs that are none."""
    found = map_registers(host_records(_PREPARED // 8 * records), each=records)
    return cycle([spoiled(message) for message in found])


def spoiled(message: bytes) -> bytes:
    """Return a Map-Register with another MAC."""
    return message[:_MAC] + bytes((message[_MAC] ^ 1,)) + message[_MAC + 1 :]


def armings(xtrs: int = MANY) -> Iterator[bytes]:
    """Yield Map-Registers with the r bit and the right MAC, of as many xTRs in turn, each fresh."""
    records = list(host_records(xtrs, COMPROMISED_EIDS, etr_address(FIRST_SOURCE)))
    for number in cycle(range(xtrs)):
        ids = xtr_ids(FIRST_SOURCE + number)
        yield from map_registers([records[number]], flags=RegisterFlag.RELIABLE_TRANSPORT, ids=ids)


def map_requests() -> Iterator[bytes]:
    """Yield Map-Requests in ECMs, about what is registered and what is not."""
    draw = random.Random(3)
    return cycle([_ecm(nonce, draw, {}, subscribe=False) for nonce in range(_PREPARED)])


def subscriptions(xtrs: int = 100) -> Iterator[bytes]:
    """Yield Map-Requests with the N bit, in the names of xTRs that the Map-Server knows; each with
    a nonce of its own.
    """
    draw = random.Random(4)
    known = [xtr_ids(1 + number) for number in range(xtrs)]
    for nonce in count(draw.getrandbits(63)):
        ids = known[nonce % xtrs]
        yield _ecm(nonce, draw, {"xtr_id": ids[:16], "site_id": ids[16:]}, subscribe=True)


def _ecm(nonce: int, draw: random.Random, who: dict[str, bytes], *, subscribe: bool) -> bytes:
    source = Address.from_text(etr_address(FIRST_SOURCE))
    eid = host_of(FIRST_EID + draw.randrange(1 << 15))
    asked = (RequestedEid(eid, subscribe),)
    request = MapRequest(
        nonce, (source,), asked, xtr_id=who.get("xtr_id"), site_id=who.get("site_id")
    )
    message = encode_map_request(request)
    return to_map_resolver(
        message, eid, (source.packed, 4342), (socket.inet_aton(MAP_SERVER), 4342)
    )
