"""Opening and closing the endpoint: Unix sockets, what is left of a dead process, what fails."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.config import ManagementConfig
from lispmsrt.services.listening import ListenError
from lispmsrt.services.operations import Operations
from lispmsrt.web import unix_sockets
from lispmsrt.web.management import Management
from lispmsrt.web.unix_sockets import complete, prepare
from tests.management_ground import ManagementGround, private_directory


class UnixSocketTests(SynchronousTestCase):
    """Before a socket is opened."""

    def setUp(self) -> None:
        self.path = private_directory(self) / "below" / "a.sock"

    def test_its_directory_is_made_for_the_owner_only(self) -> None:
        """And may be there already."""
        prepare(self.path)
        prepare(self.path)
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)

    def test_a_directory_that_others_may_write_to_is_refused(self) -> None:
        """They could put a socket of their own there; with the sticky bit they can't."""
        self.path.parent.mkdir()
        self.path.parent.chmod(0o777)
        failure = self.assertRaises(ListenError, prepare, self.path)
        self.assertIn("others may write", str(failure))
        self.path.parent.chmod(0o1777)
        prepare(self.path)

    def test_a_directory_may_be_a_link(self) -> None:
        """As /var/run is; what counts is where it leads, and who can have it lead elsewhere."""
        prepare(self.path)
        link = self.path.parent.parent / "link"
        link.symlink_to(self.path.parent)
        prepare(link / "a.sock")
        self.path.parent.chmod(0o777)
        self.assertRaises(ListenError, prepare, link / "a.sock")

    def test_a_socket_that_nobody_answers_on_is_removed(self) -> None:
        """What a killed process left."""
        prepare(self.path)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.path))
        prepare(self.path)
        self.assertFalse(self.path.exists())

    def test_a_socket_that_somebody_answers_on_stays(self) -> None:
        """Another process serves it, even if it is too busy to take us."""
        prepare(self.path)
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(str(self.path))
            living.listen(0)
            for _attempt in range(3):
                failure = self.assertRaises(ListenError, prepare, self.path)
                self.assertIn("is served by another process", str(failure))
            self.assertTrue(self.path.exists())

    def test_what_is_no_socket_stays(self) -> None:
        """A wrong path must cost nobody a file."""
        prepare(self.path)
        self.path.write_text("precious")
        failure = self.assertRaises(ListenError, prepare, self.path)
        self.assertIn("no socket", str(failure))
        self.assertEqual(self.path.read_text(), "precious")

    def test_what_may_not_be_looked_at_is_an_error_in_one_sentence(self) -> None:
        """As a directory of somebody else, or a path that is too long for a socket."""
        prepare(self.path)

        def denied(path: Path, *rest: object) -> Any:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        with patch.object(Path, "lstat", denied):
            failure = self.assertRaises(ListenError, prepare, self.path)
        self.assertEqual(str(failure), f"{self.path} can't be opened: Permission denied")
        with patch("lispmsrt.web.unix_sockets.is_private", denied):
            failure = self.assertRaises(ListenError, prepare, self.path)
        self.assertIn("Permission denied", str(failure))

    def test_unix_strings_are_completed(self) -> None:
        """Twisted would let everybody in."""
        self.assertEqual(complete("unix:/a"), "unix:/a:mode=600:lockfile=0")
        self.assertEqual(complete("unix:/a:mode=660"), "unix:/a:mode=660:lockfile=0")
        self.assertEqual(complete("tcp:80"), "tcp:80")


class LifeTests(ManagementGround):
    """Starting and stopping."""

    async def test_sockets_are_for_the_owner_only_unless_a_mode_is_given(self) -> None:
        """And nothing is left of them afterwards, not even beside."""
        shared = self.directory / "shared.sock"
        self.listen = (f"unix:{shared}:mode=660",)
        self.start()
        self.assertEqual(stat.S_IMODE(Path(self.socket).stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(shared.stat().st_mode), 0o660)
        await self.management.stopService()
        self.assertEqual(os.listdir(self.directory), [])
        self.management.startService()
        self.assertEqual((await self.get("/")).status, 200)

    async def test_without_an_endpoint_it_listens_at_the_default_socket(self) -> None:
        """Which is named after the role."""
        self.patch(os, "environ", {**os.environ, "RUNTIME_DIRECTORY": str(self.directory)})
        self.start(listen=())
        self.assertEqual(os.listdir(self.directory), ["map-server.sock"])
        self.assertEqual((await self.get("/api/v1/overview")).status, 200)
        self.assertEqual(stat.S_IMODE(Path(self.socket).stat().st_mode), 0o600)

    def test_switched_off_it_opens_nothing(self) -> None:
        """Not even the default socket."""
        self.start(enabled=False)
        self.assertEqual((self.management.addresses, os.listdir(self.directory)), ([], []))

    def test_what_can_not_be_opened_is_an_error(self) -> None:
        """It is named, and what was opened before is closed again."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.listen = (f"tcp:{port}:interface=127.0.0.1",)
            failure = self.assertRaises(ListenError, self.start)
        self.assertIn(f"listen 'tcp:{port}:interface=127.0.0.1'", str(failure))
        return self.management.stopService()

    def test_unless_nobody_asked_for_it(self) -> None:
        """Then there is a warning, and the process goes on."""
        self.start()
        again = Management(
            self.management.config,
            self.views,
            Operations(None, None, None),
            reactor,
            is_optional=True,
        )
        with capturedLogs() as events:
            again.startService()
        (event,) = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("served by another process", str(event["reason"]))
        return again.stopService()

    def test_nor_does_it_need_a_place_that_it_may_look_at(self) -> None:
        """Somebody else's directory costs the endpoint, not the process."""
        self.start()

        def denied(directory: Path, user: int) -> bool:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        self.patch(unix_sockets, "is_private", denied)
        nobody = Operations(None, None, None)
        config = ManagementConfig(listen=(f"unix:{self.directory}/other.sock",))
        again = Management(config, self.views, nobody, reactor, is_optional=True)
        with capturedLogs() as events:
            again.startService()
        (event,) = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("Permission denied", str(event["reason"]))
        return again.stopService()

    def test_what_systemd_opened_to_others_is_refused(self) -> None:
        """Its address is seen only then."""
        self.start()
        management = Management(
            ManagementConfig(listen=("systemd:domain=INET:index=0",)),
            self.views,
            self.operations,
            reactor,
        )
        port = _Port("192.0.2.1")
        management._opened(port, management._site(), "x")  # type: ignore[arg-type]
        failure = self.assertRaises(ListenError, management._check_reach, "x")
        self.assertIn("192.0.2.1", str(failure))

    async def test_streams_and_connections_end_with_it(self) -> None:
        """Whoever listens sees the end of the stream."""
        self.start()
        answer = self.get("/api/v1/stream")
        self.reactor.callLater(0.2, self.management.stopService)
        heard = await answer
        self.assertEqual(heard.status, 200)
        self.assertEqual(self.management.addresses, [])


class _Port:
    def __init__(self, host: str) -> None:
        self._host = host

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self._host, 80)
