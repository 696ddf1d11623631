"""One stream over one QUIC connection, posing as an ordinary stream transport (RFC 9000)."""
