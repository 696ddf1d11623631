"""Boots the guest and runs test modules in it, by the Python that runs this."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SkipTest

__all__ = ["SCRIPT", "GuestRun", "run_tests_in_guest", "skip_without_guest"]

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
SCRIPT = _CHECKOUT / "tools" / "guest" / "run-in-guest.sh"
_COUNT = re.compile(r"(\w+)=(\d+)")


@dataclass(frozen=True)
class GuestRun:
    """How it went."""

    code: int
    output: str

    @property
    def counts(self) -> dict[str, int]:
        """What trial's last line counts: successes, skips, failures, errors."""
        last = self.output.strip().splitlines()[-1:]
        if not last or not last[0].startswith(("PASSED", "FAILED")):
            return {}
        return {word: int(number) for word, number in _COUNT.findall(last[0])}


def skip_without_guest() -> None:
    """Skip the test where User Mode Linux is missing, but never under CI."""
    uml = os.environ.get("UML", "linux.uml")
    if shutil.which(uml) is None and not os.environ.get("CI"):
        raise SkipTest(f"{uml} is not installed: apt-get install user-mode-linux")


def run_tests_in_guest(
    tests: Sequence[str],
    *,
    modules: Sequence[str] = (),
    folder: Path | None = None,
    seconds: int = 300,
) -> GuestRun:
    """Run modules, classes or methods of tests there with trial, with these kernel modules.

    They may write to the folder, which LISPMSRT_CAPTURES names to them.
    """
    command = [sys.executable, "-m", "twisted.trial", "--reporter=bwverbose"]
    command += ["--temp-directory", "/tmp/trial", *tests]
    environment = {
        **os.environ,
        "GUEST_PYTHON": os.path.realpath(sys.executable),
        "GUEST_MODULES": " ".join(modules),
        "GUEST_RW": str(folder or ""),
        "GUEST_RO": ":".join({str(_CHECKOUT), sys.prefix, sys.base_prefix}),
        "GUEST_TIMEOUT": str(seconds),
        "LISPMSRT_CAPTURES": str(folder or ""),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [SCRIPT, shlex.join(command)],
        cwd=_CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + 60,
    )
    return GuestRun(done.returncode, done.stdout)
