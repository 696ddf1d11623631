"""Sessions over TCP."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.session_suite import SessionSuite
from tests.session_transports import OverTcp


class SessionOverTcpTests(OverTcp, SessionSuite, TestCase):
    """The suite."""
