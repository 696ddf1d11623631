"""``twistd lispmsrt``: one file, one or both roles, one reactor."""

from __future__ import annotations

import json
import signal
import socket
import stat
import time
from pathlib import Path

from twisted.application.service import IService
from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from lispmsrt import load_config
from lispmsrt.cli.api_client import Api, UnixConnection
from lispmsrt.tap import Node, Options, makeService
from tests.rim import Network, etr_text, map_server_text
from tests.running import TERMINATED, Child, free_port, start


class NodeTests(SynchronousTestCase):
    """The service that holds the roles."""

    def _node(self, text: str) -> Node:
        self.network = Network()
        path = Path(self.mktemp())
        path.write_text(text)
        return Node(str(path), load_config(path), self.network)

    def _assert_nothing_left(self) -> None:
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual((self.network.ports, self.network.pipes), ([], []))

    def test_both_roles_over_one_reactor(self) -> None:
        """The ETR registers at the Map-Server beside it."""
        handler = signal.getsignal(signal.SIGHUP)
        node = self._node(map_server_text() + etr_text("10.1.1.0/24"))
        self.assertTrue(verifyObject(IService, node))
        node.startService()
        self.network.run(2)
        assert node.map_server is not None
        self.assertEqual(len(node.map_server.sessions), 1)
        self.assertEqual(len(node.map_server.database), 1)
        stopped = node.stopService()
        self._assert_nothing_left()
        self.successResultOf(stopped)
        self.assertEqual(signal.getsignal(signal.SIGHUP), handler)

    def test_each_role_alone(self) -> None:
        """The other one is not there."""
        for text, has_server in ((map_server_text(), True), (etr_text("10.1.1.0/24"), False)):
            node = self._node(text)
            self.assertEqual((node.map_server is not None, node.etr is None), (has_server,) * 2)
            node.startService()
            self.network.run(1)
            node.stopService()
            self._assert_nothing_left()

    def test_a_port_that_is_taken_ends_the_process_with_one_sentence(self) -> None:
        """In the log too: a daemon has no stderr."""
        node = self._node(map_server_text())
        self.network.listenTCP(4342, Factory(), interface="127.0.0.1")
        with capturedLogs() as events:
            ended = self.assertRaises(SystemExit, node.startService)
        self.assertIn("lispmsrt: reliable-transport tcp:4342", str(ended.code))
        self.assertIn("can't start: reliable-transport", formatEvent(events[-1]))
        self.assertNotIn("Traceback", str(ended.code))

    def test_what_was_never_started_stops_as_well(self) -> None:
        """The signal goes back to what it was by default."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        node = self._node(map_server_text())
        self.successResultOf(node.stopService())
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def _options(self, text: str) -> Options:
        path = Path(self.mktemp())
        path.write_text(text)
        options = Options()
        options.parseOptions(["--config", str(path)])
        return options

    def test_the_file_is_needed(self) -> None:
        """Nothing is guessed."""
        error = self.assertRaises(UsageError, Options().parseOptions, [])
        self.assertEqual(str(error), "--config FILE is missing")

    def test_mistakes_are_told_before_anything_is_started(self) -> None:
        """The same text as check-config prints."""
        error = self.assertRaises(UsageError, self._options, "[map-server]\ncolour = 1\n")
        self.assertIn(": line 2: map-server.colour", str(error))

    def test_the_files_name_is_kept_absolute(self) -> None:
        """A daemon changes its directory before it reads it again."""
        self.assertTrue(Path(self._options(map_server_text())["config"]).is_absolute())

    def test_the_reactors_delayed_calls_do_not_care_for_the_wall_clock(self) -> None:
        """makeService gives it monotonic seconds."""
        self.patch(global_reactor, "seconds", global_reactor.seconds)  # type: ignore[attr-defined]
        node = makeService(self._options(map_server_text()))
        self.assertIsInstance(node, Node)
        self.assertIs(global_reactor.seconds, time.monotonic)  # type: ignore[attr-defined]

    def test_what_cannot_be_made_ends_the_process_with_one_sentence(self) -> None:
        """An endpoint string that nobody knows; a state directory that is a file."""
        self.patch(global_reactor, "seconds", global_reactor.seconds)  # type: ignore[attr-defined]
        state = Path(self.mktemp())
        state.write_text("")
        for text, words in (
            (etr_text(server_options='transports = ["pigeon:1"]'), "transports 'pigeon:1'"),
            (etr_text(options=f'state-dir = "{state}"'), "can't be read: Not a directory"),
        ):
            ended = self.assertRaises(SystemExit, makeService, self._options(text))
            self.assertIn(words, str(ended.code))


def _roles(place: str) -> object:
    """Ask a management socket which roles there are."""
    api = Api(lambda: UnixConnection(place), place)
    try:
        return json.loads(api.get("/overview"))["roles"]
    finally:
        api.close()


class TwistdTests(TestCase):
    """``twistd -n lispmsrt --config FILE``."""

    timeout = 60

    def _start(self, text: str, **environment: str) -> Child:
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(text)
        arguments = ("-n", "--pidfile=", "lispmsrt", "--config", str(self.path))
        return start(self, global_reactor, *arguments, **environment)

    async def test_both_roles_reload_and_stop(self) -> None:
        """SIGHUP is heard, SIGTERM ends it."""
        port = str(free_port("127.0.0.1", "127.0.0.2"))
        text = map_server_text() + etr_text("10.1.1.0/24")
        text = text.replace("4342", port).replace(
            "[[etr.mapping]]", f'transports = ["tcp:127.0.0.1:{port}"]\n[[etr.mapping]]'
        )
        child = self._start(text)
        await child.says("session 1 with campus")
        self.assertRegex(child.output, r"receive buffer [1-9]\d+ octets")
        child.signal("HUP")
        await child.says("configuration reloaded from")
        self.path.write_text("[map-server]\ncolour = 1\n")
        child.signal("HUP")
        await child.says("nothing has changed: line 2: map-server.colour")
        child.signal("TERM")
        self.assertIn(await child.ended, TERMINATED)
        for noise in (
            "Traceback",
            "Unhandled",
            "Starting protocol",
            "Starting factory",
            "campus s",
        ):
            self.assertNotIn(noise, child.output)

    async def test_the_management_socket_is_there_unasked(self) -> None:
        """For its owner only; another process at the same place goes on without."""
        one = self._start(map_server_text(port=free_port()))
        place = (await one.says("management on ")).partition("management on ")[2].split()[0]
        self.assertEqual(stat.S_IMODE(Path(place).lstat().st_mode), 0o600)
        self.assertEqual(await deferToThread(_roles, place), ["map-server"])
        other = self._start(map_server_text(port=free_port()), LISPMSRT_SOCKET=place)
        await other.says(f"management: {place} is served by another process; going on without")
        text = map_server_text(port=free_port()) + "[management]\n"
        asked_for = self._start(text, LISPMSRT_SOCKET=place)
        self.assertEqual(await asked_for.ended, 1)
        self.assertIn(f"lispmsrt: {place} is served by another process", asked_for.output)
        one.signal("TERM")
        self.assertIn(await one.ended, TERMINATED)
        self.assertFalse(Path(place).exists())

    async def test_a_wrong_configuration_exits_1_with_the_text(self) -> None:
        """And no traceback."""
        child = self._start("[map-server]\ncolour = 1\n")
        self.assertEqual(await child.ended, 1)
        self.assertIn(f"{self.path}: line 2: map-server.colour", child.output)
        self.assertNotIn("Traceback", child.output)

    async def test_a_port_that_is_taken_exits_1_with_the_text(self) -> None:
        """And no traceback."""
        port = free_port("127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", port))
            child = self._start(map_server_text(port=port))
            code = await child.ended
        self.assertEqual(code, 1)
        self.assertIn(f"lispmsrt: control 127.0.0.1:{port}: [Errno 98]", child.output)
        self.assertNotIn("Traceback", child.output)
