"""The bounds-checked cursor: reading short, reading over and reading under."""

from __future__ import annotations

from struct import Struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.reader import Reader

_PAIR = Struct("!HB")


class ReaderTests(SynchronousTestCase):
    """Every way to move the cursor, and every limit."""

    def test_reads_in_order(self) -> None:
        """Fixed parts, octets, and the rest."""
        reader = Reader(b"\x01\x02\x03abcdef")
        self.assertEqual(reader.unpack(_PAIR), (0x0102, 3))
        self.assertEqual((reader.offset, reader.remaining), (3, 6))
        self.assertEqual(reader.read(2), b"ab")
        self.assertEqual(reader.peek(2), b"cd")
        self.assertEqual(reader.since(3), b"ab")
        self.assertEqual(reader.read_remaining(), b"cdef")
        self.assertEqual(reader.read_remaining(), b"")
        reader.finish()

    def test_reads_past_the_end_fail(self) -> None:
        """And leave the cursor where it was."""
        reader = Reader(b"ab")
        for read in (lambda: reader.read(3), lambda: reader.peek(3), lambda: reader.unpack(_PAIR)):
            error = self.assertRaises(WireError, read)
            self.assertEqual(error.scope, ErrorScope.MESSAGE)
            self.assertEqual(reader.offset, 0)

    def test_part_of_the_data(self) -> None:
        """What lies before the offset or after the end is not there."""
        reader = Reader(b"abcdef", 2, 4)
        self.assertEqual(reader.remaining, 2)
        self.assertRaises(WireError, reader.read, 3)
        self.assertEqual(reader.read_remaining(), b"cd")

    def test_left_over_octets_fail(self) -> None:
        """Nothing is ignored silently."""
        reader = Reader(b"ab")
        reader.read(1)
        self.assertRaises(WireError, reader.finish)

    def test_restriction(self) -> None:
        """It ends before the data does, and the rest is read after it."""
        reader = Reader(b"abcdef")
        with reader.restrict_to(4):
            with reader.restrict_to(2):
                self.assertEqual(reader.read_remaining(), b"ab")
                self.assertRaises(WireError, reader.peek, 1)
            self.assertEqual(reader.read(2), b"cd")
        self.assertEqual(reader.read_remaining(), b"ef")

    def test_restriction_beyond_the_end_fails(self) -> None:
        """A length field promised more than there is."""
        reader = Reader(b"ab")
        with self.assertRaises(WireError), reader.restrict_to(3):
            self.fail("the block must not run")

    def test_reading_over_a_restriction_fails(self) -> None:
        """The octets behind it belong to somebody else."""
        reader = Reader(b"abcd")
        with self.assertRaises(WireError), reader.restrict_to(2):
            reader.read(3)

    def test_reading_under_a_restriction_fails(self) -> None:
        """What the length field counted must be read."""
        reader = Reader(b"abcd")
        with self.assertRaises(WireError), reader.restrict_to(2):
            reader.read(1)

    @given(st.binary(max_size=20), st.lists(st.integers(0, 8), max_size=8))
    def test_never_reads_what_is_not_there(self, data: bytes, counts: list[int]) -> None:
        """Octets come once, in order, until a read fails."""
        reader = Reader(data)
        found = b""
        for count in counts:
            if count > reader.remaining:
                self.assertRaises(WireError, reader.read, count)
            else:
                found += reader.read(count)
        self.assertEqual(found + reader.read_remaining(), data)
