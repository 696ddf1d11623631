"""``lispmsrt demo``: played in a process of its own, as everybody will see it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.demo import conclude
from lispmsrt.cli.demo_cast import EIDS, SITES
from lispmsrt.cli.demo_compare import Comparison, compare
from lispmsrt.cli.demo_director import Director
from lispmsrt.cli.demo_display import EtrStatus, LiveDisplay, PlainDisplay, Status, choose_display
from lispmsrt.cli.demo_itr import Itr
from lispmsrt.cli.demo_lig import Lig
from lispmsrt.cli.demo_stage import StepError
from lispmsrt.cli.demo_transports import loopback_transports, port_that_refuses, what_is_missing
from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.records import MappingRecord, encode_record

CHECKOUT = Path(__file__).resolve().parent.parent

LOSE_A_REGISTRATION = """
from lispmsrt.cli import demo_scenario
earlier = demo_scenario.compare
demo_scenario.compare = lambda meant, held: earlier(meant, list(held)[1:])
"""

REFUSE_CONNECTIONS = """
from lispmsrt.cli import demo_director
from lispmsrt.control.arming import Armory
demo_director.STEP_TIMEOUT = 0.5
Armory.accept = lambda *_: None
"""

NO_PATIENCE_WITH_LIG = """
from lispmsrt.cli import demo_itr
demo_itr._LIG_TIMEOUT = 0.0
"""

NO_EXTRAS = """
sys.modules["aioquic"] = sys.modules["sctp"] = None
"""

NO_LIBRARY = """
import ctypes, ctypes.util
ctypes.util.find_library = lambda name: None
def refuse(name, *_, earlier=ctypes.CDLL, **__):
    if "usrsctp" in str(name):
        raise OSError(f"{name}: cannot open shared object file")
    return earlier(name, *_, **__)
ctypes.CDLL = refuse
"""


def why_no_kernel_sctp() -> str:
    """Return how the reason begins why this machine has none, nothing if it has."""
    if find_spec("sctp") is None:
        return "sctp: needs the extra 'sctp'"
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        return "this kernel has no SCTP"
    return ""


def start(prelude: str = "", *options: str, directory: str | None = None) -> subprocess.Popen[str]:
    """Start the demo, piped, after other Python; ``directory`` is for temporary files."""
    script = f"import sys\n{prelude}\nfrom lispmsrt.cli import main\ncode = main(sys.argv[1:])\n"
    script += "assert 'twisted.internet.reactor' not in sys.modules\nsys.exit(code)\n"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "FORCE_COLOR": "1"}
    if directory is not None:
        environment["TMPDIR"] = directory
    return subprocess.Popen(
        [sys.executable, "-c", script, "demo", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_alone(process: subprocess.Popen[str]) -> bool:
    """Whether a demo that has ended has left no child process."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def play(prelude: str = "", directory: str | None = None) -> tuple[int, str, str]:
    """Play the demo to its end; return exit code, output and errors."""
    process = start(prelude, directory=directory)
    output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


@cache
def play_once() -> tuple[int, str, str, list[str]]:
    """Play the demo as it is, the first time that anybody asks; return what files it left, too."""
    with TemporaryDirectory() as directory:
        return *play(directory=directory), os.listdir(directory)


class PipedDemoTests(SynchronousTestCase):
    """The whole demo."""

    def assert_in_order(self, output: str, *texts: str) -> None:
        """Each is there, behind the one before."""
        at = 0
        for text in texts:
            self.assertIn(text, output[at:])
            at = output.index(text, at) + len(text)

    def test_goes_well(self) -> None:
        """Exit code 0, every promised step, nothing but plain lines."""
        code, output, errors, _files = play_once()
        self.assertEqual((code, errors), (0, ""), output)
        self.assertEqual([c for c in output if not (c.isprintable() or c == "\n")], [])
        held = (5 if why_no_kernel_sctp() else 6) * EIDS
        self.assert_in_order(
            output,
            "Step 1. 127.0.0.2 authenticates over UDP",
            "Map-Register with r over UDP",
            "Map-Notify with r over UDP",
            "TCP connected from 127.0.0.2",
            "Refresh with scope 0",
            "200 Registrations, 200 ACKs",
            f"{held:,} registrations are held by {held // EIDS} sessions",
            "RLOC 127.0.0.2 is now RLOC 127.0.0.102",
            "with TTL 0, ACK after",
            "Rejection (reason 1): 198.51.100.0/24: not a valid site EID-prefix",
            "The QUIC connection of 127.0.0.4 is reset",
            "session ended: the connection was lost",
            "200 of 200 registrations run the clock: 180.0 s left",
            "127.0.0.4   Map-Notify with r over UDP",
            "127.0.0.4   QUIC connected",
            "the session holds all 200 again, and no clock runs",
            "Step 13. ",
            "left open: 0 sockets, 0 timers",
            f"{held + 1:,} EID-prefixes and records compared both ways: the Map-Server holds what",
        )

    def test_every_transport_has_its_etr(self) -> None:
        """All that this machine has; of a missing one it is said why."""
        _code, output, *_ = play_once()
        reason = why_no_kernel_sctp()
        self.assertEqual(output.count(" is skipped: "), bool(reason))
        self.assertIn(f"SCTP is skipped: {reason}" if reason else "listens on SCTP,", output)
        names = ["TCP", "TLS", "QUIC", "SCTP", "user-space SCTP"]
        for site, name in zip(SITES, names, strict=False):
            if name != "SCTP" or not reason:
                self.assertIn(f"{site.address}   {name} connected from {site.address}:", output)
                self.assertIn(f"{site.address}   {name}: up after ", output)

    def test_refused_transport_is_followed_by_the_next(self) -> None:
        """It is said why the first failed."""
        _code, output, *_ = play_once()
        self.assert_in_order(
            output,
            "127.0.0.7 tries TCP first, where nothing listens",
            "127.0.0.7   TCP failed: Connection was refused",
            "127.0.0.7   QUIC connected from 127.0.0.7:",
        )

    def test_itr_asks(self) -> None:
        """What ``lispmsrt lig`` prints stands under its command: a mapping, and both negatives."""
        _code, output, *_ = play_once()
        resolver = re.search("listens on UDP (.*)", output)
        assert resolver is not None
        self.assert_in_order(
            output,
            "An ITR asks",
            f"itr         $ lispmsrt lig 10.7.0.1 --instance-id 8 --resolver {resolver[1]}\n",
            f"Map-Reply from {resolver[1]} after ",
            "Mapping entry for EID [8] 10.7.0.1:",
            "127.0.0.7         up     1/100",
            "$ lispmsrt lig 10.7.255.1 --instance-id 8 ",
            "for 1 minute, for all of [8] 10.7.128.0/17",
            "$ lispmsrt lig 198.51.100.1 ",
            "for 15 minutes, for all of 128.0.0.0/1",
        )

    def test_merge(self) -> None:
        """Both hear of it, the answer has both RLOCs, and a withdrawal takes out one."""
        _code, output, *_ = play_once()
        both = "[8] 10.7.0.1/32: RLOC 127.0.0.7, RLOC 127.0.0.8\n"
        merged = output[output.index("127.0.0.8 registers [8] 10.7.0.1/32 too") :]
        for address in ("127.0.0.7", "127.0.0.8"):
            self.assertRegex(
                merged, f"{address}   Mapping Notification after .* ms: {re.escape(both)}"
            )
        self.assert_in_order(
            merged,
            both,
            "Mapping entry for EID [8] 10.7.0.1:",
            "127.0.0.7         up",
            "127.0.0.8         up",
            "127.0.0.8   Registration for [8] 10.7.0.1/32 with TTL 0, ACK after ",
            "127.0.0.7   Mapping Notification after ",
            "map-server  [8] 10.7.0.1/32: RLOC 127.0.0.7\n",
        )

    def test_mobility(self) -> None:
        """The first ETR hears at once and gives way; the answer has the new RLOC only."""
        _code, output, *_ = play_once()
        moved = output[output.index("[8] 10.7.0.1/32 moves to 127.0.0.9") :]
        self.assert_in_order(
            moved,
            "127.0.0.7   Mapping Notification after ",
            ": RLOC 127.0.0.9\n",
            "127.0.0.7   gives way: it registers [8] 10.7.0.1/32 no longer",
            "Mapping entry for EID [8] 10.7.0.1:",
            "127.0.0.9         up",
        )
        self.assertNotIn("127.0.0.7         up", moved)

    def test_subscription(self) -> None:
        """``lig --subscribe`` prints each change, and ends when it is interrupted."""
        _code, output, *_ = play_once()
        first, *later = output.split("s: changed, of [8] 10.7.0.1\n")
        self.assertIn(" --subscribe --xtr-id ", first)
        self.assertIn("s: subscribed to [8] 10.7.0.1\n", first)
        rlocs = [re.findall(r"^ +(127\.\S+)  ", text, re.MULTILINE)[:2] for text in later]
        self.assertEqual(rlocs[0], ["127.0.0.7", "127.0.0.8"])
        self.assertEqual([each[0] for each in rlocs[1:]], ["127.0.0.7", "127.0.0.9"])
        self.assertIn("s: unsubscribed from [8] 10.7.0.1\n", later[-1])

    def test_goes_well_without_extras(self) -> None:
        """What is not installed is skipped with the command that installs it; others stand in."""
        code, output, errors = play(NO_EXTRAS)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertIn("QUIC is skipped: quic: needs the extra 'quic': pip install", output)
        self.assertIn("SCTP is skipped: sctp: needs the extra 'sctp': pip install", output)
        self.assert_in_order(
            output,
            "127.0.0.7   user-space SCTP connected",
            "The user-space SCTP connection of 127.0.0.6 is reset",
            "127.0.0.6   user-space SCTP connected",
            "127.0.0.8   has [8] 10.7.8.1/32 registered over user-space SCTP",
            f"{4 * EIDS + 1} EID-prefixes and records compared both ways: the Map-Server holds",
        )

    def test_goes_well_without_the_library_of_user_space_sctp(self) -> None:
        """It is named."""
        code, output, errors = play(NO_LIBRARY)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertRegex(output, "user-space SCTP is skipped: .*libusrsctp")

    def test_leaves_no_files(self) -> None:
        """Certificate and keys go when the demo does."""
        code, output, _errors, files = play_once()
        self.assertEqual((code, files), (0, []), output)

    def test_difference_is_a_failure(self) -> None:
        """Exit code 1, and the EID-prefix that differs."""
        code, output, _errors = play(LOSE_A_REGISTRATION)
        self.assertEqual(code, 1, output)
        self.assertIn("10.1.0.1/32 is meant to be registered and is not", output)
        self.assertRegex(output, "EID-prefixes and records compared both ways: 1 differ")

    def test_step_that_does_not_happen(self) -> None:
        """The watchdog ends it with a sentence and exit code 1; nothing is left open."""
        code, output, errors = play(REFUSE_CONNECTIONS)
        self.assertEqual((code, errors), (1, ""), output)
        self.assertIn("127.0.0.2 did not get all its ACKs within 0.5 s.", output)
        self.assertIn("left open: 0 sockets, 0 timers", output)

    def test_command_that_does_not_end(self) -> None:
        """The same; no child process is left either."""
        process = start(NO_PATIENCE_WITH_LIG)
        output, errors = process.communicate(timeout=100)
        self.assertEqual((process.returncode, errors), (1, ""), output)
        self.assertRegex(output, "lispmsrt lig 10.7.0.1 .* did not end within 0 s.")
        self.assertIn("left open: 0 sockets, 0 timers", output)
        self.assertTrue(is_alone(process))

    def test_ctrl_c_while_the_itr_asks(self) -> None:
        """Quiet as well, and the subscription ends with it."""
        process = start()
        assert process.stdout is not None
        while line := process.stdout.readline():
            if "$ lispmsrt lig" in line:
                break
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=100)
        self.assertEqual((process.returncode, errors), (130, ""))
        self.assertTrue(is_alone(process))

    def test_ctrl_c(self) -> None:
        """Ends quietly with 130, and leaves no files."""
        directory = self.mktemp()
        os.mkdir(directory)
        process = start("", "--pace", "30", directory=os.path.abspath(directory))
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
        self.assertEqual((process.returncode, errors), (130, ""))
        self.assertNotIn("demo", output)
        self.assertEqual(os.listdir(directory), [])


class FakeLig(Lig):
    """A run of the command that has printed something, and perhaps ended."""

    def __init__(self, printed: str, code: int | None = 0) -> None:
        self.command = "lispmsrt lig"
        self.printed = printed
        self.code = code

    @property
    def exit_code(self) -> int | None:
        """What it was made with."""
        return self.code

    def output(self) -> str:
        """Return what it was made with."""
        return self.printed


class ItrTests(SynchronousTestCase):
    """What the ITR believes of the command's output."""

    def setUp(self) -> None:
        self.shown = StringIO()
        self.clock = Clock()
        self.started: list[Sequence[str]] = []

    def itr(self, lig: Lig) -> Itr:
        """Return an ITR whose command is this one."""

        def start(arguments: Sequence[str], directory: Path) -> Lig:
            self.started.append(arguments)
            return lig

        director = Director(self.clock, PlainDisplay(self.shown), 0.0)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        return Itr(director, lambda: "127.0.0.1:5", self.directory, start=start)

    def why_not(self, waiting: Coroutine[Deferred[Any], Any, None]) -> str:
        """Return how a step ends that fails at once or by its deadline."""
        ended = Deferred.fromCoroutine(waiting)
        self.clock.pump([0.01, 100.0])
        return str(self.failureResultOf(ended, StepError).value)

    def test_shows_what_is_printed(self) -> None:
        """Under the command, by which it can be asked again."""
        lig = FakeLig("Mapping\n  127.0.0.7  up\n")
        itr = self.itr(lig)
        asked = itr.ask("10.7.0.1", 8)
        self.successResultOf(Deferred.fromCoroutine(itr.show_mapping(asked, ["127.0.0.7"])))
        self.assertEqual(
            self.started, [("10.7.0.1", "--instance-id", "8", "--resolver", "127.0.0.1:5")]
        )
        indent = " " * 21
        self.assertEqual(
            self.shown.getvalue(),
            f"  0.000  itr         $ lispmsrt lig\n{indent}Mapping\n{indent}  127.0.0.7  up\n",
        )

    def test_other_rlocs(self) -> None:
        """One less is another mapping."""
        lig = FakeLig("  127.0.0.7  up\n")
        why = self.why_not(self.itr(lig).show_mapping(lig, ["127.0.0.7", "127.0.0.8"]))
        self.assertEqual(why, "The answer has 127.0.0.7, not 127.0.0.7, 127.0.0.8.")

    def test_mapping_where_none_should_be(self) -> None:
        """The exit code tells, and the last line why."""
        lig = FakeLig("first\nlast\n")
        why = self.why_not(self.itr(lig).show_negative(lig, "1 minute"))
        self.assertEqual(why, "lispmsrt lig ended with exit code 0: last")

    def test_negative_answer_of_another_kind(self) -> None:
        """Minutes tell a site without a registration from no site."""
        lig = FakeLig("  for 15 minutes, for all of 0.0.0.0/0\n", 1)
        why = self.why_not(self.itr(lig).show_negative(lig, "1 minute"))
        self.assertEqual(why, "The negative answer does not hold for 1 minute.")

    def test_publication_that_does_not_come(self) -> None:
        """Nor does what came before it count."""
        lig = FakeLig("subscribed to\n  127.0.0.7  up\nchanged, of\n  127.0.0.8  up\n", None)
        itr = self.itr(lig)
        itr.follow("10.7.0.1", SITES[-1])
        self.assertEqual((self.directory / "itr.key").stat().st_mode & 0o777, 0o600)
        self.successResultOf(Deferred.fromCoroutine(itr.confirmed()))
        self.successResultOf(Deferred.fromCoroutine(itr.published(["127.0.0.8"])))
        why = self.why_not(itr.published(["127.0.0.7"]))
        self.assertEqual(why, "The subscription did not hear of the change within 60 s.")

    def test_subscription_that_is_refused(self) -> None:
        """It is over at once."""
        itr = self.itr(FakeLig("lig: gave an ordinary answer\n", 1))
        itr.follow("10.7.0.1", SITES[-1])
        why = self.why_not(itr.confirmed())
        self.assertEqual(why, "The subscription was not confirmed: lig: gave an ordinary answer")

    def test_no_command(self) -> None:
        """A machine that can start no more processes."""

        def start(arguments: Sequence[str], directory: Path) -> Lig:
            raise OSError("no more")

        director = Director(self.clock, PlainDisplay(self.shown), 0.0)
        itr = Itr(director, lambda: "127.0.0.1:5", Path(), start=start)
        self.assertRaisesRegex(StepError, "can't be started: no more", itr.ask, "10.7.0.1")


class CompareTests(SynchronousTestCase):
    """What the exit code rests on."""

    def setUp(self) -> None:
        self.site = SITES[0]
        self.meant = {eid: (self.site.xtr_id, self.site.record(eid)) for eid in self.site.eids()}
        self.held = [self.registration(record) for _, record in self.meant.values()]

    def registration(self, record: MappingRecord, xtr_id: bytes | None = None) -> Registration:
        """Return a registration as a Map-Server holds it."""
        ids = (self.site.xtr_id if xtr_id is None else xtr_id) + bytes(8)
        lease = Lease(Xtr("campus", ids, b""), "TCP", "", is_live=True)
        return Registration(encode_record(record), lease, 0, 0.0, None)

    def differences(self) -> tuple[str, ...]:
        """Return what is found to differ; the conclusion must be a failure."""
        comparison = compare(self.meant, self.held)
        self.assertEqual(conclude(comparison, [], lambda text: None), 1)
        return comparison.differences

    def test_equal(self) -> None:
        """All are compared, none differs."""
        comparison = compare(self.meant, self.held)
        self.assertEqual(comparison, Comparison(EIDS, ()))
        self.assertEqual(conclude(comparison, [], lambda text: None), 0)

    def test_missing(self) -> None:
        """Meant and not held."""
        del self.held[3]
        self.assertEqual(self.differences(), ("10.1.0.4/32 is meant to be registered and is not",))

    def test_surplus(self) -> None:
        """Held and not meant, by the same ETR."""
        self.held.append(self.registration(self.site.record(EidPrefix.from_text("10.9.0.0/16"))))
        self.assertEqual(self.differences(), ("10.9.0.0/16 is registered and nobody means it",))

    def test_another_record(self) -> None:
        """The locator differs."""
        record = self.site.record(EidPrefix.from_text("10.1.0.1/32"), "127.0.0.9")
        self.held[0] = self.registration(record)
        (difference,) = self.differences()
        self.assertIn("10.1.0.1/32 is registered as 127.0.0.9 ", difference)
        self.assertIn("meant is 127.0.0.2 ", difference)

    def test_another_xtr(self) -> None:
        """The right record by the wrong ETR."""
        record = self.site.record(EidPrefix.from_text("10.1.0.1/32"))
        self.held[0] = self.registration(record, bytes(16))
        self.assertEqual(
            self.differences(), ("10.1.0.1/32 is registered by campus xTR-ID " + "00" * 16,)
        )

    def test_many_differences_are_cut_short(self) -> None:
        """Ten are shown, all are counted."""
        said: list[str] = []
        conclude(compare(self.meant, []), [], said.append)
        self.assertEqual(len(said), 12)
        self.assertIn(f"{EIDS - 10} more", said[10])
        self.assertIn(f"{EIDS} differ", said[11])

    def test_problem_is_a_failure(self) -> None:
        """Even where nothing differs."""
        said: list[str] = []
        self.assertEqual(conclude(Comparison(1, ()), ["a socket is left open"], said.append), 1)
        self.assertIn("a socket is left open", said)

    def test_comparison_not_reached(self) -> None:
        """A demo that broke off has failed."""
        self.assertEqual(conclude(None, ["no ACK"], lambda text: None), 1)


class TransportTests(SynchronousTestCase):
    """How endpoints are written."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.transports = loopback_transports(self.directory)

    def test_every_site_but_the_last_has_a_transport(self) -> None:
        """The last is for the ETR that tries several."""
        self.assertEqual(len(SITES), len(self.transports) + 1)
        self.assertEqual(len({site.address for site in SITES}), len(SITES))

    def test_nothing_is_missing_where_all_extras_are_installed(self) -> None:
        """The endpoint strings are those that the transports take."""
        reactor = MemoryReactorClock()
        for transport in self.transports:
            if transport.name != "SCTP" or find_spec("sctp") is not None:
                self.assertEqual(what_is_missing(reactor, transport), "")
                clientFromString(reactor, transport.client(1024))

    def test_private_key_is_for_nobody_else(self) -> None:
        """Whatever the umask is."""
        self.assertEqual((self.directory / "key.pem").stat().st_mode & 0o777, 0o600)

    def test_directory_may_have_a_colon_in_its_name(self) -> None:
        """TMPDIR is anybody's choice."""
        directory = self.directory / "a:b"
        directory.mkdir()
        for transport in loopback_transports(directory):
            self.assertNotIn("certificate", what_is_missing(MemoryReactorClock(), transport))

    def test_port_that_refuses(self) -> None:
        """A connection is refused at once."""
        with port_that_refuses() as taken, socket.socket() as client:
            self.assertRaises(ConnectionRefusedError, client.connect, taken.getsockname())


class DisplayTests(SynchronousTestCase):
    """Terminal and pipe."""

    def test_pipe_gets_plain_lines(self) -> None:
        """A stream that is no terminal."""
        display, is_watched = choose_display(StringIO())
        self.assertIsInstance(display, PlainDisplay)
        self.assertFalse(is_watched)

    def test_reader_that_leaves_early(self) -> None:
        """The protocols that report events never see the broken pipe."""

        class Broken(StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        display = PlainDisplay(Broken())
        display.event(0.0, "demo", "nobody reads this")
        display.heading("nor this")

    def test_quoted_lines_on_a_pipe(self) -> None:
        """They stand under the texts of events, without blanks at their ends."""
        stream = StringIO()
        display = PlainDisplay(stream)
        display.event(1.5, "itr", "$ lig")
        display.quote(["one", "", "  two"])
        event, *quoted = stream.getvalue().splitlines()
        column = event.index("$")
        self.assertEqual(quoted, [f"{' ' * column}one", "", f"{' ' * column}  two"])

    def test_a_wait_on_a_terminal(self) -> None:
        """After a second a bar tells how long it has taken, and goes when it is over."""
        stream, clock = StringIO(), Clock()
        display = LiveDisplay(Console(file=stream, force_terminal=True, width=100))
        director = Director(clock, display, 0.0)
        director.step("Somebody comes back")
        status = Status("Map-Server", (), 0)
        waiting = Deferred.fromCoroutine(director.within(Deferred(), "Nobody came"))
        clock.advance(0.9)
        self.assertIsNone(director.waiting())
        clock.advance(0.6)
        display.open()
        display.update(status, director.waiting())
        display.close()
        self.assertIn("1.5 s of at most 10: Step 1", stream.getvalue())
        clock.advance(10)
        self.failureResultOf(waiting, StepError)
        self.assertIsNone(director.waiting())

    def test_terminal(self) -> None:
        """Events in their order above the table, which shows the clock of a lost session."""
        stream = StringIO()
        display = LiveDisplay(Console(file=stream, force_terminal=True, width=100))
        etr = EtrStatus("127.0.0.2", "QUIC", False, 0.0169, 333, 333, 179.94, 7047.1, 333)
        display.open()
        display.heading("Step 7")
        display.event(1.5, "map-server", "the clock runs [7]")
        display.quote(["Mapping entry", "  [8] 10.7.0.1/32"])
        display.update(Status("Map-Server", (etr,), 333))
        display.event(2.5, "127.0.0.2", "after the last look")
        display.close()
        output = stream.getvalue()
        for text in ("QUIC", "down", "16.9 ms", "7,047", "333/333"):
            self.assertIn(text, output)
        self.assertIn(f"\n{' ' * 21}  [8] 10.7.0.1/32 ", output)
        texts = (
            "Step 7",
            "1.500",
            "the clock runs [7]",
            "Mapping entry",
            "179.9 s",
            "after the last look",
        )
        places = [output.index(text) for text in texts]
        self.assertEqual(places, sorted(places))
