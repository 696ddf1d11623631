"""What several views write the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lispmsrt.cli.blocks import Block, Cell, Line, Tone
from lispmsrt.cli.durations import ttl
from lispmsrt.cli.show_view import Listing
from lispmsrt.views.values.registrations import LocatorView, RecordView

__all__ = [
    "abridged",
    "eid_text",
    "hex_words",
    "left_out",
    "number_of",
    "rlocs_of",
    "state_cell",
    "ttl_of",
    "yes",
]

_TONES = {
    "established": Tone.GOOD,
    "up": Tone.GOOD,
    "in use": Tone.GOOD,
    "stable": Tone.GOOD,
    "yes": Tone.GOOD,
    "yes#": Tone.GOOD,
    "ok": Tone.GOOD,
    "registered": Tone.GOOD,
    "mapped": Tone.GOOD,
    "mapping": Tone.GOOD,
    "starting": Tone.WARNING,
    "ack-wait": Tone.WARNING,
    "periodic": Tone.WARNING,
    "roamed": Tone.WARNING,
    "withdrawn": Tone.WARNING,
    "expired": Tone.WARNING,
    "not registered": Tone.WARNING,
    "down": Tone.BAD,
    "no": Tone.BAD,
    "closed": Tone.BAD,
    "rejected": Tone.BAD,
    "failed": Tone.BAD,
    "problem": Tone.BAD,
    "denied": Tone.BAD,
}


def state_cell(state: str) -> Cell:
    """Return a state in its colour."""
    return Cell(state, _TONES.get(state.partition(":")[0], Tone.PLAIN))


def yes(is_so: bool) -> str:
    """Return yes or no."""
    return "yes" if is_so else "no"


def number_of(count: int, singular: str, plural: str = "") -> str:
    """Return a number and what it counts."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def eid_text(eid: str, instance_id: int) -> str:
    """Return an EID with its instance ID, as a sentence has it."""
    return f"{eid} in instance ID {instance_id}" if instance_id else eid


def hex_words(xtr_id: str) -> str:
    """Return an xTR-ID as four words: 0x0A0B0C0D-..."""
    if len(xtr_id) != 32:
        return xtr_id
    return "-".join(f"0x{xtr_id[at : at + 8].upper()}" for at in range(0, 32, 8))


def rlocs_of(locators: Sequence[LocatorView]) -> str:
    """Return the RLOCs, down ones marked."""
    return ", ".join(f"{each.rloc}{'' if each.state == 'up' else '*'}" for each in locators)


def abridged(texts: Sequence[str], most: int) -> str:
    """Return some texts, and how many more there are."""
    more = len(texts) - most
    shown = ", ".join(texts[:most])
    return f"{shown}, and {more} more" if more > 0 else shown


def ttl_of(record: RecordView) -> str:
    """Return a record's TTL."""
    return ttl(record.ttl)


def left_out(listing: Listing[Any]) -> Iterator[Block]:
    """Yield what to say where a list goes on."""
    if listing.next_cursor is None:
        return
    total = f" of {listing.total}" if listing.total is not None else ""
    text = f"{listing.shown}{total} shown; --limit N shows more, and filters show less"
    yield Line(text, Tone.FAINT)
