"""The secrets of connections in a file, as Wireshark reads them (NSS key log, ``SSLKEYLOGFILE``).

Whoever reads that file reads the connections.
"""

from __future__ import annotations

import os
import stat

from twisted.logger import Logger

__all__ = ["KeyLog"]

# Not to wait for a reader, should it be a pipe.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


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
        problem = self._append(line)
        if problem:
            self._is_broken = True
            self._log.warn(
                "keyLog={path}: can't be written: {problem}", path=self._path, problem=problem
            )

    def _append(self, line: bytes) -> str:
        """Append to the file; return why that can't be done, or nothing."""
        try:
            with open(os.open(self._path, _FLAGS, 0o600), "ab") as file:
                # Of what was opened: somebody may have put his own file in its place.
                problem = _exposure(os.fstat(file.fileno()))
                if not problem:
                    file.write(line)
                return problem
        except OSError as failure:
            return failure.strerror or str(failure)


def _exposure(found: os.stat_result) -> str:
    """Return who else may read a file; nothing for pipes and devices: who names one knows who reads
    it.
    """
    if not stat.S_ISREG(found.st_mode):
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return "it is another user's"
    return "others may read it or write to it (chmod 600)" if found.st_mode & _OTHERS else ""
