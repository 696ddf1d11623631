"""Sessions over SCTP in user space, in UDP (RFC 6951)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.session_suite import DatagramSessionSuite
from tests.session_transports import OverUserSctp


class SessionOverUserSctpTests(OverUserSctp, DatagramSessionSuite, TestCase):
    """The suite."""
