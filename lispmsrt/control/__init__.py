"""The UDP control plane, sans-IO (RFC 9301): datagrams and time in, datagrams and the next wake-up
out.
"""
