"""Tell systemd how the daemon is (sd_notify(3)): ready, reloading, stopping, still alive.

The protocol is one datagram with lines of text; what PyPI has for it is unmaintained or wants a C
compiler.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lispmsrt.clock import Alarm

__all__ = ["SystemdNotifier"]

_STATUS_INTERVAL = 10.0
"""Seconds between two lines for ``systemctl status``, where no watchdog wants to hear more."""


class SystemdNotifier(Service):
    """Say that the daemon is ready when its services run, then that it is alive, as often as the
    unit's ``WatchdogSec=`` wants. It says nothing where systemd does not listen.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        status: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """``status`` returns the line that ``systemctl status`` shows."""
        self.setName("systemd")
        self._status = status
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._interval = min(_STATUS_INTERVAL, _watchdog_seconds(environment) / 2)
        self._alarm = Alarm(clock, self._tick)
        self._is_warned = False

    def startService(self) -> None:
        """Say that the daemon is ready: start this one last."""
        super().startService()
        if self._address:
            self._say("READY=1", *self._told())
            self._alarm.set(self._clock.seconds() + self._interval)

    def stopService(self) -> None:
        """Say that the daemon stops."""
        super().stopService()
        self._alarm.set(None)
        self._say("STOPPING=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again, until :meth:`reloaded`."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.seconds() * 1e6)}")

    def reloaded(self) -> None:
        """Say that all is in force again."""
        self._say("READY=1", *self._told())

    def _tick(self) -> None:
        self._alarm.set(self._clock.seconds() + self._interval)
        # From the reactor: one that hangs says nothing, and systemd starts it anew.
        self._say("WATCHDOG=1", *self._told())

    def _told(self) -> tuple[str, ...]:
        """Return the status; nothing where it can't be told: that is no reason for a new start."""
        with self._log.failuresHandled("while telling systemd the status"):
            return (f"STATUS={self._status()}",)
        return ()

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero octet of an abstract socket.
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.setblocking(False)
                notify.sendto("\n".join(lines).encode(), address)
        except OSError as failure:
            # It may hear us the next time: its queue was full, or we were out of descriptors.
            if not self._is_warned:
                self._is_warned = True
                self._log.warn(
                    "systemd does not hear us at {address}: {reason}",
                    address=self._address,
                    reason=failure.strerror,
                )


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return what the unit's watchdog allows between two signs of life; infinite without one."""
    text = environment.get("WATCHDOG_USEC", "")
    is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / 1e6 if text.isdigit() and int(text) and is_ours else float("inf")
