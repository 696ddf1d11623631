"""The compiled twins of a few modules: ``_NAME.pyx`` beside ``NAME.py``.

The Python is the meaning, and runs wherever nothing was compiled. A twin takes what is ordinary,
whole, or declines having changed nothing; then the Python takes it.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

__all__ = ["PURE", "is_compiled", "twin"]

PURE = "LISPMSRT_PURE"
"""Environment variable: set to anything, no compiled module is used."""


def twin(name: str) -> ModuleType | None:
    """Return a compiled module, None where there is none or none is wanted."""
    if os.environ.get(PURE):
        return None
    try:
        return import_module(name)
    except (ImportError, ValueError):
        # ValueError: it was compiled against another shape of what it imports. `lispmsrt show
        # overview` says when the Python does it all.
        return None


def is_compiled() -> bool:
    """Tell whether this process uses compiled modules."""
    return twin("lispmsrt.mapping._registration") is not None
