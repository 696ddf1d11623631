"""Datagrams between a UDP port and the control plane."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.histogram import Histogram, Latency
from lispmsrt.protocols import ControlProtocol, Datagram
from tests.builders import ip


class _Control:
    def __init__(self) -> None:
        self.received: list[Any] = []
        self.output: list[tuple[bytes, tuple[bytes, int]]] = []

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        self.received.append((data, source, now))

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[bytes, int]]]:
        output, self.output = self.output, []
        return output


class _BatchControl(_Control):
    """Takes batches; fails at what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def receive_datagrams(self, batch: list[Datagram], now: float) -> None:
        while batch:
            data, source = batch.pop(0)
            if data == b"poison":
                raise ValueError("this one")
            self.receive_datagram(data, source, now)
            self.output.append((b"answer to " + data, source))

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        self.asked += 1
        return super().datagrams_to_send(now)


class _BatchTransport:
    """Sends batches, of which the network refuses some."""

    addressFamily = socket.AF_INET

    def __init__(self, refused: int = 0) -> None:
        self.batches: list[list[Datagram]] = []
        self._refused = refused

    def send_batch(self, datagrams: list[Datagram]) -> int:
        self.batches.append(datagrams)
        return self._refused


class _Accepting:
    accepted = 0


class _UdpTransport:
    def __init__(self, family: int | None = socket.AF_INET) -> None:
        self.addressFamily = family
        self.written: list[tuple[bytes, tuple[str, int]]] = []
        self.failure: Exception | None = None

    def write(self, data: bytes, to: tuple[str, int]) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append((data, to))


class ControlProtocolTests(SynchronousTestCase):
    """One UDP socket."""

    def _protocol(self, family: int | None = socket.AF_INET) -> ControlProtocol:
        self.control, self.clock = _Control(), Clock()
        self.transport = _UdpTransport(family)
        protocol = ControlProtocol(self.control, self.clock)
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]
        return protocol

    def test_a_datagram_goes_in_with_its_source_and_the_answers_go_out(self) -> None:
        """In the same turn."""
        protocol = self._protocol()
        self.clock.advance(7)
        self.control.output = [(b"answer", (ip("192.0.2.9"), 4342)), (b"x", (ip("192.0.2.8"), 1))]
        protocol.datagramReceived(b"question", ("192.0.2.1", 5000))
        self.assertEqual(self.control.received, [(b"question", (ip("192.0.2.1"), 5000), 7.0)])
        self.assertEqual(
            self.transport.written, [(b"answer", ("192.0.2.9", 4342)), (b"x", ("192.0.2.8", 1))]
        )

    def test_ipv4_on_an_ipv6_socket_is_ipv4_inside_and_mapped_outside(self) -> None:
        """An xTR is the same one by whichever socket it comes (docs/draft.rst)."""
        protocol = self._protocol(socket.AF_INET6)
        self.control.output = [(b"answer", (ip("192.0.2.1"), 5000)), (b"x", (ip("2001:db8::1"), 1))]
        protocol.datagramReceived(b"question", ("::ffff:192.0.2.1", 5000))
        self.assertEqual(self.control.received[0][1], (ip("192.0.2.1"), 5000))
        self.assertEqual(
            [to for _data, to in self.transport.written],
            [("::ffff:192.0.2.1", 5000), ("2001:db8::1", 1)],
        )

    def test_what_the_network_refuses_is_counted(self) -> None:
        """Lost, as anything over UDP may be; also what the socket's family cannot reach."""
        protocol = self._protocol()
        for failure in (
            OSError("unreachable"),
            InvalidAddressError("::1", "IPv4 port"),
            MessageLengthError("message too long"),
        ):
            self.transport.failure = failure
            protocol.send(b"lost", ip("192.0.2.1"), 4342)
        self.assertEqual(protocol.counters["datagrams that could not be sent"], 3)

    def test_nothing_is_sent_once_the_socket_is_closed(self) -> None:
        """Silently: the service is stopping."""
        protocol = self._protocol()
        protocol.transport = None  # type: ignore[assignment]
        protocol.send(b"late", ip("192.0.2.1"), 4342)
        self.assertEqual(self.transport.written, [])

    def test_a_source_without_an_ip_address_is_counted(self) -> None:
        """Not handed on."""
        protocol = self._protocol()
        protocol.datagramReceived(b"question", ("/run/socket", 0))
        self.assertEqual(self.control.received, [])
        self.assertEqual(protocol.counters["datagrams from no IP address"], 1)

    def test_twisted_says_nothing_about_it(self) -> None:
        """Our own line says which socket it is and what buffer it has."""
        self.assertFalse(ControlProtocol.noisy)

    def test_a_batch_for_a_control_that_takes_single_ones(self) -> None:
        """One after the other, and the answers once."""
        protocol = self._protocol()
        source = (ip("192.0.2.1"), 5000)
        self.control.output = [(b"answer", source)]
        batch = [(b"a", source), (b"b", source)]
        protocol.datagrams_received(batch)
        self.assertEqual(batch, [])
        self.assertEqual(self.control.received, [(b"a", source, 0.0), (b"b", source, 0.0)])
        self.assertEqual(self.transport.written, [(b"answer", ("192.0.2.1", 5000))])


class ControlProtocolBatchTests(SynchronousTestCase):
    """A port and a control plane that both take batches."""

    def _protocol(self, refused: int = 0, latency: Latency | None = None) -> ControlProtocol:
        self.control, self.transport = _BatchControl(), _BatchTransport(refused)
        protocol = ControlProtocol(self.control, Clock(), latency)
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]
        return protocol

    def _batch(self, *datagrams: bytes) -> list[Datagram]:
        return [(data, (ip("192.0.2.1"), 5000)) for data in datagrams]

    def test_answers_to_a_batch_leave_together(self) -> None:
        """Collected once, and sent by one call."""
        protocol = self._protocol()
        protocol.datagrams_received(self._batch(b"a", b"b", b"c"))
        answers = self._batch(b"answer to a", b"answer to b", b"answer to c")
        self.assertEqual(self.transport.batches, [answers])
        self.assertEqual(self.control.asked, 1)

    def test_nothing_is_sent_where_there_is_nothing_to_say(self) -> None:
        """Not even nothing."""
        protocol = self._protocol()
        protocol.flush()
        self.assertEqual(self.transport.batches, [])

    def test_what_the_port_could_not_send_is_counted(self) -> None:
        """As many as it says."""
        protocol = self._protocol(refused=2)
        protocol.datagrams_received(self._batch(b"a", b"b", b"c"))
        self.assertEqual(protocol.counters, {"datagrams that could not be sent": 2})

    def test_what_is_before_one_that_fails_is_answered(self) -> None:
        """And what is behind it is left to the port, which comes again."""
        protocol = self._protocol()
        batch = self._batch(b"a", b"poison", b"b")
        with self.assertRaises(ValueError):
            protocol.datagrams_received(batch)
        self.assertEqual(batch, self._batch(b"b"))
        self.assertEqual(self.transport.batches, [self._batch(b"answer to a")])

    def test_latency_is_that_of_the_batch_for_each_registration_in_it(self) -> None:
        """A batch without any is not looked at."""
        accepting, times, histogram = _Accepting(), iter([1.0, 1.5, 2.0]), Histogram((1.0,))
        latency = Latency(histogram, accepting, lambda: next(times))
        protocol = self._protocol(latency=latency)
        receive = self.control.receive_datagram

        def accept(*args: Any) -> None:
            receive(*args)
            accepting.accepted += 2

        self.control.receive_datagram = accept  # type: ignore[method-assign]
        protocol.datagrams_received(self._batch(b"a", b"b", b"c"))
        self.assertEqual((histogram.count, histogram.sum), (6, 3.0))
        self.control.receive_datagram = receive  # type: ignore[method-assign]
        protocol.datagrams_received(self._batch(b"a"))
        self.assertEqual(histogram.count, 6)
