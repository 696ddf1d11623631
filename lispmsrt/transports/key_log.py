"""The secrets of connections in a file, as Wireshark reads them (NSS key log, ``SSLKEYLOGFILE``).

Whoever reads that file reads the connections.
"""

from __future__ import annotations

import os

from twisted.logger import Logger

__all__ = ["KeyLog"]

# Not to wait for a reader, should it be a pipe.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class KeyLog:
    """Appends lines to a file that only its owner may read."""

    _log = Logger()

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_broken = False

    @classmethod
    def from_option(cls, text: str) -> KeyLog | None:
        """Parse the option ``keyLog``; nothing is created before the first connection."""
        if not text:
            return None
        path = os.path.abspath(text)  # a daemon changes its directory
        place = path if os.path.exists(path) else os.path.dirname(path)
        if os.path.isdir(path) or not os.access(place, os.W_OK):
            raise ValueError(f"keyLog={text}: can't be written")
        return cls(path)

    def add(self, line: bytes) -> None:
        """Add a line, which ends with a newline. What can't be written is told once: it costs the
        log, not the connection.
        """
        if self._is_broken:
            return
        try:
            with open(os.open(self._path, _FLAGS, 0o600), "ab") as file:
                file.write(line)
        except OSError as failure:
            self._is_broken = True
            self._log.warn(
                "keyLog={path}: can't be written: {problem}",
                path=self._path,
                problem=failure.strerror,
            )
