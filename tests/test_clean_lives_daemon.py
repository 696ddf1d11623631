"""A real daemon that is told to stop, told so twice, or has not got what it needs."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lispmsrt import Etr, parse_config
from lispmsrt.session.base import CloseReason
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.management_ground import private_directory
from tests.rim import Listener, etr_text, map_server_text, mapping
from tests.running import CHECKOUT, TERMINATED, Child, free_port, start

_HOST, _ETR, _HAND = "127.0.0.1", "127.0.0.2", "127.0.0.3"
_KEY = Secret(0, 2, b"campus secret")
_STARTED = "reliable transport on"


class LifeGround(TestCase):
    """Daemons, and an ETR in this process."""

    timeout = 60

    def setUp(self) -> None:
        """A port for all of them."""
        self.port = free_port(_HOST, _ETR, _HAND)
        self.listener = Listener()

    def daemon(self, text: str, *arguments: str, **environment: str) -> Child:
        """Start a daemon with this configuration."""
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(text.replace("4342", str(self.port)))
        self.path.chmod(0o600)
        command = ("-n", "--pidfile=", *arguments, "lispmsrt", "--config", str(self.path))
        return start(self, reactor, *command, **environment)

    async def etr(self, *eids: str) -> Etr:
        """Return an ETR that has a session with the daemon, on which these are registered."""
        options = f'transports = ["tcp:{_HOST}:4342"]'
        text = etr_text(server_options=options).replace("4342", str(self.port))
        config = parse_config(text).etr
        assert config is not None
        etr = Etr(config, reactor, listener=self.listener)
        etr.startService()
        self.addCleanup(etr.stopService)
        for each in eids:
            await etr.register(mapping(each, _ETR))
        await self.until(lambda: "up" in self.listener.names())
        return etr

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait; the test's own timeout ends it."""
        while not is_so():
            await deferLater(reactor, 0.02, lambda: None)

    def pid(self, child: Child) -> int:
        """Return the daemon's."""
        transport: Any = child.transport
        number: int = transport.pid
        return number

    async def unread(self) -> socket.socket:
        """Return a session whose answers wait for somebody to read them."""
        hand = EtrHand(_HAND, key=_KEY, xtr_id=77)
        ours = record(eid("10.1.77.0/24"), locator(_HAND))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((_HAND, self.port))
            udp.setblocking(False)
            udp.sendto(hand.map_register(ours), (_HOST, self.port))
            await self.until(lambda: self._is_answered(udp))
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.bind((_HAND, 0))
        peer.connect((_HOST, self.port))
        peer.setblocking(False)
        await self._pour(peer, hand.registration(ours))
        return peer

    @staticmethod
    def _is_answered(udp: socket.socket) -> bool:
        try:
            return bool(udp.recv(2000))
        except BlockingIOError:
            return False

    async def _pour(self, peer: socket.socket, message: bytes) -> None:
        """Write until the daemon has stopped to read."""
        rest, refusals = b"", 0
        while refusals < 25:
            rest = rest or message * 500
            try:
                rest = rest[peer.send(rest) :]
                refusals = 0
            except BlockingIOError:
                refusals += 1
                await deferLater(reactor, 0.01, lambda: None)


class StopTests(LifeGround):
    """SIGTERM."""

    async def test_sessions_are_closed_in_order(self) -> None:
        """The ETR hears that at once, and the daemon is gone."""
        child = self.daemon(map_server_text())
        await child.says(_STARTED)
        await self.etr("10.1.1.0/24")
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        await self.until(lambda: "down" in self.listener.names())
        self.assertIn(("down", _HOST, CloseReason.PEER_CLOSED.name), self._downs())
        self.assertRegex(child.output, r"closed 1 sessions in [0-9.]+ s; 0 more")
        self.assertNotIn("Traceback", child.output)

    def _downs(self) -> list[tuple[Any, ...]]:
        downs = [event for event in self.listener.heard if event[0] == "down"]
        return [(name, host.partition(":")[0], reason) for name, host, reason in downs]

    async def test_who_does_not_read_holds_it_for_the_named_time(self) -> None:
        """And is reset then."""
        child = self.daemon(map_server_text(options="drain-timeout = 0.3"))
        await child.says(_STARTED)
        await self.unread()
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        self.assertRegex(child.output, r"closed 0 sessions in [0-9.]+ s; 1 more were not closed")
        self.assertNotIn("Traceback", child.output)

    async def test_a_second_signal_is_not_argued_with(self) -> None:
        """It leaves at once, and leaves the rest to the kernel."""
        child = self.daemon(map_server_text(options="drain-timeout = 3600"))
        await child.says(_STARTED)
        await self.unread()
        child.signal("TERM")
        await child.says("stopping: 1 sessions to close")
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        self.assertIn("leaving at once, with 1 sessions not closed", child.output)
        self.assertNotIn("closed 0 sessions", child.output)
        self.assertNotIn("Traceback", child.output)


class LimitTests(LifeGround):
    """What the kernel allows a daemon."""

    def limits(self, child: Child) -> dict[str, tuple[str, str]]:
        """Return soft and hard limits by name."""
        text = Path(f"/proc/{self.pid(child)}/limits").read_text()
        rows = re.findall(r"(?m)^(Max .+?)\s{2,}(\S+)\s+(\S+)", text)
        return {name: (soft, hard) for name, soft, hard in rows}

    async def test_limits_of_a_daemon(self) -> None:
        """No core dump, and descriptors for all sessions, by whatever shell it was started."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1000), hard))
        try:
            child = self.daemon(map_server_text(options="max-sessions = 1100"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await child.says(_STARTED)
        limits = self.limits(child)
        self.assertEqual(limits["Max core file size"][0], "0")
        self.assertEqual(limits["Max open files"][0], "1356")
        self.assertNotIn("file descriptors are allowed", child.output)

    async def test_too_few_descriptors_are_told_at_the_start(self) -> None:
        """Where they can't be raised."""
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        sessions = 2_000_000_000 if hard == resource.RLIM_INFINITY else hard
        child = self.daemon(map_server_text(options=f"max-sessions = {sessions}"))
        said = await child.says(_STARTED)
        if hard != resource.RLIM_INFINITY:
            self.assertIn(f"only {hard} file descriptors are allowed, and max-sessions", said)

    async def test_no_descriptor_left(self) -> None:
        """Who connects is reset, the session stays; with more of them there is another session."""
        place = f"{private_directory(self)}/ms.sock"
        child = self.daemon(map_server_text(), LISPMSRT_SOCKET=place)
        await child.says("management on ")
        etr = await self.etr("10.1.1.0/24")
        pid = self.pid(child)
        _soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (await self._filled(pid, place), hard))
        for _number in range(3):
            self.assertEqual(self._end_of_another(), "reset")
        await child.says("no file descriptor is left for connections")
        await etr.register(mapping("10.1.2.0/24", _ETR))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        await self.unread()
        self.assertEqual(self.listener.names(), ["up"])
        self.assertNotIn("Traceback", child.output)

    async def _filled(self, pid: int, place: str) -> int:
        """Have no gap among a process's descriptors; return the first number behind them."""
        while True:
            numbers = set(map(int, os.listdir(f"/proc/{pid}/fd")))
            gaps = set(range(max(numbers))) - numbers
            if not gaps:
                return max(numbers) + 1
            for _gap in gaps:
                filler = socket.socket(socket.AF_UNIX)
                self.addCleanup(filler.close)
                filler.connect(place)
            await deferLater(reactor, 0.05, lambda: None)

    def _end_of_another(self) -> str:
        """Connect, and tell what becomes of it."""
        try:
            with socket.create_connection((_HOST, self.port), timeout=10) as peer:
                peer.recv(1)
        except ConnectionResetError:
            return "reset"
        return "closed"


class FullDiskTests(LifeGround):
    """A log that can't be written."""

    async def test_it_serves_all_the_same(self) -> None:
        """And stops like any other."""
        self.daemon(map_server_text()).kill()
        twistd = "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", twistd, "-n", "--pidfile=", "lispmsrt"]
        socket_at = f"{private_directory(self)}/ms.sock"
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "LISPMSRT_SOCKET": socket_at}
        with open("/dev/full", "wb") as full:
            process = subprocess.Popen(
                [*command, "--config", str(self.path)], stdout=full, stderr=full, env=environment
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        await self.etr("10.1.1.0/24")
        process.terminate()
        self.assertIn(await deferToThread(process.wait), TERMINATED)


class SecretsTests(LifeGround):
    """Who may read what."""

    async def test_a_file_with_keys_that_everybody_may_read_is_told(self) -> None:
        """One line; it starts all the same."""
        child = self.daemon(map_server_text())
        self.path.chmod(0o644)
        said = await child.says(_STARTED)
        self.assertEqual(said.count(f"{self.path} has secrets in it, and everybody"), 1)

    @skipUnless(os.getuid() == 0, "only root can become somebody else")
    async def test_an_etr_keeps_its_identity_as_another_user(self) -> None:
        """Its state directory is that user's."""
        place = private_directory(self)
        os.chown(place, 65534, 65534)
        text = etr_text("10.1.1.0/24", options=f'state-dir = "{place}/etr"')
        socket_at = {"LISPMSRT_SOCKET": f"{place}/etr.sock"}
        child = self.daemon(text, "--uid", "65534", "--gid", "65534", **socket_at)
        await child.says("LISP control on UDP")
        kept = place / "etr" / "etr-identity.json"
        self.assertEqual((kept.stat().st_uid, kept.stat().st_mode & 0o777), (65534, 0o600))
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        for noise in ("Traceback", "can't", "not kept"):
            self.assertNotIn(noise, child.output)
