"""LISP control messages handed to the parts that take them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.plane import ControlPlane

_SOURCE = (bytes([192, 0, 2, 1]), 4342)


class _Part:
    """Notes what it gets; has something to send."""

    def __init__(self, *due: bytes, at: float | None = None) -> None:
        self.taken: list[bytes] = []
        self._due = list(due)
        self._at = at

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        self.taken.append(data)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, tuple[bytes, int]]]:
        due, self._due = self._due, []
        return [(data, _SOURCE) for data in due]

    def next_timeout(self) -> float | None:
        return self._at


class ControlPlaneTests(SynchronousTestCase):
    """Types in, datagrams out."""

    def test_each_type_goes_to_the_part_that_takes_it(self) -> None:
        """The type is the first four bits."""
        one, other = _Part(), _Part()
        plane = ControlPlane({3: one, 1: other, 8: other}, ())
        for data in (b"\x30register", b"\x10request", b"\x80ecm"):
            plane.receive_datagram(data, _SOURCE, 0.0)
        self.assertEqual(one.taken, [b"\x30register"])
        self.assertEqual(other.taken, [b"\x10request", b"\x80ecm"])

    def test_what_nobody_takes_is_counted(self) -> None:
        """An unknown type, and a datagram without any."""
        plane = ControlPlane({}, ())
        plane.receive_datagram(b"\xf0", _SOURCE, 0.0)
        plane.receive_datagram(b"", _SOURCE, 0.0)
        self.assertEqual(plane.counters, {"type 15 not handled": 1, "malformed datagrams": 1})

    def test_output_of_all_parts_in_their_order(self) -> None:
        """And only once."""
        plane = ControlPlane({}, (_Part(b"a", b"b"), _Part(), _Part(b"c")))
        self.assertEqual([data for data, _to in plane.datagrams_to_send(0.0)], [b"a", b"b", b"c"])
        self.assertEqual(plane.datagrams_to_send(0.0), [])

    def test_the_earliest_part_decides_the_timeout(self) -> None:
        """None where nobody waits for anything."""
        self.assertIsNone(ControlPlane({}, (_Part(), _Part())).next_timeout())
        self.assertEqual(ControlPlane({}, (_Part(at=7.0), _Part(at=3.0))).next_timeout(), 3.0)
