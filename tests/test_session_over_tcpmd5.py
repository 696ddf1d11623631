"""Sessions over TCP-MD5."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.session_faults import FaultTests
from tests.session_life import LifeTests
from tests.session_strangers import StrangerTests
from tests.session_transports import OverTcpMd5


class SessionOverTcpMd5Tests(OverTcpMd5, LifeTests, StrangerTests, FaultTests, TestCase):
    """The suite, but for what only the octets of the stream decide: those are TCP's."""
