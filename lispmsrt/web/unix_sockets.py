"""Unix sockets that only their owner may open, and what a process that died has left of one."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lispmsrt.config.management import unix_path
from lispmsrt.management_socket import is_private
from lispmsrt.services.listening import ListenError

__all__ = ["complete", "prepare", "private_files"]

_MODE = "mode=600"


def complete(text: str) -> str:
    """Complete a ``unix:`` endpoint string: Twisted would let everybody in, and put a lock beside
    the socket that a process in a container, whose ID comes again, takes for its own.
    """
    if unix_path(text) is None:
        return text
    if ":mode=" not in text:
        text = f"{text}:{_MODE}"
    return text if ":lockfile=" in text else f"{text}:lockfile=0"


def prepare(path: Path) -> None:
    """Make the directory of a socket, and remove a socket that nobody answers on; ListenError says
    why it can't be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise ListenError(f"{path.parent} can't be made: {failure.strerror}") from None
    try:
        if not is_private(path.parent, os.geteuid()):
            raise ListenError(f"others may write to {path.parent}, where the socket would be")
        if _is_answered(path):
            raise ListenError(f"{path} is served by another process")
    except OSError as failure:
        raise ListenError(f"{path} can't be opened: {failure.strerror or failure}") from None


def _is_answered(path: Path) -> bool:
    """Whether somebody answers on a socket; one that nobody does is removed. Raises OSError."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(f"{path} is there already, and no socket")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                path.unlink()
            return False
        except BlockingIOError:
            return True  # its queue is full
    return True


@contextmanager
def private_files() -> Iterator[None]:
    """Have what is made meanwhile belong to its owner only, from its first moment."""
    earlier = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(earlier)
