"""Sessions over QUIC in memory: a path that loses, duplicates, delays and reorders, or is dead."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.faults_dead_path import DeadPathTests
from tests.faults_weather import BOUND, EIDS, PORT, STEPS, Step, World
from tests.quic_rim import SERVER_HOST, Credentials, make_credentials

_IS_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_EXAMPLES = 600 if _IS_LONG else 30
_PHASES = [phase for phase in Phase if _IS_LONG or phase is not Phase.shrink]
"""Shrinking a schedule takes minutes."""


_steps = st.lists(
    st.one_of(
        *(st.tuples(st.just(name), *map(st.sampled_from, values)) for name, values in STEPS.items())
    ),
    min_size=5,
    max_size=30,
)


@functools.cache
def _credentials() -> Credentials:
    # RSA, for its signatures have one length: the same schedule gives the same datagrams again.
    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
    return make_credentials(folder, key=rsa.generate_private_key(65537, 2048))


class _QuicWorld(World):
    def __init__(self, seed: int = 1) -> None:
        files = _credentials()
        super().__init__(
            seed,
            server_string=f"quic:{PORT}:interface={SERVER_HOST}"
            f":certificate={files.certificate}:privateKey={files.key}",
            client_string=f"quic:{SERVER_HOST}:{PORT}:pin={files.pin}",
        )


class QuicConvergenceTests(SynchronousTestCase):
    """Faults, and then none."""

    @settings(max_examples=_EXAMPLES, phases=_PHASES)
    @given(st.integers(0, 3), _steps)
    def test_the_map_server_ends_up_with_what_the_etr_means(
        self, seed: int, steps: list[Step]
    ) -> None:
        """Whatever happened to datagrams, connections and services before."""
        with _QuicWorld(seed) as world:
            world.register(EIDS[0])
            for step in steps:
                world.perform(*step)
            world.converge(BOUND)
            assert not world.meaning or len(world.server.sessions) == 1


class QuicDeadPathTests(DeadPathTests, SynchronousTestCase):
    """30 s of idle timeout, and a PING after 10 s."""

    keepalive = 30.0
    # Who still hears the other end goes on until that one has given up.
    one_way = 60.0
    farewell = 3.0
    silence = 15.0

    def make_world(self) -> World:
        """Over QUIC."""
        return _QuicWorld()
