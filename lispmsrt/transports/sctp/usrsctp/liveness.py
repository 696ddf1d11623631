"""Whether the peer is still there, and takes what it is sent: by our clock, not by the stack's.

The stack's own heartbeats and its marks of what is to be sent again go by the time of day, which
may be stepped. Its limits count attempts; an operator thinks in seconds.
"""

from __future__ import annotations

from lispmsrt.transports.sctp.usrsctp.packets import Header

__all__ = ["Liveness"]

_PROBING = 20.0
"""Seconds from the first HEARTBEAT that is due until a silent peer is given up. One is sent every
second: were every fifth packet lost each way, all answers would be in a case out of 10^8.
"""

_PROGRESS_TIMEOUT = 30.0
"""Seconds in which something of what is on its way must be acknowledged by a peer that answers and
has room for it. After a step back of the time of day the stack sends nothing again for as long as
the step was.
"""

_DOUBT_TIMEOUT = 3.0
"""Seconds to answer in for a peer that the network says is gone, which anybody may have made up."""


class Liveness:
    """What has been heard of one peer, and when. ``heartbeat``: seconds of silence until HEARTBEAT
    is sent.
    """

    def __init__(self, heartbeat: float, now: float) -> None:
        self._heartbeat = heartbeat
        self._heard_at = self._progress_at = now
        self._acknowledged = b""
        self._doubted_at: float | None = None

    def heard(self, header: Header, now: float) -> None:
        """A packet with the right verification tag has come."""
        self._heard_at = now
        self._doubted_at = None
        if header.acknowledged and header.acknowledged != self._acknowledged:
            self._acknowledged = header.acknowledged
            self._progress_at = now

    def doubt(self, now: float) -> bool:
        """Return whether this doubt is new: the peer must be heard of soon."""
        if self._doubted_at is not None:
            return False
        self._doubted_at = now
        return True

    def wants_heartbeat(self, now: float) -> bool:
        """Whether the peer should be made to answer."""
        return self._doubted_at is not None or now - self._heard_at >= self._heartbeat

    def why_dead(self, now: float, *, waits: bool) -> str:
        """Return why the peer must be given up, or nothing. ``waits``: something is on its way to
        it, and it has room for it.
        """
        if not waits:
            self._progress_at = now
        if self._doubted_at is not None and now - self._doubted_at >= _DOUBT_TIMEOUT:
            return "its UDP port is closed, and it does not answer"
        silence = now - self._heard_at
        if silence >= self._heartbeat + _PROBING:
            return f"nothing was heard of the peer for {silence:.0f} s"
        if now - self._progress_at >= _PROGRESS_TIMEOUT:
            return "the peer acknowledges nothing of what it is sent"
        return ""
