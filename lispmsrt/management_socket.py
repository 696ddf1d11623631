"""Where the Unix socket of the management endpoint is, for the daemon and for who talks to it, and
whether somebody else may have put it there.

Commands wait for this module: it imports nothing of the package.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["SOCKET_ROLES", "default_socket", "is_private", "socket_role", "why_distrusted"]

SOCKET_ROLES = ("map-server", "etr", "map-resolver")
"""What names the socket: the first that a process has."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def socket_role(map_server: object, etr: object, map_resolver: object) -> str:
    """Return which role names the socket of a process, given what it has for each; None where it
    has not that role.
    """
    roles = zip(SOCKET_ROLES, (map_server, etr, map_resolver), strict=True)
    return next(role for role, there in roles if there is not None)


def default_socket(
    role: str, environment: Mapping[str, str] | None = None, user: int | None = None
) -> str:
    """Return the path of a role's socket; environment and user ID are ours where none are given."""
    environment = os.environ if environment is None else environment
    if path := environment.get("LISPMSRT_SOCKET"):
        return path
    user = os.getuid() if user is None else user
    if directories := environment.get("RUNTIME_DIRECTORY"):
        # systemd.exec(5): several are separated by colons.
        directory = Path(directories.partition(":")[0])
    elif user == 0:
        directory = Path("/run/lispmsrt")
    elif runtime := environment.get("XDG_RUNTIME_DIR"):
        directory = Path(runtime, "lispmsrt")
    else:
        directory = Path(f"/tmp/lispmsrt-{user}")
    return str(directory / f"{role}.sock")


def is_private(directory: Path, user: int) -> bool:
    """Whether only this user and root can put another file in the place of one there; in one like
    /tmp nobody can. Raises OSError.
    """
    link = directory.lstat()
    # A link has no mode of its own: who owns it can have it lead elsewhere.
    found = directory.stat() if stat.S_ISLNK(link.st_mode) else link
    is_shared = found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
    return {link.st_uid, found.st_uid} <= {0, user} and not is_shared


def why_distrusted(path: Path, user: int) -> str:
    """Return why a socket may be somebody else's, in a place where anybody can make a directory or
    a socket; nothing where it is not so. Raises OSError where there is no such socket.
    """
    directory = path.parent
    if not any(place.stat().st_mode & _OTHERS_WRITE for place in (directory.parent, directory)):
        return ""
    owner = directory.lstat().st_uid
    if not is_private(directory, user):
        return f"{directory} belongs to user ID {owner}, or others may write to it"
    owner = path.lstat().st_uid
    return "" if owner in (0, user) else f"it belongs to user ID {owner}"
