"""A Map-Resolver: Map-Requests passed on to the Map-Servers that know more (RFC 9301 §8.4).

What a Map-Server in the same place answers is its business. Nothing is cached: ITRs do that. A
Map-Request for EIDs of several Map-Servers is cut down to those of one, in turn, because a
Map-Server would deny the EIDs of the others; the ITR asks again for what was not answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from lispmsrt.control.answers import NO_SITE_TTL, refusal
from lispmsrt.control.forwarding import asking_only, forwarded_to_map_server, is_own
from lispmsrt.control.lisp_sec import MapServerSecurity, Refusal, SecuredQuestion
from lispmsrt.control.map_replies import Answer, is_small_enough, records_that_fit
from lispmsrt.control.map_requests import MAX_LOOKUPS, MapRequests
from lispmsrt.control.questions import Question, Questions
from lispmsrt.control.request_limits import Outgoing
from lispmsrt.control.vouching import signature_octets
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.eid_index import WIDTHS, EidIndex
from lispmsrt.mapping.lookup import Found, FoundKind
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.encapsulated import EncapsulatedFlag
from lispmsrt.wire.map_reply import write_map_reply
from lispmsrt.wire.records import Action
from lispmsrt.wire.served_records import negative_record

__all__ = ["MapResolver", "Target", "Targets"]

_TO_MAP_SERVER = EncapsulatedFlag.TO_MAP_SERVER
_DROPPED = (Refusal.MALFORMED, Refusal.UNPROTECTED)
_FAMILIES = {4: int(Afi.IPV4), 16: int(Afi.IPV6)}


@dataclass(frozen=True, slots=True)
class Target:
    """A Map-Server that Map-Requests are forwarded to."""

    endpoint: Endpoint
    prefixes: tuple[EidPrefix, ...] = ()
    "what it knows; empty: anything that no other Map-Server's prefixes cover"
    key: Key | None = None
    "shared for LISP-SEC; without, an ITR's One-Time Key goes on as it is wrapped"


class Targets:
    """Which Map-Servers know an EID, and how large the hole is around one that none does."""

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        self._for_anything: tuple[Target, ...] = ()
        self._by_key: dict[tuple[int, int, int], tuple[Target, ...]] = {}
        for target in targets:
            if not target.prefixes:
                self._for_anything += (target,)
            for prefix in target.prefixes:
                instance_id, afi, _length, key = eid_key(prefix)
                at = (instance_id, afi, key)
                self._by_key[at] = (*self._by_key.get(at, ()), target)
        families: dict[tuple[int, int], list[int]] = {}
        for instance_id, afi, key in self._by_key:
            families.setdefault((instance_id, afi), []).append(key)
        self._lengths = {
            family: sorted({key.bit_length() - 1 for key in keys}, reverse=True)
            for family, keys in families.items()
        }
        self._in_order = {
            family: EidIndex(WIDTHS[family[1]], dict.fromkeys(keys))
            for family, keys in families.items()
            if family[1] in WIDTHS
        }

    def find(self, eid: EidPrefix) -> tuple[Target, ...]:
        """Return the Map-Servers with the longest prefix that covers the EID."""
        instance_id, afi, length, key = eid_key(eid)
        for shorter in self._lengths.get((instance_id, afi), ()):
            if shorter <= length:
                found = self._by_key.get((instance_id, afi, key >> length - shorter))
                if found is not None:
                    return found
        return self._for_anything

    def hole(self, eid: EidPrefix, shortest: int) -> EidPrefix:
        """Return the widest prefix around an EID that no target covers which touches no target's
        prefix either, and has at least this length.
        """
        instance_id, afi, length, _key = eid_key(eid)
        ordered = self._in_order.get((instance_id, afi))
        address = eid.address
        if afi not in WIDTHS or not isinstance(address, Address):
            return eid
        width = WIDTHS[afi]
        network = int.from_bytes(address.packed, "big")
        if ordered is not None:
            _covering, below, above = ordered.neighbours(network, length)
            if max(below, above) >= length:
                # Something lies inside: only of the network address can be said that nobody knows.
                _covering, below, above = ordered.neighbours(network, width)
            shortest = max(shortest, below + 1, above + 1)
        host_bits = width - shortest
        packed = (network >> host_bits << host_bits).to_bytes(width >> 3, "big")
        return EidPrefix(instance_id, Address(afi, packed), shortest, eid.explicit_instance)


class MapResolver:
    """Forward Map-Requests to Map-Servers, save what the one in the same place answers."""

    def __init__(
        self,
        targets: Targets,
        questions: Questions,
        *,
        can_reach: Callable[[int], bool],
        own_addresses: Collection[bytes] = (),
        map_server: MapRequests | None = None,
        security: MapServerSecurity | None = None,
    ) -> None:
        """``own_addresses``: packed, where this very Map-Resolver listens on port 4342."""
        self.counters = questions.counters
        self._targets = targets
        self._questions = questions
        self._can_reach = can_reach
        self._own_addresses = own_addresses
        self._map_server = map_server
        self.security = security
        self._outgoing = Outgoing(self.counters)
        self._turn = 0
        self.receive_run = map_server.runs_of(questions, passes_on=True) if map_server else None
        "takes many at a time of what the Map-Server here answers; None where nothing does"

    @property
    def targets(self) -> Targets:
        """The Map-Servers that Map-Requests are passed on to."""
        return self._targets

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a Map-Request or an ECM. Queues output."""
        question = self._questions.read(data, source, now)
        if question is None:
            return
        if self._map_server is None:
            self._pass_on(question, [], now)
            return
        found = self._map_server.look_up(question)
        here = [one for one in found if one.kind is not FoundKind.NO_SITE]
        if not here:
            self._pass_on(question, found, now)
            return
        if len(here) < len(found):
            # The Map-Server would deny what others may know.
            pairs = zip(question.eids, found, strict=False)
            eids = tuple(eid for eid, one in pairs if one.kind is not FoundKind.NO_SITE)
            question = replace(question, eids=eids)
            self.counters["Map-Requests answered in part"] += 1
        self._map_server.answer(question, here, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now, and forget it."""
        output = self._outgoing.take()
        if self._map_server is not None:
            output += self._map_server.datagrams_to_send(now)
        return output

    def next_timeout(self) -> float | None:
        """None: there is nothing to wait for."""
        return None

    def _pass_on(self, question: Question, found: Sequence[Found], now: float) -> None:
        """Forward what nobody here knows, or say that nobody does. Queues output."""
        if question.flags & _TO_MAP_SERVER:
            # A Map-Resolver sent it to a Map-Server: it must not go from one to the next for ever.
            if self._map_server is not None:
                self._map_server.answer(question, found, now)
            else:
                self.counters["Map-Requests dropped: loop"] += 1
            return
        self._turn += 1
        eids = question.eids[:MAX_LOOKUPS]
        known = [self._targets.find(eid) for eid in eids]
        if not any(known):
            self._deny(question, found)
            return
        asked = [targets for targets in known if targets]
        mine = asked[self._turn % len(asked)]
        if len(set(known)) > 1 or len(eids) < len(question.eids):
            own = [eid for eid, targets in zip(eids, known, strict=True) if targets == mine]
            question = asking_only(question, own)
            self.counters["Map-Requests for EIDs of several Map-Servers"] += 1
        # Not the same turn for both, or the same Map-Server of these would always be asked.
        target = self._choose(mine, self._turn // len(asked))
        if target is not None:
            self._forward(question, target)

    def _choose(self, known: Iterable[Target], turn: int) -> Target | None:
        """Return the Map-Server whose turn it is; None, and counted, if none can be sent to."""
        reached = [
            target for target in known if self._can_reach(_FAMILIES[len(target.endpoint[0])])
        ]
        others = [target for target in reached if not is_own(target.endpoint, self._own_addresses)]
        if not others:
            why = "loop" if reached else "no Map-Server to send to"
            self.counters[f"Map-Requests dropped: {why}"] += 1
            return None
        return others[turn % len(others)]

    def _forward(self, question: Question, target: Target) -> None:
        """Queues output."""
        security = None
        secured = self._unwrap(question)
        if secured in _DROPPED:
            return
        if isinstance(secured, SecuredQuestion) and target.key is not None:
            security = secured.for_map_server(target.key)
        data = forwarded_to_map_server(question, target.endpoint, self._own_addresses, security)
        if self._outgoing.put(data, target.endpoint):
            self.counters["Map-Requests forwarded to Map-Servers"] += 1

    def _deny(self, question: Question, found: Sequence[Found]) -> None:
        """Tell that there is no mapping. Queues output."""
        if question.reply_to is None:
            self.counters["subscriptions to cancel that nobody has"] += 1
            return
        secured = self._unwrap(question)
        if secured in _DROPPED:
            return
        answers = [
            self._denial(eid, found[position].eid.length if found else 0, secured)
            for position, eid in enumerate(question.eids[:MAX_LOOKUPS])
        ]
        signs = secured if isinstance(secured, SecuredQuestion) else None
        holes = [one.found.eid for one in answers] if signs is not None else []
        reserved = signature_octets(holes)
        records = records_that_fit(answers, question.octets, self.counters, reserved)
        reply = write_map_reply(question.nonce, records)
        if signs is not None:
            # RFC 9303 §6.9: or the ITR would not believe it.
            reply = signs.sign(reply, holes)
            if not is_small_enough(reply, question.octets):
                self.counters["Map-Replies too large with LISP-SEC"] += 1
                return
        if records and self._outgoing.put(reply, question.reply_to):
            self.counters["Map-Replies out"] += 1

    def _denial(self, eid: EidPrefix, shortest: int, secured: object) -> Answer:
        self.counters["EIDs of no site"] += 1
        hole = self._targets.hole(eid, shortest)
        nothing = Found(FoundKind.NO_SITE, hole, None, (), None)
        if secured is Refusal.NOT_UNWRAPPED:
            return refusal(eid, nothing, Action.DROP_AUTH_FAILURE)
        record = negative_record(hole, NO_SITE_TTL, Action.NATIVELY_FORWARD)
        return Answer(eid, nothing, record)

    def _unwrap(self, question: Question) -> SecuredQuestion | Refusal:
        """Return what the ITR shares with us for LISP-SEC, if it does."""
        if self.security is None or question.encapsulated is None or not question.is_secured:
            return Refusal.NO_KEY
        return self.security.unwrap(question.encapsulated.security, question.nonce)
