"""Sessions over QUIC."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.session_suite import DatagramSessionSuite, HandshakeTests
from tests.session_transports import OverQuic


class SessionOverQuicTests(OverQuic, DatagramSessionSuite, HandshakeTests, TestCase):
    """The suite."""
