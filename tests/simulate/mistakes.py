"""Mistakes planted into the product, to see that the simulation finds them.

``LISPMSRT_PURE=1 python -m tests.simulate.mistakes`` runs in plain Python: what is compiled would
not know of them. It prints a line for each: name, what found it, events in the shrunk schedule,
seed.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from lispmsrt.control.arming import Armory, Claim
from lispmsrt.control.nonces import NonceMemory
from lispmsrt.control.published_records import PublishedRecords
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.soft_state import SoftState
from lispmsrt.services.draining import Draining
from lispmsrt.services.session_book import SessionBook
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.authentication import Coverage, Key
from tests.simulate.running import run_seed

__all__ = ["MISTAKES", "find"]

_HOURS = 0.3
_HANDFUL = 6
_TRIED = 4
"""Seeds that have found a mistake, after which the smallest schedule has to do."""

_enter = Registrar._enter
_lose = Registrar.lose
_withdraw = EtrRegistrations.withdraw
_told = PublishedRecords.told


def _acknowledge_only(registrar: Registrar, lease: Any, data: bytes, span: Any, *rest: Any) -> Any:
    return None if span[1] and lease.is_live else _enter(registrar, lease, data, span, *rest)


def _believe(*_: object, **__: object) -> Coverage:
    return Coverage.WHOLE_MESSAGE


def _accept_anybody(armory: Armory, address: bytes, now: float) -> Claim:
    return Claim(address, None)


def _end_with_the_session(registrar: Registrar, lease: Any, now: float) -> None:
    _lose(registrar, lease, now - registrar._soft_state.timeout)


def _tell_nobody(registrations: EtrRegistrations, eid: Any, *, awaited: bool = False) -> bytes:
    wire = _withdraw(registrations, eid, awaited=awaited)
    if registrations.session_is_up:
        entry = registrations.entries.pop(wire)
        registrations.due.discard(entry)
    return wire


def _tell_as_before(records: Any, eid: Any, *rest: Any, **options: Any) -> Any:
    told = records.__dict__.setdefault("told before", {})
    return told.setdefault(eid, _told(records, eid, *rest, **options))


def _break(*_: object) -> None:
    raise RuntimeError("planted")


MISTAKES: dict[str, tuple[str, Any]] = {
    "an ACK for what is not stored": (
        "AcknowledgedIsHeld",
        lambda: patch.object(Registrar, "_enter", _acknowledge_only),
    ),
    "expiry that never comes": (
        "NothingOutlivesItsTime",
        lambda: patch.object(SoftState, "end", lambda *_: False),
    ),
    "MACs that nobody checks": (
        "NothingUnauthenticated",
        lambda: patch.object(Key, "verify", _believe),
    ),
    "connections of who was never armed": (
        "OnlyArmedConnect",
        lambda: patch.object(Armory, "accept", _accept_anybody),
    ),
    "repeated Map-Registers that count": (
        "RepeatsChangeNothing",
        lambda: patch.object(NonceMemory, "is_fresh", lambda *_: True),
    ),
    "registrations that end with their session": (
        "RegisteredIsAnswered",
        lambda: patch.object(Registrar, "lose", _end_with_the_session),
    ),
    "a withdrawal that the session is not told": (
        "Converges",
        lambda: patch.object(EtrRegistrations, "withdraw", _tell_nobody),
    ),
    "sessions that are never forgotten": (
        "WithinLimits",
        lambda: patch.object(SessionBook, "closed", lambda *_: None),
    ),
    "subscriptions renewed with what was so before": (
        "Converges",
        lambda: patch.object(PublishedRecords, "told", _tell_as_before),
    ),
    "a Map-Server that never ends": (
        "StopsInTime",
        lambda: patch.object(Draining, "_end", lambda *_: None),
    ),
    "a timer that raises": (
        "NothingLoggedAsError",
        lambda: patch.object(MapServerSession, "_on_timeout", _break),
    ),
}
"""Name to the invariant that is to find it, and what plants it."""


def find(name: str, seeds: range = range(1, 60)) -> tuple[str, int, int]:
    """Plant a mistake; return which invariant finds it, by how many events, with which seed: the
    first that shrinks to a handful, for what is found by chance does not shrink with every seed.
    """
    is_leak = name == "sessions that are never forgotten"  # which shows only after a while
    hours = 6 * _HOURS if is_leak else _HOURS
    found: list[tuple[int, int, str]] = []
    with MISTAKES[name][1]():
        for seed in seeds:
            report = run_seed(seed, hours)
            if report is None:
                continue
            found.append((len(report.events), seed, report.violation.invariant))
            if is_leak or len(report.events) <= _HANDFUL or len(found) == _TRIED:
                break
    events, seed, invariant = min(found, default=(0, 0, "nothing"))
    return invariant, events, seed


def main() -> None:
    """Find all of them."""
    for name in sys.argv[1:] or MISTAKES:
        found, events, seed = find(name)
        print(f"{name}: {found}, {events} events, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
