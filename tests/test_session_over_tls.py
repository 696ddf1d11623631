"""Sessions over TLS."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.session_suite import HandshakeTests, SessionSuite
from tests.session_transports import OverTls


class SessionOverTlsTests(OverTls, SessionSuite, HandshakeTests, TestCase):
    """The suite."""
