"""Mappings in a TOML file: ``[[mapping]]`` tables, or a configuration's ``[[etr.mapping]]``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

__all__ = ["Mapping", "MappingFileError", "read_mappings"]

Mapping = dict[str, object]
"""As the API takes it: what is wrong in it the daemon says."""


class MappingFileError(Exception):
    """Why the file can't be used, in one sentence."""


def read_mappings(path: str) -> list[Mapping]:
    """Return the mappings of a file; ``-`` is standard input; raise MappingFileError."""
    place = "standard input" if path == "-" else path
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as failure:
        raise MappingFileError(f"{place} can't be read: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise MappingFileError(f"{place} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as failure:
        raise MappingFileError(f"{place} is not valid TOML: {failure}") from None
    etr = tables.get("etr")
    found = tables.get("mapping") or (etr.get("mapping") if isinstance(etr, dict) else None)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise MappingFileError(f"{place} has no [[mapping]] tables")
    return found
