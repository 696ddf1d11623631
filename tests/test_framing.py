"""Cutting a byte stream into messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.errors import ErrorScope
from lispmsrt.wire.framing import (
    END_MARKER,
    MAX_MESSAGE_LENGTH,
    MESSAGE_OVERHEAD,
    Frame,
    FrameBuffer,
    encode_frame,
)

_MARKER = bytes.fromhex("9facade9")
_EMPTY = bytes.fromhex("0014 000c 00000007 9facade9")

Message = tuple[int, int, bytes]
Outcome = tuple[list[Message], tuple[str, tuple[int, int, int]] | None]

_u16, _u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
_bodies = st.one_of(
    st.binary(max_size=40),
    st.just(_MARKER),
    st.just(_EMPTY),
    st.binary(max_size=6).map(lambda data: data + _MARKER + data),
)
_messages = st.lists(st.tuples(_u16, _u32, _bodies), max_size=6)
_bad_tails = st.sampled_from(
    [
        b"",
        bytes.fromhex("0014 0000 00000001"),
        bytes.fromhex("0014 0007 00000001"),
        bytes.fromhex("0014 0008 00000001"),
        bytes.fromhex("0014 000b 00000001 9facade9"),
        bytes.fromhex("0014 000c 00000001 deadbeef") + _EMPTY,
        bytes.fromhex("0014 0008 9facade9"),
        _EMPTY[:-1],
        _EMPTY[:5],
    ]
)


def _receive(chunks: Iterable[bytes]) -> Outcome:
    """Return messages and error of a stream that comes in these chunks."""
    buffer = FrameBuffer()
    messages: list[Message] = []
    for chunk in chunks:
        data, frames = buffer.receive(chunk)
        messages += [(kind, ident, data[start:end]) for kind, ident, start, end in frames]
    error = buffer.error
    return messages, (error.reason, error.offending) if error else None


def _cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def _octets(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


class FrameTests(SynchronousTestCase):
    """What is a message and what is not."""

    def assert_broken(self, text: str, reason: str, offending: tuple[int, int, int]) -> None:
        """The stream breaks in the same way, whole or in single octets."""
        stream = bytes.fromhex(text)
        for chunks in ([stream], _octets(stream)):
            self.assertEqual(_receive(chunks), ([], (reason, offending)), text)

    def test_golden(self) -> None:
        """Type, length, message ID, data, end marker."""
        golden = bytes.fromhex("0012 0013 00000003 1000010a010000 9facade9")
        body = bytes.fromhex("1000010a010000")
        self.assertEqual(encode_frame(18, 3, body), golden)
        self.assertEqual(_receive([golden]), ([(18, 3, body)], None))
        self.assertEqual((END_MARKER, MESSAGE_OVERHEAD), (0x9FACADE9, 12))

    def test_no_data(self) -> None:
        """The smallest message that anybody should send."""
        self.assertEqual(encode_frame(20, 7, b""), _EMPTY)
        self.assertEqual(_receive([_EMPTY]), ([(20, 7, b"")], None))

    def test_several_messages_in_one_chunk_share_its_bytes(self) -> None:
        """Offsets refer to the chunk, which is not copied."""
        chunk = _EMPTY + encode_frame(17, 8, b"abc")
        data, frames = FrameBuffer().receive(chunk)
        self.assertIs(data, chunk)
        expected: list[Frame] = [(20, 7, 8, 8), (17, 8, 20, 23)]
        self.assertEqual(frames, expected)

    def test_length_8_is_a_message_without_id(self) -> None:
        """The text names it as the smallest: tolerated as message ID 0."""
        short = bytes.fromhex("0010 0008 9facade9")
        for chunks in ([short + _EMPTY], _octets(short + _EMPTY)):
            self.assertEqual(_receive(chunks), ([(16, 0, b""), (20, 7, b"")], None))
        # Its data lies, empty, before the marker, as that of every other message.
        self.assertEqual(FrameBuffer().receive(short)[1], [(16, 0, 4, 4)])

    def test_length_8_with_a_wrong_marker(self) -> None:
        """What stands there is not known to be a message ID, so none is quoted."""
        self.assert_broken("0010 0008 00000001", "wrong end marker", (16, 8, 0))

    def test_lengths_that_no_message_has(self) -> None:
        """Below 8, and 9 to 11: found from the header, without waiting for the rest."""
        for length in (*range(8), 9, 10, 11):
            text = f"0011 {length:04x} 00000005"
            self.assert_broken(text, "message length too small", (17, length, 5))

    def test_marker_in_place_of_the_id_does_not_help_a_wrong_length(self) -> None:
        """Only the length of 8 may leave the message ID out."""
        self.assert_broken("0011 0009 9facade9", "message length too small", (17, 9, END_MARKER))

    def test_wrong_marker(self) -> None:
        """The message is lost, and the stream with it."""
        for marker in ("deadbeef", "9facade8", "1facade9", "00000000"):
            self.assert_broken(f"0012 000d 00000009 ff {marker}", "wrong end marker", (18, 13, 9))

    def test_framing_errors_concern_the_session(self) -> None:
        """Nobody knows where the next message begins."""
        buffer = FrameBuffer()
        buffer.receive(bytes(8))
        assert buffer.error is not None
        self.assertEqual(buffer.error.scope, ErrorScope.SESSION)

    def test_marker_inside_data_is_data(self) -> None:
        """Nobody hunts for it."""
        body = _MARKER + b"\0\x11\0\x0c" + _MARKER + b"x" + _MARKER[:3]
        stream = encode_frame(17, 1, body) + encode_frame(17, 2, _MARKER)
        for chunks in ([stream], _octets(stream)):
            self.assertEqual(_receive(chunks), ([(17, 1, body), (17, 2, _MARKER)], None))

    def test_nothing_comes_after_an_error(self) -> None:
        """Neither from the same chunk nor from later ones; what came before counts."""
        buffer = FrameBuffer()
        bad = bytes.fromhex("0012 000c 00000009 deadbeef")
        _, frames = buffer.receive(_EMPTY + bad + _EMPTY)
        self.assertEqual(frames, [(20, 7, 8, 8)])
        error = buffer.error
        self.assertIsNotNone(error)
        for later in (_EMPTY, b"\0", bytes(20)):
            self.assertEqual(buffer.receive(later), (b"", []))
        self.assertIs(buffer.error, error)
        self.assertFalse(buffer.has_partial_message)

    def test_partial_message(self) -> None:
        """From its first octet to its last but one."""
        buffer = FrameBuffer()
        self.assertFalse(buffer.has_partial_message)
        for octet in _octets(_EMPTY[:-1]):
            self.assertEqual(buffer.receive(octet)[1], [])
            self.assertTrue(buffer.has_partial_message)
        _, frames = buffer.receive(_EMPTY[-1:])
        self.assertEqual(frames, [(20, 7, 8, 8)])
        self.assertFalse(buffer.has_partial_message)
        buffer.receive(_EMPTY + _EMPTY[:1])
        self.assertTrue(buffer.has_partial_message)

    def test_empty_chunk(self) -> None:
        """Changes nothing, wherever it comes."""
        self.assertEqual(_receive([b""]), ([], None))
        chunks = [b"", _EMPTY[:3], b"", _EMPTY[3:9], b"", _EMPTY[9:], b""]
        self.assertEqual(_receive(chunks), ([(20, 7, b"")], None))

    def test_too_long_for_the_length_field(self) -> None:
        """65,535 octets are the most; fields out of range are refused likewise."""
        most = MAX_MESSAGE_LENGTH - MESSAGE_OVERHEAD
        self.assertEqual(len(encode_frame(17, 1, bytes(most))), MAX_MESSAGE_LENGTH)
        self.assertRaises(ValueError, encode_frame, 17, 1, bytes(most + 1))
        self.assertRaises(ValueError, encode_frame, 0x10000, 1, b"")
        self.assertRaises(ValueError, encode_frame, 17, 1 << 32, b"")


class ChunkTests(SynchronousTestCase):
    """However the stream is cut, it says the same."""

    @given(_messages, _bad_tails, st.lists(st.integers(0, 1 << 16), max_size=12))
    def test_every_chunking_gives_the_same_messages(
        self, messages: list[Message], tail: bytes, places: list[int]
    ) -> None:
        """All at once, octet by octet, and as hypothesis likes."""
        stream = b"".join(encode_frame(*message) for message in messages) + tail
        whole = _receive([stream])
        self.assertEqual(whole[0][: len(messages)], messages)
        self.assertEqual(_receive(_octets(stream)), whole)
        self.assertEqual(_receive(_cut(stream, places)), whole)

    @given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
    def test_every_chunking_of_garbage_gives_the_same(
        self, stream: bytes, places: list[int]
    ) -> None:
        """The same messages, if any, and the same error."""
        whole = _receive([stream])
        self.assertEqual(_receive(_octets(stream)), whole)
        self.assertEqual(_receive(_cut(stream, places)), whole)

    def test_every_single_cut(self) -> None:
        """Two chunks, cut at every octet of three messages."""
        messages = [(17, 1, b"abc"), (16, 2, b""), (31, 3, _MARKER)]
        stream = b"".join(encode_frame(*message) for message in messages)
        for place in range(len(stream) + 1):
            self.assertEqual(_receive([stream[:place], stream[place:]]), (messages, None))

    def test_single_octets_of_the_longest_message_stay_linear(self) -> None:
        """An octet is joined with others twice at most: with the header and with the message."""
        looked_at: list[int] = []
        split = FrameBuffer._split

        def count(buffer: FrameBuffer, data: bytes) -> list[Frame]:
            looked_at.append(len(data))
            return split(buffer, data)

        self.patch(FrameBuffer, "_split", count)
        body = bytes(MAX_MESSAGE_LENGTH - MESSAGE_OVERHEAD)
        messages = _receive(_octets(encode_frame(17, 1, body)))
        self.assertEqual(messages, ([(17, 1, body)], None))
        self.assertEqual(looked_at, [1, 8, MAX_MESSAGE_LENGTH])

    def test_small_chunks_of_a_long_stream_stay_linear(self) -> None:
        """Whatever the size of the chunks, an octet is joined a handful of times."""
        looked_at = [0]
        split = FrameBuffer._split

        def count(buffer: FrameBuffer, data: bytes) -> list[Frame]:
            looked_at[0] += len(data)
            return split(buffer, data)

        self.patch(FrameBuffer, "_split", count)
        stream = encode_frame(17, 1, bytes(5000)) * 5
        for size in (2, 3, 7, 64, 1000):
            looked_at[0] = 0
            chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
            self.assertEqual(len(_receive(chunks)[0]), 5)
            self.assertLess(looked_at[0], 2 * len(stream))
