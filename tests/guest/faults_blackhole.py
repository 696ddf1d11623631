"""The kernel's SCTP over a path that is dead for a while."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.faults_blackhole import BlackholeTests
from tests.guest.faults_tc import Loopback
from tests.session_transports import OverSctp


class BlackholeOverSctpTests(OverSctp, BlackholeTests, TestCase):
    """A HEARTBEAT every 2 s."""

    keepalive = 8.0

    def setUp(self) -> None:
        """The guest has nobody else on its loopback."""
        self.network = Loopback()
        self.addCleanup(self.network.heal)
        super().setUp()
