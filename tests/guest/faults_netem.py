"""Each transport over a path that delays, reorders, duplicates and loses: netem, in the guest."""

from __future__ import annotations

import os
import re

from twisted.trial.unittest import TestCase

from tests.faults_ground import FaultGround
from tests.guest.faults_tc import tc
from tests.session_transports import OverQuic, OverSctp, OverTcp, OverTls, OverUserSctp

_IS_LONG = bool(os.environ.get("LISPMSRT_LONG"))


class NetemTests(FaultGround):
    """Loopback is this guest's own."""

    mappings = 100
    rounds = 10 if _IS_LONG else 5

    async def _live_with(self, faults: str) -> None:
        tc("qdisc", "add", "dev", "lo", "root", "netem", *faults.split())
        self.addCleanup(tc, "qdisc", "del", "dev", "lo", "root")
        await self.live_through_faults()
        statistics = tc("-s", "qdisc", "show", "dev", "lo")
        found = re.search(r"Sent \d+ bytes (\d+) pkt \(dropped (\d+)", statistics)
        assert found is not None, statistics
        packets, dropped = map(int, found.groups())
        self._log.info("{packets} packets, {dropped} lost", packets=packets, dropped=dropped)
        self.assertGreater(packets, self.rounds)

    async def test_it_converges_over_a_path_with_all_faults(self) -> None:
        """Up, changes, withdrawals, a reset, and everything is in the database in the end."""
        await self._live_with("delay 20ms 10ms loss 5% reorder 25% 50% duplicate 1%")

    if _IS_LONG:

        async def test_it_converges_over_a_path_that_loses_much(self) -> None:
            """Every fifth packet, each way."""
            await self._live_with("delay 2ms loss 20%")

        async def test_it_converges_over_a_path_that_loses_in_bursts(self) -> None:
            """What follows a loss is likely to be lost too."""
            await self._live_with("delay 5ms loss gemodel 3% 30% 80% 0.5%")

        async def test_it_converges_over_a_path_that_reorders_much(self) -> None:
            """And duplicates."""
            await self._live_with("delay 50ms 40ms reorder 50% 50% duplicate 20%")

        async def test_it_converges_over_a_slow_path(self) -> None:
            """Half a second there and back."""
            await self._live_with("delay 250ms 20ms loss 2%")


class NetemOverTcpTests(OverTcp, NetemTests, TestCase):
    """Over TCP."""


class NetemOverTlsTests(OverTls, NetemTests, TestCase):
    """Over TLS."""


class NetemOverQuicTests(OverQuic, NetemTests, TestCase):
    """Over QUIC."""


class NetemOverSctpTests(OverSctp, NetemTests, TestCase):
    """Over the kernel's SCTP."""


class NetemOverUserSctpTests(OverUserSctp, NetemTests, TestCase):
    """Over SCTP in user space."""

    quick = True
