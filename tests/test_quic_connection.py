"""What is changed of aioquic, and that aioquic still is what was changed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import Limit, QuicConnection, QuicConnectionState
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.stream import QuicStream, QuicStreamReceiver, QuicStreamSender
from aioquic.tls import Context
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.quic import connection
from lispmsrt.transports.quic.connection import (
    FIRST_WINDOW,
    MAX_REASON,
    RECEIVE_WINDOW,
    CloseCode,
    StreamConnection,
)
from lispmsrt.transports.quic.reasons import explain, printable
from tests.quic_raw import RawPeer, raw_client
from tests.quic_rim import Credentials, Pair, make_credentials

_PRIVATE = {
    QuicConnection: (
        "_close_at",
        "_close_event",
        "_crypto_streams",
        "_local_max_data",
        "_local_max_streams_bidi",
        "_local_max_streams_uni",
        "_network_paths",
        "_state",
        "_streams",
    ),
    QuicStreamSender: ("_buffer_start", "_buffer_stop", "is_finished"),
    QuicStreamReceiver: ("_ranges",),
    QuicStream: ("max_stream_data_local", "max_stream_data_local_sent"),
    Limit: ("value", "sent", "used"),
    Context: ("_peer_certificate",),
}
_OVERRIDDEN = {
    "_get_or_create_stream": ["self", "frame_type", "stream_id"],
    "_handle_crypto_frame": ["self", "context", "frame_type", "buf"],
    "_handle_stream_frame": ["self", "context", "frame_type", "buf"],
    "_write_connection_limits": ["self", "builder", "space"],
    "_write_stream_limits": ["self", "builder", "space", "stream"],
    "close": ["self", "error_code", "frame_type", "reason_phrase"],
    "datagrams_to_send": ["self", "now"],
}
_CALLED = {
    "_idle_timeout": ["self"],
    "_on_connection_limit_delivery": ["self", "delivery", "limit"],
    "_on_max_stream_data_delivery": ["self", "delivery", "stream"],
    "_stream_is_discarded": ["self", "stream_id"],
}


class SeamTests(SynchronousTestCase):
    """The names of aioquic that are nobody's promise."""

    def test_attributes_are_where_they_were(self) -> None:
        """Each is set by the constructor of its class."""
        for owner, names in _PRIVATE.items():
            source = inspect.getsource(owner.__init__)
            for name in names:
                self.assertRegex(source, rf"self\.{name}\b", f"{owner.__name__}.{name}")

    def test_methods_have_the_same_parameters(self) -> None:
        """Those overridden, and those called."""
        for name, expected in {**_OVERRIDDEN, **_CALLED}.items():
            parameters = list(inspect.signature(getattr(QuicConnection, name)).parameters)
            self.assertEqual(parameters, expected, name)

    def test_overridden_methods_are_still_called(self) -> None:
        """A renamed caller would leave ours unused."""
        source = inspect.getsource(QuicConnection)
        for name in _OVERRIDDEN:
            # Its definition has no "self." before the name.
            self.assertTrue(not name.startswith("_") or f"self.{name}" in source, name)

    def test_no_private_name_is_used_outside_the_seam(self) -> None:
        """The other modules know aioquic by its interface."""
        self.assertIsNotNone(connection.__file__)
        for path in Path(str(connection.__file__)).parent.glob("*.py"):
            if path.name != "connection.py":
                self.assertNotRegex(path.read_text(), r"quic\._|stream\._|driver\._")

    def test_a_draining_connection_is_still_called_that(self) -> None:
        """The states that are told apart."""
        names = {state.name for state in QuicConnectionState}
        self.assertTrue({"FIRSTFLIGHT", "CONNECTED", "DRAINING"} <= names)


class _Connected(SynchronousTestCase):
    credentials: Credentials

    def setUp(self) -> None:
        self.mktemp_path = Path(self.mktemp())
        self.mktemp_path.mkdir()
        self.pair = Pair(make_credentials(self.mktemp_path))
        self.network = self.pair.network

    def raw(self) -> RawPeer:
        """Return a bare client that has said something to our server."""
        self.pair.listen()
        peer = raw_client(self.network)
        self.addCleanup(peer.stop)
        peer.connect()
        self.network.run(0.2)
        peer.send(b"first")
        self.network.run(0.2)
        return peer

    def assert_closed(self, peer: RawPeer, code: int) -> ConnectionTerminated:
        """The peer has heard an application error, and our protocol of a loss."""
        self.network.run(0.5)
        ending = peer.ending
        self.assertIsInstance(ending, ConnectionTerminated)
        self.assertEqual((ending.error_code, ending.frame_type), (code, None))
        self.assertIsNotNone(self.pair.server.reason)
        return ending


class StreamRuleTests(_Connected):
    """One stream, the client's first."""

    def test_a_second_stream_closes_the_connection(self) -> None:
        """With the name of the stream in the reason."""
        peer = self.raw()
        peer.send(b"x", stream=4)
        ending = self.assert_closed(peer, CloseCode.EXTRA_STREAM)
        self.assertEqual(ending.reason_phrase, "stream 4 opened, where only stream 0 may be")

    def test_a_unidirectional_stream_closes_the_connection(self) -> None:
        """Even with nothing in it but its end."""
        peer = self.raw()
        peer.send(b"", stream=2, end=True)
        self.assert_closed(peer, CloseCode.EXTRA_STREAM)

    def test_a_server_initiated_stream_closes_the_connection(self) -> None:
        """A client may not write to one either."""
        peer = self.raw()
        stream = QuicStream(stream_id=1, max_stream_data_remote=1000)
        peer.quic._streams[1] = stream
        peer.quic._streams_queue.append(stream)
        stream.sender.write(b"x")
        peer.flush()
        self.assert_closed(peer, CloseCode.EXTRA_STREAM)

    def test_a_second_stream_as_the_first_thing_closes_the_connection(self) -> None:
        """Nobody is built for it."""
        self.pair.listen()
        peer = raw_client(self.network)
        self.addCleanup(peer.stop)
        peer.connect()
        peer.quic.get_next_available_stream_id()
        self.network.run(0.2)
        peer.send(b"x", stream=4)
        self.network.run(0.5)
        self.assertEqual(peer.ending.error_code, CloseCode.EXTRA_STREAM)
        self.assertEqual(self.pair.accepting.protocols, [])

    def test_many_streams_are_refused_before_any_is_made(self) -> None:
        """Opening one opens all below it, and there is none."""
        peer = self.raw()
        peer.quic._remote_max_streams_bidi = 10_000
        peer.send(b"x", stream=4 * 9000)
        self.assert_closed(peer, CloseCode.EXTRA_STREAM)

    def test_holes_without_end_close_the_connection(self) -> None:
        """Octets at every second offset of the window."""
        peer = self.raw()
        stream = peer.quic._streams[0]
        for offset in range(7, 7 + 2 * 1100, 2):
            stream.sender._pending.add(offset, offset + 1)
        stream.sender._buffer += bytes(5000)
        stream.sender._buffer_stop += 5000
        stream.sender.buffer_is_empty = False
        for _round in range(1200):
            peer.flush()
            self.network.run(0.002)
            if peer.ending is not None:
                break
        ending = self.assert_closed(peer, CloseCode.UNREADABLE)
        self.assertEqual(ending.reason_phrase, "too many gaps in the stream")

    def test_holes_in_the_handshake_close_the_connection(self) -> None:
        """CRYPTO frames may come at any time."""
        peer = self.raw()
        (crypto,) = [
            stream for epoch, stream in peer.quic._crypto_streams.items() if epoch.name == "ONE_RTT"
        ]
        for offset in range(7, 7 + 2 * 1100, 2):
            crypto.sender._pending.add(offset, offset + 1)
        crypto.sender._buffer += bytes(5000)
        crypto.sender._buffer_stop += 5000
        crypto.sender.buffer_is_empty = False
        for _round in range(1200):
            peer.flush()
            self.network.run(0.002)
            if peer.ending is not None:
                break
        ending = self.assert_closed(peer, CloseCode.UNREADABLE)
        self.assertEqual(ending.reason_phrase, "too many gaps in the handshake")


class FlowControlTests(_Connected):
    """Credit follows the reader, not the sender."""

    def _paused(self) -> RawPeer:
        peer = self.raw()
        transport: Any = self.pair.server.transport
        transport.pauseProducing()
        peer.send(bytes(3 * RECEIVE_WINDOW))
        self.network.run(20)
        return peer

    def _sent(self, peer: RawPeer) -> int:
        return int(peer.quic._streams[0].sender.highest_offset)

    def test_a_paused_reader_holds_the_peer_back(self) -> None:
        """At the window beyond what it has read; aioquic alone would double it without end."""
        peer = self._paused()
        self.assertLessEqual(self._sent(peer), 5 + RECEIVE_WINDOW)
        self.assertGreater(self._sent(peer), RECEIVE_WINDOW // 2)
        self.assertEqual(bytes(self.pair.server.received), b"first")

    def test_before_its_first_octet_a_peer_has_little_credit(self) -> None:
        """All that follows a hole at the start is held, and it is nobody yet."""
        self.pair.listen()
        peer = raw_client(self.network)
        peer.connect()
        self.network.run(1)
        peer.quic.send_stream_data(0, bytes(2 * RECEIVE_WINDOW))
        peer.quic._streams[0].sender._pending.subtract(0, 1)  # as if it had been sent
        peer.flush()
        self.network.run(1)
        (accepted,) = self.pair.port._live
        self.assertFalse(self.pair.accepting.protocols)
        self.assertEqual(len(accepted.driver.quic._streams[0].receiver._buffer), FIRST_WINDOW)
        peer.stop()

    def test_acknowledgements_go_out_while_paused(self) -> None:
        """What arrived is not sent again."""
        peer = self._paused()
        sender = peer.quic._streams[0].sender
        self.assertEqual(sender._buffer_start, sender.highest_offset)

    def test_resuming_delivers_what_was_held_and_lets_the_peer_go_on(self) -> None:
        """All of it, in order."""
        peer = self._paused()
        transport: Any = self.pair.server.transport
        transport.resumeProducing()
        self.network.run(20)
        self.assertEqual(len(self.pair.server.received), 5 + 3 * RECEIVE_WINDOW)
        self.assertEqual(self._sent(peer), 5 + 3 * RECEIVE_WINDOW)

    def test_a_peer_that_ignores_its_credit_is_closed(self) -> None:
        """FLOW_CONTROL_ERROR, whatever it believes."""
        peer = self._paused()
        peer.quic._remote_max_data = peer.quic._streams[0].max_stream_data_remote = 1 << 40
        peer.flush()
        self.network.run(1)
        self.assertEqual(peer.ending.error_code, 3)
        reason = self.pair.server.reason
        assert reason is not None
        self.assertIn("did not keep to QUIC with QUIC error FLOW_CONTROL_ERROR", str(reason.value))

    def test_lost_credit_is_given_again(self) -> None:
        """The frames that carry it are acknowledged or repeated."""
        pair = Pair(make_credentials(self.mktemp_path), loss=0.2, seed=5)
        _client, server = pair.establish()
        client: Any = pair.client.transport
        client.write(bytes(4 * RECEIVE_WINDOW))
        pair.network.run_until(lambda: len(server.received) == 5 + 4 * RECEIVE_WINDOW, seconds=600)
        pair.close()


class ReasonTests(SynchronousTestCase):
    """What is told of an end."""

    def _quic(self) -> StreamConnection:
        return StreamConnection(configuration=QuicConfiguration())

    def test_a_long_reason_is_cut_for_the_frame_only(self) -> None:
        """Octets count, and no character is torn."""
        quic = self._quic()
        quic.close(reason_phrase="é" * 200)
        assert quic.termination is not None
        self.assertEqual(quic.termination.reason_phrase, "é" * (MAX_REASON // 2))
        self.assertEqual(quic.full_reason, "é" * 200)

    def test_the_first_reason_counts(self) -> None:
        """What follows is no news."""
        quic = self._quic()
        quic.close(reason_phrase="one")
        quic.close(reason_phrase="two")
        self.assertEqual(quic.full_reason, "one")

    def _explained(self, code: int, frame_type: int | None, text: str = "") -> str:
        quic = self._quic()
        quic._state = QuicConnectionState.DRAINING
        return str(explain(quic, ConnectionTerminated(code, frame_type, text), is_clean=False))

    def test_a_peers_error_is_named(self) -> None:
        """Application, TLS and QUIC have numbers of their own."""
        for code, frame_type, expected in (
            (2, None, "application error EXTRA_STREAM: why"),
            (77, None, "application error 77: why"),
            (0x100 + 42, 6, "TLS alert bad_certificate: why"),
            (0x100 + 3, 6, "TLS alert 3: why"),
            (10, 8, "QUIC error PROTOCOL_VIOLATION: why"),
            (4711, 8, "QUIC error 4711: why"),
        ):
            self.assertIn(expected, self._explained(code, frame_type, "why"))

    def test_a_peers_words_can_not_forge_log_lines(self) -> None:
        """Cut and printable."""
        self.assertEqual(printable("a\nb\x1b[31m"), "a?b?[31m")
        self.assertEqual(printable("a" * 5000), "a" * MAX_REASON + "...")
