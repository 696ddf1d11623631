"""``lispmsrt lig`` for many EIDs."""

from __future__ import annotations

import json
import socket
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from rich.console import Console
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli import lig_eids, lig_many, main
from lispmsrt.cli.late_bar import LateBar
from lispmsrt.cli.lig_eids import read_eids
from lispmsrt.cli.lig_many import MAX_OUTSTANDING, MAX_RATE, ManyAsker
from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Form, Pace
from lispmsrt.services.requester import Requester
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import decode_map_request
from lispmsrt.wire.records import Action, Locator, MappingRecord
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Network, outcome

_eid = EidPrefix.from_text
_ip = Address.from_text

_LOCATORS = (
    Locator(_ip("198.51.100.7"), 1, 50),
    Locator(_ip("2001:db8::7"), 2, 100, reachable=False),
)


class _MapResolver:
    """Has mappings for 10.1.0.0/16, none for 10.2.0.0/15, and is silent about anything else."""

    def __init__(self, network: Network) -> None:
        self.asked: list[str] = []
        self.is_silent = False
        self._network = network
        self.port = network.listenUDP(4342, self, MAP_SERVER_HOST)

    def makeConnection(self, transport: Any) -> None:
        """It writes otherwise."""

    def doStop(self) -> None:
        """Nothing to be done."""

    def datagramReceived(self, data: bytes, source: tuple[str, int]) -> None:
        request = decode_map_request(decode_encapsulated(data).payload)
        eid = request.records[0].eid
        text = str(eid)
        self.asked.append(text)
        if self.is_silent:
            return
        if text.startswith("10.1."):
            record = MappingRecord(_eid(f"{text.rpartition('.')[0]}.0/24"), 1440, _LOCATORS)
        elif text.startswith("10.2."):
            record = MappingRecord(_eid("10.2.0.0/15"), 15, (), Action.NATIVELY_FORWARD)
        else:
            return
        reply = encode_map_reply(MapReply(request.nonce, (record,)))
        self._network.send((MAP_SERVER_HOST, 4342), source, reply)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """A Map-Resolver on a network in memory."""
        self.network = Network()
        self.resolver = _MapResolver(self.network)
        self.output, self.errors = StringIO(), StringIO()
        self.addCleanup(self._check_leftovers)

    def _check_leftovers(self) -> None:
        self.resolver.port.stopListening()
        self.network.run(1)
        self.assertEqual((self.network.ports, self.network.getDelayedCalls()), ([], []))

    def begin(self, *eids: str, is_json: bool = False, **options: Any) -> Deferred[int]:
        """Ask, and go on in :meth:`run`."""
        requester = Requester(
            self.network,
            SocketAddress(MAP_SERVER_HOST, 4342),
            source=ETR_HOST,
            pace=Pace(interval=1.0, tries=2),
            clock=self.network,
            random=Random(3),
        )
        prefixes = [EidPrefix.from_eid_text(eid) for eid in eids]
        asker = ManyAsker(
            requester, self.network, prefixes, Form.ENCAPSULATED, is_json=is_json, **options
        )
        with redirect_stdout(self.output), redirect_stderr(self.errors):
            return Deferred.fromCoroutine(asker.ask())

    def run_for(self, seconds: float) -> None:
        """Let time go by."""
        with redirect_stdout(self.output), redirect_stderr(self.errors):
            self.network.run(seconds)

    def ask(self, *eids: str, **options: Any) -> Any:
        """Ask; return the exit code."""
        result = outcome(self.begin(*eids, **options))
        self.run_for(60)
        (code,) = result
        return code


class AskTests(_Case):
    """What is asked and printed."""

    maxDiff = None

    def test_each_has_a_line(self) -> None:
        """As its answer comes: silence is heard last."""
        code = self.ask("192.0.2.1", "10.1.1.5", "10.2.3.4")
        self.assertEqual(code, 2)
        self.assertEqual(
            self.output.getvalue(),
            f"""\
Asking {MAP_SERVER_HOST}:4342 for 3 EIDs from {ETR_HOST}

EID        Answer    EID-prefix          TTL              ms  RLOCs
10.1.1.5   mapping   10.1.1.0/24         1 day           0.0  198.51.100.7, 2001:db8::7 (down)
10.2.3.4   negative  10.2.0.0/15         15 minutes      0.0  natively-forward
192.0.2.1  none
""",
        )
        self.assertEqual(
            self.errors.getvalue(),
            "3 EIDs asked for in 2.0 s: 1 with a mapping, 1 negative, 1 without an answer\n",
        )

    def test_exit_codes(self) -> None:
        """The worst of all."""
        for eids, code in (
            (("10.1.1.5", "10.1.2.5"), 0),
            (("10.1.1.5", "10.2.2.5"), 1),
            (("10.2.2.5", "192.0.2.1"), 2),
        ):
            self.assertEqual(self.ask(*eids), code, eids)

    def test_json(self) -> None:
        """One object a line, and nothing else."""
        self.ask("10.1.1.5", "192.0.2.1", "10.2.3.4", is_json=True)
        found = [json.loads(line) for line in self.output.getvalue().splitlines()]
        self.assertEqual(
            [(one["eid"], one["answer"]) for one in found],
            [("10.1.1.5", "mapping"), ("10.2.3.4", "negative"), ("192.0.2.1", "none")],
        )

    def test_no_answer_at_all(self) -> None:
        """It is said what to do about it."""
        self.resolver.is_silent = True
        self.assertEqual(self.ask("10.1.1.5", "10.1.1.6"), 2)
        summary, remedy = self.errors.getvalue().splitlines()
        self.assertIn("2 without an answer", summary)
        self.assertTrue(remedy.startswith(f"lig: no answer from {MAP_SERVER_HOST}:4342 to 4 "))

    def test_few_are_asked_for_at_a_time(self) -> None:
        """However many there are."""
        self.resolver.is_silent = True
        result = outcome(self.begin(*(f"10.1.0.{number}" for number in range(200))))
        self.run_for(0.5)
        self.assertEqual(len(self.resolver.asked), MAX_OUTSTANDING)
        self.resolver.is_silent = False
        self.run_for(10)
        self.assertEqual(result, [0])
        self.assertEqual(len(set(self.resolver.asked)), 200)

    def test_not_more_a_second_than_a_map_resolver_answers(self) -> None:
        """And nearly as many."""
        self.begin(*(f"10.1.{number >> 8}.{number & 255}" for number in range(1800)))
        for _second in range(2):
            before = len(self.resolver.asked)
            self.run_for(1)
            asked = len(self.resolver.asked) - before
            self.assertTrue(0.9 * MAX_RATE <= asked <= 1.1 * MAX_RATE, asked)
        self.run_for(10)
        self.assertEqual(len(self.resolver.asked), 1800)

    def test_a_signal(self) -> None:
        """What came before is summed up, and nothing is left."""
        self.resolver.is_silent = True
        asking = self.begin(*(f"10.1.0.{number}" for number in range(100)))
        result = outcome(asking)
        self.resolver.is_silent = False
        self.run_for(0.01)
        self.resolver.is_silent = True
        with redirect_stderr(self.errors):
            asking.cancel()
        self.run_for(0)
        self.assertIsInstance(result[0], CancelledError)
        self.assertRegex(self.errors.getvalue(), r"^\d+ of 100 EIDs asked for in 0.0 s: ")

    def test_a_reader_who_has_seen_enough(self) -> None:
        """The rest is not asked for."""
        asking = self.begin(*(f"10.1.0.{number}" for number in range(100)))
        result = outcome(asking)
        with mock.patch.object(self.output, "write", side_effect=BrokenPipeError):
            self.run_for(0.01)
        self.run_for(5)
        self.assertIsInstance(result[0], BrokenPipeError)
        self.assertLess(len(self.resolver.asked), 100)

    def test_an_address_that_is_not_ours(self) -> None:
        """One sentence, exit code 2."""
        self.network.listenUDP(5000, self.resolver, ETR_HOST)
        requester = Requester(
            self.network,
            SocketAddress(MAP_SERVER_HOST, 4342),
            source=ETR_HOST,
            port=5000,
            clock=self.network,
        )
        asker = ManyAsker(
            requester, self.network, [_eid("10.1.1.5/32")], Form.ENCAPSULATED, is_json=False
        )
        with redirect_stderr(self.errors):
            self.assertEqual(outcome(Deferred.fromCoroutine(asker.ask())), [2])
        self.assertIn("can't ask from", self.errors.getvalue())
        self.network.ports[-1].stopListening()


class BarTests(_Case):
    """The progress bar."""

    def test_it_comes_after_a_second(self) -> None:
        """And goes when all is done."""
        screen = StringIO()
        console = Console(file=screen, force_terminal=True, width=80, legacy_windows=False)
        bar = LateBar(self.network, "asked", 2, console=console)
        result = outcome(self.begin("10.1.1.5", "192.0.2.1", bar=bar))
        self.run_for(0.9)
        self.assertEqual(screen.getvalue(), "")
        self.run_for(0.2)
        self.assertIn("1/2", screen.getvalue())
        self.run_for(2)
        self.assertEqual(result, [2])
        drawn = len(screen.getvalue())
        self.run_for(2)
        self.assertEqual(len(screen.getvalue()), drawn)

    def test_lines_and_bar_on_one_terminal(self) -> None:
        """The lines between two drawings go together, each once, and none is lost at the end."""

        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        screen, clock = StringIO(), Clock()
        console = Console(file=screen, force_terminal=True, width=20, legacy_windows=False)
        bar = LateBar(clock, "x", 9, console=console)
        output = Terminal()
        with redirect_stdout(output):
            bar.say("early")
            clock.advance(1)
            bar.say("[red]a line that is wider than the terminal[/red]")
            bar.say("second")
            self.assertNotIn("second", screen.getvalue())
            clock.advance(0.1)
            bar.say("last")
            bar.close()
        self.assertEqual(output.getvalue(), "early\n")
        shown = screen.getvalue()
        self.assertIn("[red]a line that is wider than the terminal[/red]\nsecond\n", shown)
        self.assertEqual((shown.count("second"), shown.count("last\n")), (1, 1))

    def test_what_is_quick_has_none(self) -> None:
        """Not even a control character."""
        screen = StringIO()
        clock = Clock()
        bar = LateBar(clock, "x", 1, console=Console(file=screen, force_terminal=True))
        clock.advance(0.9)
        bar.advance()
        bar.close()
        clock.advance(5)
        self.assertEqual((screen.getvalue(), clock.getDelayedCalls()), ("", []))

    def test_where_standard_error_is_no_terminal(self) -> None:
        """Nothing is drawn, and nothing waits."""
        clock = Clock()
        with redirect_stderr(self.errors):
            bar = LateBar(clock, "x", 1)
        self.assertEqual(clock.getDelayedCalls(), [])
        bar.close()


class FileTests(SynchronousTestCase):
    """Files of EIDs."""

    def write(self, text: str | bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def test_one_a_line(self) -> None:
        """With comments, empty lines and instance IDs."""
        text = "# ours\n10.1.1.5\n\n  10.1.0.0/16 # all\n[7] 10.1.1.5\n[0]name:a#b\n02::1\n"
        found = read_eids(self.write(text), 3)
        self.assertEqual(
            [str(eid) for eid in found],
            ["[3] 10.1.1.5/32", "[3] 10.1.0.0/16", "[7] 10.1.1.5/32", "name:a#b", "[3] 2::1/128"],
        )

    def test_standard_input(self) -> None:
        """Its name is a hyphen."""
        with mock.patch("sys.stdin", StringIO("10.1.1.5\n")):
            self.assertEqual(read_eids("-", 0), [_eid("10.1.1.5/32")])

    def test_mistakes(self) -> None:
        """One sentence, with the line."""
        for text, words in (
            ("10.1.1.5\nrubbish\n", "line 2: "),
            ("10.1.1.5/40\n", "line 1: EID-prefix '10.1.1.5/40' is longer than"),
            ("[99999999999] 10.1.1.5\n", "line 1: instance ID 99999999999 does not fit"),
            ("# nothing\n", "has no EIDs"),
            (b"10.1.1.5\n\xff\n", "is not UTF-8 text"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                read_eids(self.write(text), 0)
        with self.assertRaisesRegex(ValueError, "/nowhere can't be read: No such file"):
            read_eids("/nowhere", 0)

    def test_too_many(self) -> None:
        """They would fill the memory."""
        self.patch(lig_eids, "MAX_EIDS", 2)
        with self.assertRaisesRegex(ValueError, "line 3: there are more than 2 EIDs"):
            read_eids(self.write("10.1.1.1\n10.1.1.2\n10.1.1.3\n"), 0)


class CommandTests(SynchronousTestCase):
    """The command itself, with a Map-Resolver that is silent."""

    def setUp(self) -> None:
        """A socket that nobody reads."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(("127.0.0.1", 0))
        self.patch(lig_many, "MAX_OUTSTANDING", 1)

    def lig(self, *arguments: str) -> tuple[int, str, str]:
        output, errors = StringIO(), StringIO()
        port = self.socket.getsockname()[1]
        options = ("--resolver", f"127.0.0.1:{port}", "--count", "1", "--timeout", "0.1")
        with redirect_stdout(output), redirect_stderr(errors):
            code = main(("lig", *arguments, *options))
        return code, output.getvalue(), errors.getvalue()

    def test_arguments_and_a_file(self) -> None:
        """All are asked for, each within its instance."""
        path = Path(self.mktemp())
        path.write_text("10.1.1.7\n[8] 10.1.1.8\n")
        eids = ("10.1.1.5", "10.1.1.6")
        code, output, errors = self.lig(*eids, "--file", str(path), "--instance-id", "5")
        self.assertEqual(code, 2)
        self.assertEqual(
            [line.split("  ")[0] for line in output.splitlines()[3:]],
            ["[5] 10.1.1.5", "[5] 10.1.1.6", "[5] 10.1.1.7", "[8] 10.1.1.8"],
        )
        self.assertIn("4 EIDs asked for in ", errors)

    def test_a_file_of_one(self) -> None:
        """What reads the output need not care how many there were."""
        path = Path(self.mktemp())
        path.write_text("10.1.1.7\n")
        _code, output, _errors = self.lig("--file", str(path))
        self.assertIn("for 1 EID from", output)

    def test_mistakes(self) -> None:
        """One sentence."""
        for arguments, words in (
            ((), "which EID?"),
            (("10.1.1.5", "10.1.1.6", "--subscribe"), "--subscribe takes one EID-prefix"),
            (("10.1.1.5", "rubbish"), "rubbish"),
            (("--file", "/nowhere"), "/nowhere can't be read"),
        ):
            code, output, errors = self.lig(*arguments)
            self.assertEqual((code, output, errors.count("\n")), (2, "", 1), arguments)
            self.assertIn(words, errors)
