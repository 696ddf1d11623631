"""Each transport over a path that loses packets, by nftables."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.faults_namespace import PrivateGround
from tests.session_transports import OverQuic, OverTcp, OverTls, OverUserSctp


class LossTests(PrivateGround):
    """One packet of ten is lost, each way, of the control plane and of the session."""

    async def test_it_converges_whatever_is_lost(self) -> None:
        """Up, changes, withdrawals, a reset, and everything is in the database in the end."""
        self.network.lose_some(one_in=10)
        await self.live_through_faults()
        come, lost = self.network.packets
        self._log.info("{come} packets, {lost} lost", come=come, lost=lost)
        self.assertGreater(come, 3 * self.rounds)


class LossOverTcpTests(OverTcp, LossTests, TestCase):
    """Over TCP."""


class LossOverTlsTests(OverTls, LossTests, TestCase):
    """Over TLS."""


class LossOverQuicTests(OverQuic, LossTests, TestCase):
    """Over QUIC."""


class LossOverUserSctpTests(OverUserSctp, LossTests, TestCase):
    """Over SCTP in user space. Where an ABORT is lost, that is noticed as a dead path is."""

    quick = True
