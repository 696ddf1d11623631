"""Checks every codec must pass, for test cases to inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.errors import WireError
from lispmsrt.wire.reader import Reader

__all__ = ["CodecCase", "whole"]

Value = TypeVar("Value")


def whole(decode: Callable[[Reader], Value]) -> Callable[[bytes], Value]:
    """Make a function of bytes from one of a reader, failing on left-over octets."""

    def decode_all(data: bytes) -> Value:
        reader = Reader(data)
        value = decode(reader)
        reader.finish()
        return value

    return decode_all


class CodecCase(SynchronousTestCase):
    """Golden bytes, cuts and garbage."""

    def assert_golden(
        self,
        data: bytes,
        value: Value,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
    ) -> None:
        """The value and the bytes are each other's image."""
        self.assertEqual(decode(data), value)
        self.assertEqual(encode(value).hex(), data.hex())

    def assert_cuts_fail(
        self, data: bytes, decode: Callable[[bytes], object], opaque_tail: int = 0
    ) -> None:
        """Every shorter message is a WireError; so is one octet more unless the tail is opaque."""
        for size in range(len(data) - opaque_tail):
            self.assertRaises(WireError, decode, data[:size])
        if not opaque_tail:
            self.assertRaises(WireError, decode, data + b"\0")

    def assert_survives(
        self, data: bytes, encode: Callable[[Value], bytes], decode: Callable[[bytes], Value]
    ) -> None:
        """Garbage gives a WireError or a value that has one stable wire form."""
        try:
            value = decode(data)
        except WireError:
            return
        again = encode(value)
        self.assertEqual(encode(decode(again)), again)
