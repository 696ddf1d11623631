"""Deterministic simulation: the real services on machines in memory, one random seed for
everything.

``python -m tests.simulate`` runs seeds and says what it found; see docs/reliability.rst.
"""
