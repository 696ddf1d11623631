"""A file descriptor put aside: with none left, a connection could be neither taken nor reset, and
would wait until its peer gives up.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["OUT_OF_DESCRIPTORS", "Spare", "spare"]

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Why nothing can be accepted though somebody waits, and would for ever: this process, the machine
or the kernel's memory is at its limit.
"""


class Spare:
    """One descriptor that stands for nothing."""

    def __init__(self) -> None:
        self._held: int | None = None

    def hold(self) -> None:
        """Put one aside, if none is and there is one."""
        if self._held is None:
            with suppress(OSError):
                self._held = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give it away for a moment; it is taken back behind that."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)
        try:
            yield
        finally:
            self.hold()


spare = Spare()
"""That of this process: the limit is the process's too."""
