"""LISP control messages handed to the parts that take them."""

from __future__ import annotations

from itertools import takewhile

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.plane import ControlPlane, Datagram

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


class _RunPart(_Part):
    """Takes many at a time, as long as they are even; the others singly, and fails at zeros."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self._kind = kind
        self.runs: list[list[bytes]] = []

    def receive_datagram(self, data: bytes, source: tuple[bytes, int], now: float) -> None:
        if data.endswith(b"\0"):
            raise ValueError("this one")
        super().receive_datagram(data, source, now)

    def receive_run(self, batch: list[Datagram], first: int, now: float) -> int:
        run = list(
            takewhile(
                lambda data: data and data[0] >> 4 == self._kind and not data[-1] % 2 and data[-1],
                [data for data, _source in batch[first:]],
            )
        )
        self.runs.append(run)
        return len(run)


def _batch(*datagrams: bytes) -> list[Datagram]:
    return [(data, _SOURCE) for data in datagrams]


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


class BatchTests(SynchronousTestCase):
    """What came at once."""

    def test_runs_go_to_the_part_that_takes_them(self) -> None:
        """What it declines it gets singly, and is asked again behind it."""
        part = _RunPart(3)
        plane = ControlPlane({3: part}, ())
        batch = _batch(b"\x32", b"\x34", b"\x31", b"\x36", b"\x33")
        plane.receive_datagrams(batch, 0.0)
        self.assertEqual(batch, [])
        self.assertEqual(part.runs, [[b"\x32", b"\x34"], [], [b"\x36"], []])
        self.assertEqual(part.taken, [b"\x31", b"\x33"])

    def test_each_type_has_its_part(self) -> None:
        """With runs and without; what nobody takes is counted as ever."""
        registers, requests, others = _RunPart(3), _RunPart(1), _Part()
        plane = ControlPlane({3: registers, 1: requests, 8: others}, ())
        plane.receive_datagrams(
            _batch(b"\x32", b"\x12", b"\x14", b"\x82", b"\xf0", b"", b"\x34"), 0.0
        )
        self.assertEqual(registers.runs, [[b"\x32"], [b"\x34"]])
        self.assertEqual(requests.runs, [[b"\x12", b"\x14"]])
        self.assertEqual(others.taken, [b"\x82"])
        self.assertEqual(plane.counters, {"type 15 not handled": 1, "malformed datagrams": 1})

    def test_part_that_has_no_runs_here(self) -> None:
        """Nothing was compiled."""
        part = _RunPart(3)
        part.receive_run = None  # type: ignore[assignment, method-assign]
        ControlPlane({3: part}, ()).receive_datagrams(_batch(b"\x32", b"\x34"), 0.0)
        self.assertEqual(part.taken, [b"\x32", b"\x34"])

    def test_what_is_behind_one_that_fails_is_left(self) -> None:
        """For whoever catches it."""
        part = _RunPart(3)
        plane = ControlPlane({3: part}, ())
        batch = _batch(b"\x31", b"\x32", b"\x30\0", b"\x33", b"\x34")
        with self.assertRaises(ValueError):
            plane.receive_datagrams(batch, 0.0)
        self.assertEqual(batch, _batch(b"\x33", b"\x34"))
        plane.receive_datagrams(batch, 0.0)
        self.assertEqual(part.taken, [b"\x31", b"\x33"])
        self.assertEqual(part.runs, [[], [b"\x32"], [], [], [b"\x34"]])

    def test_an_empty_batch(self) -> None:
        """Nothing happens."""
        ControlPlane({}, ()).receive_datagrams([], 0.0)
