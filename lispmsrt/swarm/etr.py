"""One ETR of a swarm: what it has still to say, and how much of it is unanswered. No I/O here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lispmsrt.swarm.eids import Block, Span
from lispmsrt.swarm.load import LEAVING, REJECTED, Load
from lispmsrt.swarm.templates import EtrFace, Template, make_template
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.reliable_transport import RefreshScope, RegistrationRefresh

__all__ = ["MAP_REGISTER_FLAGS", "Due", "Nonces", "SwarmEtr"]

_SESSION_FLAGS = RegisterFlag.PROXY_REPLY
# The Map-Server is to answer for us: nobody here would take a Map-Request.
MAP_REGISTER_FLAGS = RegisterFlag.PROXY_REPLY | RegisterFlag.WANT_MAP_NOTIFY

_ANY_STATE = -1


class Nonces:
    """One rising sequence for all ETRs: each has rising ones of it, and each answer's nonce tells
    whose it is.
    """

    def __init__(self, first: int) -> None:
        self._next = first

    @property
    def next(self) -> int:
        """The next one."""
        return self._next

    def take(self, count: int) -> int:
        """Use up so many; return the first."""
        first = self._next
        self._next += count
        return first


@dataclass(slots=True)
class Due:
    """EIDs to be registered, or withdrawn."""

    block: Block
    first: int
    last: int
    only: int = _ANY_STATE
    "the state they have to be in"
    leaves: bool = False


class SwarmEtr:
    """An ETR."""

    __slots__ = (
        "_adopted",
        "_last",
        "_load",
        "_message_id",
        "_nonces",
        "due",
        "face",
        "source",
        "unanswered",
    )

    def __init__(self, face: EtrFace, source: str, load: Load, nonces: Nonces) -> None:
        self.face = face
        self.source = source
        "the address that it speaks from"
        self.due: deque[Due] = deque()
        self.unanswered = 0
        "Registrations written on the session"
        self._load = load
        self._nonces = nonces
        self._message_id = 1
        self._last: tuple[tuple[int, int, bool], Template | None] = ((-1, 0, False), None)
        "the template that was asked for last: mostly it is the next one too"
        self._adopted: dict[int, None] = {}
        "EIDs that came from other ETRs"

    @property
    def number(self) -> int:
        """Which one of the swarm it is."""
        return self.face.number

    def template(self, block: Block, flags: int, *, leaves: bool = False) -> Template:
        """Return what its Map-Registers for a block have in common."""
        wanted = (block.first, flags, leaves)
        if self._last[0] != wanted:
            made = make_template(self.face, block, self._load.key, flags, leaves=leaves)
            self._last = (wanted, made)
        made_last = self._last[1]
        assert made_last is not None
        return made_last

    def has_something(self) -> bool:
        """Whether it has an EID at all."""
        return self.some_eid() is not None

    def some_eid(self) -> int | None:
        """Return an EID that is its own, None where all went to others."""
        owners, number = self._load.owners, self.number
        for _block, first, last in self._spans():
            for eid in range(first, last):
                if owners[eid] == number:
                    return eid
        return None

    # What becomes due

    def offer_everything(self, only: int = _ANY_STATE) -> None:
        """Register all, and withdraw anew what was not acknowledged to be withdrawn."""
        if only == _ANY_STATE:
            self.due.clear()
        for block, first, last in self._spans():
            self.due.append(Due(block, first, last, only))
            if only == _ANY_STATE and self._load.tally[LEAVING]:
                self.due.append(Due(block, first, last, LEAVING, leaves=True))

    def offer(self, eid: int, *, leaves: bool = False) -> None:
        """Register one EID, or withdraw it."""
        block = self._load.space.block_of(eid)
        self.due.append(Due(block, eid, eid + 1, leaves=leaves))

    def adopt(self, eid: int) -> None:
        """Take an EID over, from whichever ETR had it."""
        self._load.owners[eid] = self.number
        if not any(first <= eid < last for _block, first, last in self._home()):
            self._adopted[eid] = None

    def session_began(self) -> None:
        """Nothing that was written on an earlier session counts."""
        self.unanswered = 0
        self._message_id = 1
        self.due.clear()

    def refresh(self, refresh: RegistrationRefresh) -> None:
        """Register again what the Map-Server asks for (K07 §6.1.4)."""
        only = REJECTED if refresh.rejected_only else _ANY_STATE
        if refresh.scope == RefreshScope.EVERYTHING or refresh.eid is None:
            self.offer_everything(only)
            return
        for block, first, last in self._spans():
            first, last = _inside(refresh.scope, refresh.eid, block, first, last)
            if first < last:
                self.due.append(Due(block, first, last, only))

    # What is written

    def write(self, now: int, room: int, most: int) -> bytes:
        """Return Registrations of what is due, about ``room`` octets of them and no more than
        ``most``. ``now`` is in ticks.
        """
        parts: list[bytes] = []
        while room > 0 and most > 0 and self.due:
            due = self.due[0]
            end = min(due.last, due.first + most)
            data, due.first, count = self._load.write_registrations(
                self.template(due.block, _SESSION_FLAGS, leaves=due.leaves),
                due.first,
                end,
                due.only,
                self._nonces.next,
                self._message_id,
                now,
                room,
            )
            self._nonces.take(count)
            self._message_id = self._message_id + count & 0xFFFFFFFF
            self.unanswered += count
            parts.append(data)
            room -= len(data)
            most -= count
            if due.first < end:
                break  # the room is used up but for less than a message
            if due.first >= due.last:
                self.due.popleft()
        return b"".join(parts)

    # Inside

    def _home(self) -> Iterator[Span]:
        return self._load.space.of_etr(self.number)

    def _spans(self) -> Iterator[Span]:
        yield from self._home()
        for eid in self._adopted:
            yield self._load.space.block_of(eid), eid, eid + 1


def _inside(scope: int, wanted: EidPrefix, block: Block, first: int, last: int) -> tuple[int, int]:
    """Return the part of a span that a Refresh is about."""
    nothing = (first, first)
    address = wanted.address
    if wanted.instance_id != block.instance_id:
        return nothing
    if scope == RefreshScope.INSTANCE:
        return first, last
    if not isinstance(address, Address) or len(address.packed) != block.octets:
        return nothing
    if scope == RefreshScope.FAMILY:
        return first, last
    if scope == RefreshScope.EXACT and wanted.length != 8 * block.octets - block.shift:
        return nothing
    low = int.from_bytes(address.packed, "big") - block.base
    high = low + (1 << address.width - wanted.length)
    # EID-prefixes that begin inside, and are no larger.
    begin = block.first + -(-low >> block.shift)
    end = block.first + (high >> block.shift)
    return max(first, begin), min(last, end)
