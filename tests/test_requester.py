"""Asking as a Twisted service: Deferreds, one socket, start and stop."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.config import SocketAddress
from lispmsrt.services.asking import source_towards
from lispmsrt.services.listening import ListenError
from lispmsrt.services.requester import (
    Answer,
    Form,
    NoAnswerError,
    Pace,
    Requester,
    TooManyInquiriesError,
)
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.map_reply import MapReply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, decode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from tests.rim import MAP_SERVER_HOST, Network, mapping, outcome

_HOST = "127.0.0.9"
_eid = EidPrefix.from_text
EID = _eid("10.1.1.5/32")
RESOLVER = SocketAddress(MAP_SERVER_HOST, 4342)


class _Resolver:
    """Notes what it is asked, and answers when it is told to."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.asked: list[tuple[MapRequest, tuple[str, int]]] = []

    def datagramReceived(self, data: bytes, source: tuple[str, int]) -> None:
        if message_type(data) == ControlType.ENCAPSULATED:
            data = decode_encapsulated(data).payload
        self.asked.append((decode_map_request(data), source))

    def answer(self, number: int = -1) -> None:
        request, source = self.asked[number]
        data = encode_map_reply(MapReply(request.nonce, (mapping(),)))
        self.network.send(("127.0.0.3", 4342), source, data)

    def makeConnection(self, transport: Any) -> None:
        """It writes otherwise."""

    doStop = makeConnection


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """A Map-Resolver, and who asks it."""
        self.network = Network()
        self.resolver = _Resolver(self.network)
        self.network.listenUDP(4342, self.resolver, MAP_SERVER_HOST)
        self.requester = self.make()
        self.addCleanup(self._stop)

    def make(self, **options: Any) -> Requester:
        options = {"source": _HOST, "clock": self.network, "random": Random(7), **options}
        return Requester(self.network, RESOLVER, **options)

    def _stop(self) -> None:
        if self.requester.running:
            self.successResultOf(self.requester.stopService())
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual(len(self.network.ports), 1)

    def ask(self, eid: EidPrefix = EID, **options: Any) -> list[Any]:
        return outcome(self.requester.ask(eid, **options))


class AskTests(_Case):
    """ask()."""

    def test_the_answer_fires_the_deferred(self) -> None:
        """Whoever sent it."""
        self.requester.startService()
        result = self.ask()
        self.network.run(0.5)
        self.resolver.answer()
        self.network.run()
        (answer,) = result
        self.assertIsInstance(answer, Answer)
        self.assertEqual((answer.record, answer.rtt, answer.tries), (mapping(), 0.5, 1))

    def test_many_are_outstanding_and_each_gets_its_own_answer(self) -> None:
        """In any order."""
        self.requester.startService()
        results = [self.ask(_eid(f"10.1.1.{number}/32")) for number in range(200)]
        self.network.run()
        for number in reversed(range(0, 200, 2)):
            self.resolver.answer(number)
        self.network.run(0.1)
        self.assertEqual([len(result) for result in results], [1, 0] * 100)

    def test_without_an_answer_it_fails(self) -> None:
        """After the last try, with whom and what."""
        self.requester.startService()
        result = self.ask()
        self.network.run(2.9)
        self.assertEqual((len(self.resolver.asked), result), (3, []))
        self.network.run(0.1)
        (failure,) = result
        self.assertIsInstance(failure, NoAnswerError)
        self.assertEqual(str(failure), "no answer from 127.0.0.1:4342 about 10.1.1.5/32")

    def test_who_fails_may_stop_the_service(self) -> None:
        """In the very callback."""
        self.requester.startService()
        asking = self.requester.ask(EID).addErrback(lambda _: self.requester.stopService())
        self.network.run(5)
        self.successResultOf(asking)
        self.assertFalse(self.requester.running)

    def test_who_fails_may_stop_the_service_while_others_fail_too(self) -> None:
        """These hear that they are cancelled, and nothing else of it."""
        self.requester.startService()
        heard = []

        def stop(failure: Failure) -> None:
            heard.append(failure.type)
            if self.requester.running:
                self.requester.stopService()

        for number in range(3):
            self.requester.ask(_eid(f"10.1.1.{number}/32")).addErrback(stop)
        self.network.run(5)
        self.assertEqual(heard, [NoAnswerError, CancelledError, CancelledError])
        self.assertEqual(len(self.resolver.asked), 9)

    def test_a_cancelled_question_is_not_asked_again(self) -> None:
        """The others go on."""
        self.requester.startService()
        asking = self.requester.ask(EID)
        other = self.ask(_eid("10.1.1.6/32"))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.network.run(5)
        self.assertEqual(len(self.resolver.asked), 1 + 3)
        self.assertIsInstance(other[0], NoAnswerError)

    def test_a_probe_and_a_plain_question(self) -> None:
        """Without ECM."""
        self.requester.startService()
        for form in (Form.PLAIN, Form.PROBE):
            self.requester.ask(EID, form).addErrback(lambda _: None)
            self.network.run()
        kinds = [message_type(data) for data in self.network.udp_payloads(MAP_SERVER_HOST)]
        self.assertEqual(kinds, [ControlType.MAP_REQUEST] * 2)
        self.assertEqual([request.probe for request, _ in self.resolver.asked], [False, True])

    def test_too_many_fail(self) -> None:
        """At once."""
        self.requester = self.make(pace=Pace(max_outstanding=1))
        self.requester.startService()
        first = self.ask()
        self.assertIsInstance(self.ask()[0], TooManyInquiriesError)
        self.assertEqual(first, [])

    def test_who_does_not_run_can_not_ask(self) -> None:
        """Before the start and after the stop."""
        self.failureResultOf(self.requester.ask(EID), RuntimeError)
        self.requester.startService()
        self.requester.stopService()
        self.failureResultOf(self.requester.ask(EID), RuntimeError)
        self.assertEqual(self.requester.counters, {})


class LifeTests(_Case):
    """Start and stop."""

    def test_stopping_cancels_what_is_outstanding(self) -> None:
        """Nothing is left open; a datagram on its way harms nobody."""
        self.requester.startService()
        asking: Deferred[Answer] = self.requester.ask(EID)
        self.network.run()
        self.resolver.answer()
        self.successResultOf(self.requester.stopService())
        self.failureResultOf(asking, CancelledError)
        self.network.run(5)
        self.requester.receive_datagram(b"\x20", (b"\x7f\0\0\1", 4342), 0.0)

    def test_one_that_never_ran_can_be_stopped(self) -> None:
        """There is nothing to close."""
        self.successResultOf(self.requester.stopService())

    def test_a_port_can_be_chosen(self) -> None:
        """Some Map-Servers send to 4342 whatever the question came from."""
        self.requester = self.make(port=4342)
        self.requester.startService()
        self.assertEqual(self.requester.address.port, 4342)

    def test_it_asks_from_its_source(self) -> None:
        """And wants the answer there."""
        self.requester.startService()
        self.ask()
        self.network.run()
        request, (host, port) = self.resolver.asked[0]
        self.assertEqual((host, port), (_HOST, self.requester.address.port))
        self.assertEqual([str(rloc) for rloc in request.itr_rlocs], [_HOST])

    def test_a_source_of_another_family_is_refused(self) -> None:
        """One socket can't do both."""
        for source in ("::1", "nowhere"):
            failure = self.assertRaises(ListenError, self.make(source=source).startService)
            self.assertEqual(str(failure), f"{source} is no address to ask 127.0.0.1:4342 from")

    def test_a_source_that_is_not_ours_is_refused(self) -> None:
        """In one sentence."""

        def refuse(*_arguments: object, **_options: object) -> None:
            raise CannotListenError(_HOST, 0, OSError(99, "Cannot assign requested address"))

        self.patch(self.network, "listenUDP", refuse)
        failure = self.assertRaises(ListenError, self.requester.startService)
        self.assertIn("can't ask from 127.0.0.9: ", str(failure))
        self.assertFalse(self.requester.running)


class SourceTests(SynchronousTestCase):
    """source_towards()."""

    def test_the_kernel_decides(self) -> None:
        """Towards ourselves it is the loopback."""
        self.assertEqual(source_towards(SocketAddress("127.0.0.1", 4342)), "127.0.0.1")

    def test_no_way(self) -> None:
        """One sentence says where to."""
        # Nothing may be sent to a broadcast address without asking for that.
        address = SocketAddress("255.255.255.255", 4342)
        failure = self.assertRaises(ListenError, source_towards, address)
        self.assertIn("no way to 255.255.255.255:4342: ", str(failure))
