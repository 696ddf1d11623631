"""Everything that can be fuzzed, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz import (
    etr_sessions,
    map_requests,
    map_server_sessions,
    memberships,
    swarm_answers,
)
from tests.fuzz.decoders import DECODERS

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    **DECODERS,
    "map-server-session": map_server_sessions.run,
    "etr-session": etr_sessions.run,
    "map-requests": map_requests.run,
    "memberships": memberships.run,
    "swarm-answers": swarm_answers.run,
}
"""Each takes any octets, and raises when something does not hold."""
