"""[management]: who may be let in by which endpoint, and where the default socket is."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.cli.describe import describe
from lispmsrt.config import ConfigError, ManagementConfig
from lispmsrt.config.management import Reach, is_loopback, reach_of, read_token, unix_path
from lispmsrt.management_socket import default_socket, socket_role
from tests.rim import map_server_text

_TOKEN = "0123456789abcdef"


class _Ground(SynchronousTestCase):
    def setUp(self) -> None:
        self.token = Path(self.mktemp())
        self.token.write_text(f"{_TOKEN}\n")
        self.token.chmod(0o600)

    def config(self, text: str) -> ManagementConfig:
        """Parse the table in a file of a Map-Server."""
        config = parse_config(f"{map_server_text()}\n[management]\n{text}").management
        assert config is not None
        return config

    def mistakes(self, text: str) -> list[str]:
        """Return what is wrong with the table."""
        return self.assertRaises(ConfigError, self.config, text).mistakes


class ManagementConfigTests(_Ground):
    """The table."""

    def test_without_anything_it_listens_at_the_default_socket(self) -> None:
        """And it is not there where the file does not have it."""
        self.assertEqual(self.config(""), ManagementConfig())
        self.assertTrue(ManagementConfig().enabled)
        self.assertEqual(ManagementConfig().listen, ())
        self.assertIsNone(parse_config(map_server_text()).management)

    def test_it_is_no_role(self) -> None:
        """A file with nothing else is refused."""
        failure = self.assertRaises(ConfigError, parse_config, "[management]\n")
        self.assertIn("configures no role", str(failure))
        config = parse_config(f"{map_server_text()}\n[management]\n")
        self.assertNotIn(config.management, config.roles())

    def test_unix_and_loopback_need_no_token(self) -> None:
        """In all the ways that they are written."""
        for text in (
            "unix:/run/a.sock",
            "unix:/run/a.sock:mode=660",
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:127.0.0.1",
            "tcp:port=8080:interface=localhost",
            r"tcp6:8080:interface=\:\:1",
            "systemd:domain=UNIX:index=0",
            "systemd:domain=INET:index=0",
        ):
            self.assertEqual(self.config(f"listen = ['{text}']").listen, (text,))

    def test_what_other_machines_reach_in_the_clear_is_refused(self) -> None:
        """With a token, too: anybody on the way could read it."""
        for text in (
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=192.0.2.1",
            "tcp6:8080",
            "haproxy:tcp:8080",
            "tls13:8080",
        ):
            for token in ("", f"\ntoken-file = '{self.token}'"):
                (mistake,) = self.mistakes(f"listen = ['{text}']{token}")
                self.assertIn(f"listen {text!r} is open to other machines", mistake)

    def test_tls_needs_a_token(self) -> None:
        """And is fine with one."""
        for text in ("tls:/etc/keys:8443", "ssl:8443:privateKey=a.pem:interface=127.0.0.1"):
            (mistake,) = self.mistakes(f"listen = ['{text}']")
            self.assertIn("add a token-file", mistake)
            config = self.config(f"listen = ['{text}']\ntoken-file = '{self.token}'")
            self.assertEqual(config.listen, (text,))

    def test_endpoints_that_are_none_are_refused(self) -> None:
        """Each with its sentence."""
        self.assertIn("an endpoint is a text like", self.mistakes("listen = ['']")[0])
        self.assertIn("names no path", self.mistakes("listen = ['unix:']")[0])
        self.assertIn("twice", self.mistakes("listen = ['unix:/a', 'unix:/a']")[0])
        self.assertIn("must be a list", self.mistakes("listen = 'unix:/a'")[0])

    def test_a_token_is_long_and_of_plain_characters(self) -> None:
        """What could be guessed, or does not fit a header, is refused; it is never shown."""
        self.assertEqual(read_token(self.token), _TOKEN.encode())
        for content in ("", "short", "with a blank in the middle of it", "ümlautümlautümlaut"):
            self.token.write_text(content)
            (mistake,) = self.mistakes(f"token-file = '{self.token}'")
            self.assertIn("does not have a token", mistake)
            self.assertTrue(not content or content not in mistake)
        (mistake,) = self.mistakes("token-file = '/nowhere/token'")
        self.assertIn("can't be read", mistake)

    def test_allowed_hosts_stand_without_a_port(self) -> None:
        """In small letters, addresses as they are written best."""
        config = self.config("allowed-hosts = ['Map-Server.Example.ORG', '2001:DB8::1']")
        self.assertEqual(config.allowed_hosts, ("map-server.example.org", "2001:db8::1"))
        for text in ("a:80", "http://a", "", "a b", "-"):
            (mistake,) = self.mistakes(f"allowed-hosts = ['{text}']")
            self.assertIn("neither a name nor an address", mistake)


class EndpointTests(SynchronousTestCase):
    """What an endpoint string says."""

    def test_reach_follows_from_the_string(self) -> None:
        """As far as it says."""
        for text, reach in (
            ("unix:/a", Reach.UNIX),
            ("systemd:UNIX:index=0", Reach.UNIX),
            ("systemd:domain=INET6:index=0", Reach.INHERITED),
            ("tcp:80:interface=127.0.0.2", Reach.LOOPBACK),
            ("tcp:80:interface=", Reach.OPEN),
            (r"tcp6:80:50:\:\:1", Reach.LOOPBACK),
            ("tls:/a", Reach.ENCRYPTED),
            ("anything", Reach.OPEN),
        ):
            self.assertEqual(reach_of(text), reach, text)

    def test_paths_are_read_without_their_backslashes(self) -> None:
        """A colon or an equals sign may be in one."""
        self.assertEqual(unix_path(r"unix:/a\:b:mode=660"), "/a:b")
        self.assertEqual(unix_path(r"unix:/a\=b"), "/a=b")
        self.assertEqual(unix_path(r"unix:address=/a\\b"), r"/a\b")
        self.assertIsNone(unix_path("tcp:80"))

    def test_loopback_is_an_address_or_localhost(self) -> None:
        """Not a name that looks like one."""
        for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost", "::1%lo"):
            self.assertTrue(is_loopback(host), host)
        for host in ("", "0.0.0.0", "::", "192.0.2.1", "localhost.example.org", "127.1.example"):
            self.assertFalse(is_loopback(host), host)


class DefaultSocketTests(SynchronousTestCase):
    """Where daemon and command meet."""

    def test_the_environment_comes_first(self) -> None:
        """A whole path, then systemd's directory."""
        environment = {"LISPMSRT_SOCKET": "/a/b", "RUNTIME_DIRECTORY": "/run/x:/run/y"}
        self.assertEqual(default_socket("etr", environment, 0), "/a/b")
        del environment["LISPMSRT_SOCKET"]
        self.assertEqual(default_socket("etr", environment, 0), "/run/x/etr.sock")

    def test_root_and_others_have_places_of_their_own(self) -> None:
        """By user ID."""
        user = {"XDG_RUNTIME_DIR": "/run/user/7"}
        self.assertEqual(default_socket("etr", user, 0), "/run/lispmsrt/etr.sock")
        self.assertEqual(default_socket("etr", user, 7), "/run/user/7/lispmsrt/etr.sock")
        self.assertEqual(default_socket("map-server", {}, 7), "/tmp/lispmsrt-7/map-server.sock")

    def test_a_process_of_several_roles_is_called_by_the_first(self) -> None:
        """Map-Server, ETR, Map-Resolver."""
        there = object()
        self.assertEqual(socket_role(there, there, None), "map-server")
        self.assertEqual(socket_role(None, there, there), "etr")
        self.assertEqual(socket_role(None, None, there), "map-resolver")


class DescriptionTests(_Ground):
    """What check-config says of it."""

    def lines(self, text: str) -> str:
        """Return all lines as one text."""
        return "\n".join(describe(parse_config(f"{map_server_text()}\n{text}")))

    def test_the_endpoints_are_listed_with_what_they_let_do(self) -> None:
        """The token itself is not."""
        text = self.lines(
            "[management]\nlisten = ['unix:/run/a.sock', 'tcp:8080:interface=127.0.0.1']\n"
        )
        self.assertIn("unix:/run/a.sock: everything", text)
        self.assertIn("tcp:8080:interface=127.0.0.1: reading", text)
        text = self.lines(
            f"[management]\nlisten = ['tls:/etc/keys:8443']\ntoken-file = '{self.token}'\n"
            "allowed-hosts = ['ms.example.org']"
        )
        self.assertIn("tls:/etc/keys:8443: everything, with the token", text)
        self.assertIn("ms.example.org", text)
        self.assertNotIn(_TOKEN, text)

    def test_without_endpoints_the_default_socket_is_named(self) -> None:
        """Also where the file says nothing; and nothing where it is switched off."""
        self.assertIn(default_socket("map-server"), self.lines(""))
        self.assertIn(default_socket("map-server"), self.lines("[management]"))
        text = self.lines("[management]\nenabled = false")
        self.assertIn("switched off", text)
        self.assertNotIn(default_socket("map-server"), text)
