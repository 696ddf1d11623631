"""The reliable-transport session, sans-IO: bytes and time in, bytes and the next wake-up out."""
