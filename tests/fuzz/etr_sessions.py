"""An ETR's session with a Map-Server that says anything, compiled and in Python: both say and keep
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.wire.records import MappingRecord
from lispmsrt.wire.reliable_transport import eid_wire_form
from tests.builders import frame, messages
from tests.etr_twins import EIDS, LOCATORS, REGISTRATIONS_TWIN, SESSION_TWIN, Side
from tests.fuzz.invariants import Watched
from tests.fuzz.programs import Step, read
from tests.fuzz.twins import plain

__all__ = ["run"]

_WIRE = [eid_wire_form(eid) for eid in EIDS]


class _Ground:
    """An ETR that has a few EID-prefixes to register."""

    def __init__(
        self, registrations: ModuleType | None, session: ModuleType | None, seed: int
    ) -> None:
        self.now = 0.0
        self.side = Side(registrations, session, seed)
        self.watched = Watched(self.side.session)
        self._unanswered: list[bytes] = []
        self._steps: tuple[Callable[[int, bytes], None], ...] = (
            self._say,
            self._frame,
            self._register,
            self._withdraw,
            self._pull,
            self._acknowledge,
            self._answer,
            self._reject,
            self._wait,
            self._pause,
            self._connect_again,
            self._send_over_udp,
        )
        self._register(0, bytes(range(8)))

    def do(self, step: Step) -> None:
        self._steps[step.what % len(self._steps)](step.who, step.octets)

    def _say(self, who: int, octets: bytes) -> None:
        self.watched.say(octets, self.now)

    def _frame(self, who: int, octets: bytes) -> None:
        self._say(who, frame(16 + who, octets))

    def _register(self, who: int, octets: bytes) -> None:
        for octet in octets:
            eid = EIDS[octet % len(EIDS)]
            record = MappingRecord(eid, 1440, LOCATORS[who % len(LOCATORS)])
            self.side.registrations.register(record, awaited=who >= 12)

    def _withdraw(self, who: int, octets: bytes) -> None:
        for octet in octets:
            eid = EIDS[octet % len(EIDS)]
            with suppress(KeyError):  # there is nothing to withdraw
                self.side.registrations.withdraw(eid, awaited=bool(who & 1))

    def _pull(self, who: int, octets: bytes) -> None:
        self.check()

    def _write(self) -> None:
        data = self.watched.pull(self.now)
        size = self.side.credentials.key.sent_length
        for kind, _message_id, body in messages(data):
            if kind == 17:
                self._unanswered.append(_eid(body[16 + size :]))

    def _acknowledge(self, who: int, octets: bytes) -> None:
        """What was written first, in one chunk; some of it twice, or with one octet changed."""
        count = octets[0] if octets else 16
        acks = [frame(18, eid) for eid in self._unanswered[:count]]
        del self._unanswered[:count]
        stream = bytearray(b"".join(acks + acks[: who & 3]))
        if len(octets) > 2 and stream:
            stream[int.from_bytes(octets[1:3], "big") % len(stream)] ^= 1 + who
        self._say(who, bytes(stream))

    def _answer(self, who: int, octets: bytes) -> None:
        """ACKs of anything that there might be."""
        self._say(who, b"".join(frame(18, _WIRE[octet % len(_WIRE)]) for octet in octets))

    def _reject(self, who: int, octets: bytes) -> None:
        bodies = [bytes((1 + who, 0, 0)) + _WIRE[octet % len(_WIRE)] for octet in octets]
        self._say(who, b"".join(frame(19, body) for body in bodies))

    def _wait(self, who: int, octets: bytes) -> None:
        self.now += sum(octets[:1]) + who
        self.watched.session.handle_timeout(self.now)

    def _pause(self, who: int, octets: bytes) -> None:
        session = self.watched.session
        if session.state is not SessionState.CLOSED:
            session.output_resumed() if who & 1 else session.output_paused(self.now)

    def _connect_again(self, who: int, octets: bytes) -> None:
        self.watched.session.close(CloseReason.CONNECTION_LOST, self.now)
        self.check()
        self._unanswered.clear()
        self.watched = Watched(self.side.connect(self.now))

    def _send_over_udp(self, who: int, octets: bytes) -> None:
        registrations = self.side.registrations
        for entry in list(registrations.prompt)[: 1 + who]:
            registrations.prompt.discard(entry)
            registrations.sent_over_udp(entry)
            if who & 1:
                registrations.given_up_over_udp(entry)
        registrations.resumed.clear()

    def check(self) -> None:
        """Whatever happened, this holds."""
        self._write()
        registrations = self.side.registrations
        assert len(registrations) <= len(EIDS)
        entries = list(registrations.entries.values())
        assert sum(entry.outstanding for entry in entries) == registrations.unanswered
        # A withdrawal need not be answered.
        kept = [entry for entry in entries if entry.state is not EtrState.NO_STATE]
        assert sum(entry.outstanding for entry in kept) == registrations.outstanding
        assert len(registrations.due) + len(registrations.prompt) <= 2 * len(EIDS)
        assert len(self.side.heard) < 100_000

    def state(self) -> object:
        """Return everything that can be told of it."""
        return self.side.look(), self.watched.output


def _eid(record: bytes) -> bytes:
    """Return the EID-prefix of a record in wire form, as an ACK has it."""
    for wire in _WIRE:
        if record[5:6] == wire[:1] and record[10:].startswith(wire[1:]):
            return wire
    return b"\0\0\0"


def _played(data: bytes, registrations: ModuleType | None, session: ModuleType | None) -> object:
    ground = _Ground(registrations, session, data[0] if data else 0)
    for step in read(data[1:]):
        ground.do(step)
    ground.check()
    return ground.state()


def run(data: bytes) -> None:
    """Play a program on both; the first octet chooses key and IDs."""
    compiled = _played(data, REGISTRATIONS_TWIN, SESSION_TWIN)
    with plain():
        assert _played(data, None, None) == compiled, "compiled it is otherwise"
