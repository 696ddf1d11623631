"""The Internet in small: 20,000 of its networks registered and looked up again, and the parts of
that benchmark.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import internet, judge, networks
from benchmarks.judge import Judge, SortedRanges
from benchmarks.networks import Network, NetworksError
from benchmarks.processes import Child, ProcessError, Role
from benchmarks.replies import Record
from benchmarks.roles import Asked, AskerRole, EchoRole, MapServerRole, etr_address

_CHECKOUT = Path(__file__).parents[1]

_DUMP = """\
#
# Location Database Export

aut-num:                 AS1
name:                    LVLT-1

net:                     1.0.0.0/8
country:                 AU

net:                     1.0.0.0/24
country:                 AU
aut-num:                 13335
is-anycast:              yes

net:                     2001:db8::/32
aut-num:                 1
"""


def _random_prefixes(draw: random.Random, count: int) -> set[str]:
    """Prefixes that nest often: all in one corner of each address space."""
    found = set()
    for _ in range(count):
        length = draw.randint(18, 32)
        network = 0x0A0A0000 | draw.getrandbits(14) >> 32 - length << 32 - length
        found.add(f"{ipaddress.IPv4Address(network)}/{length}")
        length = draw.randint(116, 128)
        network = 0x20010DB8 << 96 | draw.getrandbits(12) >> 128 - length << 128 - length
        found.add(f"{ipaddress.IPv6Address(network)}/{length}")
    return found


class InternetTests(SynchronousTestCase):
    """The command itself."""

    if shutil.which("location") is None and not os.environ.get("CI"):
        skip = "Debian's packages location and libloc-database are missing"

    def test_cut_is_registered_and_resolved(self) -> None:
        """Every lookup in 20,000 networks agrees with the judges."""
        with tempfile.TemporaryDirectory() as directory:
            figures_file = Path(directory) / "figures.json"
            sizes = {"networks": 20_000, "etrs": 8, "processes": 2, "lookups": 1000}
            outcome = subprocess.run(
                [sys.executable, "-m", "benchmarks.internet", f"--json={figures_file}"]
                + [f"--{name}={size}" for name, size in sizes.items()],
                cwd=_CHECKOUT,
                capture_output=True,
                text=True,
                timeout=120,
            )
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""), outcome.stdout)
            figures = json.loads(figures_file.read_text())
        self.assertEqual((figures["networks"], figures["sessions"]), (20_000, 8))
        self.assertEqual(figures["lookups"], 1000)
        self.assertGreater(figures["lookups judged by location"], 500)
        self.assertGreater(figures["lookups in a network"], 500)
        self.assertIn("by Map-Request over UDP", outcome.stdout)
        self.assertIn("all agree", outcome.stdout)


class NetworksTests(SynchronousTestCase):
    """The data and how it is dealt out."""

    def test_dump_is_read(self) -> None:
        """Networks with and without AS; the AS paragraphs are no networks."""
        dump = Path(self.mktemp())
        dump.write_text(_DUMP)
        self.assertEqual(
            list(networks.read_dump(dump)),
            [Network("1.0.0.0/8", None), Network("1.0.0.0/24", 13335), Network("2001:db8::/32", 1)],
        )

    def test_unexpected_data_is_refused(self) -> None:
        """A default route, a network twice, nothing at all."""
        for prefixes in (["0.0.0.0/0"], ["10.0.0.0/8", "10.0.0.0/8"], []):
            found = [Network(prefix, 1) for prefix in prefixes]
            self.assertRaises(NetworksError, networks._check, found)

    def test_systems_stay_together_and_shares_are_even(self) -> None:
        """All of an AS is at one ETR; those without AS are spread evenly."""
        draw = random.Random(1)
        systems = [draw.choice((None, *range(100))) for _ in range(5000)]
        dealt = [Network(f"x/{number % 33}", asn) for number, asn in enumerate(systems)]
        owners = networks.deal(dealt, 7)
        self.assertEqual(owners, networks.deal(dealt, 7))
        together = {(asn, owner) for asn, owner in zip(systems, owners, strict=True) if asn}
        self.assertEqual(len(together), 99)
        sizes = [owners.count(etr) for etr in range(7)]
        self.assertLess(max(sizes) - min(sizes), 100)

    def test_cut_is_even(self) -> None:
        """A cut keeps the order and takes from everywhere."""
        everything = [Network(f"10.0.0.{number}/32", None) for number in range(256)]
        self.assertEqual(networks.cut(everything, 4), everything[::64])
        self.assertEqual(networks.cut(everything, None), everything)
        self.assertEqual(networks.cut(everything, 1000), everything)

    def test_every_etr_has_its_own_address(self) -> None:
        """No two addresses are the same, and all are loopback addresses."""
        addresses = {etr_address(number) for number in range(70_000)}
        self.assertEqual(len(addresses), 70_000)
        loopback = ipaddress.ip_network("127.0.0.0/8")
        self.assertTrue(all(ipaddress.ip_address(text) in loopback for text in addresses))


class JudgeTests(SynchronousTestCase):
    """Whoever judges must be right, and be heard."""

    def test_sorted_ranges_find_the_longest_match(self) -> None:
        """Bisection equals trying every prefix."""
        draw = random.Random(2)
        prefixes = _random_prefixes(draw, 300)
        parsed = [ipaddress.ip_network(prefix) for prefix in prefixes]
        ranges = SortedRanges(prefixes)
        probes = [str(edge) for network in parsed for edge in (network[0], network[-1])]
        probes += [str(ipaddress.ip_address(probe) + 1) for probe in probes]
        for probe in probes:
            address = ipaddress.ip_address(probe)
            covering = [network for network in parsed if address in network]
            longest = max(covering, key=lambda network: network.prefixlen, default=None)
            self.assertEqual(ranges.lookup(probe), str(longest) if longest else None, probe)

    def test_cut_is_judged_by_what_is_in_it(self) -> None:
        """Where location names a network outside the cut, the longest match in the cut counts."""
        named = {"10.1.1.1": "10.1.1.0/24", "10.2.1.1": "10.2.0.0/16", "11.0.0.1": None}
        self.patch(judge, "ask_location", lambda addresses: list(map(named.get, addresses)))
        one = Judge([Network("10.0.0.0/8", 1), Network("10.2.0.0/16", None)], [0, 1])
        self.assertEqual(one.verdicts(list(named)), [("10.0.0.0/8", 0), ("10.2.0.0/16", 1), None])
        self.assertEqual(one.by_location, 2)

    def test_disagreement_is_a_failure(self) -> None:
        """A wrong prefix, a wrong ETR, a missing network and silence each end the run."""
        self.patch(judge, "ask_location", lambda addresses: ["10.0.0.0/8"] * len(addresses))
        right = [Record("10.0.0.0/8", (etr_address(3),))]
        self.assertEqual(_look_up([right, right])["lookups in a network"], 2)
        for wrong in (
            [Record("10.0.0.0/9", (etr_address(3),))],
            [Record("10.0.0.0/8", (etr_address(4),))],
            [Record("10.0.0.0/8", ())],
            [],
        ):
            self.assertRaises(internet.RunError, _look_up, [right, wrong])


def _look_up(replies: list[list[Record]]) -> dict[str, Any]:
    """Judge the replies about two addresses in one network, which is at the fourth ETR."""
    server: Any = _Child({"cpu": 2.0, "cpu from now on": 1.0})
    asker: Any = _Child(Asked(1.0, 0, replies))
    addresses, found = ["10.0.0.1", "10.0.0.2"], [Network("10.0.0.0/8", 1)]
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere)
        return internet._look_up(server, asker, addresses, found, [3], console)


class _Child:
    """Answers whatever is asked with what it was given."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def ask(self, command: str, *arguments: object) -> object:
        """Answer."""
        return self._answer


class AskerTests(SynchronousTestCase):
    """Who asks, and a Map-Server."""

    def test_questions_are_answered_over_udp(self) -> None:
        """As many as there are, more than are outstanding at a time."""
        server = Child("the Map-Server", MapServerRole)
        self.addCleanup(server.stop)
        server.receive()
        asker = Child("who asks", AskerRole, server.ask("ports")[0])
        self.addCleanup(asker.stop)
        asker.receive()
        addresses = [f"192.0.2.{number}" for number in range(200)] + ["2001:db8::1"]
        asked: Asked = asker.ask("ask", addresses)
        expected = [[Record("0.0.0.0/0", ())]] * 200 + [[Record("::/0", ())]]
        self.assertEqual(asked.replies, expected)


class ProcessTests(SynchronousTestCase):
    """Processes end with their parent, and their end is told."""

    def test_death_is_one_sentence(self) -> None:
        """A killed process is named with its exit code."""
        child = Child("the echo", EchoRole)
        self.addCleanup(child.stop)
        child.receive()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        failure = self.assertRaises(ProcessError, child.receive)
        self.assertEqual(str(failure), "the echo died with exit code -9")

    def test_failed_request_is_one_sentence(self) -> None:
        """A request that raises is told to whoever asked, and the process stops as asked."""
        child = Child("the echo", EchoRole)
        child.receive()
        failure = self.assertRaises(ProcessError, child.ask, "usage", "too", "many")
        self.assertTrue(str(failure).startswith("the echo: usage: TypeError("), failure)
        self.assertEqual(child.stop(), 0)

    def test_answer_may_come_later(self) -> None:
        """A request whose answer takes time is answered when there is one."""
        child = Child("the waiting one", Waiting)
        self.addCleanup(child.stop)
        child.receive()
        self.assertEqual(child.ask("wait"), "now")


class Waiting(Role):
    """Answers in a later turn of its reactor."""

    def __init__(self, reactor: Any) -> None:
        self.commands = {"wait": lambda: deferLater(reactor, 0.0, lambda: "now")}

    def stop(self) -> Deferred[None]:
        """Nothing is open."""
        return succeed(None)
