"""The ETRs of a swarm, made as they are started."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from lispmsrt.swarm.etr import Nonces, SwarmEtr
from lispmsrt.swarm.load import Load
from lispmsrt.swarm.plan import Plan
from lispmsrt.swarm.templates import EtrFace
from lispmsrt.wire.addresses import Address

__all__ = ["Roster"]


class Roster:
    """Who was started."""

    def __init__(self, plan: Plan, load: Load, nonces: Nonces) -> None:
        self.etrs: list[SwarmEtr] = []
        "by their numbers"
        self._plan = plan
        self._load = load
        self._nonces = nonces
        self._seed = hashlib.sha256(f"lispmsrt swarm {plan.seed}".encode()).digest()[:12]

    @property
    def is_complete(self) -> bool:
        """Whether all were started."""
        return len(self.etrs) >= self._plan.etrs

    def start(self, count: int, sources: Sequence[str]) -> list[SwarmEtr]:
        """Return so many new ones, as long as there are any; they take turns with the addresses."""
        first = len(self.etrs)
        for number in range(first, min(self._plan.etrs, first + count)):
            source = sources[number % len(sources)]
            face = EtrFace(number, self._ids(number), Address.from_text(source))
            self.etrs.append(SwarmEtr(face, source, self._load, self._nonces))
        return self.etrs[first:]

    def rloc_of(self, number: int) -> Address:
        """Return the locator of an ETR."""
        return self.etrs[number].face.rloc

    def _ids(self, number: int) -> bytes:
        """Return xTR-ID and Site-ID: the same ones for the same seed, so that a second run replaces
        the first.
        """
        return self._seed + number.to_bytes(4, "big") + self._plan.site_id.to_bytes(8, "big")
