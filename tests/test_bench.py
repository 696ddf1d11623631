"""``python -m benchmarks.bench`` runs and prints its rows. No figure is asserted. And the load
notices when what it measures does not happen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bench import GOALS
from benchmarks.figures import Aim, Figure, Measured, Row, figures_of
from benchmarks.generator import Sender
from benchmarks.load import LoadError, check_acks
from benchmarks.messages import host_records, map_registers, network_records, registrations
from benchmarks.observers import ROWS
from benchmarks.page import replaced, table_lines
from benchmarks.plot import curves
from benchmarks.scale import scale_lines
from benchmarks.transports import COLD_STARTS, SESSIONS
from lispmsrt.wire.framing import FrameBuffer, encode_frame
from lispmsrt.wire.map_register import decode_map_register
from lispmsrt.wire.reliable_transport import MessageType, encode_registration_acks
from tests.test_demo import why_no_kernel_sctp

_CHECKOUT = Path(__file__).parents[1]


def _run(*arguments: str) -> tuple[str, dict[str, Any]]:
    """Run the benchmark; return what it printed and wrote."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "figures.json"
        outcome = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench", "--quick", f"--json={file}", *arguments],
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert (outcome.returncode, outcome.stderr) == (0, ""), outcome
        return outcome.stdout, json.loads(file.read_text())


class BenchTests(SynchronousTestCase):
    """The command itself."""

    def test_every_goal_is_measured(self) -> None:
        """Tiny numbers, every goal with what was aimed at; and what is drawn and reckoned from
        them.
        """
        output, found = _run()
        figures = found["figures"]
        self.assertEqual({str(figure["goal"]) for figure in figures}, set(GOALS))
        aimed = {str(figure["goal"]) for figure in figures if figure["aim"]}
        self.assertEqual(aimed, set(GOALS))
        for figure in figures:
            self.assertIn(figure["name"].split()[0], output)
            self.assertEqual(figure["met"] is None, figure["aim"] is None)
        self.assertEqual(curves(found)["lookups"].mappings, list(found["sizes"]["growth"]))
        self.assertIn("mappings**", " ".join(scale_lines(figures)))

    def test_transports_and_observers_are_measured(self) -> None:
        """Every row; what is missing is said."""
        output, found = _run("--goals=transports,observers", "--registrations=2000")
        reason = why_no_kernel_sctp()
        absent = ["SCTP"] if reason else []
        self.assertEqual(list(found["missing"]), absent)
        expected = [
            row.name
            for rows in (SESSIONS, COLD_STARTS)
            for name, row in rows.items()
            if name not in absent
        ]
        names = [figure["name"] for figure in found["figures"]]
        self.assertEqual(sorted(names), sorted([*expected, *(row.name for row in ROWS)]))
        for name in absent:
            self.assertIn(f"no {name}: {reason}", output)

    def test_what_is_no_goal_is_refused(self) -> None:
        """Nothing runs."""
        outcome = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench", "--goals=1,10"],
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
        )
        self.assertEqual(outcome.returncode, 2)
        self.assertIn("--goals", outcome.stderr)


class FigureTests(SynchronousTestCase):
    """What rounds come to."""

    def figure(self, aim: Aim | None, *measured: tuple[float, float | None]) -> Figure:
        """Return the figure of these values and echoes."""
        row = Row(1, "row", "unit", aim)
        (found,) = figures_of(Measured(row, value, None, echo) for value, echo in measured)
        return found

    def test_ratio_is_that_to_the_echo_of_the_same_round(self) -> None:
        """A machine that is slow for a round is slow for both."""
        figure = self.figure(Aim(3.0, True, True), (300, 100), (80, 40), (100, 20))
        self.assertEqual((figure.ratio, figure.reached, figure.median), (3.0, 3.0, 100))
        self.assertTrue(figure.is_met)

    def test_more_or_less_is_better(self) -> None:
        """The limit itself will do."""
        self.assertTrue(self.figure(Aim(250), (250, None)).is_met)
        self.assertFalse(self.figure(Aim(250), (250.1, None)).is_met)
        self.assertFalse(self.figure(Aim(99, True), (98.9, None)).is_met)
        self.assertIsNone(self.figure(None, (1, None)).is_met)


class MessagesTests(SynchronousTestCase):
    """The load is what it is said to be."""

    def test_nonces_go_up_through_everything(self) -> None:
        """A Map-Server that has seen some sees no older one."""
        messages = map_registers(host_records(5), each=2) + map_registers(host_records(1))
        decoded = [decode_map_register(message) for message in messages]
        self.assertEqual([len(register.records) for register in decoded], [2, 2, 1, 1])
        nonces = [register.nonce for register in decoded]
        self.assertEqual(nonces, sorted(set(nonces)))

    def test_networks_of_both_families(self) -> None:
        """As they are written."""
        prefixes = ["192.0.2.0/25", "2001:db8::/33"]
        (message,) = map_registers(network_records(prefixes, "127.1.0.1"), each=2)
        records = decode_map_register(message).records
        self.assertEqual([str(record.eid) for record in records], prefixes)
        self.assertEqual({str(record.locators[0].rloc) for record in records}, {"127.1.0.1"})

    def test_stream_is_of_single_registrations(self) -> None:
        """Message IDs go on from the first."""
        stream = b"".join(registrations(host_records(3), first=7))
        frames = FrameBuffer().receive(stream)[1]
        self.assertEqual([frame[0] for frame in frames], [MessageType.REGISTRATION] * 3)
        self.assertEqual([frame[1] for frame in frames], [7, 8, 9])


class AcksTests(SynchronousTestCase):
    """Answers are counted by their octets, then looked at."""

    ACKS = encode_registration_acks(1, [b"\x20\0\1\x0a\0\0\1", b"\x20\0\1\x0a\0\0\2"])

    def test_acks_are_right(self) -> None:
        """Of both families."""
        check_acks(self.ACKS, 2)
        check_acks(self.ACKS + encode_registration_acks(3, [b"\x20\0\2" + bytes(16)]), 3)

    def test_too_few_are_a_failure(self) -> None:
        """The Map-Server has stopped."""
        self.assertRaisesRegex(LoadError, "stopped after 2 of 3", check_acks, self.ACKS, 3)

    def test_other_answers_are_a_failure(self) -> None:
        """Of the same length, too: a Rejection would be quicker than a registration."""
        reject = encode_frame(MessageType.REGISTRATION_REJECT, 2, bytes(7))
        self.assertRaisesRegex(LoadError, "types", check_acks, self.ACKS[:19] + reject, 2)


class PageTests(SynchronousTestCase):
    """Figures on the page."""

    def test_only_what_is_between_the_marks_is_rewritten(self) -> None:
        """Again and again."""
        page = "before\n\n.. figures begin\nold\n.. figures end\n\nbehind\n"
        once = replaced(page, "figures", ["new"])
        self.assertEqual(once, "before\n\n.. figures begin\n\nnew\n\n.. figures end\n\nbehind\n")
        self.assertEqual(replaced(once, "figures", ["new"]), once)
        self.assertRaises(ValueError, replaced, page, "scale", [])

    def test_table(self) -> None:
        """Columns as wide as their widest cell; no line begins with an empty one."""
        self.assertEqual(
            table_lines(("goal", "what"), [("1", "rate"), ("", "more of it")]),
            ["====  ==========", "goal  what", "====  ==========", "1     rate",
             "\\     more of it", "====  =========="],
        )  # fmt: skip


class SenderTests(SynchronousTestCase):
    """What the generator makes of a Map-Server's answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = Sender(self.clock)
        self.transport = StringTransport()
        self.sender.makeConnection(self.transport)

    def register(self, count: int) -> Deferred[float]:
        """Write two chunks; this many ACKs are to come."""
        return self.sender.register([b"first", b"second"], count)

    def answer(self, kind: MessageType, count: int = 1) -> None:
        """Receive messages."""
        self.sender.dataReceived(encode_frame(kind, 1, bytes(15)) * count)

    def test_ends_with_the_last_ack(self) -> None:
        """The Refresh is none; nothing is left behind."""
        done = self.register(3)
        self.assertEqual(self.transport.value(), b"firstsecond")
        self.answer(MessageType.REGISTRATION_REFRESH)
        self.answer(MessageType.REGISTRATION_ACK, 2)
        self.assertNoResult(done)
        self.answer(MessageType.REGISTRATION_ACK)
        self.assertGreaterEqual(self.successResultOf(done), 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_writes_no_more_than_the_transport_takes(self) -> None:
        """What is paused waits."""
        self.sender.pauseProducing()
        self.register(1)
        self.assertEqual(self.transport.value(), b"")
        self.sender.resumeProducing()
        self.assertEqual(self.transport.value(), b"firstsecond")

    def test_other_answers_are_a_failure(self) -> None:
        """A Rejection would be quicker than a registration."""
        done = self.register(1)
        self.answer(MessageType.REGISTRATION_REJECT)
        self.failureResultOf(done, LoadError)

    def test_lost_session_is_a_failure(self) -> None:
        """With its reason."""
        done = self.register(1)
        self.sender.connectionLost(Failure(ConnectionLost("the path is gone")))
        self.assertIn("the path is gone", str(self.failureResultOf(done, LoadError).value))

    def test_silence_is_a_failure(self) -> None:
        """Ten seconds after the last ACK."""
        done = self.register(2)
        self.clock.advance(9.0)
        self.answer(MessageType.REGISTRATION_ACK)
        self.clock.advance(9.0)
        self.assertNoResult(done)
        self.clock.advance(1.0)
        self.assertIn("1 answers to come", str(self.failureResultOf(done, LoadError).value))
