"""Streams over QUIC, SCTP, TLS and TCP-MD5, and their endpoint strings. No LISP knowledge."""
