"""What an ETR means to register at one Map-Server, as those see it who look on: counted, and in an
order in which a walk over a million of them can be broken off and taken up again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lispmsrt.mapping.etr_registration import EtrRegistration
from lispmsrt.mapping.etr_states import EtrState

__all__ = ["EtrListing"]

_FEW = 1024
"""Gone entries that are not worth the trouble of closing the gaps."""


class EtrListing:
    """Entries in the order in which they were made. Written by
    :class:`lispmsrt.mapping.etr_registrations.EtrRegistrations` only.
    """

    def __init__(self, entries: dict[bytes, EtrRegistration]) -> None:
        """``entries`` is what there is, by EID wire form, and in the same order."""
        self.states = [0] * len(EtrState)
        "by EtrState: how many entries; No state are those whose withdrawal is on its way"
        self.families: Counter[tuple[int, int]] = Counter()
        "by instance ID and AFI: how many are meant"
        self.epoch = 0
        "how often the gaps were closed: positions of an earlier epoch mean nothing any more"
        self.order: list[EtrRegistration] = []
        "all there are, and some that are gone"
        self._entries = entries
        self._gone = 0

    def add(self, entry: EtrRegistration) -> None:
        """An entry was made."""
        self.states[EtrState.NO_STATE] += 1
        self.order.append(entry)

    def meant(self, family: tuple[int, int], by: int) -> None:
        """One more, or one less, is meant in a family."""
        self.families[family] += by
        if not self.families[family]:
            del self.families[family]

    def discard(self) -> None:
        """An entry that was withdrawn has left the entries."""
        self.states[EtrState.NO_STATE] -= 1
        self._gone += 1
        if self._gone > _FEW and 2 * self._gone > len(self.order):
            self.order = list(self._entries.values())
            self._gone = 0
            self.epoch += 1

    def look(self, position: int, count: int) -> Sequence[EtrRegistration]:
        """Return the entries at ``count`` positions, fewer at the end; there may be gone ones."""
        return self.order[position : position + count]

    def is_gone(self, entry: EtrRegistration) -> bool:
        """Whether an entry was withdrawn and that is known at the Map-Server."""
        return entry.state is EtrState.NO_STATE and self._entries.get(entry.eid) is not entry
