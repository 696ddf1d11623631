"""TLS 1.3 over TCP, with certificates of one or both sides."""
