"""The Map-Requests of ``make bench``: prepared datagrams, for a question costs who asks more than
the answer costs the Map-Server, and what tells whether the Map-Replies are right.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from struct import Struct
from typing import NamedTuple

from benchmarks.load import Exchanged, LoadError, exchange
from benchmarks.messages import ADDRESS, FIRST_EID, TTL_MINUTES
from lispmsrt import Address, EidPrefix, Locator, MappingRecord
from lispmsrt.control.answers import NOT_REGISTERED_TTL
from lispmsrt.control.inquiries import to_map_resolver
from lispmsrt.wire.afi import Afi
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType
from lispmsrt.wire.records import Action

__all__ = [
    "Asker",
    "IsRight",
    "Questions",
    "check",
    "host_of",
    "is_hole",
    "is_mapping",
    "map_request",
    "nonce_in_ecm",
    "of_holes",
    "of_mappings",
]

IsRight = Callable[[int, MappingRecord], bool]
"""Takes the IPv4 address that was asked for, as a number, and a record about it."""

# RFC 9301 §8.3: who answers for an ETR clears L.
_LOCATORS = (Locator(Address.from_text(ADDRESS), local=False),)
_MAP_SERVER = (Address.from_text("127.0.0.1").packed, 4342)
_NONCES = {4: slice(36, 44), 6: slice(56, 64)}
"""Where a Map-Request has its nonce, behind the ECM's headers, by the IP version of the inner."""

_HEAD = Struct("!IQ")  # first word with the record count, nonce
_ONE_RECORD = int(ControlType.MAP_REPLY) << 28 | 1
_LOOKED_AT = 100
"""One Map-Reply in so many is decoded; of the others type, record count and nonce are looked at."""

_HOLES = (FIRST_EID + (1 << 24), 224 << 24)
"""Between these nobody registers anything."""


def of_mappings(count: int, mappings: int) -> list[int]:
    """Draw addresses among the first ``mappings`` of those that are registered."""
    draw = random.Random(1)
    return [FIRST_EID + draw.randrange(mappings) for _ in range(count)]


def of_holes(count: int) -> list[int]:
    """Draw addresses that nobody registers, but that a site may."""
    draw = random.Random(2)
    return [draw.randrange(*_HOLES) for _ in range(count)]


class Questions(NamedTuple):
    """Addresses and the Map-Requests for them, each in an ECM; the nonce is the number in order."""

    addresses: Sequence[int]
    datagrams: Sequence[bytes]

    @classmethod
    def about(cls, addresses: Sequence[int], port: int) -> Questions:
        """Build them; ``port`` is where the Map-Replies are to come."""
        source = Address.from_text(ADDRESS)
        return cls(
            addresses,
            [
                map_request(nonce, host_of(address), source, port)
                for nonce, address in enumerate(addresses)
            ],
        )

    def first(self, count: int) -> Questions:
        """Return no more than so many of them."""
        return Questions(self.addresses[:count], self.datagrams[:count])


def map_request(nonce: int, eid: EidPrefix, source: Address, port: int) -> bytes:
    """Build a Map-Request in an ECM; ``port`` is where its Map-Reply is to come."""
    request = encode_map_request(MapRequest(nonce, (source,), (RequestedEid(eid),)))
    return to_map_resolver(request, eid, (source.packed, port), _MAP_SERVER)


def host_of(address: int) -> EidPrefix:
    """Return the /32 of an address given as a number."""
    return EidPrefix(0, Address(Afi.IPV4, address.to_bytes(4, "big")), 32)


def nonce_in_ecm(message: bytes) -> bytes:
    """Return the nonce of a Map-Request in an ECM with IPv4 or IPv6 inside (RFC 9301 §5.8)."""
    return message[_NONCES[message[4] >> 4]]


class Asker:
    """A UDP socket whose address is in every question."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 0))

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *reason: object) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """Where its Map-Replies are to come."""
        return int(self._socket.getsockname()[1])

    def connected(self, address: str, port: int) -> socket.socket:
        """Connect it, for who has a loop of his own; it is closed by whoever has it then."""
        self._socket.connect((address, port))
        self._socket.setblocking(False)
        return self._socket

    def prepare(self, addresses: Sequence[int]) -> Questions:
        """Build the questions about these addresses."""
        return Questions.about(addresses, self.port)

    def ask(self, port: int, datagrams: Sequence[bytes]) -> Exchanged:
        """Ask all, until each has its answer."""
        return exchange(port, datagrams, question_nonce=nonce_in_ecm, clients=[self._socket])

    def ask_and_check(self, port: int, questions: Questions, is_right: IsRight) -> Exchanged:
        """Ask all; raise LoadError for a wrong answer."""
        done = self.ask(port, questions.datagrams)
        check(done.answers, questions.addresses, is_right)
        return done


# Right or wrong


def check(replies: Sequence[bytes], addresses: Sequence[int], is_right: IsRight) -> None:
    """Raise LoadError unless every question has one Map-Reply, and those that are looked at are
    right.
    """
    answered = set()
    for reply in replies:
        word, nonce = _HEAD.unpack_from(reply) if len(reply) >= _HEAD.size else (0, 0)
        if word != _ONE_RECORD or nonce >= len(addresses):
            raise LoadError(f"{reply.hex()} is no Map-Reply with one record to a question of ours")
        answered.add(nonce)
        if nonce % _LOOKED_AT == 0:
            _look_at(reply, addresses[nonce], is_right)
    if len(answered) < len(addresses) or len(replies) > len(addresses):
        raise LoadError(
            f"of {len(addresses):,} questions {len(answered):,} were answered, by {len(replies):,} "
            "Map-Replies"
        )


def _look_at(reply: bytes, address: int, is_right: IsRight) -> None:
    try:
        (record,) = decode_map_reply(reply).records
    except WireError as failure:
        raise LoadError(f"{reply.hex()} is malformed: {failure}") from None
    if not is_right(address, record):
        raise LoadError(f"asked for {host_of(address)}, the Map-Server says {record}")


def is_mapping(address: int, record: MappingRecord) -> bool:
    """Whether it is the mapping that was registered for this address, told by a Map-Server."""
    return (
        record.eid == host_of(address)
        and record.locators == _LOCATORS
        and record.ttl == TTL_MINUTES
        and not record.authoritative
    )


def is_hole(address: int, record: MappingRecord) -> bool:
    """Whether it is the hole around this address, as wide as can be, told by a Map-Server."""
    # The first and the last address of 10.0.0.0/8 are registered: nothing of it is in the hole.
    shared = 32 - (address ^ FIRST_EID).bit_length()
    host_bits = 32 - shared - 1
    network = address >> host_bits << host_bits
    return (
        record.eid == EidPrefix(0, host_of(network).address, shared + 1)
        and not record.locators
        and record.action == Action.NATIVELY_FORWARD
        and record.ttl == NOT_REGISTERED_TTL
        and not record.authoritative
    )
