"""A network namespace of this process's own, whose loopback loses packets as nftables is told.

It has no name: it is gone with the last socket that was made in it. Nothing outside is touched.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.faults_ground import FaultGround

__all__ = ["PrivateGround", "PrivateNetwork"]

_CLONE_NEWNET = 0x40000000
_MINE = "/proc/thread-self/ns/net"
_TABLE = "inet faults"
_SBIN = "/usr/sbin:/sbin"

_libc = ctypes.CDLL(None, use_errno=True)


class PrivateNetwork:
    """Entered when it is made, left by :meth:`close`. Sockets belong to where they were made."""

    def __init__(self) -> None:
        self._home = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
        self._name = os.readlink(_MINE)
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        except OSError:
            os.close(self._home)
            raise
        self._is_open = True
        try:
            assert os.readlink(_MINE) != self._name
            # With 65536, SCTP waits for delayed SACKs of large messages.
            _run("ip", "link", "set", "lo", "up", "mtu", "1500")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Go back to where this process was before."""
        if self._is_open:
            self._is_open = False
            _check(_libc.setns(self._home, _CLONE_NEWNET), "setns")
            os.close(self._home)
        assert os.readlink(_MINE) == self._name

    # Faults

    def lose_some(self, one_in: int) -> None:
        """Lose one packet of so many, at random and each by itself."""
        self._drop(f"numgen random mod {one_in} 0")

    def lose_all(self) -> None:
        """Lose every packet."""
        self._drop("")

    def lose_port(self, port: int) -> None:
        """Lose every packet to or from a port, of whatever protocol."""
        self._drop(f"th sport {port}", f"th dport {port}")

    def heal(self) -> None:
        """Lose nothing any more."""
        _run("nft", "-f", "-", text=f"table {_TABLE}\ndelete table {_TABLE}\n")

    @property
    def packets(self) -> tuple[int, int]:
        """How many packets have come since the last change, and how many of these were lost."""
        rules = json.loads(_run("nft", "-j", "list", "table", *_TABLE.split()))["nftables"]
        found = (part for each in rules for part in each.get("rule", {}).get("expr", ()))
        come, *lost = (part["counter"]["packets"] for part in found if "counter" in part)
        return come, sum(lost)

    def _drop(self, *matches: str) -> None:
        # In one transaction: there is no moment in between.
        rules = "\n".join(f"{match} counter drop" for match in matches)
        _run(
            "nft",
            "-f",
            "-",
            text=f"table {_TABLE}\ndelete table {_TABLE}\ntable {_TABLE} {{\nchain input {{\n"
            f"type filter hook input priority 0\ncounter\n{rules}\n}}\n}}\n",
        )


class PrivateGround(FaultGround):
    """A TestCase's services on such a loopback."""

    def setUp(self) -> None:
        """From here on this process has a loopback of its own."""
        if why_not := _why_not():
            raise SkipTest(why_not)
        try:
            self.network = PrivateNetwork()
        except PermissionError as failure:
            raise SkipTest(f"This root may make no network namespace: {failure}") from None
        self.addCleanup(self.network.close)
        super().setUp()


def _why_not() -> str:
    """Return a sentence that says what is missing for it here, or nothing."""
    if os.geteuid() != 0:
        return "Only root may make a network namespace: run the tests as root."
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if _program(program) is None:
            return f"{program} is missing: install the Debian package {package}."
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _run(program: str, *arguments: str, text: str = "") -> str:
    path = _program(program)
    assert path is not None, f"{program} is missing"
    done: Any = subprocess.run(
        [path, *arguments], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{program}: {done.stderr}"
    output: str = done.stdout
    return output


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
