"""The messages of the load, built before any clock starts: records, Map-Registers, Registrations.

Knows how they are laid out, and nothing of sockets.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count as count_up
from itertools import islice

from benchmarks.roles import SECRET
from lispmsrt import Address, EidPrefix, Locator, MappingRecord
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.framing import encode_frame
from lispmsrt.wire.map_register import RegisterFlag, write_map_register
from lispmsrt.wire.records import encode_record
from lispmsrt.wire.reliable_transport import MessageType

__all__ = [
    "ADDRESS",
    "CHUNK",
    "FIRST_EID",
    "TTL_MINUTES",
    "host_records",
    "in_chunks",
    "map_registers",
    "network_records",
    "registrations",
    "xtr_ids",
]

ADDRESS = "127.0.0.2"
"""The load generator's."""

FIRST_EID = 10 << 24
"""The first address that is registered, as a number; the last is the last of its /8."""

TTL_MINUTES = 1440

CHUNK = 65_536
"""Octets of a stream that are written at a time."""

_EID = slice(12, 16)
_LENGTH = 5
"""Where a record has its EID mask-len."""

_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, SECRET.encode())
# What our own ETR sets by default.
_FLAGS = RegisterFlag.PROXY_REPLY | RegisterFlag.WANT_MAP_NOTIFY
_NONCES = count_up(time.time_ns())
"""Of all that is ever built here: a Map-Server holds who counts up to counting up."""


def xtr_ids(number: int) -> bytes:
    """Return the xTR-ID and Site-ID of the load's xTR with this number, from 1."""
    return number.to_bytes(16, "big") + bytes(7) + b"\1"


def host_records(
    count: int, first: int = 0, rloc: str = ADDRESS, ttl: int = TTL_MINUTES
) -> Iterator[bytes]:
    """Yield records of distinct /32s with one locator, from 10.0.0.0 upwards. ``ttl`` is in
    minutes; 0 withdraws.
    """
    model = ttl.to_bytes(4, "big") + _model("10.0.0.0/32", rloc)[4:]
    before, behind = model[: _EID.start], model[_EID.stop :]
    for number in range(FIRST_EID + first, FIRST_EID + first + count):
        yield before + number.to_bytes(4, "big") + behind


def network_records(prefixes: Iterable[str], rloc: str) -> Iterator[bytes]:
    """Yield records of networks of both families with one locator."""
    models = {False: _model("0.0.0.0/0", rloc), True: _model("::/0", rloc)}
    for prefix in prefixes:
        address, _slash, length = prefix.partition("/")
        is_ipv6 = ":" in address
        packed = socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, address)
        model = models[is_ipv6]
        yield b"".join(
            (
                model[:_LENGTH],
                int(length).to_bytes(1, "big"),
                model[_LENGTH + 1 : _EID.start],
                packed,
                model[_EID.start + len(packed) :],
            )
        )


def _model(prefix: str, rloc: str) -> bytes:
    locator = Locator(Address.from_text(rloc))
    eid = EidPrefix.from_text(prefix)
    return encode_record(MappingRecord(eid, TTL_MINUTES, (locator,), authoritative=True))


def map_registers(
    records: Iterable[bytes], *, flags: int = 0, ids: bytes = xtr_ids(1), each: int = 1
) -> list[bytes]:
    """Build signed Map-Registers of ``each`` records; the last may have fewer."""
    waiting = iter(records)
    found = []
    while batch := list(islice(waiting, each)):
        found.append(write_map_register(_FLAGS | flags, next(_NONCES), batch, ids, _KEY))
    return found


def registrations(records: Iterable[bytes], ids: bytes = xtr_ids(1), first: int = 0) -> list[bytes]:
    """Build a stream of Registrations, one record each, in chunks that end anywhere, as TCP's do.

    ``first`` is the message ID of the first.
    """
    return in_chunks(
        encode_frame(MessageType.REGISTRATION, number, register)
        for number, register in enumerate(map_registers(records, ids=ids), first)
    )


def in_chunks(frames: Iterable[bytes]) -> list[bytes]:
    """Join frames to what is written at a time."""
    stream: Sequence[int] | bytes = b"".join(frames)
    return [bytes(stream[at : at + CHUNK]) for at in range(0, len(stream), CHUNK)]
