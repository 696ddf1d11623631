"""A port that nobody has."""

from __future__ import annotations

import socket

__all__ = ["free_udp_port"]


def free_udp_port(address: str) -> int:
    """Return a UDP port that is free at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port
