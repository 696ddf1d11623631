"""Sessions over the SCTP of a Linux kernel: runs where there is one."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.guest.capture import Capture
from tests.session_ground import SessionGround
from tests.session_suite import SessionSuite
from tests.session_transports import OverSctp

CAPTURE = "session.pcap"


class SessionOverSctpTests(OverSctp, SessionSuite, TestCase):
    """The suite, with smaller numbers: all that the guest does is emulated."""

    registrations = 100_000 if os.environ.get("LISPMSRT_LONG") else 20_000
    strangers = 100


class CapturedSessionTests(OverSctp, SessionGround, TestCase):
    """A session for tshark to judge, which runs on the host."""

    async def test_a_small_session_is_captured(self) -> None:
        """Written where the environment says."""
        with Capture() as capture:
            etr, _listener = await self.start_both("10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24")
            await self.stop(etr)
            await self.stop(self.server)
        capture.write(Path(os.environ["LISPMSRT_CAPTURES"], CAPTURE))
