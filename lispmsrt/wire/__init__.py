"""Bytes <-> values: RFC 9301 messages, LCAF, reliable-transport frames, authentication. Standard
library only.
"""
