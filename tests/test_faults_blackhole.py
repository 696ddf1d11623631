"""Each transport over a path that is dead for a while."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.faults_blackhole import BlackholeTests
from tests.faults_namespace import PrivateGround
from tests.session_transports import OverQuic, OverTcp, OverTls, OverUserSctp


class PrivateBlackholeTests(PrivateGround, BlackholeTests):
    """It is nftables that drops."""


class BlackholeOverTcpTests(OverTcp, PrivateBlackholeTests, TestCase):
    """Over TCP: user-timeout and keepalive."""


class BlackholeOverTlsTests(OverTls, PrivateBlackholeTests, TestCase):
    """Over TLS: the same, of the TCP below."""


class BlackholeOverQuicTests(OverQuic, PrivateBlackholeTests, TestCase):
    """Over QUIC: its idle timeout."""


class BlackholeOverUserSctpTests(OverUserSctp, PrivateBlackholeTests, TestCase):
    """Over SCTP in user space: 2 s of silence until a HEARTBEAT, 3 s for its answer, to the
    second.
    """

    keepalive = 6.0
