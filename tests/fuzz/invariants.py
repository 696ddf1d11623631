"""What holds for each session at any time, whatever its peer says."""

from __future__ import annotations

from lispmsrt.session.base import Session, SessionState
from tests.builders import messages

__all__ = ["Watched"]


class Watched:
    """A session, and what went in and out of it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.output: list[bytes] = []
        self._octets_in = 0
        self._kinds: list[int] = []
        self._at_the_end: dict[str, int] | None = None

    def say(self, data: bytes, now: float) -> None:
        """Let its peer say something."""
        is_open = self.session.state is not SessionState.CLOSED
        self.session.receive_data(data, now)
        self._octets_in += len(data) * is_open

    def pull(self, now: float) -> bytes:
        """Take what it has to say, which consists of whole messages."""
        was_closed, before = self.session.state is SessionState.CLOSED, self._at_the_end
        data = self.session.data_to_send(now)
        self._kinds += [kind for kind, _message_id, _body in messages(data)]
        self.output.append(data)
        if was_closed:
            # Once what was queued has left it is silent, and forgets how to count.
            counted = dict(self.session.counters)
            assert before is None or (not data and counted == before), "it speaks when it is closed"
            self._at_the_end = counted
        self._count()
        return data

    def _count(self) -> None:
        counters, session = self.session.counters, self.session
        assert counters["octets in"] == self._octets_in
        assert counters["octets out"] == sum(map(len, self.output))
        assert counters["messages out"] == len(self._kinds)
        for name, kind in (("errors out", 16), ("rejections out", 19), ("notifications out", 21)):
            written = self._kinds.count(kind)
            # A Reject is a rejection or a withdrawal.
            said = counters[name] + (counters["withdrawals out"] if kind == 19 else 0)
            assert written == said, f"{said} {name}, {written} messages"
        assert counters["malformed in"] + counters["unsupported in"] <= counters["messages in"]
        assert sum(map(len, session._frames._pieces)) < 0x10000 + 4096
        assert (session.close_reason is not None) == (session.state is SessionState.CLOSED)
        assert session.state is not SessionState.CLOSED or session.next_timeout() is None
