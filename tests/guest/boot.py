"""Boots the guest and runs test modules in it, by the Python that runs this."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SkipTest

__all__ = ["SCRIPT", "GuestRun", "guest_run", "skip_without_guest"]

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
SCRIPT = _CHECKOUT / "tools" / "guest" / "run-in-guest.sh"
_COUNT = re.compile(r"(\w+)=(\d+)")


@dataclass(frozen=True)
class Guest:
    """One boot: tests by their names, and the kernel modules that they need."""

    tests: tuple[str, ...]
    modules: tuple[str, ...]
    seconds: int = 400


@dataclass(frozen=True)
class GuestRun:
    """How it went."""

    code: int
    output: str
    folder: Path
    "of what they wrote"

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


def guest_run(name: str) -> GuestRun:
    """Return how the tests of one of the GUESTS went; wait for them if need be.

    A run of all tests needs all of the guests, which mostly wait: they boot one after the other
    beside the other tests, from the first that is asked for.
    """
    if os.environ.get("LISPMSRT_ALL_TESTS"):
        wanted = [name, *(other for other in GUESTS if other != name)]
    else:
        wanted = [name]
    for each in wanted:
        if each not in _RUNS:
            _RUNS[each] = _ONE_BY_ONE.submit(_run, GUESTS[each])
    return _RUNS[name].result()


def _run(guest: Guest) -> GuestRun:
    """Run the tests of a guest there with trial. They may write to a folder of the host's, which
    LISPMSRT_CAPTURES names to them.
    """
    keeper = tempfile.TemporaryDirectory(prefix="lispmsrt-guest-")
    _KEEPERS.append(keeper)
    command = [sys.executable, "-m", "twisted.trial", "--reporter=bwverbose"]
    command += ["--temp-directory", "/tmp/trial", *guest.tests]
    environment = {
        **os.environ,
        "GUEST_PYTHON": os.path.realpath(sys.executable),
        "GUEST_MODULES": " ".join(guest.modules),
        "GUEST_RW": keeper.name,
        "GUEST_RO": ":".join({str(_CHECKOUT), sys.prefix, sys.base_prefix}),
        "GUEST_TIMEOUT": str(guest.seconds),
        "LISPMSRT_CAPTURES": keeper.name,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with subprocess.Popen(
        [SCRIPT, shlex.join(command)],
        cwd=_CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        _PROCESSES.append(process)
        output, _nothing = process.communicate(timeout=guest.seconds + 60)
    return GuestRun(process.returncode, output, Path(keeper.name))


def _end_all() -> None:
    """Nobody waits any more: the tests are over, or were stopped."""
    _ONE_BY_ONE.shutdown(wait=False, cancel_futures=True)
    for process in _PROCESSES:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)


_IS_LONG = bool(os.environ.get("LISPMSRT_LONG"))

GUESTS = {
    "faults": Guest(
        ("tests.guest.faults_netem", "tests.guest.faults_blackhole"),
        ("sch_netem", "sch_ingress", "cls_u32", "act_gact"),
        seconds=1800 if _IS_LONG else 400,
    ),
    "sctp": Guest(
        (
            "tests.guest.sctp_life",
            "tests.guest.sctp_strangers",
            "tests.guest.sctp_readers",
            "tests.guest.sctp_paths",
            "tests.guest.sctp_capture",
            "tests.guest.usrsctp_kernel_peer",
        ),
        ("veth", "sch_ingress", "cls_u32", "act_gact"),
    ),
    "sessions": Guest(
        ("tests.guest.session_over_sctp",),
        (),
        seconds=1800 if _IS_LONG else 400,
    ),
}
"""What is run inside. Further tests need only be named here."""

_ONE_BY_ONE = ThreadPoolExecutor(max_workers=1)
_RUNS: dict[str, Future[GuestRun]] = {}
_KEEPERS: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that go when the tests are over."""
_PROCESSES: list[subprocess.Popen[str]] = []
# Before threads are waited for.
threading._register_atexit(_end_all)  # type: ignore[attr-defined]
