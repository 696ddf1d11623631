"""What the kernel allows this process: no core dumps, and as many file descriptors as sessions
need.
"""

from __future__ import annotations

import resource
from contextlib import suppress

from lispmsrt.config import MapServerConfig, transport_name

__all__ = ["SPARE_DESCRIPTORS", "allow_descriptors", "descriptors_needed", "forbid_core_dumps"]

SPARE_DESCRIPTORS = 256
"""Descriptors beside those of sessions: listening sockets, the state file, the log, and whoever
looks at the management endpoint.
"""


def forbid_core_dumps() -> None:
    """What is in memory has keys in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # Who forbids the call by a filter forbids core dumps himself, as the systemd unit does.
    if soft:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def descriptors_needed(config: MapServerConfig) -> int:
    """Return how many a Map-Server may need. All sessions over QUIC share one."""
    names = map(transport_name, config.reliable_transport)
    sessions = config.max_sessions if any(name != "QUIC" for name in names) else 0
    return sessions + SPARE_DESCRIPTORS


def allow_descriptors(needed: int) -> int:
    """Raise the soft limit as far as is needed and the hard limit lets; return what holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        # Some systems have a limit of their own, besides.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return needed if soft == resource.RLIM_INFINITY else soft
