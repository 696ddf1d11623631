"""Both ends of a session that distributes RLOC membership: what they say to each other, and between
it anything.
"""

from __future__ import annotations

from collections.abc import Callable

from lispmsrt.session.base import SessionState
from tests.builders import frame
from tests.fuzz.invariants import Watched
from tests.fuzz.programs import Step, read
from tests.membership_ground import Follower, Server

__all__ = ["run"]

_RLOCS = ("192.0.2.1", "192.0.2.2", "2001:db8::1")


class _Ground:
    """A Map-Server, an xTR that follows, and another one."""

    def __init__(self) -> None:
        self.now = 0.0
        self._wakes = 0
        self.server = Server()
        self.etrs = [Follower(number) for number in (1, 2)]
        self.lines: list[tuple[Watched, Watched]] = []
        for etr in self.etrs:
            etr.register("10.1.0.0/16", "192.0.2.1")
            etr.register(f"10.{etr.ids[15] + 1}.0.0/16", "192.0.2.1", instance_id=7)
            self.lines.append(self._line(etr))
        self._steps: tuple[Callable[[int, bytes], None], ...] = (
            self._carry,
            self._say_to_server,
            self._say_to_etr,
            self._frame_to_server,
            self._frame_to_etr,
            self._wait,
            self._register,
            self._connect_again,
        )

    def do(self, step: Step) -> None:
        self._steps[step.what % len(self._steps)](step.who, step.octets)

    def _woken(self) -> None:
        self._wakes += 1

    def _line(self, etr: Follower) -> tuple[Watched, Watched]:
        ends = self.server.session(self._woken), etr.session()
        for end in ends:
            end.start(self.now)
        return Watched(ends[0]), Watched(ends[1])

    def _carry(self, who: int, octets: bytes) -> None:
        for _ in range(1 + (who & 3)):
            for server, etr in self.lines:
                server.say(etr.pull(self.now), self.now)
                etr.say(server.pull(self.now), self.now)

    def _say_to_server(self, who: int, octets: bytes) -> None:
        self.lines[who & 1][0].say(octets, self.now)

    def _say_to_etr(self, who: int, octets: bytes) -> None:
        self.lines[who & 1][1].say(octets, self.now)

    def _frame_to_server(self, who: int, octets: bytes) -> None:
        self._say_to_server(who, frame(22 + who % 9, octets))

    def _frame_to_etr(self, who: int, octets: bytes) -> None:
        self._say_to_etr(who, frame(22 + who % 9, octets))

    def _wait(self, who: int, octets: bytes) -> None:
        self.now += who + sum(octets[:1])
        for line in self.lines:
            for end in line:
                end.session.handle_timeout(self.now)

    def _register(self, who: int, octets: bytes) -> None:
        for octet in octets[:8]:
            instance_id = 7 if octet & 1 else 0
            rloc = _RLOCS[octet % len(_RLOCS)]
            etr = self.etrs[who & 1]
            etr.register(f"10.{octet >> 4}.0.0/16", rloc, instance_id=instance_id)

    def _connect_again(self, who: int, octets: bytes) -> None:
        for end in self.lines[who & 1]:
            end.session.connection_lost(self.now)
            end.pull(self.now)
        self.lines[who & 1] = self._line(self.etrs[who & 1])


def run(data: bytes) -> None:
    """Play a program."""
    ground = _Ground()
    for step in read(data):
        ground.do(step)
    for line in ground.lines:
        for end in line:
            end.pull(ground.now)
            end.session.connection_lost(ground.now)
            end.pull(ground.now)
            assert end.session.state is SessionState.CLOSED
            assert not end.pull(ground.now)
