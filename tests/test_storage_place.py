"""Where a state file is, and whether the place is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.config import ConfigError, SocketAddress
from lispmsrt.storage.place import (
    make_private,
    state_file,
    why_directory_is_not_private,
    why_not_private,
)
from tests.rim import map_server_text

_CONTROL = SocketAddress("192.0.2.1", 4342)
_NAME = "map-server-192.0.2.1-4342.state"


class PlaceTests(SynchronousTestCase):
    """The option, and the environment."""

    def _auto(self, user: int = 1000, **environment: str) -> Path | None:
        return state_file("auto", _CONTROL, is_daemon=True, environment=environment, user=user)

    def test_off_is_off(self) -> None:
        """By the option, or the environment."""
        self.assertIsNone(state_file("off", _CONTROL, is_daemon=True))
        self.assertIsNone(self._auto(LISPMSRT_STATE="off", STATE_DIRECTORY="/a"))

    def test_a_named_file_is_that_file(self) -> None:
        """Also embedded, and when the daemon changes its directory."""
        for is_daemon in (False, True):
            self.assertEqual(state_file("/a/b", _CONTROL, is_daemon=is_daemon), Path("/a/b"))
        self.assertEqual(state_file("./b", _CONTROL, is_daemon=False), Path.cwd() / "b")

    def test_auto_is_for_daemons(self) -> None:
        """Nothing is written where a program did not ask for it."""
        self.assertIsNone(state_file("auto", _CONTROL, is_daemon=False))

    def test_the_first_directory_that_applies(self) -> None:
        """Said, systemd's, root's, the user's."""
        environment = {
            "LISPMSRT_STATE": "/said",
            "STATE_DIRECTORY": "/systemd:/other",
            "XDG_STATE_HOME": "/xdg",
            "HOME": "/home/me",
        }
        self.assertEqual(self._auto(**environment), Path("/said", _NAME))
        del environment["LISPMSRT_STATE"]
        self.assertEqual(self._auto(**environment), Path("/systemd", _NAME))
        del environment["STATE_DIRECTORY"]
        self.assertEqual(self._auto(0, **environment), Path("/var/lib/lispmsrt", _NAME))
        self.assertEqual(self._auto(**environment), Path("/xdg/lispmsrt", _NAME))
        del environment["XDG_STATE_HOME"]
        self.assertEqual(self._auto(**environment), Path("/home/me/.local/state/lispmsrt", _NAME))
        self.assertIsNone(self._auto())

    def test_each_address_has_a_file_of_its_own(self) -> None:
        """IPv6 too."""
        found = state_file(
            "auto",
            SocketAddress("2001:db8::1", 4343),
            is_daemon=True,
            environment={"LISPMSRT_STATE": "/a"},
        )
        self.assertEqual(found, Path("/a/map-server-2001-db8--1-4343.state"))

    def test_the_option_is_checked(self) -> None:
        """A word that is none of ours is no file name."""
        for text in ("auto", "off", "/var/lib/x", "./x"):
            config = parse_config(map_server_text(options=f'state = "{text}"')).map_server
            assert config is not None
            self.assertEqual(config.state, text)
        for text in ("on", "", "/var/lib/"):
            error = self.assertRaises(
                ConfigError, parse_config, map_server_text(options=f'state = "{text}"')
            )
            self.assertIn("map-server.state", str(error))

    def test_who_else_may_write_there(self) -> None:
        """To the file, or to its directory, sticky as /tmp or not."""
        directory = Path(self.mktemp())
        make_private(directory)
        self.assertEqual(directory.stat().st_mode & 0o777, 0o700)
        path, user = directory / "state", os.getuid()
        self.assertEqual(why_not_private(path, user), "")
        path.write_text("")
        for mode, is_private in ((0o600, True), (0o640, False), (0o602, False)):
            path.chmod(mode)
            self.assertEqual(why_not_private(path, user) == "", is_private, oct(mode))
        path.chmod(0o600)
        for mode, is_private in ((0o777, False), (0o1777, False), (0o755, True)):
            directory.chmod(mode)
            why = why_directory_is_not_private(directory, user)
            self.assertEqual(why == "", is_private, oct(mode))
        os.chown(directory, 12345, -1)
        self.assertIn("belongs to user ID 12345", why_directory_is_not_private(directory, user))
        self.assertIn("belongs to user ID", why_not_private(path, user + 1))
        path.unlink()
        path.symlink_to("/etc/passwd")
        self.assertIn("no regular file", why_not_private(path, user))
