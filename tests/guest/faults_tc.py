"""Traffic control of the guest's loopback."""

from __future__ import annotations

import subprocess
from typing import Any

__all__ = ["Loopback", "tc"]


def tc(*arguments: str) -> str:
    """Run ``tc`` and return what it says."""
    done: Any = subprocess.run(["tc", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"tc {' '.join(arguments)}: {done.stderr}"
    output: str = done.stdout
    return output


class Loopback:
    """Drops what arrives over IPv4. It needs the kernel modules sch_ingress, cls_u32, act_gact."""

    def __init__(self) -> None:
        self._is_whole = True

    def lose_all(self) -> None:
        """Lose every packet."""
        self._drop("u32 0 0")

    def lose_port(self, port: int) -> None:
        """Lose every packet to or from a port, of whatever protocol, and no other."""
        self._drop(f"ip sport {port} 0xffff", f"ip dport {port} 0xffff")

    def heal(self) -> None:
        """Lose nothing any more."""
        if not self._is_whole:
            tc("qdisc", "del", "dev", "lo", "clsact")
            self._is_whole = True

    def _drop(self, *matches: str) -> None:
        self.heal()
        tc("qdisc", "add", "dev", "lo", "clsact")
        self._is_whole = False
        for match in matches:
            rule = f"filter add dev lo ingress protocol ip u32 match {match} action drop"
            tc(*rule.split())
