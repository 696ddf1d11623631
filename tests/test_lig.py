"""``lispmsrt lig``: what it asks, what it prints, and how it ends."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli import lig, lig_subscribe, main
from lispmsrt.cli.lig import Asker
from lispmsrt.cli.lig_report import answer_json, answer_lines, eid_text
from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import Answer, Form
from lispmsrt.services.requester import Requester
from lispmsrt.wire.addresses import NO_ADDRESS, Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.lcaf import AsNumber
from lispmsrt.wire.map_register import write_map_notify
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, decode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.records import NO_EXPIRY, Action, Locator, MappingRecord, encode_record
from tests.builders import ip
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark
from tests.rim import MAP_SERVER_HOST, Network, outcome

_ip = Address.from_text
_eid = EidPrefix.from_text
_NEVER = 30.0

_LOCATORS = (
    Locator(_ip("198.51.100.7"), 1, 50),
    Locator(_ip("198.51.100.8"), 255, 0, local=False, reachable=False),
    Locator(_ip("2001:db8::7"), 2, 100, local=False, probe=True),
)
MAPPED = MappingRecord(_eid("10.1.1.0/24"), 1440, _LOCATORS, authoritative=True)
NO_SITE = MappingRecord(_eid("10.2.0.0/15"), 15, (), Action.NATIVELY_FORWARD)


class _MapResolver:
    """A Map-Resolver on a loopback port, in a thread of its own.

    It answers from another address, as an ETR would.
    """

    def __init__(self, reply: Callable[[MapRequest], list[MappingRecord] | None]) -> None:
        self.asked: list[tuple[bytes, tuple[str, int]]] = []
        self.heard = threading.Event()
        self._is_closed = False
        self._reply = reply
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._etr = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._etr.bind(("127.0.0.3", 0))
        self.etr = f"127.0.0.3:{self._etr.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(9000)
            if not data:
                return
            self.asked.append((data, source))
            self.take(data, source)

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        if message_type(data) == ControlType.ENCAPSULATED:
            data = decode_encapsulated(data).payload
        request = decode_map_request(data)
        records = self._reply(request)
        if records is not None:
            reply = MapReply(request.nonce, tuple(records), probe=request.probe)
            self._etr.sendto(encode_map_reply(reply), (str(request.itr_rlocs[0]), source[1]))
        self.heard.set()

    def close(self) -> None:
        """End the thread with an empty datagram: all that came before has been taken then."""
        if self._is_closed:
            return
        self._is_closed = True
        self._etr.sendto(b"", self._socket.getsockname())
        self._thread.join(_NEVER)
        self._socket.close()
        self._etr.close()


def _run(*arguments: str) -> tuple[int, str, str]:
    """Run ``lispmsrt lig``; return exit code, standard output and standard error."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(("lig", *arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, output.getvalue(), errors.getvalue()


class _Script:
    """A Map-Server that confirms a subscription, publishes that the mapping is gone, and lets the
    subscriber go.
    """

    KEY = Key(3, AlgorithmId.HMAC_SHA_256_128, b"shared secret")

    def __init__(self, key: Key = KEY) -> None:
        self.requests: list[MapRequest] = []
        self.acknowledged: list[int] = []
        self._key = key

    def replies(self, data: bytes) -> list[bytes]:
        """Return what answers a datagram."""
        if message_type(data) == ControlType.MAP_NOTIFY_ACK:
            nonce = int.from_bytes(data[4:12], "big")
            self.acknowledged.append(nonce)
            gone = replace(MAPPED, ttl=0, locators=())
            return [self._notify(nonce + 1, gone)] if len(self.acknowledged) == 1 else []
        request = decode_map_request(decode_encapsulated(data).payload)
        self.requests.append(request)
        return [self._notify(request.nonce, MAPPED)]

    def _notify(self, nonce: int, record: MappingRecord) -> bytes:
        return write_map_notify(
            nonce=nonce,
            records=[encode_record(record)],
            ids=b"",
            reliable_transport=False,
            key=self._key,
            length=32,
            coverage=Coverage.WHOLE_MESSAGE,
        )


class _Publisher(_MapResolver):
    """The same on a loopback port."""

    def __init__(self) -> None:
        self.script = _Script()
        super().__init__(lambda _request: None)

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        for reply in self.script.replies(data):
            self._socket.sendto(reply, source)
        if len(self.script.acknowledged) == 2:
            self.heard.set()


class _InMemory:
    """Somebody on the network in memory."""

    def __init__(self, network: Network, replies: Callable[[bytes], list[bytes]]) -> None:
        self.replies = replies
        self._network = network
        network.listenUDP(4342, self, MAP_SERVER_HOST)

    def datagramReceived(self, data: bytes, source: tuple[str, int]) -> None:
        for reply in self.replies(data):
            self._network.send((MAP_SERVER_HOST, 4342), source, reply)

    def makeConnection(self, transport: Any) -> None:
        """It writes otherwise."""


class CommandTests(SynchronousTestCase):
    """The command, over real sockets."""

    def resolver(self, *records: MappingRecord, is_silent: bool = False) -> _MapResolver:
        resolver = _MapResolver(lambda _request: None if is_silent else list(records))
        self.addCleanup(resolver.close)
        return resolver

    def test_a_mapping(self) -> None:
        """Exit code 0."""
        resolver = self.resolver(MAPPED)
        arguments = ("10.1.1.5", "--resolver", resolver.address, "--timeout", "10")
        code, output, errors = _run(*arguments)
        self.assertEqual((code, errors), (0, ""))
        first, second, *rest = output.splitlines()
        self.assertEqual(first, f"Asking {resolver.address} for 10.1.1.5 from 127.0.0.1")
        self.assertRegex(second, rf"^Map-Reply from {resolver.etr} after \d+\.\d ms$")
        self.assertEqual(rest[1], "Mapping entry for EID 10.1.1.5:")
        ((data, _source),) = resolver.asked
        self.assertEqual(decode_encapsulated(data).destination, _ip("10.1.1.5"))

    def test_a_negative_answer(self) -> None:
        """Exit code 1."""
        resolver = self.resolver(NO_SITE)
        arguments = ("10.2.3.4", "--resolver", resolver.address, "--timeout", "10")
        code, output, errors = _run(*arguments)
        self.assertEqual((code, errors), (1, ""))
        self.assertIn("no such site: forward natively, for 15 minutes", output)

    def test_no_answer(self) -> None:
        """Exit code 2, and one sentence."""
        resolver = self.resolver(is_silent=True)
        arguments = ("10.1.1.5", "--resolver", resolver.address, "--timeout", "0.1", "--count", "2")
        code, output, errors = _run(*arguments)
        resolver.close()
        self.assertEqual((code, output.count("\n"), len(resolver.asked)), (2, 1, 2))
        self.assertEqual(
            errors,
            f"lig: no answer from {resolver.address} to 2 Map-Requests: check that a Map-Resolver"
            " runs there, and that answers can reach 127.0.0.1 (--source)\n",
        )

    def test_json(self) -> None:
        """One object, and nothing else."""
        resolver = self.resolver(MAPPED)
        arguments = ("10.1.1.5", "--resolver", resolver.address, "--timeout", "10", "--json")
        code, output, errors = _run(*arguments, "--source", "127.0.0.4")
        self.assertEqual((code, errors), (0, ""))
        found = json.loads(output)
        self.assertEqual((found["answer"], found["answered_by"]), ("mapping", resolver.etr))
        self.assertEqual(found["source"], "127.0.0.4")
        self.assertEqual(resolver.asked[0][1][0], "127.0.0.4")

    def test_json_without_an_answer(self) -> None:
        """The sentence goes elsewhere."""
        resolver = self.resolver(is_silent=True)
        arguments = ("10.1.1.5", "--resolver", resolver.address, "--timeout", "0.1", "--count", "1")
        code, output, errors = _run(*arguments, "--json")
        self.assertEqual((code, json.loads(output)["answer"]), (2, "none"))
        self.assertEqual(errors.count("\n"), 1)

    def test_plain_and_probe(self) -> None:
        """Without an ECM."""
        resolver = self.resolver(MAPPED)
        for option, is_probe in (("--plain", False), ("--probe", True)):
            code, _output, _errors = _run(
                "10.1.1.5", "--resolver", resolver.address, "--timeout", "10", option
            )
            self.assertEqual(code, 0)
            request = decode_map_request(resolver.asked[-1][0])
            self.assertIs(request.probe, is_probe)

    def test_the_resolver_may_come_from_the_environment(self) -> None:
        """As the classic lig has it."""
        resolver = self.resolver(MAPPED)
        self.patch(os, "environ", {**os.environ, "LISP_MAP_RESOLVER": resolver.address})
        self.assertEqual(_run("10.1.1.5", "--timeout", "10")[0], 0)

    def test_a_signal_ends_it(self) -> None:
        """With the code that a shell gives to it."""
        resolver = self.resolver(is_silent=True)

        def interrupt() -> None:
            resolver.heard.wait(_NEVER)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        code, _output, errors = _run(
            "10.1.1.5", "--resolver", resolver.address, "--timeout", str(_NEVER)
        )
        thread.join()
        self.assertEqual((code, errors), (128 + signal.SIGINT, ""))

    def test_tshark_understands_the_question(self) -> None:
        """Of each family and form."""
        skip_without_tshark()
        resolver = self.resolver(MAPPED)
        for arguments in (
            ("10.1.1.5",),
            ("2001:db8::5", "--instance-id", "7"),
            ("10.1.1.5", "--probe"),
        ):
            _run(*arguments, "--resolver", resolver.address, "--timeout", "0.1", "--count", "1")
        resolver.close()
        fields = ["_ws.malformed", "lisp.expected_field", "lisp.invalid_field", "lisp.type"]
        fields += ["udp.checksum.status", "lisp.mreq.flags.probe", "lisp.lcaf.iid"]
        fields += ["lisp.mreq.record.prefix.ipv4", "lisp.lcaf.iid.ipv6"]
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "questions.pcap"
            with PcapWriter(path) as pcap:
                for data, source in resolver.asked:
                    pcap.udp(source, ("127.0.0.1", 4342), data)
            ipv4, ipv6, probe = run_tshark(path, fields)
        for packet in (ipv4, ipv6, probe):
            self.assertEqual([packet[field] for field in fields[:3]], [[], [], []])
            self.assertEqual(set(packet["udp.checksum.status"]), {"1"})
        self.assertEqual([packet["lisp.type"] for packet in (ipv4, probe)], [["8", "1"], ["1"]])
        self.assertEqual(ipv4["lisp.mreq.record.prefix.ipv4"], ["10.1.1.5"])
        self.assertEqual(ipv6["lisp.lcaf.iid.ipv6"], ["2001:db8::5"])
        self.assertEqual(ipv6["lisp.lcaf.iid"], ["7"])
        self.assertEqual(probe["lisp.mreq.flags.probe"], ["1"])


class SubscribeTests(SynchronousTestCase):
    """``--subscribe``, over real sockets."""

    def setUp(self) -> None:
        """A file with the key."""
        self.file = Path(self.mktemp())
        self.file.write_bytes(b"shared secret\n")
        self.thread = threading.Thread()

    def follow(self, resolver: _MapResolver, *arguments: str) -> tuple[int, str, str]:
        return _run(
            *("10.1.1.0/24", "--subscribe", "--xtr-id", "0b" * 16, "--site-id", "5"),
            *("--key-file", str(self.file), "--key-id", "3", "--resolver", resolver.address),
            *arguments,
        )

    def interrupt_when_heard(self, resolver: _MapResolver) -> None:
        def interrupt() -> None:
            resolver.heard.wait(_NEVER)
            os.kill(os.getpid(), signal.SIGINT)

        self.thread = threading.Thread(target=interrupt)
        self.thread.start()
        self.addCleanup(self.thread.join)

    def publisher(self) -> _Publisher:
        publisher = _Publisher()
        self.addCleanup(publisher.close)
        return publisher

    def test_publications_are_printed_until_a_signal_unsubscribes(self) -> None:
        """Each Map-Notify is acknowledged; the exit code is 0."""
        publisher = self.publisher()
        self.interrupt_when_heard(publisher)
        code, output, errors = self.follow(publisher, "--timeout", "10")
        self.assertEqual((code, errors), (0, ""))
        mapping = """\
10.1.1.0/24, record TTL: 1 day, authoritative
  Locator           State  Priority/Weight
  198.51.100.7      up     1/50            local
  198.51.100.8      down   255/0
  2001:db8::7       up     2/100           probed"""
        expected = f"""\
Subscribing to 10.1.1.0/24 at {publisher.address} from 127.0.0.1
TIME: subscribed to 10.1.1.0/24
{mapping}
TIME: changed, of 10.1.1.0/24
  10.1.1.0/24 is gone
TIME: unsubscribed from 10.1.1.0/24
{mapping}
"""
        self.assertEqual(re.sub(r"(?m)^\d+\.\d{3} s:", "TIME:", output), expected)
        publisher.close()
        first, last = publisher.script.requests
        self.assertEqual((first.xtr_id, first.site_id), (b"\x0b" * 16, bytes(7) + b"\5"))
        self.assertEqual((str(first.itr_rlocs[0]), last.itr_rlocs), ("127.0.0.1", (NO_ADDRESS,)))
        nonces = [first.nonce, first.nonce + 1, last.nonce]
        self.assertEqual(publisher.script.acknowledged, nonces)

    def test_json_lines(self) -> None:
        """One object per publication."""
        publisher = self.publisher()
        self.interrupt_when_heard(publisher)
        code, output, _errors = self.follow(publisher, "--timeout", "10", "--json")
        lines = [json.loads(line) for line in output.splitlines()]
        self.assertEqual(code, 0)
        self.assertEqual([line["event"] for line in lines], ["confirmed", "published", "cancelled"])
        for line in lines:
            keys = {"event", "seconds", "eid", "instance_id", "records"}
            self.assertEqual((line["eid"], set(line)), ("10.1.1.0/24", keys))
        self.assertEqual([line["records"][0]["ttl"] for line in lines], [1440, 0, 1440])

    def test_an_ordinary_answer_is_a_refusal(self) -> None:
        """Exit code 1; the answer is shown."""
        resolver = _MapResolver(lambda _request: [MAPPED])
        self.addCleanup(resolver.close)
        code, output, errors = self.follow(resolver, "--timeout", "10")
        self.assertEqual(code, 1)
        self.assertIn("no subscription to 10.1.1.0/24\n10.1.1.0/24, record TTL", output)
        self.assertIn("gave an ordinary answer: check that it has Publish/Subscribe", errors)

    def test_mistakes(self) -> None:
        """Each in one sentence."""
        empty = Path(self.mktemp())
        empty.touch()
        good = ("--xtr-id", "0b" * 16, "--key-file", str(self.file))
        for arguments, words in (
            ((), "--subscribe needs --xtr-id and --key-file"),
            ((*good, "--xtr-id", "0b"), "--xtr-id '0b' has not 32 hexadecimal digits"),
            ((*good, "--xtr-id", "x" * 32), "has not 32 hexadecimal digits"),
            ((*good, "--site-id", "-1"), "--site-id -1 does not fit 64 bits"),
            ((*good, "--key-id", "256"), "--key-id 256 does not fit 8 bits"),
            ((*good, "--key-file", "/nowhere/key"), "can't be read: No such file"),
            ((*good, "--key-file", str(empty)), "is empty"),
            ((*good, "--probe"), "an RLOC-probe can't subscribe"),
            ((*good, "--port", "65536"), "--port 65536 is no port number"),
            ((*good, "--source", "::1"), "::1 is no address to ask 127.0.0.1:4342 from"),
        ):
            code, output, errors = _run(
                "10.1.1.0/24", "--resolver", "127.0.0.1", "--subscribe", *arguments
            )
            self.assertEqual((code, output), (2, ""), arguments)
            self.assertRegex(errors, r"\Alig: [^\n]+\n\Z")
            self.assertIn(words, errors)


class SilenceTests(SynchronousTestCase):
    """What does not answer, or not rightly, where time is under control."""

    def setUp(self) -> None:
        """A network with a Map-Server that is told what to say."""
        self.network = Network()
        self.key_file = Path(self.mktemp())
        self.key_file.write_bytes(b"shared secret")
        self.resolver = SocketAddress(MAP_SERVER_HOST, 4342)

    def ask(
        self, replies: Callable[[bytes], list[bytes]], key: Key | None = None
    ) -> tuple[list[Any], str]:
        """Ask once; return the exit code and standard error."""
        _InMemory(self.network, replies)
        requester = Requester(
            self.network,
            self.resolver,
            source="127.0.0.9",
            secured_by=key,
            clock=self.network,
            random=Random(7),
        )
        asker = Asker(requester, _eid("10.9.9.9/32"), Form.ENCAPSULATED, is_json=False)
        return self.run_in_memory(asker.ask, 10)

    def follow(self, script: _Script, replies: Any = None, cancel_after: float = 1e9) -> Any:
        """Subscribe; return the exit code and standard error."""
        _InMemory(self.network, replies or script.replies)
        parser = argparse.ArgumentParser()
        lig.add_arguments(parser)
        arguments = parser.parse_args(
            [
                *("10.1.1.0/24", "--subscribe", "--xtr-id", "0b" * 16, "--key-id", "3"),
                *("--key-file", str(self.key_file), "--source", "127.0.0.9"),
            ]
        )
        subscription = lig_subscribe.parse(arguments)
        assert subscription is not None
        follower = lig_subscribe.Follower(
            self.network,
            self.resolver,
            _eid("10.1.1.0/24"),
            subscription,
            arguments,
            clock=self.network,
        )
        return self.run_in_memory(follower.follow, 20, cancel_after)

    def run_in_memory(
        self, main: Callable[[], Any], seconds: float, cancel_after: float = 1e9
    ) -> tuple[list[Any], str]:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
            running = Deferred.fromCoroutine(main())
            ended = outcome(running)
            self.network.run(min(seconds, cancel_after))
            if cancel_after < seconds:
                running.cancel()
                self.network.run(seconds - cancel_after)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual(len(self.network.ports), 1)
        return ended, errors.getvalue()

    def test_answers_that_are_not_authentic(self) -> None:
        """Exit code 2, and which ones there were."""

        def unsigned(data: bytes) -> list[bytes]:
            message = decode_encapsulated(data)
            self.assertTrue(message.security)
            request = decode_map_request(message.payload)
            return [encode_map_reply(MapReply(request.nonce, (MAPPED,)))]

        codes, errors = self.ask(unsigned, Key(5, AlgorithmId.HMAC_SHA_256_128, b"of the ITR"))
        self.assertEqual(codes, [2])
        self.assertEqual(
            errors,
            "lig: no authentic answer (Map-Replies without LISP-SEC to a secured Map-Request: 3):"
            " check that 127.0.0.1:4342 has this key (itr-keys), under this ID\n",
        )

    def test_answers_that_are_broken_where_authentic_ones_are_wanted(self) -> None:
        """The remedy is another one."""

        def signed_wrongly(data: bytes) -> list[bytes]:
            request = decode_map_request(decode_encapsulated(data).payload)
            return [encode_map_reply(MapReply(request.nonce, (MAPPED,), security=b"\1\0\0\0"))]

        codes, errors = self.ask(
            signed_wrongly, Key(5, AlgorithmId.HMAC_SHA_256_128, b"of the ITR")
        )
        self.assertEqual(codes, [2])
        self.assertIn("no authentic answer (Map-Replies malformed: 3): somebody on the way", errors)

    def test_an_answer_about_something_else(self) -> None:
        """Exit code 2, and why."""

        def about_something_else(data: bytes) -> list[bytes]:
            request = decode_map_request(decode_encapsulated(data).payload)
            return [encode_map_reply(MapReply(request.nonce, (NO_SITE,)))]

        ended, errors = self.ask(about_something_else)
        self.assertEqual(ended, [2])
        self.assertIn("127.0.0.1:4342 answered, but about another EID-prefix", errors)

    def test_no_answer_to_a_subscription(self) -> None:
        """Exit code 2, after as long as for any question."""
        ended, errors = self.follow(_Script(), lambda _data: [])
        self.assertEqual(ended, [2])
        self.assertIn("no answer from 127.0.0.1:4342 to 3 Map-Requests: check", errors)

    def test_another_key(self) -> None:
        """Exit code 2, and where to look."""
        for key in (
            Key(3, AlgorithmId.HMAC_SHA_256_128, b"something else"),
            Key(4, AlgorithmId.HMAC_SHA_256_128, b"shared secret"),
        ):
            self.network = Network()
            script = _Script(key)
            ended, errors = self.follow(script)
            self.assertEqual((ended, script.acknowledged), ([2], []))
            expected = "lig: Map-Notifies came with another key: check --key-file, --key-id and"
            self.assertEqual(errors, f"{expected} --algorithm\n")

    def test_a_map_server_that_is_gone_at_the_end(self) -> None:
        """The end is said to be unconfirmed."""
        script = _Script()
        ended, errors = self.follow(
            script,
            lambda data: script.replies(data) if self.network.seconds() < 1005 else [],
            cancel_after=8,
        )
        self.assertEqual((ended, len(script.acknowledged)), ([0], 2))
        self.assertIn("has not confirmed the end of the subscription", errors)

    def test_a_signal_before_the_subscription_holds(self) -> None:
        """It ends at once."""
        script = _Script()
        (failure,), errors = self.follow(script, lambda _data: [], cancel_after=1.5)
        self.assertIsInstance(failure, CancelledError)
        self.assertEqual(errors, "")


class MistakeTests(SynchronousTestCase):
    """What can't be asked: exit code 2, and one sentence."""

    def test_mistakes(self) -> None:
        """Each says what is wrong."""
        for arguments, words in (
            (("10.1.1.300",), "'10.1.1.300' is no IPv4, IPv6 or MAC address"),
            (("10.1.1.5/24",), "EID-prefix '10.1.1.5/24' has host bits set"),
            (("10.1.1.5", "--instance-id", "-1"), "instance ID -1 does not fit 32 bits"),
            (("10.1.1.5", "--resolver", "ms.example.net"), "is no IPv4 or IPv6 address"),
            (("10.1.1.5", "--resolver", "192.0.2.1:99999"), "'99999' is no port number"),
            (("10.1.1.5", "--source", "eth0"), "'eth0' is no IPv4 or IPv6 address"),
            (("10.1.1.5", "--source", "::1"), "::1 is no address to ask 127.0.0.1:4342 from"),
            (("10.1.1.5", "--source", "192.0.2.77"), "can't ask from 192.0.2.77: "),
            (("10.1.1.5", "--count", "0"), "--count has 1 to 100 Map-Requests"),
            (("10.1.1.5", "--timeout", "0"), "--timeout has 0.1 to 60 seconds"),
            (("10.1.1.5", "--timeout", "nan"), "--timeout has 0.1 to 60 seconds"),
        ):
            self._check(arguments, words)

    def _check(self, arguments: tuple[str, ...], words: str) -> None:
        code, output, errors = _run("--resolver", "127.0.0.1", *arguments)
        self.assertEqual((code, output), (2, ""), arguments)
        self.assertRegex(errors, r"\Alig: [^\n]+\n\Z")
        self.assertIn(words, errors)

    def test_mistakes_about_lisp_sec(self) -> None:
        """What does not go with it, and files that are none."""
        empty, full = Path(self.mktemp()), Path(self.mktemp())
        empty.write_bytes(b"\n")
        full.write_bytes(b"secret")
        for more, words in (
            ((str(full), "--plain"), "LISP-SEC needs an ECM: it does not go with --plain"),
            ((str(full), "--probe"), "LISP-SEC needs an ECM: it does not go with --plain"),
            ((str(full), "--lisp-sec-key-id", "256"), "--lisp-sec-key-id 256 does not fit 8 bits"),
            (
                (
                    *(str(full), "--subscribe", "--xtr-id", "0b" * 16),
                    *("--key-file", str(full)),
                ),
                "LISP-SEC verifies answers, not subscriptions: those have --key-file",
            ),
            ((str(empty),), f"{empty} is empty"),
            (("/nowhere",), "/nowhere can't be read: "),
        ):
            self._check(("10.1.1.5", "--lisp-sec-key-file", *more), words)


class EidTests(SynchronousTestCase):
    """What an EID may look like."""

    def test_addresses_have_all_their_bits(self) -> None:
        """Of every family; prefixes are what they say."""
        for text, eid in (
            ("10.1.1.5", "10.1.1.5/32"),
            ("10.1.1.0/24", "10.1.1.0/24"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("02:00:00:00:00:01", "02:00:00:00:00:01/48"),
            ("name:printer", "name:printer"),
            ("name:a/b", "name:a/b"),
        ):
            self.assertEqual(EidPrefix.from_eid_text(text, 7), _eid(eid, 7))
            self.assertEqual(eid_text(EidPrefix.from_eid_text(text)), text)

    def test_an_instance_id_is_shown(self) -> None:
        """In front."""
        self.assertEqual(eid_text(EidPrefix.from_eid_text("10.1.1.5", 7)), "[7] 10.1.1.5")


def _answer(*records: MappingRecord) -> Answer:
    """Return an answer to a question for 10.1.1.5, after a quarter of a second."""
    reply = MapReply(0x1122, records)
    return Answer(reply, records[0], (ip("192.0.2.1"), 4342), 0.25, 2)


class TextTests(SynchronousTestCase):
    """What people read."""

    maxDiff = None

    def lines(self, *records: MappingRecord, eid: str = "10.1.1.5/32") -> list[str]:
        return list(answer_lines(_eid(eid), _answer(*records)))

    def test_a_mapping(self) -> None:
        """Golden."""
        expected = """\
Map-Reply from 192.0.2.1:4342 after 250.0 ms

Mapping entry for EID 10.1.1.5:
10.1.1.0/24, record TTL: 1 day, authoritative
  Locator           State  Priority/Weight
  198.51.100.7      up     1/50            local
  198.51.100.8      down   255/0
  2001:db8::7       up     2/100           probed"""
        self.assertEqual("\n".join(self.lines(MAPPED)), expected)

    def test_an_authentic_answer(self) -> None:
        """It says so, and what LISP-SEC says besides."""
        answer = replace(_answer(NO_SITE), is_secured=True)
        first, second = list(answer_lines(_eid("10.2.1.5/32"), answer))[:2]
        self.assertEqual(
            (first, second),
            ("Map-Reply from 192.0.2.1:4342 after 250.0 ms, authentic (LISP-SEC)", ""),
        )
        answer = replace(answer, etr_cannot_sign=True)
        self.assertIn(
            "Some ETRs of the EID-prefix do without LISP-SEC.",
            answer_lines(_eid("10.2.1.5/32"), answer),
        )

    def test_an_answer_on_behalf_and_more_specifics(self) -> None:
        """Golden."""
        records = (
            MappingRecord(_eid("10.1.0.0/16", 7), 90, _LOCATORS[:1], map_version=3),
            MappingRecord(_eid("10.1.2.0/24", 7), 90, _LOCATORS[1:2]),
        )
        expected = """\
Map-Reply from 192.0.2.1:4342 after 250.0 ms

Mapping entry for EID 10.1.1.5:
[7] 10.1.0.0/16, record TTL: 90 minutes, not authoritative: on behalf of the ETR, map version 3
  Locator           State  Priority/Weight
  198.51.100.7      up     1/50            local

The same Map-Reply has:
[7] 10.1.2.0/24, record TTL: 90 minutes, not authoritative: on behalf of the ETR
  Locator           State  Priority/Weight
  198.51.100.8      down   255/0"""
        self.assertEqual("\n".join(self.lines(*records)), expected)

    def test_negative_answers(self) -> None:
        """What each means."""
        eid = _eid("10.2.0.0/15")
        forward = Action.NATIVELY_FORWARD
        about = "for all of 10.2.0.0/15"
        for record, text in (
            (NO_SITE, f"no such site: forward natively, for 15 minutes, {about}"),
            (
                MappingRecord(eid, 1, (), forward),
                "a site has it, but no ETR has registered it: forward natively, for 1 minute,"
                f" {about}",
            ),
            (MappingRecord(eid, 5, (), forward), f"forward natively, for 5 minutes, {about}"),
            (
                MappingRecord(eid, 60, (), Action.DROP, authoritative=True),
                "the ETR has no locators for it: drop packets, no reason given, for 1 hour,"
                f" {about}",
            ),
            (
                MappingRecord(eid, 2880, (), Action.DROP_POLICY_DENIED),
                f"drop packets, denied by policy, for 2 days, {about}",
            ),
            (
                MappingRecord(eid, NO_EXPIRY, (), 7),
                f"action 7, for as long as the receiver likes, {about}",
            ),
            (
                MappingRecord(eid, 0, (), Action.DROP_AUTH_FAILURE),
                f"drop packets, authentication failed, for 0 minutes, {about}",
            ),
            (
                MappingRecord(eid, 1, (), Action.SEND_MAP_REQUEST),
                f"ask again for each packet, for 1 minute, {about}",
            ),
            (MappingRecord(eid, 1, ()), f"no action is named, for 1 minute, {about}"),
        ):
            lines = self.lines(record, eid="10.2.3.4/32")
            self.assertEqual(lines[2:], ["No mapping for EID 10.2.3.4:", f"  {text}"])


class JsonTests(SynchronousTestCase):
    """What programs read."""

    def json(self, answer: Answer | None, eid: str = "10.1.1.5/32") -> Any:
        resolver = SocketAddress("192.0.2.1", 4342)
        found = answer_json(_eid(eid, 7), resolver, "198.51.100.1", answer)
        return json.loads(json.dumps(found))

    def test_a_mapping(self) -> None:
        """Golden: the keys stay as they are."""
        record = MappingRecord(_eid("10.1.1.0/24", 7), 1440, _LOCATORS[:1], authoritative=True)
        locator = {
            "rloc": "198.51.100.7",
            "state": "up",
            "priority": 1,
            "weight": 50,
            "multicast_priority": 255,
            "multicast_weight": 0,
            "local": True,
            "probe": False,
        }
        expected = {
            "eid": "10.1.1.5",
            "instance_id": 7,
            "resolver": "192.0.2.1:4342",
            "source": "198.51.100.1",
            "answer": "mapping",
            "answered_by": "192.0.2.1:4342",
            "rtt": 0.25,
            "tries": 2,
            "nonce": "0000000000001122",
            "probe": False,
            "secured": False,
            "etr_cannot_sign": False,
            "eid_prefix": "10.1.1.0/24",
            "records": [
                {
                    "eid_prefix": "10.1.1.0/24",
                    "instance_id": 7,
                    "ttl": 1440,
                    "action": "no-action",
                    "authoritative": True,
                    "map_version": 0,
                    "locators": [locator],
                }
            ],
        }
        self.assertEqual(self.json(_answer(record)), expected)

    def test_a_negative_answer(self) -> None:
        """Its action has a name, as far as one is known."""
        found = self.json(_answer(NO_SITE))
        self.assertEqual((found["answer"], found["eid_prefix"]), ("negative", "10.2.0.0/15"))
        self.assertEqual(found["records"][0]["action"], "natively-forward")
        unknown = self.json(_answer(MappingRecord(_eid("10.2.0.0/15"), 15, (), 6)))
        self.assertEqual(unknown["records"][0]["action"], "action-6")

    def test_no_answer(self) -> None:
        """The question is there all the same."""
        expected = {
            "eid": "name:printer",
            "instance_id": 7,
            "resolver": "192.0.2.1:4342",
            "source": "198.51.100.1",
            "answer": "none",
        }
        self.assertEqual(self.json(None, "name:printer"), expected)

    def test_a_locator_that_is_no_address(self) -> None:
        """As text."""
        locator = Locator(AsNumber(65_000, _ip("192.0.2.7")))
        record = MappingRecord(_eid("10.1.1.0/24"), 1, (locator,))
        (shown,) = self.json(_answer(record))["records"][0]["locators"]
        self.assertEqual(shown["rloc"], "AsNumber(192.0.2.7)")
