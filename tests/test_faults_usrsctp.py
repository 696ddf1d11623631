"""Sessions over SCTP in user space, in memory: a path that loses, duplicates, delays and reorders.

The stack in C draws its tags by itself, and sends again only what it has sent long ago by the real
clock: a seed's schedule repeats, its packets do not, and what is lost is made up for late, often by
another session.
"""

from __future__ import annotations

import os
import time
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.sctp.usrsctp import endpoints
from tests.faults_dead_path import DeadPathTests
from tests.faults_weather import BOUND, EIDS, PORT, STEPS, Step, World
from tests.quic_rim import SERVER_HOST

_SEEDS = 300 if os.environ.get("LISPMSRT_LONG") else 20
_PACE = 0.02
"""Real seconds for a virtual one, where the stack is to send again. It does so with what was sent
longer ago than a round trip takes by the real clock, and waits twice as long for the next try: a
fast machine is through with half a minute before a round trip is over.
"""


class _SctpWorld(World):
    pace = 0.0
    "real seconds that a virtual one takes besides"

    def __init__(self, seed: int = 1) -> None:
        super().__init__(
            seed,
            server_string=f"sctp:{PORT}:interface={SERVER_HOST}:stack=usrsctp:encapsulation={PORT}",
            client_string=f"sctp:{SERVER_HOST}:{PORT}:stack=usrsctp:encapsulation=0"
            f":encapsulationPeer={PORT}",
        )

    def step(self, seconds: float) -> None:
        """Let at most a second go by."""
        super().step(seconds)
        if self.pace:
            time.sleep(self.pace * seconds)


def _schedule(seed: int) -> list[Step]:
    random = Random(seed)
    return [
        (name, *(random.choice(values) for values in STEPS[name]))
        for name in random.choices(list(STEPS), k=random.randint(5, 30))
    ]


class UsrsctpConvergenceTests(SynchronousTestCase):
    """Faults, and then none."""

    def setUp(self) -> None:
        """What only poses as a reactor is the clock."""
        self.patch(endpoints, "MonotonicClock", lambda reactor: reactor)

    def test_the_map_server_ends_up_with_what_the_etr_means(self) -> None:
        """Whatever happened to packets, associations and services before."""
        for seed in range(_SEEDS):
            steps = _schedule(seed)
            try:
                self._live_through(seed, steps)
            except Exception as problem:
                raise AssertionError(f"seed {seed}, {steps}: {problem}") from problem

    def _live_through(self, seed: int, steps: list[Step]) -> None:
        with _SctpWorld(seed) as world:
            world.register(EIDS[0])
            for step in steps:
                world.perform(*step)
            world.converge(BOUND)
            assert not world.meaning or len(world.server.sessions) == 1


class UsrsctpDeadPathTests(DeadPathTests, SynchronousTestCase):
    """HEARTBEATs after 10 s of silence, and 20 s for an answer, to the second."""

    keepalive = 32.0
    # Who gives up says so.
    one_way = 32.0
    farewell = 3.0
    silence = 15.0
    world: _SctpWorld

    def setUp(self) -> None:
        """What only poses as a reactor is the clock."""
        self.patch(endpoints, "MonotonicClock", lambda reactor: reactor)
        super().setUp()

    def pass_silence(self) -> None:
        """By the real clock, too, or nothing is sent again after it."""
        self.world.pace = _PACE
        super().pass_silence()

    def make_world(self) -> _SctpWorld:
        """Over SCTP."""
        return _SctpWorld()
