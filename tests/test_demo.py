"""``lispmsrt demo``: played in a process of its own, as everybody will see it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.demo import conclude
from lispmsrt.cli.demo_cast import SITES
from lispmsrt.cli.demo_compare import Comparison, compare
from lispmsrt.cli.demo_display import EtrStatus, LiveDisplay, PlainDisplay, Status, choose_display
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


def start(prelude: str = "", *options: str) -> subprocess.Popen[str]:
    """Start the demo, piped, after other Python."""
    script = f"import sys\n{prelude}\nfrom lispmsrt.cli import main\ncode = main(sys.argv[1:])\n"
    script += "assert 'twisted.internet.reactor' not in sys.modules\nsys.exit(code)\n"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "FORCE_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script, "demo", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def play(prelude: str = "") -> tuple[int, str, str]:
    """Play the demo to its end; return exit code, output and errors."""
    process = start(prelude)
    output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


class PipedDemoTests(SynchronousTestCase):
    """The whole demo."""

    def test_goes_well(self) -> None:
        """Exit code 0, every promised step, nothing but plain lines."""
        code, output, errors = play()
        self.assertEqual((code, errors), (0, ""), output)
        self.assertEqual([c for c in output if not (c.isprintable() or c == "\n")], [])
        at = 0
        for text in (
            "Map-Register with r over UDP",
            "Map-Notify with r over UDP",
            "TCP connected from 127.0.0.2",
            "Refresh with scope 0",
            "334 Registrations, 334 ACKs",
            "1,000 registrations are held by 3 sessions",
            "RLOC 127.0.0.2 is now RLOC 127.0.0.102",
            "with TTL 0, ACK after",
            "Rejection (reason 1): 198.51.100.0/24: not a valid site eid prefix",
            "session ended: the connection was lost",
            "333 of 333 registrations run the clock: 180.0 s left",
            "127.0.0.3   Map-Notify with r over UDP",
            "127.0.0.3   TCP connected",
            "the session holds all 333 again, and no clock runs",
            "left open: 0 sockets, 0 timers",
            "999 EID-prefixes and records compared both ways: the Map-Server holds what",
        ):
            self.assertIn(text, output[at:])
            at = output.index(text, at) + len(text)

    def test_difference_is_a_failure(self) -> None:
        """Exit code 1, and the EID-prefix that differs."""
        code, output, _errors = play(LOSE_A_REGISTRATION)
        self.assertEqual(code, 1, output)
        self.assertIn("10.1.0.1/32 is meant to be registered and is not", output)
        self.assertIn("999 EID-prefixes and records compared both ways: 1 differ", output)

    def test_step_that_does_not_happen(self) -> None:
        """The watchdog ends it with a sentence and exit code 1; nothing is left open."""
        code, output, errors = play(REFUSE_CONNECTIONS)
        self.assertEqual((code, errors), (1, ""), output)
        self.assertIn("127.0.0.2 did not get all its ACKs within 0.5 s.", output)
        self.assertIn("left open: 0 sockets, 0 timers", output)

    def test_ctrl_c(self) -> None:
        """Ends quietly with 130."""
        process = start("", "--pace", "30")
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
        self.assertEqual((process.returncode, errors), (130, ""))
        self.assertNotIn("demo", output)


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
        self.assertEqual(comparison, Comparison(334, ()))
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
        self.assertIn("324 more", said[10])
        self.assertIn("334 differ", said[11])

    def test_problem_is_a_failure(self) -> None:
        """Even where nothing differs."""
        said: list[str] = []
        self.assertEqual(conclude(Comparison(1, ()), ["a socket is left open"], said.append), 1)
        self.assertIn("a socket is left open", said)

    def test_comparison_not_reached(self) -> None:
        """A demo that broke off has failed."""
        self.assertEqual(conclude(None, ["no ACK"], lambda text: None), 1)


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

    def test_terminal(self) -> None:
        """Events in their order above the table, which shows the clock of a lost session."""
        stream = StringIO()
        display = LiveDisplay(Console(file=stream, force_terminal=True, width=100))
        etr = EtrStatus("127.0.0.2", "campus", "down", 333, 333, 179.94, 334, 333, 1)
        display.open()
        display.heading("Step 7")
        display.event(1.5, "map-server", "the clock runs [7]")
        display.update(Status("Map-Server", (etr,), 333))
        display.event(2.5, "127.0.0.2", "after the last look")
        display.close()
        output = stream.getvalue()
        self.assertIn("333/333", output)
        texts = ("Step 7", "1.500", "the clock runs [7]", "179.9 s", "after the last look")
        places = [output.index(text) for text in texts]
        self.assertEqual(places, sorted(places))
