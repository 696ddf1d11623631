"""Endpoint strings of our own: found by Twisted, one sentence for a mistake, extras optional."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import run
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.config import DEFAULT_PORTS
from lispmsrt.transports import options
from lispmsrt.transports.certificates import make_certificate
from lispmsrt.transports.handshakes import HandshakeLimits, Handshakes
from lispmsrt.transports.strings import PARSERS
from tests.running import CHECKOUT

_WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("aioquic", "sctp", "_sctp"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from importlib import import_module
from pathlib import Path
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactorClock

for path in sorted(Path("lispmsrt").rglob("*.py")):
    name = ".".join(part for part in path.with_suffix("").parts if part != "__init__")
    try:
        if name != "lispmsrt.__main__":
            import_module(name)
    except ModuleNotFoundError as failure:
        if not name.startswith(("lispmsrt.transports.quic.", "lispmsrt.transports.sctp.")):
            print(name, failure)
reactor = MemoryReactorClock()
for parse, text in (
    (serverFromString, "quic:4343:certificate=c.pem:privateKey=k.pem"),
    (clientFromString, "quic:192.0.2.1:4343:caFile=c.pem"),
    (serverFromString, "sctp:4342"),
    (clientFromString, "sctp:192.0.2.1:4342"),
):
    try:
        parse(reactor, text)
    except ValueError as failure:
        print(failure)
serverFromString(reactor, "tcp:0").listen(None)
print(len(reactor.tcpServers))
"""


class StringTests(SynchronousTestCase):
    """What Twisted's two functions make of our prefixes."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def _mistake(self, parse: Any, text: str) -> str:
        error = self.assertRaises(ValueError, parse, self.reactor, text)
        self.assertEqual(str(error).count("\n"), 0)
        return str(error)

    def test_every_prefix_has_a_default_port(self) -> None:
        """And no other name than the configuration knows."""
        self.assertEqual(
            {parser.prefix for parser in PARSERS}, set(DEFAULT_PORTS) - {"tcp", "tcp6"}
        )

    def test_an_option_that_does_not_exist_is_named(self) -> None:
        """In both roles, for every prefix."""
        for parser in PARSERS:
            for parse, text in (
                (serverFromString, f"{parser.prefix}:4342:colour=red"),
                (clientFromString, f"{parser.prefix}:192.0.2.1:4342:colour=red"),
            ):
                mistake = self._mistake(parse, text)
                self.assertIn("colour", mistake)
                self.assertTrue(mistake.startswith(f"{parser.prefix}: "), mistake)

    def test_a_wrong_port_is_named(self) -> None:
        """For every prefix."""
        path = Path(self.mktemp())
        path.touch(0o600)
        now = datetime.now(UTC)
        made = make_certificate(["ms"], valid_from=now, valid_until=now + timedelta(days=1))
        path.write_bytes(made.certificate_pem + made.key_pem)
        key = Path(self.mktemp())
        key.touch(0o600)
        key.write_text("secret")
        needed = {"sctp": "", "tcpmd5": f":key={key}"}
        for parser in PARSERS:
            options = needed.get(parser.prefix, f":certificate={path}")
            serverFromString(self.reactor, f"{parser.prefix}:0{options}")
            for port in ("http", "65536", "-1", "1.5"):
                mistake = self._mistake(serverFromString, f"{parser.prefix}:{port}{options}")
                self.assertIn(port, mistake)

    def test_without_the_extras_everything_else_works(self) -> None:
        """Every other module imports, TCP listens, and each string names its extra in one line."""
        done = run(
            [sys.executable, "-c", _WITHOUT_EXTRAS],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        quic = "quic: needs the extra 'quic': pip install 'lispmsrt[quic]'"
        sctp = "sctp: needs the extra 'sctp': pip install 'lispmsrt[sctp]'"
        self.assertEqual(done.stdout.splitlines(), [quic, quic, sctp, sctp, "1"], done.stderr)
        self.assertEqual(done.stderr, "")


class OptionsTests(SynchronousTestCase):
    """Values of endpoint strings."""

    def _refused(self, read: Any, *arguments: Any, **limits: Any) -> str:
        return str(self.assertRaises(ValueError, read, *arguments, **limits))

    def test_seconds(self) -> None:
        """Within limits, in decimal digits."""
        read = options.seconds
        self.assertEqual(read("2.5", "keepalive", at_least=1, at_most=9), 2.5)
        for wrong in ("0", "10", "nan", "1e1", "-2", "", "2,5", "٣"):
            message = self._refused(read, wrong, "keepalive", at_least=1, at_most=9)
            self.assertIn(f"keepalive={wrong}: ", message)

    def test_addresses(self) -> None:
        """Several with commas between."""
        self.assertEqual(
            options.addresses("192.0.2.1, 2001:db8::1", "bindAddress"), ("192.0.2.1", "2001:db8::1")
        )
        for wrong in ("", "192.0.2.1,", "etr1", "192.0.2.300"):
            self.assertIn("bindAddress=", self._refused(options.addresses, wrong, "bindAddress"))

    def test_words(self) -> None:
        """One of a few."""
        self.assertEqual(options.choice("kernel", "stack", "kernel", "usrsctp"), "kernel")
        refusal = self._refused(options.choice, "bsd", "stack", "kernel", "usrsctp")
        self.assertEqual(refusal, "stack=bsd: must be one of kernel, usrsctp")

    def test_numbers(self) -> None:
        """Whole, within limits, in decimal digits."""
        self.assertEqual(options.number("007", "backlog", at_least=1, at_most=9), 7)
        for wrong in ("0", "10", "1.0", "", "+5", "-1", "²"):
            message = self._refused(options.number, wrong, "backlog", at_least=1, at_most=9)
            self.assertEqual(message, f"backlog={wrong}: not a number from 1 to 9")

    def test_files(self) -> None:
        """Made absolute, since a daemon changes its directory; readable now."""
        path = self.mktemp()
        self.assertIn("No such file", self._refused(options.readable_file, path, "key"))
        with open(path, "w"):
            pass
        self.assertTrue(options.readable_file(path, "key").startswith("/"))


class HandshakeTests(SynchronousTestCase):
    """What peers may cost before they are anybody."""

    def test_each_host_and_all_together_are_bounded(self) -> None:
        """What ends makes room; what is refused is counted."""
        limits = HandshakeLimits(max_handshakes=3, max_handshakes_per_host=2)
        handshakes = Handshakes(limits)
        self.assertEqual([handshakes.begin("a") for _ in range(3)], [True, True, False])
        self.assertEqual([handshakes.begin("b") for _ in range(2)], [True, False])
        self.assertEqual(len(handshakes), 3)
        handshakes.end("a")
        self.assertTrue(handshakes.begin("b"))
        for host in ("a", "b", "b"):
            handshakes.end(host)
        self.assertEqual(len(handshakes), 0)
        self.assertEqual(
            handshakes.counters,
            {
                "handshakes begun": 4,
                "handshakes refused: too many": 1,
                "handshakes refused: too many of one address": 1,
            },
        )

    def test_a_host_can_not_begin_without_end(self) -> None:
        """However quickly each is over: after a burst so many a second. Others are not affected."""
        clock = Clock()
        handshakes = Handshakes(HandshakeLimits(burst=3, rate=2.0, max_hosts=2), clock.seconds)

        def begin(host: str) -> bool:
            if not handshakes.begin(host):
                return False
            handshakes.end(host)
            return True

        self.assertEqual([begin("a") for _ in range(5)], [True, True, True, False, False])
        self.assertTrue(begin("b"))
        clock.advance(0.5)
        self.assertEqual([begin("a") for _ in range(2)], [True, False])
        clock.rightNow -= 100
        self.assertFalse(begin("a"))
        clock.advance(1000)
        self.assertEqual([begin("a") for _ in range(4)], [True, True, True, False])
        self.assertEqual(handshakes.counters["handshakes refused: too often from one address"], 5)
        for number in range(10):
            begin(str(number))
        assert handshakes._rates is not None
        self.assertEqual(len(handshakes._rates._hosts), 2)
