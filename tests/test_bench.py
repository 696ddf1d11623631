"""``python -m benchmarks.bench`` runs and prints its rows. No figure is asserted. And the load
generator notices when what it measures does not happen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.experiments import ROWS
from benchmarks.generator import Sender
from benchmarks.load import LoadError
from lispmsrt.wire.framing import encode_frame
from lispmsrt.wire.reliable_transport import MessageType
from tests.test_demo import why_no_kernel_sctp

_CHECKOUT = Path(__file__).parents[1]


class BenchTests(SynchronousTestCase):
    """The command itself."""

    def test_rows_are_printed(self) -> None:
        """Tiny numbers, every row, in the table and in the file; what is missing is said."""
        with tempfile.TemporaryDirectory() as directory:
            figures_file = Path(directory) / "figures.json"
            sizes = {"rounds": 1, "registrations": 2000, "datagrams": 500, "eids": 500}
            sizes["mappings"] = 2000
            outcome = subprocess.run(
                [sys.executable, "-m", "benchmarks.bench", f"--json={figures_file}"]
                + [f"--{name}={size}" for name, size in sizes.items()],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                timeout=200,
            )
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""), outcome.stdout)
            figures = json.loads(figures_file.read_text())
        self.assertEqual(list(figures), [row.name for row in ROWS])
        for row in ROWS:
            self.assertIn(row.name, outcome.stdout)
            self.assertIn(row.unit, outcome.stdout)
        missing = [name for name, figure in figures.items() if "missing" in figure]
        reason = why_no_kernel_sctp()
        absent = ["Registrations over SCTP", "cold start over SCTP"] if reason else []
        self.assertEqual(missing, absent)
        for name in missing:
            self.assertIn(f"No {name}: {reason}", outcome.stdout)


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
