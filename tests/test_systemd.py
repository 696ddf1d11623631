"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.services.systemd import SystemdNotifier


class SystemdTests(SynchronousTestCase):
    """A daemon of Type=notify."""

    def setUp(self) -> None:
        """Listen as systemd does, at an abstract address."""
        self.clock = Clock()
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        name = f"lispmsrt-test-{os.getpid()}"
        self.systemd.bind(f"\0{name}")
        self.systemd.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": f"@{name}"}

    def _notifier(self, **environment: str) -> SystemdNotifier:
        return SystemdNotifier(self.clock, lambda: "all well", {**self.environment, **environment})

    def _heard(self) -> list[str]:
        heard = []
        while True:
            try:
                heard.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return heard

    def test_ready_and_stopping(self) -> None:
        """With the line for `systemctl status`."""
        notifier = self._notifier()
        notifier.startService()
        self.assertEqual(self._heard(), ["READY=1\nSTATUS=all well"])
        notifier.stopService()
        self.assertEqual(self._heard(), ["STOPPING=1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_sign_of_life_twice_in_the_time_of_the_watchdog(self) -> None:
        """systemd.service(5) recommends half of WatchdogSec."""
        notifier = self._notifier(WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid()))
        notifier.startService()
        self._heard()
        self.clock.pump([1.0] * 8)
        self.assertEqual(self._heard(), ["WATCHDOG=1\nSTATUS=all well"] * 4)
        notifier.stopService()

    def test_the_watchdog_of_another_process_is_not_ours(self) -> None:
        """Then the status is said every ten seconds."""
        notifier = self._notifier(WATCHDOG_USEC="4000000", WATCHDOG_PID="1")
        notifier.startService()
        self._heard()
        self.clock.advance(9.0)
        self.assertEqual(self._heard(), [])
        self.clock.advance(1.0)
        self.assertEqual(len(self._heard()), 1)
        notifier.stopService()

    def test_reloading(self) -> None:
        """As Type=notify-reload wants it."""
        notifier = self._notifier()
        self.clock.advance(1.5)
        notifier.reloading()
        notifier.reloaded()
        self.assertEqual(
            self._heard(), ["RELOADING=1\nMONOTONIC_USEC=1500000", "READY=1\nSTATUS=all well"]
        )

    def test_without_systemd_nothing_is_said(self) -> None:
        """And nothing rings."""
        notifier = SystemdNotifier(self.clock, lambda: "all well", {})
        notifier.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notifier.stopService()

    def test_nobody_there_is_said_once(self) -> None:
        """And the daemon goes on."""
        self.systemd.close()
        notifier = self._notifier()
        with capturedLogs() as logs:
            notifier.startService()
            notifier.stopService()
        self.assertEqual(len(logs), 1)
        self.assertIn("refused", str(logs[0]["reason"]))

    def test_a_queue_that_was_full_once_is_filled_again(self) -> None:
        """Or the watchdog would end a daemon that is well."""
        notifier = self._notifier(WATCHDOG_USEC="4000000")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"STATUS=other", f"\0{self.environment['NOTIFY_SOCKET'][1:]}")
        with capturedLogs() as logs:
            notifier.startService()
            self.clock.advance(2.0)
        self.assertEqual(len(logs), 1)
        self._heard()
        self.clock.advance(2.0)
        self.assertEqual(self._heard(), ["WATCHDOG=1\nSTATUS=all well"])
        notifier.stopService()

    def test_a_status_that_can_not_be_told_stops_no_watchdog(self) -> None:
        """It is logged, and the sign of life goes out."""

        def fails() -> str:
            raise ZeroDivisionError

        environment = {**self.environment, "WATCHDOG_USEC": "4000000"}
        notifier = SystemdNotifier(self.clock, fails, environment)
        notifier.startService()
        self.clock.pump([2.0, 2.0])
        self.assertEqual(self._heard(), ["READY=1", "WATCHDOG=1", "WATCHDOG=1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        notifier.stopService()
