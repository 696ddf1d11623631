"""Batches of datagrams by one system call, over loopback."""

from __future__ import annotations

import gc
import os
import select
import socket
from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.protocols import Datagram

_COMPILED: Any = twin("lispmsrt.transports.udp._datagrams")
_HOST = socket.inet_aton("127.0.0.1")
_PATIENCE = 10.0


class BatchesTests(SynchronousTestCase):
    """Two sockets of IPv4."""

    if _COMPILED is None:
        skip = "needs the compiled module"

    def setUp(self) -> None:
        self.one, self.other = self.socket(), self.socket()
        self.batches = _COMPILED.Batches(self.one.fileno())
        self.receiving = _COMPILED.Batches(self.other.fileno())
        self.here = (_HOST, self.one.getsockname()[1])
        self.there = (_HOST, self.other.getsockname()[1])

    def socket(self, host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind((host, 0))
        self.addCleanup(made.close)
        return made

    def arrived(self, count: int) -> list[Datagram]:
        """Return so many datagrams, or what is there when the patience is at its end."""
        found: list[Datagram] = []
        while len(found) < count and select.select([self.other], [], [], _PATIENCE)[0]:
            found += self.receiving.receive(count - len(found))
        return found

    def test_nothing_is_there(self) -> None:
        """It does not wait."""
        self.assertEqual(self.receiving.receive(10), [])
        self.assertEqual(self.batches.send([]), 0)

    def test_what_the_kernel_cuts_up_arrives_as_it_was_given(self) -> None:
        """Runs of equal length, with shorter and longer ends, with others between them."""
        other = self.socket()
        elsewhere = (_HOST, other.getsockname()[1])
        sizes = [100] * 90 + [99] + [100] * 3 + [0] + [5] * 6 + [7] + [1400] * 20 + [1401] * 5
        sent = [(bytes([at % 256]) * size, self.there) for at, size in enumerate(sizes)]
        mixed = [*sent[:30], (b"elsewhere", elsewhere), *sent[30:]]
        for first in range(0, len(mixed), 40):
            self.assertEqual(self.batches.send(mixed[first : first + 40]), 0)
            count = len([one for one in mixed[first : first + 40] if one[1] == self.there])
            expected = [one for one in mixed[first : first + 40] if one[1] == self.there]
            self.assertEqual(
                [data for data, _source in self.arrived(count)], [data for data, _to in expected]
            )
        self.assertEqual(other.recv(100), b"elsewhere")

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from((0, 1, 2, 100, 1400, 1401, 3000)), st.integers(1, 9)),
            max_size=12,
        )
    )
    def test_whatever_is_sent_arrives(self, runs: list[tuple[int, int]]) -> None:
        """The same octets in the same order, merged on the way or not."""
        sizes = [size for size, times in runs for _time in range(times)]
        sent = [(bytes([at % 256]) * size, self.there) for at, size in enumerate(sizes)]
        found: list[Datagram] = []
        for first in range(0, len(sent), 25):  # an ordinary receive buffer holds so many
            some = sent[first : first + 25]
            self.assertEqual(self.batches.send(some), 0)
            found += self.arrived(len(some))
        self.assertEqual([data for data, _from in found], [data for data, _to in sent])
        self.assertEqual({source for _data, source in found} - {self.here}, set())

    def test_who_does_not_merge_gets_single_datagrams(self) -> None:
        """As every other implementation does."""
        plain = self.socket()
        plain.settimeout(_PATIENCE)
        sent = [(bytes([at]) * 9, (_HOST, plain.getsockname()[1])) for at in range(30)]
        self.assertEqual(self.batches.send(sent), 0)
        self.assertEqual([plain.recv(99) for _datagram in sent], [data for data, _to in sent])

    def test_merged_messages_are_few_at_a_time(self) -> None:
        """Or a limit would be none; only the first of them may come as a surprise."""
        for _round in range(8):
            self.batches.send([(b"x", self.there)] * 64)
        counts = []
        while sum(counts) < 512 and select.select([self.other], [], [], _PATIENCE)[0]:
            counts.append(len(self.receiving.receive(10)))
        self.assertEqual(sum(counts), 512)
        self.assertLessEqual(max(counts[1:], default=0), 2 * 64)

    def test_once_closed_nothing_is_merged(self) -> None:
        """The socket is what it was."""
        self.receiving.close()
        self.batches.send([(b"x", self.there)] * 10)
        self.other.settimeout(_PATIENCE)
        self.assertEqual([self.other.recv(99) for _datagram in range(10)], [b"x"] * 10)

    def test_destinations_in_turn_get_theirs_in_order(self) -> None:
        """Those to one are sent together; where each has few, all are sent as they are."""
        for receivers, turns in ((3, 12), (30, 3)):
            others = [self.socket() for _receiver in range(receivers)]
            sent = [
                (bytes([turn, number]), (_HOST, other.getsockname()[1]))
                for turn in range(turns)
                for number, other in enumerate(others)
            ]
            self.assertEqual(self.batches.send(sent), 0)
            for number, other in enumerate(others):
                other.settimeout(_PATIENCE)
                found = [other.recv(9) for _turn in range(turns)]
                self.assertEqual(found, [bytes([turn, number]) for turn in range(turns)])

    def test_what_can_not_be_cut_up_is_sent_one_by_one(self) -> None:
        """Where checksums are off the kernel refuses to."""
        self.one.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_NO_CHECK", 11), 1)
        sent = [(bytes([at]), self.there) for at in range(20)]
        self.assertEqual(self.batches.send(sent), 0)
        self.assertEqual([data for data, _from in self.arrived(20)], [data for data, _to in sent])

    def test_run_that_is_refused_is_counted_whole(self) -> None:
        """To port 0, where nobody can be."""
        bad, good = (b"bad", (_HOST, 0)), (b"good", self.there)
        self.assertEqual(self.batches.send([bad] * 10 + [good] * 10 + [bad] * 3 + [good]), 13)
        self.assertEqual(len(self.arrived(11)), 11)

    def test_full_buffer_loses_what_does_not_fit(self) -> None:
        """Counted or dropped on the way, as the kernel does it; nothing hangs."""
        self.one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.assertLessEqual(self.batches.send([(bytes(60_000), self.there)] * 100), 100)

    def test_equal_sources_are_one_object(self) -> None:
        """Those that follow each other."""
        self.batches.send([(b"x", self.there)] * 3)
        found = self.arrived(3)
        self.assertEqual(found[0], (b"x", (_HOST, self.one.getsockname()[1])))
        self.assertEqual(len({id(source) for _data, source in found}), 1)

    def test_same_port_at_another_address_is_another_source(self) -> None:
        """And the same address with another port."""
        port = self.one.getsockname()[1]
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as namesake:
            namesake.bind(("127.0.0.2", port))
            neighbour = self.socket()
            for sender in (self.one, namesake, neighbour):
                sender.sendto(b"x", self.other.getsockname())
            sources = {source for _data, source in self.arrived(3)}
        self.assertEqual(
            sources,
            {
                (_HOST, port),
                (socket.inet_aton("127.0.0.2"), port),
                (_HOST, neighbour.getsockname()[1]),
            },
        )

    def test_longer_datagrams_are_cut_off(self) -> None:
        """As `recvfrom` does."""
        short = _COMPILED.Batches(self.other.fileno(), 10)
        sent = [bytes(11), b"second", *[bytes(12)] * 9]
        self.batches.send([(data, self.there) for data in sent])
        self.receiving = short
        found = [data for data, _from in self.arrived(len(sent))]
        self.assertEqual(found, [data[:10] for data in sent])

    def test_ipv6_takes_both_families_where_it_is_bound_to_any(self) -> None:
        """Where it is bound to one address, IPv4 is refused."""
        local = socket.inet_pton(socket.AF_INET6, "::1")
        self.other = self.socket("::")
        port = self.other.getsockname()[1]
        self.receiving = _COMPILED.Batches(self.other.fileno())
        six = self.socket("::1")
        sending = _COMPILED.Batches(six.fileno())
        self.assertEqual(sending.send([(b"x", (_HOST, port)), (b"y", (local, port))]), 1)
        self.assertEqual(self.batches.send([(b"x", (_HOST, port)), (b"y", (local, port))]), 1)
        self.assertEqual(
            sorted(self.arrived(2)),
            [(b"x", (_HOST, self.one.getsockname()[1])), (b"y", (local, six.getsockname()[1]))],
        )
        self.assertEqual(self.receiving.send([(b"back", (_HOST, self.one.getsockname()[1]))]), 0)
        self.one.settimeout(_PATIENCE)
        self.assertEqual(self.one.recv(9), b"back")

    def test_once_closed_it_leaves_the_descriptor_alone(self) -> None:
        """Its number may be another socket's."""
        self.batches.send([(b"x", self.there)])
        select.select([self.other], [], [], _PATIENCE)
        self.receiving.close()
        self.batches.close()
        self.assertEqual(self.receiving.receive(10), [])
        self.assertEqual(self.batches.send([(b"x", self.there)] * 5), 5)
        self.assertEqual(self.other.recv(9), b"x")

    def test_what_is_no_socket_of_ip_is_said(self) -> None:
        """When it is made."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with closing(near), closing(far), self.assertRaises(ValueError):
            _COMPILED.Batches(near.fileno())
        with open(os.devnull) as file, self.assertRaises(OSError):
            _COMPILED.Batches(file.fileno())

    def test_what_is_no_datagram_is_an_error(self) -> None:
        """Not a crash."""
        for wrong in (
            b"x",
            (b"x",),
            (bytearray(1), self.there),
            (b"x", ("127.0.0.1", 9)),
            (b"x", (_HOST, "9")),
            (b"x", (_HOST, 65_536)),
            (b"x", [_HOST, 9]),
        ):
            with self.assertRaises((TypeError, ValueError, OverflowError), msg=repr(wrong)):
                self.batches.send([wrong])
            with self.assertRaises((TypeError, ValueError, OverflowError), msg=repr(wrong)):
                self.batches.send([wrong] * 20)

    def test_nothing_is_kept_of_what_has_passed(self) -> None:
        """Rounds do not grow the process."""
        gc.collect()
        before = len(gc.get_objects())
        for _round in range(50):
            self.batches.send([(bytes(50), self.there)] * 20)
            self.assertEqual(len(self.arrived(20)), 20)
        gc.collect()
        self.assertLess(len(gc.get_objects()) - before, 50)
