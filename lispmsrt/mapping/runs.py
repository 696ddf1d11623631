"""Runs of Registrations that are like earlier ones of their session: entered together, and
acknowledged by one piece of output.

What is like is :mod:`lispmsrt.mapping.likeness`'s business. Policy was applied when the likeness
was taken; only EID-prefixes where there is nothing yet, or this very registration, are dealt with
here. Besides :mod:`lispmsrt.mapping.holdings` the only lines that write the mapping database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lispmsrt.compiled import twin
from lispmsrt.mapping.database import Lease, Registration
from lispmsrt.mapping.holdings import is_held
from lispmsrt.mapping.likeness import Likeness, Likenesses
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.sites import Sites
from lispmsrt.wire.framing import Frame
from lispmsrt.wire.reliable_transport import encode_registration_acks

__all__ = ["Run", "last_nonce", "take_run"]

_compiled = twin("lispmsrt.mapping._likeness")

_NONCE_AT, _NONCE_END = 4, 12
"""In a Map-Register."""


class Run(NamedTuple):
    """Where a run may begin, and what it needs to know."""

    lease: Lease
    data: bytes
    frames: Sequence[Frame]
    first: int
    "the frame that it begins with, if it does"
    now: float
    "monotonic seconds"
    message_id: int
    "of the first ACK"


def take_run(
    likenesses: Likenesses, sites: Sites, run: Run, room: int
) -> tuple[int, bytes, list[Stretch]]:
    """Enter Registrations as long as each is like one before; at most ``room`` new ones. Return how
    many were accepted, new ones and repetitions; an ACK for each; and what is new.

    The first that differs in any way, and whatever is wrong, ends the run, and nothing is done
    about it. The tables have to take note of what is new yet.
    """
    take = _take if _compiled is None else _compiled.take
    taken: tuple[int, bytes, list[Stretch]] = take(likenesses, sites, run, room)
    return taken


def last_nonce(run: Run, number: int) -> int:
    """Return the nonce of the last of so many Registrations that were taken."""
    _kind, _message_id, start, _end = run.frames[run.first + number - 1]
    return int.from_bytes(run.data[start + _NONCE_AT : start + _NONCE_END], "big")


def _take(
    likenesses: Likenesses, sites: Sites, run: Run, room: int
) -> tuple[int, bytes, list[Stretch]]:
    lease, data, frames, first, now, message_id = run
    held = lease.held
    eids: list[bytes] = []
    stretches: list[Stretch] = []
    latest: Likeness | None = None
    for like, length, key, record, eid in likenesses.run(sites, data, frames, first):
        entries = like.table.entries
        current = entries.get(key)
        if current is None:
            if room <= 0:
                break
            room -= 1
            if like is not latest:
                latest, stretch = like, Stretch(like.table, [], [], {})
                stretches.append(stretch)
            registration = Registration(record, lease, like.flags, now, None)
            entries[key] = registration
            held[registration] = None
            stretch.keys.append(key)
            stretch.registrations.append(registration)
            stretch.lengths[length] = stretch.lengths.get(length, 0) + 1
        elif not is_held(current, lease, record, like.flags):
            break
        eids.append(eid)
    return len(eids), encode_registration_acks(message_id, eids), stretches
