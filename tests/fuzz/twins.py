"""Compiled twins switched off for a while, in a process that has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lispmsrt.control import map_registers
from lispmsrt.mapping import over_udp, publisher, runs
from lispmsrt.wire import framing

__all__ = ["plain"]

_MODULES = (framing, map_registers, over_udp, publisher, runs)


@contextmanager
def plain() -> Iterator[None]:
    """Run what is in here in Python; what was made before stays what it is."""
    kept = [module._compiled for module in _MODULES]  # type: ignore[attr-defined]
    try:
        for module in _MODULES:
            module._compiled = None  # type: ignore[attr-defined]
        yield
    finally:
        for module, compiled in zip(_MODULES, kept, strict=True):
            module._compiled = compiled  # type: ignore[attr-defined]
