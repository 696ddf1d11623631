"""What a group of counters is: where they are kept, and what each of them says to an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from lispmsrt.views.values import StatisticView

__all__ = ["Group"]

_UNKNOWN = "not described"


@dataclass(frozen=True, slots=True)
class Group:
    """Counters that are shown together."""

    name: str
    counted_in: tuple[str, ...]
    "the modules that count, below lispmsrt"
    meanings: dict[str, str]
    """counter to one line; a ``*`` in a counter's name stands for what is only known when it
    happens, as the type of a message
    """
    _patterns: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", tuple(key for key in self.meanings if "*" in key))

    def meaning_of(self, counter: str) -> str:
        """Return what a counter says, in one line."""
        found = self.meanings.get(counter)
        if found is not None:
            return found
        matches = (self.meanings[one] for one in self._patterns if fnmatchcase(counter, one))
        return next(matches, _UNKNOWN)

    def views(self, counters: Mapping[str, int]) -> tuple[StatisticView, ...]:
        """Return every counter of the group, those that are 0 too, in the order of the meanings."""
        names = dict.fromkeys(name for name in self.meanings if "*" not in name)
        names.update(dict.fromkeys(sorted(counters)))
        return tuple(
            StatisticView(self.name, name, counters.get(name, 0), self.meaning_of(name))
            for name in names
        )
