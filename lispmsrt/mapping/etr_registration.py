"""One EID-prefix that an ETR means to register at one Map-Server."""

from __future__ import annotations

from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.wire.record_walk import EID_OFFSET

__all__ = ["EtrRegistration", "UnregistrableError"]


class UnregistrableError(ValueError):
    """No Map-Register can carry this record. The text is a sentence."""


class EtrRegistration:
    """One EID-prefix at one Map-Server. Written by
    :class:`lispmsrt.mapping.etr_registrations.EtrRegistrations` only.
    """

    __slots__ = (
        "eid",
        "is_awaited",
        "is_welcome",
        "last_answer",
        "outstanding",
        "over_udp",
        "reason",
        "record",
        "state",
    )

    def __init__(self, eid: bytes, record: bytes) -> None:
        self.eid = eid
        "EID wire form"
        self.record = record
        "the mapping record in wire form"
        self.state = EtrState.NO_STATE
        self.over_udp = False
        "whether UDP registration goes on: until the first ACK or Rejection on a session"
        self.outstanding = 0
        "Registrations written to the session and not answered yet"
        self.last_answer: int | None = None
        "what came while more were outstanding: 0 for an ACK, else the reason of a Rejection"
        self.is_awaited = False
        "whether somebody wants to hear of the next ACK"
        self.is_welcome = False
        "whether the Map-Server was seen to accept it, as far as is known"
        self.reason: int | None = None
        "why it was rejected"

    def withdrawal(self) -> bytes:
        """The record that takes it back: TTL 0, no locators."""
        return bytes(5) + self.record[5 : EID_OFFSET + len(self.eid) - 1]
