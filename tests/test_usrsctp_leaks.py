"""Thousands of associations come and go: nothing of them stays."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import UsrsctpTestCase

_OCTETS_PER_CYCLE = 700
"""Generous: an association holds tens of thousands while it lives, a forgotten socket 3000."""

_SPANS = 10
"""In which memory may grow, before it must have stayed once: in a process that has run thousands
of tests the allocator and the collector have work of their own.
"""


def resident() -> int:
    """Return the octets of memory that this process occupies."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class LeakTests(UsrsctpTestCase):
    """Many cycles."""

    def _cycles(self, count: int, ending: str) -> None:
        self.network.is_recording = False
        for _ in range(count):
            client, server = self.connect()
            client.stream.write(b"x" * 3000)
            server.stream.write(b"y" * 3000)
            self.network.run(0.05)
            getattr(client.stream, ending)()
            self.network.run(1, until=lambda c=client, s=server: c.reasons and s.reasons)
            self.assertEqual(len(server.reasons), 1)
            del self.server.built[:]

    def _assert_no_leak(self, ending: str) -> None:
        self._cycles(300, ending)
        stack, sizes = the_stack(), [resident()]
        handles = stack.handles
        for _ in range(_SPANS):
            self._cycles(500, ending)
            sizes.append(resident())
            if sizes[-1] - sizes[-2] < 500 * _OCTETS_PER_CYCLE:
                break  # what leaks grows each time
        self.assertEqual(stack.handles, handles)
        self.assertEqual((stack.handles_in_use, len(stack)), (0, 0))
        self._assert_not_growing(sizes, 500)

    def _assert_not_growing(self, sizes: list[int], cycles: int) -> None:
        """What leaks grows each time; what the allocator makes of the tests before grows once."""
        growths = [after - before for before, after in pairwise(sizes)]
        self.assertLess(min(growths), cycles * _OCTETS_PER_CYCLE, growths)

    def test_aborted_associations_leave_nothing(self) -> None:
        """Hundreds of them, thousands where memory grows at first."""
        self._assert_no_leak("abortConnection")

    def test_closed_associations_leave_nothing(self) -> None:
        """Hundreds of them, thousands where memory grows at first."""
        self._assert_no_leak("loseConnection")

    def test_cancelled_attempts_leave_nothing(self) -> None:
        """Two thousand of them, at every step."""
        self.network.is_recording = False
        sizes = []
        for number in range(2000):
            if number >= 300 and number % 400 == 300:
                sizes.append(resident())
            attempt = self.client().connect(self.clients)
            attempt.addErrback(lambda failure: None)
            self.network.run(0.01 * (number % 6))
            if attempt.called:
                attempt.result.stream.abortConnection()
            else:
                attempt.cancel()
            self.network.run(0.1)
            del self.server.built[:]
            if number % 20 == 0:
                self.network.run(12)  # handshakes that are never finished are forgotten
        self.assertEqual(len(the_stack()), 0)
        self.network.run(12)
        self.assertEqual(the_stack().handles_in_use, 0)
        self._assert_not_growing(sizes, 400)
