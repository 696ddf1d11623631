"""The systemd units of ``tap/systemd``, and a daemon that is started as they start it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.python.reflect import namedAny
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lispmsrt import Etr, parse_config
from lispmsrt.cli.commands import make_parser
from lispmsrt.config import transport_name
from lispmsrt.management_socket import default_socket
from lispmsrt.views.etr import EtrViews
from tests.log_lines import log_formats
from tests.rim import ETR_HOST, MAP_SERVER_HOST, etr_text, map_server_text
from tests.running import CHECKOUT, TERMINATED, Child, free_port, start
from tests.show_ground import run

_UNITS = CHECKOUT / "tap" / "systemd"
_SAMPLE = CHECKOUT / "tap" / "map-server.toml"
_PAGE = CHECKOUT / "docs" / "systemd.rst"
_PROGRAMS = "/opt/lispmsrt/bin/"
_CONFIG = "/etc/lispmsrt/lispmsrt.toml"
_ANALYZE = shutil.which("systemd-analyze")
_WATCHDOG = 0.4
"""Seconds that the daemon is allowed between two signs of life."""

_TWISTD = "from twisted.scripts.twistd import run; run()"
_PATIENCE = 60.0
"""Seconds after which something will never come about, however slow the machine is."""


def unit(name: str) -> list[tuple[str, str, str]]:
    """Return section, key and value of each line of a unit."""
    text = (_UNITS / name).read_text().replace("\\\n", " ")
    found, section = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            key, _equals, value = line.partition("=")
            found.append((section, key, " ".join(value.split())))
    return found


def value(name: str, key: str) -> str:
    """Return the value of a key that a unit has once."""
    (found,) = [each[2] for each in unit(name) if each[1] == key]
    return found


def sample_line() -> str:
    """Return the page's sample of a line in JSON."""
    found = re.search(r"code-block:: json\n\n((?: {4}.*\n)+)", _PAGE.read_text())
    assert found is not None
    return found[1]


class PageTests(SynchronousTestCase):
    """docs/systemd.rst: what it says of the log."""

    def test_every_line_of_the_log(self) -> None:
        """The page has each that the code may write, with its level, and no other."""
        rows = re.findall(r"   \* - (\w+)\n     - ``(.*)``\n", _PAGE.read_text())
        self.assertEqual({text: level for level, text in rows}, log_formats())

    def test_sample_line(self) -> None:
        """The text of the JSON sample is that of the other sample, and its own fields."""
        line = json.loads(sample_line())
        (text,) = [
            each
            for each in log_formats()
            if each.startswith("session {session}") and each.endswith("is up")
        ]
        self.assertEqual(text.format(**line), line["message"])
        self.assertIn(f"    {line['at']} {line['message']}\n", _PAGE.read_text())


class UnitTests(SynchronousTestCase):
    """What the files name is there."""

    def test_the_daemon_starts_so(self) -> None:
        """twistd takes every option, the logger is one, and the plugin takes its own."""
        program, *arguments = shlex.split(value("lispmsrt.service", "ExecStart"))
        self.assertEqual(program, f"{_PROGRAMS}twistd")
        options = ServerOptions()
        options.parseOptions([each.replace(_CONFIG, str(_SAMPLE)) for each in arguments])
        self.assertTrue(options["nodaemon"])
        self.assertEqual(options["pidfile"], "")
        self.assertEqual(options.subCommand, "lispmsrt")
        self.assertEqual(options.subOptions["config"], str(_SAMPLE))
        logger = arguments[arguments.index("--logger") + 1]
        self.assertTrue(callable(namedAny(logger)()))

    def test_the_configuration_is_checked_before(self) -> None:
        """The command exists, and finds the sample good."""
        program, *arguments = shlex.split(value("lispmsrt.service", "ExecStartPre"))
        self.assertEqual(program, f"{_PROGRAMS}lispmsrt")
        make_parser(arguments).parse_args(arguments)
        ran = run(*[each.replace(_CONFIG, str(_SAMPLE)) for each in arguments])
        self.assertEqual((ran.code, ran.errors), (0, ""))

    def test_one_file_is_meant(self) -> None:
        """The one that the comment installs is the one that is checked and read."""
        text = (_UNITS / "lispmsrt.service").read_text()
        self.assertEqual(set(re.findall(r"/etc/lispmsrt/\S*toml", text)), {_CONFIG})
        installed = re.search(r"#   install .* (\S+\.toml) /etc", text)
        assert installed is not None
        self.assertTrue((CHECKOUT / "tap" / installed[1]).exists())

    def test_places(self) -> None:
        """The management socket is where commands look for it, and the user is that of the page."""
        directory = f"/run/{value('lispmsrt.service', 'RuntimeDirectory')}"
        path = default_socket("map-server", {"RUNTIME_DIRECTORY": directory})
        self.assertEqual(path, default_socket("map-server", {}, user=0))
        user = value("lispmsrt.service", "User")
        self.assertEqual(user, value("lispmsrt.service", "Group"))
        self.assertIn(
            f"useradd --system --home-dir /var/lib/lispmsrt --shell /usr/sbin/nologin {user}",
            _PAGE.read_text(),
        )

    def test_readiness_and_watchdog_are_asked_for(self) -> None:
        """The daemon tells both."""
        self.assertEqual(value("lispmsrt.service", "Type"), "notify")
        self.assertGreater(int(value("lispmsrt.service", "WatchdogSec")), 1)
        self.assertIn("-HUP $MAINPID", value("lispmsrt.service", "ExecReload"))

    def test_socket(self) -> None:
        """Its name is the one in the endpoint string, its port the one that is said."""
        name = value("lispmsrt.socket", "FileDescriptorName")
        endpoint = f"systemd:domain=INET6:name={name}"
        for text in (_PAGE.read_text(), (_UNITS / "lispmsrt.socket").read_text()):
            self.assertIn(f'reliable-transport = ["{endpoint}"]', text)
        self.assertEqual(value("lispmsrt.socket", "ListenStream"), "[::]:4342")
        parsed = parse_config(
            map_server_text().replace("tcp:4342:interface=127.0.0.1", endpoint)
        ).map_server
        assert parsed is not None
        self.assertEqual(parsed.reliable_transport, (endpoint,))
        self.assertEqual(transport_name(endpoint), "TCP")

    @skipIf(_ANALYZE is None, "systemd-analyze is not installed")
    def test_systemd_finds_no_mistake(self) -> None:
        """``systemd-analyze verify``: no unknown key, no wrong value."""
        assert _ANALYZE is not None
        folder = Path(self.mktemp()).resolve()
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name in ("twistd", "lispmsrt"):
            (programs / name).touch(0o755)
        files = []
        for path in _UNITS.iterdir():
            copy = folder / path.name
            copy.write_text(path.read_text().replace(_PROGRAMS, f"{programs}/"))
            files.append(str(copy))
        ended = subprocess.run(
            [_ANALYZE, "verify", *files], capture_output=True, text=True, check=False
        )
        about = [line for line in ended.stderr.splitlines() if str(folder) in line]
        self.assertEqual(about, [], ended.stderr)


def log_of(child: Child) -> list[dict[str, Any]]:
    """Return what a daemon has written, which is JSON in every line; one may not be finished."""
    return [json.loads(line) for line in child.output.splitlines(keepends=True) if line[-1] == "\n"]


class _Heard(DatagramProtocol):
    """Keeps what the daemon tells systemd."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        lines = datagram.decode().split("\n")
        self.messages.append(dict(line.split("=", 1) for line in lines))

    def count(self, name: str) -> int:
        """Return in how many messages a variable was."""
        return sum(name in message for message in self.messages)


class DaemonTests(TestCase):
    """twistd as the unit starts it, with a systemd of our own."""

    timeout = 100

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        # The path of a socket has room for 107 octets.
        self.directory = Path(tempfile.mkdtemp(prefix="lispmsrt-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.port = free_port(MAP_SERVER_HOST, ETR_HOST)
        self.path = self.directory / "lispmsrt.toml"
        self.environment = {"LISPMSRT_SOCKET": str(self.directory / "management.sock")}

    def listen_as_systemd(self) -> _Heard:
        """Listen where the daemon tells how it is."""
        heard = _Heard()
        path = str(self.directory / "notify")
        port = self.reactor.listenUNIXDatagram(path, heard)
        self.addCleanup(port.stopListening)
        self.environment["NOTIFY_SOCKET"] = path
        self.environment["WATCHDOG_USEC"] = str(int(_WATCHDOG * 1e6))
        return heard

    def start_daemon(self) -> Child:
        """Start a Map-Server that logs JSON lines."""
        self.path.write_text(map_server_text(port=self.port))
        return start(self, self.reactor, *self.arguments, **self.environment)

    @property
    def arguments(self) -> list[str]:
        """Return those of the unit, but for the file and the logger."""
        given = shlex.split(value("lispmsrt.service", "ExecStart"))[1:]
        changed = {_CONFIG: str(self.path), "lispmsrt.logs.text_lines": "lispmsrt.logs.json_lines"}
        return [changed.get(each, each) for each in given]

    async def until(self, is_so: Any, child: Child) -> None:
        """Wait until something is so, for as long as the child runs."""
        deadline = self.reactor.seconds() + _PATIENCE
        while not is_so():
            self.assertFalse(child.ended.called, child.output)
            self.assertLess(self.reactor.seconds(), deadline, child.output)
            await deferLater(self.reactor, 0.02)

    def test_a_life(self) -> Deferred[None]:
        """Ready, alive, reloading and ready again, stopping; and every line of the log is JSON."""
        return Deferred.fromCoroutine(self._live())

    async def _live(self) -> None:
        heard = self.listen_as_systemd()
        child = self.start_daemon()
        await self.until(lambda: heard.count("READY") == 1, child)
        self.assertIn("map-server: 0 registrations", heard.messages[0]["STATUS"])
        await self.until(lambda: heard.count("WATCHDOG") >= 2, child)
        child.signal("HUP")
        await self.until(lambda: heard.count("READY") == 2, child)
        told = [message for message in heard.messages if "WATCHDOG" not in message]
        self.assertEqual([min(message) for message in told], ["READY", "MONOTONIC_USEC", "READY"])
        self.assertEqual(told[1]["RELOADING"], "1")
        self.assertTrue(told[1]["MONOTONIC_USEC"].isdigit())
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        self.assertEqual(heard.messages[-1], {"STOPPING": "1"})
        lines = [json.loads(line) for line in child.output.splitlines()]
        self.assertEqual(
            {"at", "level", "system", "message"} - set.intersection(*map(set, lines)), set()
        )
        messages = [line["message"] for line in lines]
        self.assertIn(f"configuration reloaded from {self.path}", messages)

    def test_a_mistake_is_told_as_ready_too(self) -> Deferred[None]:
        """A file with a mistake leaves all as it was, and systemd is not left waiting."""
        return Deferred.fromCoroutine(self._err())

    async def _err(self) -> None:
        heard = self.listen_as_systemd()
        child = self.start_daemon()
        await self.until(lambda: heard.count("READY") == 1, child)
        self.path.write_text("[map-server]\nprobation = 0\n")
        child.signal("HUP")
        await self.until(lambda: heard.count("READY") == 2, child)
        (line,) = [line for line in log_of(child) if line["level"] == "error"]
        self.assertIn("not reloaded, nothing has changed", line["message"])
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)

    def test_a_session_over_an_inherited_socket(self) -> Deferred[None]:
        """As lispmsrt.socket gives it: of both families, and found by its name."""
        return Deferred.fromCoroutine(self._inherit())

    async def _inherit(self) -> None:
        name = value("lispmsrt.socket", "FileDescriptorName")
        # Free on every address: other tests have connections from many.
        self.port = free_port("0.0.0.0", MAP_SERVER_HOST)
        self.path.write_text(
            map_server_text(port=self.port).replace(
                f"tcp:{self.port}:interface={MAP_SERVER_HOST}",
                f"systemd:domain=INET6:name={name}",
            )
        )
        listener = socket.create_server(
            ("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True
        )
        self.addCleanup(listener.close)
        child = self.spawn_with(listener, name)
        await self.until(lambda: "reliable transport on systemd" in child.output, child)
        etr = self.start_etr()
        await self.until(lambda: "is up" in child.output, child)
        (up,) = [
            line
            for line in map(json.loads, child.output.splitlines())
            if "is up" in line["message"]
        ]
        self.assertEqual((up["transport"], up["site"], up["session"]), ("TCP", "campus", 1))
        # IPv4 comes mapped into IPv6 by such a socket, and nobody would know it by that.
        self.assertRegex(up["peer"], rf"^{re.escape(ETR_HOST)}:\d+$")
        self.assertEqual(set(up), set(json.loads(sample_line())))
        self.assertEqual(up["xtr"], "000102030405060708090a0b0c0d0e0f")
        await self.until(
            lambda: EtrViews(etr).etr().map_servers[0].states.get("stable") == 1, child
        )

    def spawn_with(self, listener: socket.socket, name: str) -> Child:
        """Start the daemon with a socket, as systemd does: the process ID is that of twistd."""
        child = Child()
        twistd = [sys.executable, "-c", _TWISTD, *self.arguments]
        self.reactor.spawnProcess(
            child,
            "/bin/sh",
            ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *twistd],
            env={
                **os.environ,
                **self.environment,
                "PYTHONPATH": str(CHECKOUT),
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": name,
            },
            path=str(self.directory),
            childFDs={0: "w", 1: "r", 2: "r", 3: listener.fileno()},
        )

        def finish() -> Any:
            child.kill()
            return child.ended if not child.ended.called else None

        self.addCleanup(finish)
        return child

    def start_etr(self) -> Etr:
        """Start an ETR here that registers at the daemon."""
        text = etr_text(
            "10.1.1.0/24", server_options=f'session = "always"\ntransports = ["tcp:{self.port}"]'
        )
        parsed = parse_config(text.replace(":4342", f":{self.port}"))
        assert parsed.etr is not None
        etr = Etr(parsed.etr, self.reactor)
        etr.startService()
        self.addCleanup(etr.stopService)
        return etr
