"""Where a Map-Server's memory is kept, and whether that place is its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from lispmsrt.config import SocketAddress

__all__ = [
    "AUTO",
    "OFF",
    "make_private",
    "state_file",
    "why_directory_is_not_private",
    "why_not_private",
]

AUTO = "auto"
OFF = "off"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def state_file(
    option: str,
    control: SocketAddress,
    *,
    is_daemon: bool,
    environment: Mapping[str, str] | None = None,
    user: int | None = None,
) -> Path | None:
    """Return the file for the option ``state`` of a Map-Server at this address; None where it keeps
    nothing. ``auto`` means a place for a daemon, and nothing for whoever embeds a Map-Server.
    """
    if option == OFF:
        return None
    if option != AUTO:
        # The daemon may change its directory later.
        return Path(option).absolute()
    if not is_daemon:
        return None
    directory = _directory(os.environ if environment is None else environment, user)
    if directory is None:
        return None
    # Two daemons on one host have two addresses, and a memory each.
    host = control.host.replace(":", "-")
    return directory / f"map-server-{host}-{control.port}.state"


def _directory(environment: Mapping[str, str], user: int | None) -> Path | None:
    if named := environment.get("LISPMSRT_STATE"):
        return None if named == OFF else Path(named).absolute()
    if directories := environment.get("STATE_DIRECTORY"):
        # systemd.exec(5): several are separated by colons.
        return Path(directories.partition(":")[0])
    if (os.getuid() if user is None else user) == 0:
        return Path("/var/lib/lispmsrt")
    if home := environment.get("XDG_STATE_HOME"):
        return Path(home, "lispmsrt")
    home = environment.get("HOME")
    return Path(home, ".local/state/lispmsrt") if home else None


def make_private(directory: Path) -> None:
    """Make a directory for its owner alone, where there is none. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def why_directory_is_not_private(directory: Path, user: int) -> str:
    """Return why somebody else may put files there; nothing where it is not so. Raises OSError.

    A sticky one, as /tmp, is no better: a file beside the state is taken for a part of it.
    """
    found = directory.stat()
    if found.st_uid not in (0, user):
        return f"{directory} belongs to user ID {found.st_uid}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {directory}"
    return ""


def why_not_private(path: Path, user: int) -> str:
    """Return why somebody else may read or write a file; nothing where it is not so. Raises
    OSError.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid != user:
        return f"it belongs to user ID {found.st_uid}"
    return "others may read or write it" if found.st_mode & _OTHERS else ""
