"""An association that is captured, for tshark on the host to judge."""

from __future__ import annotations

import os
from pathlib import Path

from tests.guest.associations import AssociationTestCase, associations
from tests.guest.capture import Capture

FILE = "association.pcap"
DATA = b"from the client" * 400
ANSWER = b"from the server" * 700


class CapturedTests(AssociationTestCase):
    """Written where the environment says."""

    async def test_a_whole_life_is_captured(self) -> None:
        """INIT to SHUTDOWN COMPLETE, with data both ways."""
        with Capture() as capture:
            _port, near, far = await self.pair(client="bindAddress=127.0.0.5")
            near.transport.write(DATA)
            far.transport.write(ANSWER)
            await self.until(lambda: len(far.received) == len(DATA))
            await self.until(lambda: len(near.received) == len(ANSWER))
            near.transport.loseConnection()
            await self.until(lambda: near.reason and far.reason)
            await self.until(lambda: not associations())
        capture.write(Path(os.environ["LISPMSRT_CAPTURES"], FILE))
