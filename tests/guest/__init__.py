"""Tests that need a kernel with SCTP: tests/test_sctp_guest.py runs them inside the guest."""
