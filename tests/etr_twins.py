"""An ETR with its compiled twins and one without, and stories that happen to both alike."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from types import ModuleType
from typing import Any

from lispmsrt.compiled import twin
from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_registration import EtrRegistration
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.etr import EtrSession
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Locator, MappingRecord
from lispmsrt.wire.reliable_transport import (
    MappingNotification,
    RefreshScope,
    RegistrationRefresh,
    eid_wire_form,
    encode_registration_refresh,
)
from tests.builders import frame, messages

__all__ = ["EIDS", "LOCATORS", "REGISTRATIONS_TWIN", "SESSION_TWIN", "Side", "Story", "kept"]

REGISTRATIONS_TWIN = twin("lispmsrt.mapping._etr_registrations")
SESSION_TWIN = twin("lispmsrt.session._etr")

LOCATORS = tuple(
    (Locator(Address.from_text(text), weight=weight),)
    for text in ("192.0.2.1", "2001:db8::1")
    for weight in (1, 100)
)
_KEYS = (
    Key(0, AlgorithmId.HMAC_SHA_256_128, b"secret"),
    Key(1, AlgorithmId.HMAC_SHA_1_96, b"another", is_truncated=True),
    Key(2, AlgorithmId.HMAC_SHA_256_128, b"records", coverage=Coverage.RECORDS),
    Key(3, AlgorithmId.HMAC_SHA256_128_HKDF_SHA256, b"derived"),
)
_IDS = (bytes(range(24)), b"")
_LIMITS = SessionLimits(window=40, max_output=1500)


def _eids() -> list[EidPrefix]:
    """Return EID-prefixes of every kind that makes a difference."""
    texts = [f"10.1.{number}.0/24" for number in range(60)]
    texts += [f"2001:db8:{number:x}::/48" for number in range(10)]
    texts += ["0.0.0.0/0", "10.2.0.1/32", "02:00:00:00:00:01/48", "name:a"]
    plain = [EidPrefix.from_text(text) for text in texts]
    explicit = EidPrefix(0, Address.from_text("10.3.0.0"), 16, explicit_instance=True)
    return [*plain, explicit, EidPrefix.from_text("10.1.0.0/16", 7)]


EIDS = _eids()


class Side:
    """An ETR with or without its compiled twins, and all that it said and told."""

    def __init__(
        self, registrations: ModuleType | None, session: ModuleType | None, seed: int
    ) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.written: list[bytes] = []
        self._compiled = session
        self._nonces = count(1 << 63)
        self.registrations = EtrRegistrations(self, compiled=registrations)
        self.credentials = Credentials(
            _KEYS[seed % len(_KEYS)],
            _IDS[seed // len(_KEYS) % len(_IDS)],
            RegisterFlag.WANT_MAP_NOTIFY | RegisterFlag.PROXY_REPLY,
            lambda: next(self._nonces),
        )
        self.session = self.connect(0.0)

    def connect(self, now: float) -> EtrSession:
        """Begin a session."""
        self.session = EtrSession(
            registrations=self.registrations,
            credentials=self.credentials,
            listener=self,
            limits=_LIMITS,
            wake=lambda: None,
            now=now,
            compiled=self._compiled,
        )
        self.session.start(now)
        return self.session

    # What it tells

    def acknowledged(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("acknowledged", eid))

    def rejected(self, eid: bytes, reason: int) -> None:
        """Note it."""
        self.heard.append(("rejected", eid, reason))

    def taken_over(self, eid: bytes) -> None:
        """Note it."""
        self.heard.append(("taken over", eid))

    def mapping_notified(self, notification: MappingNotification) -> None:
        """Note it."""
        self.heard.append(("notified", notification))

    # What is done to it

    def write(self, now: float) -> list[bytes]:
        """Return the EID wire forms of the Registrations that are due now."""
        data = self.session.data_to_send(now)
        self.written.append(data)
        size = self.credentials.key.sent_length
        found = []
        for kind, _message_id, body in messages(data):
            if kind == 17:
                record = body[16 + size : len(body) - len(self.credentials.ids)]
                found.append(_eid_of(record))
        return found

    def look(self) -> dict[str, object]:
        """Return all that is kept."""
        registrations = self.registrations
        session = self.session
        return {
            "entries": {eid: kept(entry) for eid, entry in registrations.entries.items()},
            "order": [entry.eid for entry in registrations.listing.order],
            "queues": [
                [entry.eid for entry in queue]
                for queue in (registrations.due, registrations.prompt, registrations.resumed)
            ],
            "numbers": (
                registrations.outstanding,
                registrations.unanswered,
                registrations.listing.states,
                dict(registrations.listing.families),
                len(registrations),
                len(registrations.due),
                len(registrations.prompt),
            ),
            "session": (session.state, session.close_reason, session.has_served),
            "timeout": session.next_timeout(),
            "counters": dict(session.counters),
            "heard": self.heard,
            "written": self.written,
        }


def kept(entry: EtrRegistration) -> tuple[object, ...]:
    """Return all that is kept of an entry."""
    return (
        entry.record,
        entry.state,
        entry.over_udp,
        entry.outstanding,
        entry.last_answer,
        entry.is_awaited,
        entry.is_welcome,
        entry.reason,
    )


def _eid_of(record: bytes) -> bytes:
    afi = int.from_bytes(record[10:12], "big")
    if afi == 17:
        size = record.index(0, 12) - 11
    elif afi == 16387:
        size = 6 + int.from_bytes(record[16:18], "big")
    else:
        size = {1: 4, 2: 16, 6: 6}[afi]
    return record[5:6] + record[10 : 12 + size]


class Story:
    """What happens to both sides alike; told by a seed."""

    def __init__(self, seed: int, session: Any = SESSION_TWIN) -> None:
        self.sides = [
            Side(REGISTRATIONS_TWIN, session, seed),
            Side(None, None, seed),
            Side(REGISTRATIONS_TWIN, None, seed),
        ]
        self._random = Random(seed)
        self._unanswered: list[bytes] = []
        self.now = 0.0
        steps: tuple[tuple[int, Callable[[], None]], ...] = (
            (8, self._register),
            (3, self._register_many),
            (3, self._withdraw),
            (10, self._write),
            (12, self._answer),
            (2, self._refresh),
            (1, self._garbage),
            (2, self._pass_time),
            (1, self._lose),
            (1, self._roam),
            (1, self._change_key),
            (2, self._send_over_udp),
        )
        self._steps = [step for weight, step in steps for _ in range(weight)]

    def go_on(self) -> None:
        """Let one thing happen."""
        self.now += self._random.random()
        self._random.choice(self._steps)()
        if self.sides[0].session.state is SessionState.CLOSED:
            for side in self.sides:
                side.connect(self.now)

    def _record(self) -> MappingRecord:
        ttl = self._random.choice((1440, 1440, 10))
        return MappingRecord(
            self._random.choice(EIDS), ttl, self._random.choice(LOCATORS), authoritative=True
        )

    def _register(self) -> None:
        record, awaited = self._record(), self._random.random() < 0.3
        for side in self.sides:
            side.registrations.register(record, awaited=awaited)

    def _register_many(self) -> None:
        locators = self._random.choice(LOCATORS)
        for eid in self._random.sample(EIDS, 30):
            for side in self.sides:
                side.registrations.register(MappingRecord(eid, 1440, locators))

    def _withdraw(self) -> None:
        eid, awaited = self._random.choice(EIDS), self._random.random() < 0.5
        for side in self.sides:
            try:
                side.registrations.withdraw(eid, awaited=awaited)
            except KeyError:
                side.heard.append(("nothing to withdraw", str(eid)))

    def _write(self) -> None:
        written = [side.write(self.now) for side in self.sides]
        self._unanswered += written[0]

    def _answer(self) -> None:
        stream = b""
        for _ in range(self._random.randrange(1, 60)):
            chance = self._random.random()
            if chance < 0.02:
                stream += frame(20, b"\0\x80\0" if chance < 0.01 else bytes(3))
            elif chance < 0.05:
                stream += frame(18, eid_wire_form(self._random.choice(EIDS)))
            elif self._unanswered:
                late = self._random.random() < 0.1
                eid = self._unanswered.pop(self._random.randrange(len(self._unanswered)) * late)
                rejects = self._random.random() < 0.1
                reason = self._random.randrange(1, 256)
                stream += frame(19, bytes((reason, 0, 0)) + eid) if rejects else frame(18, eid)
        self._hear(stream)

    def _hear(self, stream: bytes) -> None:
        """Let it come in chunks that end anywhere."""
        while stream:
            size = self._random.choice((len(stream), 1 + self._random.randrange(400)))
            for side in self.sides:
                side.session.receive_data(stream[:size], self.now)
            stream = stream[size:]

    def _refresh(self) -> None:
        scope = self._random.choice(list(RefreshScope))
        eid = None if scope is RefreshScope.EVERYTHING else self._random.choice(EIDS)
        rejected_only = self._random.random() < 0.3
        refresh = RegistrationRefresh(scope, rejected_only, eid)
        self._hear(encode_registration_refresh(refresh, 1))

    def _garbage(self) -> None:
        bodies = (b"", b"\0", b"\x20\0\1", b"\x21\0\1\1\2\3\4", b"\x18\0\1\12\1\1\1\1", bytes(40))
        kind = self._random.choice((0, 17, 18, 18, 18, 19, 20, 21, 99))
        self._hear(frame(kind, self._random.choice(bodies)) + frame(18, eid_wire_form(EIDS[0])))
        if self._random.random() < 0.1:
            self._hear(b"\0\x12\0\x08\x9f\xac\xad\xe9" + self._random.randbytes(30))

    def _pass_time(self) -> None:
        self.now += self._random.choice((0.0, 5.0, 16.0))
        for side in self.sides:
            side.session.handle_timeout(self.now)

    def _lose(self) -> None:
        self._unanswered.clear()
        for side in self.sides:
            side.session.close(CloseReason.CONNECTION_LOST, self.now)
            side.written.append(side.session.data_to_send(self.now))

    def _roam(self) -> None:
        eid = eid_wire_form(self._random.choice(EIDS))
        for side in self.sides:
            side.registrations.roamed(eid)

    def _change_key(self) -> None:
        key = self._random.choice(_KEYS)
        for side in self.sides:
            side.credentials.key = key
            side.registrations.key_changed()

    def _send_over_udp(self) -> None:
        for side in self.sides:
            for entry in list(side.registrations.prompt)[:3]:
                side.registrations.prompt.discard(entry)
                side.registrations.sent_over_udp(entry)
                side.registrations.given_up_over_udp(entry)
            side.registrations.resumed.clear()
