"""Files that hold a secret and nothing else. One that others may read holds none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import BaseModel, SecretStr

__all__ = ["exposure", "has_secrets", "read_secret_file"]

_MAX_OCTETS = 65_536
"""Of a file: whoever names a device or a log by mistake is told, and does not fill the memory."""

_READ = stat.S_IROTH
_WRITTEN = stat.S_IWGRP | stat.S_IWOTH


def read_secret_file(path: Path, option: str) -> bytes:
    """Return what a file holds; ValueError, with the option's name, says why it can't be used.

    Its group may read it: that of the daemon, where the file is root's (docs/systemd.rst).
    """
    try:
        with open(path, "rb") as file:
            # Of what was opened: the name may lead elsewhere a moment later.
            why = exposure(os.fstat(file.fileno()))
            octets = file.read(_MAX_OCTETS + 1)
    except OSError as failure:
        raise ValueError(f"{option} {path} can't be read: {failure.strerror}") from None
    if why:
        raise ValueError(f"{option} {path}: {why} (chmod 640, or 600)")
    if len(octets) > _MAX_OCTETS:
        raise ValueError(f"{option} {path} has more than {_MAX_OCTETS} octets")
    return octets


def exposure(found: os.stat_result) -> str:
    """Return who else may read or write a file; nothing where its secret is safe."""
    if found.st_mode & _READ:
        return "everybody on this machine may read it"
    return "others may write to it" if found.st_mode & _WRITTEN else ""


def has_secrets(section: object) -> bool:
    """Whether a configuration, or a part of one, has secrets itself, and not in other files."""
    if isinstance(section, SecretStr):
        return True
    if isinstance(section, BaseModel):
        return any(has_secrets(value) for _name, value in section)
    return isinstance(section, tuple | list) and any(map(has_secrets, section))
