"""A whole Map-Server against a naive reference: random registrations over UDP and sessions, merged
and not, withdrawals, losses and expiries; Map-Requests as datagrams, and every answer is equal.

The reference knows EID-prefixes as text of 0s and 1s, keeps lists, and tries everything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import MapServer, parse_config
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS
from lispmsrt.mapping import lookup
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.map_reply import decode_map_reply, encode_map_reply
from lispmsrt.wire.map_request import encode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.records import Action, MappingRecord
from tests import builders
from tests.asking import ecm, map_request
from tests.builders import MERGE, M, P, R, Secret, T
from tests.rim import Network, Pipe
from tests.service_ground import ITR, MAP_SERVER, server_text, site

_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_SEEDS = 400 if _LONG else 40
_STEPS = 300 if _LONG else 120

_TIMEOUT = 180
_FADING = 60
"""Seconds before its end from which an ETR over UDP is asked only where there is no other."""

_EXPIRED_WITHIN = 3
"""Seconds after its end in which a registration may or may not be there still."""

_MAX_MORE_SPECIFICS = 3
"""Few, so that the limit is met often and no Map-Reply too large."""

_BASE = f"{0x0A0100:024b}"
"""10.1.0.0/24, where everything happens."""

_ITR_PORT = 61_000
_STRANGER = "203.0.113.200"
_SHARED_RLOC = "198.51.100.100"

Eid = tuple[int, str]
"""Instance ID and the bits of the prefix."""

Record = tuple[str, int, int, frozenset[str]]
"""EID-prefix, TTL, action and RLOCs of a record in a Map-Reply."""

_CONFIGURED: dict[Eid, str] = {
    (0, _BASE + "0"): "campus",
    (0, _BASE + "01"): "branch",
    (0, _BASE + "110"): "closed",
    (7, _BASE): "campus",
}
_XTRS = {1: "campus", 2: "campus", 3: "campus", 4: "branch", 5: "branch", 6: "closed"}


def _text(eid: Eid) -> str:
    instance_id, bits = eid
    address = int(bits.ljust(32, "0"), 2)
    octets = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
    return f"[{instance_id}] {octets}/{len(bits)}" if instance_id else f"{octets}/{len(bits)}"


def _prefix(eid: Eid) -> EidPrefix:
    return EidPrefix.from_text(_text((0, eid[1])), eid[0])


def _rloc(xtr: int) -> str:
    return f"198.51.100.{xtr}"


def _sites() -> str:
    text = ""
    for name in ("campus", "branch", "closed"):
        prefixes = [
            f"{eid[0]} {_text((0, eid[1]))}" for eid, owner in _CONFIGURED.items() if owner == name
        ]
        options = f'allowed-itrs = ["{ITR}/32"]' if name == "closed" else ""
        text += site(name, *prefixes, secrets=(f"{name} secret",), options=options)
    return text


@dataclass
class _Part:
    """What one xTR registered for one EID-prefix."""

    rlocs: frozenset[str]
    ttl: int
    flags: int
    is_live: bool
    has_session: bool
    "whether it came over a session, live or lost"
    end: float | None

    def says(self) -> Any:
        return self.rlocs, self.ttl, self.flags & ~R


@dataclass
class _Reference:
    """What a Map-Server should know, and answer."""

    parts: dict[Eid, dict[int, _Part]] = field(default_factory=dict)

    # What is registered

    def register(self, xtr: int, eid: Eid, new: _Part) -> None:
        """Enter it, unless it is over UDP what the xTR's session holds."""
        parts = self.parts.setdefault(eid, {})
        own = parts.get(xtr)
        if own is not None and own.is_live and not new.is_live:
            return
        others = {other: part for other, part in parts.items() if other != xtr}
        is_same = own is not None and own.says() == new.says()
        may_merge = new.flags & MERGE and all(part.flags & MERGE for part in others.values())
        if not is_same and not may_merge:
            others = {}
        self.parts[eid] = {**others, xtr: new}

    def withdraw(self, xtr: int, eid: Eid, *, on_session: bool) -> None:
        """Take out what the xTR has registered, if it may so."""
        parts = self.parts.get(eid, {})
        if xtr in parts and (on_session or not parts[xtr].is_live):
            self._take_out(eid, xtr)

    def lose(self, xtr: int, now: float) -> None:
        """Its session is gone."""
        for parts in self.parts.values():
            if xtr in parts and parts[xtr].is_live:
                parts[xtr].is_live = False
                parts[xtr].end = now + _TIMEOUT

    def expire(self, now: float) -> bool:
        """Take out what is over; tell whether nothing is on the verge of it."""
        is_sure = True
        for eid, parts in list(self.parts.items()):
            for xtr, part in list(parts.items()):
                if part.end is not None and part.end <= now:
                    if part.end > now - _EXPIRED_WITHIN:
                        is_sure = False
                    else:
                        self._take_out(eid, xtr)
        return is_sure

    def _take_out(self, eid: Eid, xtr: int) -> None:
        del self.parts[eid][xtr]
        if not self.parts[eid]:
            del self.parts[eid]

    # What is answered

    def answer(self, asked: Eid, itr: str) -> list[Record] | None:
        """Return the records of a Map-Reply; None where an ETR has to answer."""
        kind, covered, hit, inside = self.find(asked)
        record: Record | None
        if hit is None:
            ttl = 1 if kind == "not registered" else 15
            record = (_text(covered), ttl, int(Action.NATIVELY_FORWARD), frozenset())
        else:
            record = self._record(hit, covered, itr)
        if record is None:
            return None
        records = [record]
        for eid in inside:
            other = self._record(eid, eid, itr)
            if other is None:
                other = (_text(eid), self._ttl(eid), int(Action.SEND_MAP_REQUEST), frozenset())
            records.append(other)
        ttl = min(one[1] for one in records)
        return [(eid, ttl, action, rlocs) for eid, _ttl, action, rlocs in records]

    def etrs(self, asked: Eid, now: float) -> set[str]:
        """Return where a Map-Request may be passed on to."""
        hit = self.find(asked)[2]
        assert hit is not None
        parts = self.parts[hit]
        return {_rloc(xtr) for xtr, part in parts.items() if self._is_there(part, now)}

    def all_etrs(self, asked: Eid) -> set[str]:
        """Return the same, where each may be gone."""
        hit = self.find(asked)[2]
        assert hit is not None
        return {_rloc(xtr) for xtr in self.parts[hit]}

    def _is_there(self, part: _Part, now: float) -> bool:
        if part.has_session:
            return part.is_live
        return part.end is not None and part.end - now >= _FADING

    def _record(self, eid: Eid, covered: Eid, itr: str) -> Record | None:
        parts = self.parts[eid].values()
        is_proxied = any(part.flags & P for part in parts)
        owner = _CONFIGURED[self._longest(set(_CONFIGURED), eid)]  # type: ignore[index]
        if owner == "closed" and itr != ITR:
            return _text(covered), 1, int(Action.DROP_POLICY_DENIED), frozenset()
        if not is_proxied:
            return None
        rlocs = frozenset(rloc for part in parts for rloc in part.rlocs)
        return _text(covered), self._ttl(eid), 0, rlocs

    def _ttl(self, eid: Eid) -> int:
        return min(part.ttl for part in self.parts[eid].values())

    def find(self, asked: Eid) -> tuple[str, Eid, Eid | None, list[Eid]]:
        """Return the kind of answer, what it covers, the registration, and those inside."""
        instance_id, query = asked
        registered = {eid for eid in self.parts if eid[0] == instance_id}
        configured = {eid for eid in _CONFIGURED if eid[0] == instance_id}
        hit = self._longest(registered, asked)
        owner = self._longest(configured, hit or asked)
        if hit is not None:
            kind, shortest = "mapped", len(hit[1])
            others = self._inside(registered, hit)
            if len(others) <= _MAX_MORE_SPECIFICS:
                return kind, hit, hit, others
        else:
            kind = "no site" if owner is None else "not registered"
            shortest = 0 if owner is None else len(owner[1])
            others = list(registered | configured)
        others = [other for other in others if not query.startswith(other[1])]
        for length in range(shortest, len(query) + 1):
            if not any(other[1].startswith(query[:length]) for other in others):
                return kind, (instance_id, query[:length]), hit, []
        if hit is None and any(eid[1].startswith(query) for eid in configured):
            kind = "not registered"
        inside = self._inside(registered, asked)
        if len(inside) <= _MAX_MORE_SPECIFICS:
            return kind, asked, hit, inside
        return self.find((instance_id, query.ljust(32, "0")))

    @staticmethod
    def _longest(eids: set[Eid], asked: Eid) -> Eid | None:
        covering = [eid for eid in eids if eid[0] == asked[0] and asked[1].startswith(eid[1])]
        return max(covering, key=lambda eid: len(eid[1]), default=None)

    @staticmethod
    def _inside(eids: set[Eid], outer: Eid) -> list[Eid]:
        return [eid for eid in eids if eid[1].startswith(outer[1]) and eid != outer]


class _Xtr:
    """An xTR that says what it is told to, and listens to nobody."""

    def __init__(self, network: Network, number: int) -> None:
        self.number = number
        self.site = _XTRS[number]
        secret = Secret(0, 2, f"{self.site} secret".encode())
        self.hand = builders.Etr(_rloc(number), key=secret, xtr_id=number)
        self._network = network
        self._pipe: Pipe | None = None

    @property
    def has_session(self) -> bool:
        return self._pipe is not None

    def send(self, record: bytes, flags: int) -> None:
        """Send a Map-Register over UDP."""
        data = self.hand.map_register(record, flags=flags)
        self._network.send((_rloc(self.number), 4342), (MAP_SERVER, 4342), data)
        self._network.run()

    def connect(self) -> None:
        """Open a session, for which it has been armed."""
        self._pipe = self._network.connect(Protocol(), MAP_SERVER, 4342, _rloc(self.number))
        self._network.run()

    def say(self, record: bytes, flags: int) -> None:
        """Send a Registration on the session."""
        assert self._pipe is not None and self._pipe.connected
        self._pipe.write(self.hand.registration(record, flags=flags))
        self._network.run()

    def reset(self) -> None:
        """Break the session."""
        assert self._pipe is not None
        self._pipe.abortConnection()
        self._pipe = None
        self._network.run()


class _World:
    """A Map-Server, several xTRs, and the reference beside them."""

    def __init__(self, case: SynchronousTestCase, seed: int) -> None:
        self.case = case
        self.random = Random(seed)
        self.network = Network()
        config = parse_config(server_text(_sites()))
        assert config.map_server is not None
        self.server = MapServer(
            config.map_server, config.site, self.network, self.network, random=Random(seed)
        )
        self.server.startService()
        self.xtrs = [_Xtr(self.network, number) for number in _XTRS]
        self.reference = _Reference()
        self.answered = self.forwarded = 0

    def step(self) -> None:
        """Let one thing happen."""
        what = self.random.choices(
            (
                self.register,
                self.register_again,
                self.withdraw,
                self.trespass,
                self.come_up,
                self.lose,
                self.wait,
                self.ask,
            ),
            (8, 2, 2, 0.5, 2, 1, 3, 12),
        )[0]
        self._settle()
        what()

    def end(self) -> None:
        """Stop the Map-Server."""
        self.server.stopService()
        self.network.run(10)
        self.case.assertEqual(self.network.getDelayedCalls(), [])

    def _settle(self) -> None:
        """Wait until it is clear what has expired."""
        while not self.reference.expire(self.network.seconds()):
            self.network.run(_EXPIRED_WITHIN)

    def _some_eid(self, owner: str) -> Eid:
        """Return an EID-prefix that a site may register: its own, or one inside."""
        while True:
            own = self.random.choice([eid for eid, name in _CONFIGURED.items() if name == owner])
            more = self.random.choice((0, 0, 1, 2, 3, 4))
            bits = own[1] + "".join(self.random.choices("01", k=more))
            eid = (own[0], bits[:32])
            if _CONFIGURED[_Reference._longest(set(_CONFIGURED), eid)] == owner:  # type: ignore[index]
                return eid

    # What xTRs do

    def register(self) -> None:
        """Over UDP, or on the session where there is one."""
        xtr = self.random.choice(self.xtrs)
        # Most want the same, or little would be merged.
        flags = self.random.choice((MERGE, MERGE, MERGE | P, MERGE | P, P, 0))
        self._register(xtr, self._some_eid(xtr.site), flags)

    def register_again(self) -> None:
        """What is registered already, by the same or another xTR of the site."""
        if not self.reference.parts:
            return
        eid = self.random.choice(sorted(self.reference.parts))
        number, part = self.random.choice(sorted(self.reference.parts[eid].items()))
        mates = [xtr for xtr in self.xtrs if xtr.site == _XTRS[number]]
        self._register(self.random.choice(mates), eid, part.flags & (MERGE | P))

    def _register(self, xtr: _Xtr, eid: Eid, flags: int) -> None:
        ttl = self.random.choice((2, 5, 1440))
        rlocs = [_rloc(xtr.number)] + [_SHARED_RLOC] * (self.random.random() < 0.2)
        record = self._record(eid, ttl, rlocs)
        on_session = xtr.has_session and self.random.random() < 0.8
        flags |= M if self.random.random() < 0.5 else 0
        lasts = _TIMEOUT
        if on_session:
            xtr.say(record, flags)
        else:
            if self.random.random() < 0.2:
                flags, lasts = flags | T, 60 * ttl
            xtr.send(record, flags)
        end = None if on_session else self.network.seconds() + lasts
        part = _Part(frozenset(rlocs), ttl, flags, on_session, on_session, end)
        self.reference.register(xtr.number, eid, part)

    def withdraw(self) -> None:
        """What is registered, or for once not."""
        xtr = self.random.choice(self.xtrs)
        own = [eid for eid, parts in self.reference.parts.items() if xtr.number in parts]
        eid = self.random.choice(sorted(own)) if own else self._some_eid(xtr.site)
        record = self._record(eid, 0, [])
        on_session = xtr.has_session and self.random.random() < 0.8
        (xtr.say if on_session else xtr.send)(record, 0)
        self.reference.withdraw(xtr.number, eid, on_session=on_session)

    def trespass(self) -> None:
        """Register what is another site's, or nobody's: to no effect."""
        xtr = self.random.choice(self.xtrs)
        others = sorted({"campus", "branch", "closed"} - {xtr.site})
        eid = self._some_eid(self.random.choice(others))
        if self.random.random() < 0.2:
            eid = (eid[0] + 1, eid[1])
        record = self._record(eid, 1440, [_rloc(xtr.number)])
        (xtr.say if xtr.has_session else xtr.send)(record, P | MERGE)

    def come_up(self) -> None:
        """Authenticate over UDP, connect, and confirm one thing."""
        xtr = self.random.choice(self.xtrs)
        if xtr.has_session:
            return
        eid = self._some_eid(xtr.site)
        record = self._record(eid, 1440, [_rloc(xtr.number)])
        for is_live in (False, True):
            end = None if is_live else self.network.seconds() + _TIMEOUT
            part = _Part(frozenset((_rloc(xtr.number),)), 1440, P, is_live, is_live, end)
            if is_live:
                xtr.connect()
                xtr.say(record, P)
            else:
                xtr.send(record, P | R)
            self.reference.register(xtr.number, eid, part)

    def lose(self) -> None:
        """Lose a session."""
        up = [xtr for xtr in self.xtrs if xtr.has_session]
        if up:
            xtr = self.random.choice(up)
            xtr.reset()
            self.reference.lose(xtr.number, self.network.seconds())

    def wait(self) -> None:
        """Let time go by."""
        self.network.run(self.random.choice((1, 20, 20, 65, 65, 130)))

    def _record(self, eid: Eid, ttl: int, rlocs: list[str]) -> bytes:
        locators = [
            builders.locator(rloc, local=rloc != _SHARED_RLOC, priority=1) for rloc in rlocs
        ]
        instance_id = eid[0] or None
        return builders.record(_text((0, eid[1])), *locators, ttl=ttl, instance_id=instance_id)

    # What is asked

    def ask(self) -> None:
        """Send one Map-Request and compare what comes of it."""
        asked = [self._some_question() for _ in range(2 if self.random.random() < 0.1 else 1)]
        itr = self.random.choice((ITR, ITR, ITR, _STRANGER))
        nonce = self.random.getrandbits(64)
        request = map_request(*map(_prefix, asked), itr=itr, nonce=nonce)
        if self.random.random() < 0.5:
            data = ecm(request, source=itr, port=_ITR_PORT)
            source = ("198.51.100.53", 4342)
        else:
            data, source = encode_map_request(request), (itr, _ITR_PORT)
        self.network.packets.clear()
        self.network.send(source, (MAP_SERVER, 4342), data)
        self.network.run()
        answers = [
            packet
            for packet in self.network.packets[1:]
            if message_type(packet.data) in (ControlType.MAP_REPLY, ControlType.ENCAPSULATED)
        ]
        self.case.assertEqual(len(answers), 1, asked)
        ((to, port), answer) = answers[0].destination, answers[0].data
        if message_type(answer) == ControlType.ENCAPSULATED:
            self.case.assertEqual(decode_encapsulated(answer).payload, encode_map_request(request))
            self.case.assertEqual(port, 4342)
            self._check_forwarded(asked, itr, to)
        else:
            self.case.assertEqual((to, port), (itr, _ITR_PORT))
            self.case.assertEqual(decode_map_reply(answer).nonce, nonce)
            self._check_answered(asked, itr, answer, len(data))

    def _some_question(self) -> Eid:
        """Return a host most of the time, else a prefix."""
        instance_id = self.random.choice((0, 0, 0, 0, 7, 8))
        bits = _BASE if self.random.random() < 0.95 else f"{0xC0000200 >> 8:024b}"
        more = self.random.choice((8, 8, 8, 8, 1, 2, 3, 4, 5, 6))
        return instance_id, bits + "".join(self.random.choices("01", k=more))

    def _check_answered(self, asked: list[Eid], itr: str, answer: bytes, octets: int) -> None:
        # What is asked twice is answered once.
        expected = [self.reference.answer(eid, itr) for eid in dict.fromkeys(asked)]
        records = [record for one in expected if one is not None for record in one]
        self.case.assertTrue(records, (asked, "an ETR had to answer"))
        reply = decode_map_reply(answer)
        found = [_told(record) for record in reply.records]
        if found != records and len(asked) > 1 and len(records) > len(found):
            # Two answers may be too large together; what is left out is not for this test.
            whole = sum(28 + 12 * len(record[3]) for record in records)
            self.case.assertGreater(whole + 40, AMPLIFICATION * (octets + HEADER_OCTETS))
            return
        self.case.assertEqual(sorted(found, key=repr), sorted(records, key=repr), asked)
        for record in reply.records:
            self.case.assertFalse(record.authoritative)
            self.case.assertFalse(any(locator.local for locator in record.locators))
        self.case.assertEqual(answer, encode_map_reply(reply))
        self.answered += 1

    def _check_forwarded(self, asked: list[Eid], itr: str, to: str) -> None:
        for eid in asked:
            self.case.assertIsNone(self.reference.answer(eid, itr), asked)
        now = self.network.seconds()
        there = {etr for eid in asked for etr in self.reference.etrs(eid, now)}
        may_be = {etr for eid in asked for etr in self.reference.all_etrs(eid)}
        self.case.assertIn(to, there or may_be, asked)
        self.forwarded += 1


def _told(record: MappingRecord) -> Record:
    rlocs = frozenset(str(locator.rloc) for locator in record.locators)
    assert len(rlocs) == len(record.locators), "an RLOC stands twice"
    return str(record.eid), record.ttl, record.action, rlocs


class MappingServiceModelTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    def test_every_answer_is_that_of_the_reference(self) -> None:
        """Map-Replies by their records; Map-Requests passed on by where they go."""
        self.patch(lookup, "MAX_MORE_SPECIFICS", _MAX_MORE_SPECIFICS)
        answered = forwarded = 0
        for seed in range(_SEEDS):
            world = _World(self, seed)
            try:
                for _ in range(_STEPS):
                    world.step()
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}: {failure}") from failure
            finally:
                world.end()
            answered += world.answered
            forwarded += world.forwarded
        # That there was something to compare.
        self.assertGreater(answered, 20 * _SEEDS)
        self.assertGreater(forwarded, 2 * _SEEDS)
