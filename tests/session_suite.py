"""What every transport must show: one suite for all, over real sockets."""

from __future__ import annotations

from tests.session_faults import FaultTests
from tests.session_garbage import GarbageTests
from tests.session_life import LifeTests
from tests.session_load import LoadTests
from tests.session_readers import ReaderTests
from tests.session_strangers import (
    DatagramStrangerTests,
    HandshakeTests,
    StrangerTests,
)

__all__ = ["DatagramSessionSuite", "HandshakeTests", "SessionSuite"]


class SessionSuite(LifeTests, StrangerTests, GarbageTests, ReaderTests, FaultTests, LoadTests):
    """Mix it into a TestCase together with how the transport's endpoints are written."""


class DatagramSessionSuite(SessionSuite, DatagramStrangerTests):
    """The same where the transport runs over UDP sockets of our own."""
