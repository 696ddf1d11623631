"""Octets into everything that reads a peer's octets, and what must hold whatever they are."""
