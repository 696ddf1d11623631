"""Who had an EID-prefix before another xTR took it over, for the day on which that one is gone
(draft-kouvelas-lisp-map-server-reliable-transport-07 §6.1.4).

The newest registration holds an EID-prefix; when it ends, nobody does. An xTR that was replaced has
had its ACK, or has given way, and will not register again unless it is asked to. It keeps names
only: whether an xTR still means what it had is that one's business.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.mapping.names import Name

__all__ = ["MAX_REPLACED", "Replaced"]

MAX_REPLACED = 65_536
"""Registrations that others have taken over and that are remembered, in all: some 40 MB. Of hosts
that have moved for good they are never needed, so the oldest are those that go.
"""


class Replaced:
    """Remember by EID-prefix whose registrations were taken over."""

    def __init__(self, counters: Counter[str], limit: int = MAX_REPLACED) -> None:
        self.counters = counters
        self._limit = limit
        self._count = 0
        self._of_name: dict[Name, dict[Xtr, Lease]] = {}
        self._of_xtr: dict[Xtr, dict[Name, None]] = {}
        # OrderedDict: a plain dict walks over all that it has lost to find its first.
        self._of_site: dict[str, OrderedDict[tuple[Name, Xtr], None]] = {}
        "oldest first"

    def __len__(self) -> int:
        return self._count

    def taken_over(self, name: Name, parts: Iterable[Registration], by: Xtr | None) -> None:
        """Note whose registrations have given place to another xTR's."""
        if by is not None:
            self._forget(name, by)
        for part in parts:
            lease = part.lease
            # Over UDP only those are told anything that have asked for it.
            if lease.path is None or part.wants_notification:
                self._forget(name, lease.xtr)
                self._keep(name, lease)

    def vacated(self, name: Name, parts: Iterable[Registration]) -> Sequence[Lease]:
        """Nobody registers an EID-prefix any more. Return who had it before, without those whose
        registrations have just ended.
        """
        if name not in self._of_name:
            return ()
        for part in parts:
            self._forget(name, part.lease.xtr)
        return tuple(self._of_name.get(name, {}).values())

    def of_xtr(self, xtr: Xtr) -> Iterable[Name]:
        """Return the EID-prefixes that others have taken over from an xTR."""
        return self._of_xtr.get(xtr, {}).keys()

    def _keep(self, name: Name, lease: Lease) -> None:
        if self._count >= self._limit:
            # The site that has most pays, with its oldest: nobody uses up everyone's.
            fullest = max(self._of_site.values(), key=len)
            self._forget(*next(iter(fullest)))
            self.counters["replaced registrations forgotten"] += 1
        xtr = lease.xtr
        self._of_name.setdefault(name, {})[xtr] = lease
        self._of_xtr.setdefault(xtr, {})[name] = None
        self._of_site.setdefault(xtr.site, OrderedDict())[name, xtr] = None
        self._count += 1

    def _forget(self, name: Name, xtr: Xtr) -> None:
        leases = self._of_name.get(name)
        if leases is None or leases.pop(xtr, None) is None:
            return
        self._count -= 1
        if not leases:
            del self._of_name[name]
        names, of_site = self._of_xtr[xtr], self._of_site[xtr.site]
        del names[name], of_site[name, xtr]
        if not names:
            del self._of_xtr[xtr]
        if not of_site:
            del self._of_site[xtr.site]
