"""SCTP (RFC 9260): one association, one stream, read and written as bytes."""
