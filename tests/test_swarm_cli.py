"""``lispmsrt swarm``: what it refuses, what it prints, and how it ends."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from lispmsrt.cli import main
from lispmsrt.cli.swarm import Show
from lispmsrt.cli.swarm_options import add_arguments, key_of, plan_of
from lispmsrt.swarm.plan import UDP, Plan
from lispmsrt.swarm.swarm import Swarm
from lispmsrt.wire.authentication import AlgorithmId, Key
from tests.rim import MAP_SERVER_HOST, map_server_text, site_text
from tests.running import CHECKOUT, free_port
from tests.service_ground import Ground

_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, b"campus secret")
_SITE = site_text("campus", "10.0.0.0/8", "2001:db8::/32")


def _run(*arguments: str) -> tuple[int, str, str]:
    """Run ``lispmsrt swarm``; return exit code, standard output and standard error."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(("swarm", *arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, output.getvalue(), errors.getvalue()


class OptionTests(Ground):
    """What is asked for."""

    def setUp(self) -> None:
        """A key in a file."""
        super().setUp()
        self.file = Path(self.mktemp())
        self.file.write_text("campus secret\n")

    def plan(self, *arguments: str) -> Plan:
        """Return what these arguments mean."""
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        parsed = parser.parse_args(arguments)
        key_of(parsed)
        return plan_of(parsed)

    def test_defaults(self) -> None:
        """One ETR with a hundred EIDs over TCP, until all is acknowledged."""
        plan = self.plan("127.0.0.1", "--key-file", str(self.file))
        self.assertEqual((plan.etrs, plan.eids, plan.ramp), (1, 100, 100.0))
        self.assertEqual(plan.transport, "tcp:127.0.0.1:4342")
        self.assertEqual(str(plan.prefixes[0]), "10.0.0.0/8")
        self.assertTrue(plan.ends_by_itself)
        self.assertEqual(plan.sources, ())

    def test_everything_else(self) -> None:
        """Endpoint strings are completed; addresses are taken from prefixes."""
        more = ("127.0.0.1:5000", "--key-file", str(self.file), "--etrs", "5", "--eids", "2")
        plan = self.plan(
            *more,
            *("--transport", "tcp:4343", "--source-addresses", "127.0.1.0/30"),
            *("--source-addresses", "127.0.2.1", "--lookups", "0.5/s", "--moves", "3"),
            *("--site-prefix", "10.1.0.0/16", "--site-prefix", "2001:db8::/32"),
            *("--instance-id", "7", "--eid-length", "32", "--for", "12", "--seed", "3"),
        )
        self.assertEqual(plan.transport, "tcp:127.0.0.1:4343")
        self.assertEqual(plan.sources, ("127.0.1.1", "127.0.1.2", "127.0.2.1"))
        self.assertEqual((plan.lookups, plan.moves, plan.seconds), (0.5, 3.0, 12.0))
        self.assertEqual({prefix.instance_id for prefix in plan.prefixes}, {7})
        self.assertEqual(self.plan(*more, "--transport", "udp").transport, UDP)
        none = ("127.0.0.1", "--algorithm", "none")
        self.assertEqual(self.plan(*none).total, 100)

    def test_what_can_not_be_is_one_sentence_with_a_remedy(self) -> None:
        """And exit code 2, before anything is sent."""
        key = ("--key-file", str(self.file))
        for arguments, words in (
            (("192.0.2.1", *key), "is not on this host, and this is load: add --yes-this-is-my"),
            (("2001:db8::1", *key), "is not on this host"),
            (("0.0.0.0", *key), "no address of a Map-Server"),
            (("::", *key), "no address of a Map-Server"),
            (("239.1.2.3", *key), "no address of a Map-Server"),
            (("255.255.255.255", *key), "no address of a Map-Server"),
            (("127.0.0.1:0", *key), "no port"),
            (("127.0.0.1", *key, "--transport", "tcp:192.0.2.1"), "names a host of its own"),
            (("127.0.0.1", *key, "--transport", "tcp:host=192.0.2.1:port=1"), "names a host of"),
            (("127.0.0.1", *key, "--transport", "tcp:ms.example.net:4342"), "names a host of"),
            (("localhost", *key), "no IPv4 or IPv6 address"),
            (("127.0.0.1",), "--key-file"),
            (("127.0.0.1", "--key-file", "/nowhere/key"), "can't be read"),
            (("127.0.0.1", *key, "--algorithm", "none"), "leave --key-file out"),
            (("127.0.0.1", *key, "--etrs", "0"), "--etrs 0 is not from 1 to 65536"),
            (("127.0.0.1", *key, "--for", "1e9"), "--for"),
            (("127.0.0.1", *key, "--for", "nan"), "--for"),
            (("127.0.0.1", *key, "--ramp", "fast"), "write 50/s"),
            (("127.0.0.1", *key, "--ramp", "0"), "--ramp"),
            (("127.0.0.1", *key, "--lookups", "9999999/s"), "--lookups"),
            (("127.0.0.1", *key, "--records", "20"), "--records is for --transport udp"),
            (("127.0.0.1", *key, "--transport", "tls:x"), "write tls13:"),
            (("127.0.0.1", *key, "--transport", "pigeon:x"), "pigeon"),
            (("127.0.0.1", *key, "--site-prefix", "10.0.0.1/8"), "--site-prefix"),
            (("127.0.0.1", *key, "--site-prefix", "10.0.0.0/30"), "give a shorter prefix"),
            (("127.0.0.1", *key, "--site-prefix", "name:x"), "no IPv4 or IPv6 prefix"),
            (("127.0.0.1", *key, *("--site-prefix", "10.0.0.0/8") * 65), "more than 64"),
            (("127.0.0.1", *key, "--source-addresses", "127.0.1.1/24"), "host bits"),
            (("127.0.0.1", *key, "--source-addresses", "::1"), "another family"),
            (("127.0.0.1", *key, "--source-addresses", "192.0.2.9"), "addresses of this host"),
            (("127.0.0.1", *key, "--json", "/nowhere/result"), "--json /nowhere/result can't"),
            (("127.0.0.1", *key, "--instance-id", "-1"), "--instance-id"),
        ):
            code, output, errors = _run(*arguments)
            self.assertEqual((code, output), (2, ""), arguments)
            self.assertIn(words, errors)
            self.assertEqual(errors.count("\n"), 1, errors)
            self.assertNotIn("campus secret", errors)

    def test_another_host_is_taken_at_ones_word(self) -> None:
        """The option says that it is one's own."""
        plan = self.plan("192.0.2.1", "--key-file", str(self.file), "--yes-this-is-my-network")
        self.assertEqual(str(plan.map_server), "192.0.2.1:4342")
        more = ("--key-file", str(self.file), "--yes-this-is-my-network")
        plan = self.plan("127.0.0.1", *more, "--transport", "tcp:192.0.2.1:5000")
        self.assertEqual(plan.transport, "tcp:192.0.2.1:5000")


class ReportTests(Ground):
    """What is printed, with a swarm in memory."""

    def show(self, **options: Any) -> tuple[int, str, dict[str, Any]]:
        """Run one; return exit code, what was printed, and the JSON."""
        arguments = argparse.ArgumentParser()
        add_arguments(arguments)
        texts = [f"--{name}={value}" for name, value in options.items()]
        plan = plan_of(
            arguments.parse_args([MAP_SERVER_HOST, "--source-addresses", "127.0.0.7", *texts])
        )
        swarm = Swarm(self.network, plan, _KEY, clock=self.network, cpu=lambda: 0.5, first_nonce=1)
        file = Path(self.mktemp())
        output = StringIO()
        with redirect_stdout(output):
            running = Deferred.fromCoroutine(Show(swarm, self.network, file).run())
            self.network.run(60)
        code: int = self.successResultOf(running)
        return code, output.getvalue(), json.loads(file.read_text())

    def test_a_success(self) -> None:
        """A table for people, JSON for programs, exit code 0."""
        self.server(map_server_text(_SITE))
        options = {"etrs": 3, "eids": 4, "lookups": "20/s", "for": 3}
        code, output, told = self.show(**options)
        self.assertEqual(code, 0)
        for words in (
            "Map-Server:       127.0.0.1:4342, tcp",
            "ETRs:             3 of 3 started, 4 EIDs each",
            "EIDs:             12 of 12 registered, 0 refused, 0 unanswered",
            "registration ",
            "session set-up ",
            "All that was offered is acknowledged.",
        ):
            self.assertIn(words, output)
        self.assertEqual(told["registrations"]["registered"], 12)
        self.assertEqual(told["problems"], [])
        self.assertEqual(told["latencies"]["registration"]["count"], 12)
        self.assertEqual(
            set(told["latencies"]), {"registration", "lookup", "arming", "session set-up"}
        )
        self.assertEqual(
            set(told["latencies"]["lookup"]), {"count", "p50", "p90", "p99", "p999", "max"}
        )
        self.assertEqual(told["lookups"]["right"], told["lookups"]["asked"])
        self.assertEqual(
            set(told),
            {
                *("map_server", "transport", "etrs", "eids_per_etr", "etrs_started", "seconds"),
                *("sessions_now", "sessions_opened", "was_interrupted", "registrations"),
                *("lookups", "latencies", "rates", "own", "counters", "failures", "problems"),
            },
        )

    def test_a_failure(self) -> None:
        """Exit code 1, and why."""
        self.server(map_server_text(site_text("campus", "10.0.0.0/30")))
        code, output, told = self.show(eids=10, **{"for": 2})
        self.assertEqual(code, 1)
        self.assertIn("Not done: 6 EIDs were refused.", output)
        self.assertEqual(told["problems"], ["6 EIDs were refused"])


class RealTests(Ground):
    """A real daemon, and the command as an operator runs it."""

    def setUp(self) -> None:
        """A Map-Server on loopback, in a process of its own."""
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix="lispmsrt-swarm-"))
        self.port = free_port()
        config = self.directory / "map-server.toml"
        config.write_text(map_server_text(_SITE, port=self.port))
        (self.directory / "key").write_text("campus secret\n")
        self.daemon = subprocess.Popen(
            [
                *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                *("-n", "--pidfile=", "lispmsrt", "--config", str(config)),
            ],
            env={
                **os.environ,
                "PYTHONPATH": str(CHECKOUT),
                "PYTHONUNBUFFERED": "1",
                "LISPMSRT_SOCKET": str(self.directory / "management.sock"),
            },
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self._end)
        assert self.daemon.stdout is not None
        for line in self.daemon.stdout:
            if "management on" in line:
                return
        self.fail("the daemon did not start")

    def _end(self) -> None:
        self.daemon.kill()
        self.daemon.communicate()

    def run_swarm(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command against it."""
        return _run(
            f"127.0.0.1:{self.port}",
            *("--key-file", str(self.directory / "key")),
            *("--json", str(self.directory / "json")),
            *arguments,
        )

    def test_sessions_and_datagrams(self) -> None:
        """By both ways all is registered."""
        for transport in (f"tcp:{self.port}", "udp"):
            code, output, errors = self.run_swarm(
                "--transport", transport, "--etrs", "20", "--eids", "30", "--ramp", "1000/s"
            )
            self.assertEqual((code, errors), (0, ""), output)
            self.assertIn("EIDs:             600 of 600 registered", output)

    def test_an_interrupt_ends_it_with_the_result_so_far(self) -> None:
        """Exit code 130, sessions closed."""
        interrupt = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        transport = ("--transport", f"tcp:{self.port}")
        code, output, errors = self.run_swarm(*transport, "--etrs", "3", "--for", "600")
        interrupt.join()
        self.assertEqual((code, errors), (130, ""))
        self.assertIn("Interrupted: this is the result so far.", output)
        told = json.loads((self.directory / "json").read_text())
        self.assertTrue(told["was_interrupted"])
