"""What a swarm registers: how far each EID has come, messages written and answers read.

This is the Python; :mod:`lispmsrt.swarm._load` does the same compiled, where there is one.
Times are ticks (:mod:`lispmsrt.swarm.latencies`).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from struct import Struct
from typing import TYPE_CHECKING

from lispmsrt.compiled import twin
from lispmsrt.swarm.eids import EidSpace
from lispmsrt.swarm.latencies import Latencies
from lispmsrt.swarm.templates import VERSIONS, Template
from lispmsrt.wire.authentication import Coverage, Key, Purpose
from lispmsrt.wire.framing import END_MARKER, MESSAGE_OVERHEAD
from lispmsrt.wire.reliable_transport import MessageType

if TYPE_CHECKING:
    from lispmsrt.swarm._load import LoadKernel

__all__ = [
    "GONE",
    "IDLE",
    "LEAVING",
    "OFFERED",
    "REGISTERED",
    "REJECTED",
    "Answers",
    "Load",
    "is_authentic",
    "map_register",
]

IDLE, OFFERED, REGISTERED, REJECTED, LEAVING, GONE = range(6)
"""How far an EID has come: not sent, sent, acknowledged, refused; its withdrawal sent,
acknowledged.
"""

Answers = tuple[int, int, int, int]
"""Where the octets that were read end, ACKs and Rejections of Registrations of this ETR, and those
of none.
"""

_HEADER = Struct("!HHI")
_NONCE = Struct("!Q")
_MARKER = END_MARKER.to_bytes(4, "big")
_ACK, _REJECT = int(MessageType.REGISTRATION_ACK), int(MessageType.REGISTRATION_REJECT)
_REGISTRATION = int(MessageType.REGISTRATION)
_BEFORE_REJECTED = 3
"""Octets of reason and reserved bits in front of a rejected EID."""

_kernel = twin("lispmsrt.swarm._load")


class Load:
    """Every EID of the swarm."""

    def __init__(self, space: EidSpace, key: Key) -> None:
        self.space = space
        self.key = key
        count = space.count
        self.states = array("B", bytes(count))
        self.versions = array("B", bytes(count))
        self.owners = array("I", bytes(4 * count))
        "number of the ETR that is to register it"
        self.sent = array("I", bytes(4 * count))
        "when what waits for its answer was sent"
        self.tally = array("q", bytes(8 * 6))
        "EIDs in each state"
        self.tally[IDLE] = count
        self.latencies = Latencies()
        for block in space.blocks:
            for etr in range(block.count // block.each):
                first = block.first + etr * block.each
                self.owners[first : first + block.each] = array("I", [etr]) * block.each
        self._kernel: LoadKernel | None = None
        if _kernel is not None and key.keyed_hash is not None and key.is_plain:
            self._kernel = _kernel.LoadKernel(self, key)

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled twin does the work."""
        return self._kernel is not None

    @property
    def waiting(self) -> int:
        """EIDs whose Registration or withdrawal is not answered."""
        return self.tally[OFFERED] + self.tally[LEAVING]

    def enter(self, number: int, state: int) -> None:
        """Move an EID to another state."""
        self.tally[self.states[number]] -= 1
        self.tally[state] += 1
        self.states[number] = state

    def change(self, number: int) -> None:
        """Give an EID another locator set."""
        self.versions[number] = (self.versions[number] + 1) % VERSIONS

    def write_registrations(
        self,
        template: Template,
        first: int,
        last: int,
        only: int,
        nonce: int,
        message_id: int,
        now: int,
        room: int,
    ) -> tuple[bytes, int, int]:
        """Write a Registration of each EID from ``first`` to ``last`` that is the ETR's, as far as
        ``room`` octets allow; return them, where to go on, and how many there are.

        ``only`` is a state in which they have to be, -1 for any. What was withdrawn stays so.
        """
        if self._kernel is not None:
            return self._kernel.write_registrations(
                template, first, last, only, nonce, message_id, now, room
            )
        parts: list[bytes] = []
        size = _size_of(template, self.key) + MESSAGE_OVERHEAD
        count, number = 0, first
        while number < last and room >= size:
            if self._is_due(template, number, only):
                body = map_register(self, template, (number,), nonce + count)
                header = _HEADER.pack(_REGISTRATION, size, message_id + count & 0xFFFFFFFF)
                parts += (header, body, _MARKER)
                self._offer(template, number, now)
                room -= size
                count += 1
            number += 1
        return b"".join(parts), number, count

    def write_map_register(
        self,
        template: Template,
        first: int,
        last: int,
        only: int,
        nonce: int,
        now: int,
        limit: int,
    ) -> tuple[bytes, int, int]:
        """Write a Map-Register of at most ``limit`` of the ETR's EIDs from ``first`` to ``last``;
        return it, where to go on, and how many records it has. ``only`` as above.
        """
        if self._kernel is not None:
            return self._kernel.write_map_register(template, first, last, only, nonce, now, limit)
        numbers: list[int] = []
        number = first
        while number < last and len(numbers) < limit:
            if self._is_due(template, number, only):
                numbers.append(number)
                self._offer(template, number, now)
            number += 1
        if not numbers:
            return b"", number, 0
        return map_register(self, template, numbers, nonce), number, len(numbers)

    def read_answers(self, data: bytes, at: int, etr: int, now: int) -> Answers:
        """Read ACKs and Rejections from ``at`` on, up to the first message that is something else,
        malformed or not whole.
        """
        if self._kernel is not None:
            return self._kernel.read_answers(data, at, etr, now)
        acks = rejections = strays = 0
        while at + MESSAGE_OVERHEAD <= len(data):
            kind, length, _message_id = _HEADER.unpack_from(data, at)
            end = at + length
            skipped = _BEFORE_REJECTED if kind == _REJECT else 0
            if (
                (kind != _ACK and kind != _REJECT)
                or length < MESSAGE_OVERHEAD + skipped
                or end > len(data)
                or data[end - 4 : end] != _MARKER
            ):
                break
            number = self.space.number(data[at + 8 + skipped : end - 4])
            if number is None or self.owners[number] != etr:
                strays += 1
            elif kind == _ACK:
                self._acknowledge(number, now)
                acks += 1
            else:
                self._reject(number)
                rejections += 1
            at = end
        return at, acks, rejections, strays

    def settle(self, etr: int, first: int, last: int, sent: int, now: int) -> int:
        """Take a Map-Notify that has all of the ETR's EIDs from ``first`` to ``last`` that went
        together at the time ``sent``; return how many that is.
        """
        if self._kernel is not None:
            return self._kernel.settle(etr, first, last, sent, now)
        numbers = self.unsettled(etr, first, last, sent)
        for number in numbers:
            self._acknowledge(number, now)
        return len(numbers)

    def settle_some(
        self, numbers: Sequence[int], listed: Collection[int], now: int
    ) -> tuple[int, int]:
        """Take a Map-Notify with some of the EIDs only: the others are refused; return how many of
        both.
        """
        for number in numbers:
            if number in listed:
                self._acknowledge(number, now)
            else:
                self._reject(number)
        acknowledged = sum(number in listed for number in numbers)
        return acknowledged, len(numbers) - acknowledged

    def unsettled(self, etr: int, first: int, last: int, sent: int) -> list[int]:
        """Return the ETR's EIDs from ``first`` to ``last`` that were sent then, and are not
        answered.
        """
        return [
            number
            for number in range(first, last)
            if self.sent[number] == sent
            and self.owners[number] == etr
            and self.states[number] in (OFFERED, LEAVING)
        ]

    def vouches_for(self, notify: bytes) -> bool:
        """Whether a Map-Notify is one of the ordinary kind, and authentic; False leaves it open."""
        return self._kernel is not None and self._kernel.vouches_for(notify)

    def _is_due(self, template: Template, number: int, only: int) -> bool:
        state = self.states[number]
        if self.owners[number] != template.etr or (only >= 0 and state != only):
            return False
        return template.leaves or state not in (LEAVING, GONE)

    def _offer(self, template: Template, number: int, now: int) -> None:
        self.enter(number, LEAVING if template.leaves else OFFERED)
        self.sent[number] = now

    def _acknowledge(self, number: int, now: int) -> None:
        state = self.states[number]
        if state in (OFFERED, LEAVING):
            self.latencies.observe(now - self.sent[number])
            self.enter(number, REGISTERED if state == OFFERED else GONE)

    def _reject(self, number: int) -> None:
        state = self.states[number]
        # What may not be registered is not registered: a withdrawal is fulfilled.
        self.enter(number, GONE if state in (LEAVING, GONE) else REJECTED)


def is_authentic(key: Key, notify: bytes, records_end: int, length: int) -> bool:
    """Whether the MAC of a Map-Notify is right; ``length`` is that of its authentication data."""
    if length not in (key.sent_length, key.digest_size):
        return False
    size = len(notify)
    return key.verify(notify, 0, records_end, size, length, Purpose.MAP_NOTIFY) is not None


def map_register(load: Load, template: Template, numbers: Sequence[int], nonce: int) -> bytes:
    """Return the signed Map-Register of these EIDs, and note nothing."""
    records = b"".join(_record(load, template, number) for number in numbers)
    head = bytearray(template.head)
    head[3] = len(numbers)
    head[4:12] = _NONCE.pack(nonce)
    key = load.key
    covered = records
    if key.default_coverage is not Coverage.RECORDS:
        covered += template.ids
    mac = key.digest(bytes(head), covered, key.sent_length, Purpose.MAP_REGISTER)
    return bytes(head) + mac + records + template.ids


def _record(load: Load, template: Template, number: int) -> bytes:
    record = bytearray(template.record)
    at, block = template.address_at, template.block
    record[at : at + block.octets] = block.address(number)
    if template.weight_at:
        record[template.weight_at] = 1 + load.versions[number]
    return bytes(record)


def _size_of(template: Template, key: Key) -> int:
    """Return the octets of a Map-Register of one record."""
    return len(template.head) + key.sent_length + len(template.record) + len(template.ids)
