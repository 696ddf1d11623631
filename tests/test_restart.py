"""A Map-Server that is restarted: all its ETRs come back, spread over seconds, and none is left
out.
"""

from __future__ import annotations

import os
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.mapping.etr_states import EtrState
from tests.rim import XTR_ID, Network, etr_text, map_server_text, site_text

_ETRS = 1000 if os.environ.get("LISPMSRT_LONG") else 60
_EIDS = 2
_STEP = 0.5
_SOON = 20.0
"""Seconds within which everything is to be registered again."""


class RestartTests(SynchronousTestCase):
    """Many ETRs, with all the defaults."""

    def setUp(self) -> None:
        """All are registered, on sessions."""
        self.network = Network()
        self.start()
        self.etrs = [self._etr(number) for number in range(_ETRS)]
        self.until_registered()
        # Long enough for everything that began together to fall apart.
        self.network.run(100.0)

    def start(self) -> None:
        """Start a Map-Server that knows nothing."""
        config = parse_config(map_server_text(site_text("campus", "10.0.0.0/8")))
        assert config.map_server is not None
        self.server = MapServer(config.map_server, config.site, self.network, self.network)
        self.server.startService()

    def _etr(self, number: int) -> Etr:
        host = f"127.{1 + number // 250}.{number % 250}.2"
        eids = [f"10.{number // 250}.{number % 250}.{eid}/32" for eid in range(_EIDS)]
        text = etr_text(*eids, host=host).replace(XTR_ID, f"{number + 1:032x}")
        config = parse_config(text).etr
        assert config is not None
        etr = Etr(config, self.network, self.network, random=Random(number))
        etr.startService()
        return etr

    def tearDown(self) -> None:
        """Nothing is left that would ring."""
        for etr in self.etrs:
            etr.stopService()
        self.server.stopService()
        self.network.run(1.0)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def is_registered(self) -> bool:
        """Whether everything is, on sessions that are up."""
        links = [etr.links[0] for etr in self.etrs]
        return all(
            link.session is not None
            and link.session.was_established
            and link.registrations.listing.states[EtrState.STABLE] == _EIDS
            for link in links
        )

    def until_registered(self) -> list[int]:
        """Let time go by until everything is; return how many sessions came up in each step."""
        came: list[int] = []
        known = len(self.server.sessions)
        while not self.is_registered():
            self.network.run(_STEP)
            came.append(len(self.server.sessions) - known)
            known += came[-1]
            self.assertLessEqual(len(came) * _STEP, _SOON, "somebody was left out")
        return came

    def restart(self, pause: float, *, takes_leave: bool) -> None:
        """End the Map-Server, and start another one after a pause, in seconds; ``takes_leave``: it
        closes its sessions, else they break.
        """
        if not takes_leave:
            for session in self.server.sessions:
                self.server.reset(session)
            self.network.run()
        self.server.stopService()
        self.network.run(pause)
        self.assertFalse(any(etr.links[0].session for etr in self.etrs))
        self.start()

    def test_all_come_back_and_not_all_at_once(self) -> None:
        """However long it was away: the wait before the next try has doubled meanwhile."""
        for pause in (0.5, 20.0, 36.0):
            self.restart(pause, takes_leave=False)
            came = self.until_registered()
            self.assertLess(max(came), _ETRS // 3, (pause, came))
            self.assertEqual(len(self.server.database), _ETRS * _EIDS)
            self.network.run(100.0)

    def test_who_takes_leave_is_returned_to_sooner(self) -> None:
        """Within two seconds where the successor is there at once; yet not all in the same half."""
        for pause in (0.5, 20.0):
            self.restart(pause, takes_leave=True)
            came = self.until_registered()
            self.assertLess(max(came), 2 * _ETRS // 3, (pause, came))
            if pause < 1.0:
                self.assertLessEqual(len(came) * _STEP, 2.0)
            self.assertEqual(len(self.server.database), _ETRS * _EIDS)
            self.network.run(100.0)
