"""The command ``lispmsrt lig`` as a child process of the demo."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Lig"]

_CHUNK = 65536


class Lig:
    """One run of the command. Its output is what it has printed, errors included."""

    def __init__(self, arguments: Sequence[str], directory: Path) -> None:
        """Start it in a directory."""
        self.command = shlex.join(("lispmsrt", "lig", *arguments))
        self._printed = bytearray()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lispmsrt", "lig", *arguments],
            bufsize=0,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Return what it has printed so far."""
        while not self._stdout.closed and (chunk := self._stdout.read(_CHUNK)):
            self._printed += chunk
        return self._printed.decode(errors="replace")

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """End it at once, if it has not ended; nothing of it is left."""
        self._process.kill()
        self._process.wait()
        self._stdout.close()


def _python_path() -> str:
    """Return where this process finds its modules, wherever it was started and from whatever."""
    return os.pathsep.join(map(os.path.abspath, sys.path))
