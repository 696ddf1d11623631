"""A QUIC connection with exactly one stream, and with flow control that a slow reader can rely on.

All that is read or changed of aioquic beyond its documented interface is in this file;
tests/test_quic_connection.py fails when another aioquic has it otherwise.
"""

from __future__ import annotations

import enum
import logging
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography import x509

__all__ = [
    "FIRST_WINDOW",
    "MAX_REASON",
    "RECEIVE_WINDOW",
    "STREAM_ID",
    "CloseCode",
    "StreamConnection",
]

STREAM_ID = 0
"""The first bidirectional stream of the client (RFC 9000 §2.1), and the only one."""

RECEIVE_WINDOW = 1 << 20
"""Octets that a peer may be ahead of who reads: 20 MB/s at 50 ms of round trip."""

FIRST_WINDOW = 1 << 16
"""The same before a server has got the first octet: that peer is nobody yet, and what it sends
around a hole at the start is held until its handshake must be over.
"""

_WORTH_A_FRAME = RECEIVE_WINDOW // 4
"""Octets of new credit that the peer is told of at once; less waits for more."""

MAX_REASON = 100
"""Octets of text in a CONNECTION_CLOSE frame: aioquic can't split one that three packets of a
datagram have no room for.
"""

_MAX_GAPS = 1024
"""Holes in what has arrived: more than the window has packets. aioquic walks through all of them
for every frame, and a peer could make hundreds of thousands.
"""

# Peers can make aioquic warn as often as they like, and Python prints what nobody asked for.
logging.getLogger("quic").addHandler(logging.NullHandler())


class CloseCode(enum.IntEnum):
    """Application error codes in CONNECTION_CLOSE frames (RFC 9000 §19.19)."""

    NO_ERROR = 0
    "the stream came to its end"
    ABORTED = 1
    "the application dropped the connection"
    EXTRA_STREAM = 2
    "a second, a unidirectional or a server-initiated stream"
    REFUSED = 3
    "the application has nobody for this peer"
    TOO_SLOW = 4
    "the handshake, the first octet or the last delivery took too long"
    UNREADABLE = 5
    "what arrived can't be put together within the limits"


class StreamConnection(QuicConnection):
    """A connection that gives credit for what was consumed, not for what has arrived."""

    def __init__(self, *, configuration: QuicConfiguration, **kwargs: Any) -> None:
        super().__init__(configuration=configuration, **kwargs)
        self.consumed = 0
        "octets of the stream that the application has taken; its driver counts"
        self.full_reason = ""
        "why this end closed, uncut"
        # One more than may be used: a peer that opens it hears what is wrong.
        # With a limit of one, it would wait for credit that never comes.
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = 2
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = 1

    # What the driver asks

    @property
    def unacknowledged(self) -> int:
        """Octets handed over that the peer has not acknowledged."""
        stream = self._streams.get(STREAM_ID)
        if stream is None:
            return 0
        return stream.sender._buffer_stop - stream.sender._buffer_start

    @property
    def round_trip_time(self) -> float | None:
        """Smoothed, in seconds; None before the first was measured."""
        recovery = self._loss
        return recovery._rtt_smoothed if recovery._rtt_initialized else None

    @property
    def is_delivered(self) -> bool:
        """Whether the peer has acknowledged all octets and the end of the stream."""
        stream = self._streams.get(STREAM_ID)
        return self._stream_is_discarded(STREAM_ID) if stream is None else stream.sender.is_finished

    @property
    def termination(self) -> ConnectionTerminated | None:
        """Why the connection is ending, as soon as that is known: aioquic's event comes when its
        closing period is over.
        """
        return self._close_event

    @property
    def is_closed_by_peer(self) -> bool:
        """Whether a CONNECTION_CLOSE frame of the peer ended it."""
        return self._state is QuicConnectionState.DRAINING

    @property
    def can_send(self) -> bool:
        """Whether there is anybody to send to: a server has nobody before an Initial made sense."""
        is_waiting = self._state is QuicConnectionState.FIRSTFLIGHT and not self._is_client
        return bool(self._network_paths) and not is_waiting

    @property
    def has_timer(self) -> bool:
        """Whether ``get_timer`` may be asked: not before the first datagram."""
        return self._close_at is not None

    @property
    def silent_at(self) -> float | None:
        """When the connection ends unless something authentic arrives."""
        return self._close_at

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence after which both ends give up: the smaller of both wishes."""
        return self._idle_timeout()

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """What the peer showed in its handshake."""
        return self.tls._peer_certificate

    @property
    def owes_credit(self) -> bool:
        """Whether the peer should be told that it may send more."""
        limit = self._local_max_data
        return self._credit(limit.value) != limit.sent

    def dissolve(self) -> None:
        """Drop everything: its parts hold it, and only a collector of cycles would free some 20 kB.
        Nothing may be asked of it any more.
        """
        for space in vars(self).get("_spaces", {}).values():
            space.sent_packets.clear()  # each of which holds its space
        vars(self).clear()

    # What differs from aioquic

    def close(
        self,
        error_code: int = QuicErrorCode.NO_ERROR,
        frame_type: int | None = None,
        reason_phrase: str = "",
    ) -> None:
        """Close with a reason that fits into a frame."""
        if self._close_event is None:
            self.full_reason = reason_phrase
        cut = reason_phrase.encode()[:MAX_REASON].decode(errors="ignore")
        super().close(error_code, frame_type, cut)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Return what to send. Nothing that is sent puts off the end of a silent connection.

        RFC 9000 §10.1 would have the first packet after the last one received do that, so that a
        dead peer was noticed later by a keepalive interval.
        """
        silent_at = self._close_at
        datagrams = super().datagrams_to_send(now)
        is_alive = self._state is QuicConnectionState.CONNECTED
        if is_alive and silent_at is not None and self._close_at is not None:
            self._close_at = min(silent_at, self._close_at)
        return datagrams

    def _handle_stream_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_stream_frame(context, frame_type, buf)
        stream = self._streams.get(STREAM_ID)
        if stream is not None and len(stream.receiver._ranges) > _MAX_GAPS:
            raise _closing(CloseCode.UNREADABLE, "too many gaps in the stream")

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        if len(self._crypto_streams[context.epoch].receiver._ranges) > _MAX_GAPS:
            raise _closing(CloseCode.UNREADABLE, "too many gaps in the handshake")

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        # Any frame that names another stream, before anything is made for it.
        if stream_id != STREAM_ID:
            reason = f"stream {stream_id} opened, where only stream 0 may be"
            raise _closing(CloseCode.EXTRA_STREAM, reason)
        return super()._get_or_create_stream(frame_type, stream_id)

    def _credit(self, granted: int) -> int:
        if not self.consumed:
            return granted
        target = self.consumed + RECEIVE_WINDOW
        return target if target - granted >= _WORTH_A_FRAME else granted

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        # aioquic doubles its window when half of it has arrived, read or not.
        limit = self._local_max_data
        limit.value = self._credit(limit.value)
        if limit.value != limit.sent:
            buf = builder.start_frame(
                QuicFrameType.MAX_DATA,
                capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
                handler=self._on_connection_limit_delivery,
                handler_args=(limit,),
            )
            buf.push_uint_var(limit.value)
            limit.sent = limit.value

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        stream.max_stream_data_local = self._credit(stream.max_stream_data_local)
        if stream.max_stream_data_local != stream.max_stream_data_local_sent:
            buf = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buf.push_uint_var(STREAM_ID)
            buf.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local


def _closing(code: CloseCode, reason: str) -> QuicConnectionError:
    # No frame type makes it an application's error.
    frame_type: Any = None
    return QuicConnectionError(error_code=code, frame_type=frame_type, reason_phrase=reason)
