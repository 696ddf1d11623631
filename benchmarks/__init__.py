"""Benchmarks: what a Map-Server does with the whole Internet, and how fast. Not installed."""
