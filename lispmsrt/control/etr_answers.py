"""An ETR answers Map-Requests and RLOC-probes for its own mappings (RFC 9301 §5.5, §7.1, §8.2).

Plain ones come from ITRs, those in an ECM from a Map-Server that does not answer itself. It speaks
for what the application registered, and is silent about everything else: a negative answer from an
ETR that was asked by mistake would hide whoever has the EID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from lispmsrt.control.eid_nesting import hole_beside
from lispmsrt.control.lisp_sec import EtrSecurity
from lispmsrt.control.map_replies import (
    MAX_UNFRAGMENTED,
    Answer,
    is_small_enough,
    records_that_fit,
    with_one_ttl,
)
from lispmsrt.control.questions import MAX_QUESTION
from lispmsrt.control.request_limits import Outgoing, RequestLimits
from lispmsrt.control.unicast import is_loopback, is_unicast
from lispmsrt.mapping.database import Endpoint
from lispmsrt.mapping.etr_mappings import EtrMappings
from lispmsrt.mapping.lookup import Found, Hit
from lispmsrt.wire.addresses import Address, Afi, EidPrefix, plain_addresses
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_reply import MAX_RECORDS
from lispmsrt.wire.map_request import MapRequest, decode_map_request
from lispmsrt.wire.messages import ControlType, encode_header, message_type
from lispmsrt.wire.records import Action, Locator, encode_record

__all__ = ["MAX_EIDS", "EtrAnswers"]

MAX_EIDS = 16
"""EIDs looked up of one Map-Request; RFC 9301 §5.2 has senders ask for one."""

_PROBE = 1 << 27
_HEADER_OCTETS = 12


@dataclass(slots=True)
class _Question:
    request: MapRequest
    octets: int
    "that an answer may be measured by: who asked has sent no fewer"
    source: Endpoint
    "the outer one"
    asked_from: Endpoint
    "the inner one where there is one"
    security: bytes
    "LISP-SEC data of the ECM, or none"


class EtrAnswers:
    """Answer for the mappings of one ETR."""

    def __init__(
        self,
        mappings: EtrMappings,
        limits: RequestLimits,
        can_reach: Callable[[bytes], bool],
        *,
        address: bytes | None = None,
        security: EtrSecurity | None = None,
        is_left: Callable[[bytes], bool] = lambda record: False,
    ) -> None:
        """``can_reach``: whether anything can be sent to a packed address; ``address``: what the
        socket is bound to (packed), and so every RLOC-probe goes to; without ``security`` secured
        Map-Requests get ordinary answers; ``is_left`` says of a record whether its EID-prefix is
        left to another xTR.
        """
        self.counters: Counter[str] = Counter()
        self._mappings = mappings
        self._limits = limits
        self._can_reach = can_reach
        self._address = address
        self._security = security
        self._is_left = is_left
        self._output = Outgoing(self.counters)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a Map-Request or an ECM. Queues output."""
        if len(data) > MAX_QUESTION:
            self.counters["too large"] += 1
            return
        try:
            question = self._read(data, source)
        except WireError:
            self.counters["malformed"] += 1
            return
        if question is not None:
            self._answer(question, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now, and forget it."""
        return self._output.take()

    # Questions

    def _read(self, data: bytes, source: Endpoint) -> _Question | None:
        """Read what is a question for an ETR; count what is none."""
        octets, asked_from, security = len(data), source, b""
        is_encapsulated = message_type(data) == ControlType.ENCAPSULATED
        if is_encapsulated:
            outer = decode_encapsulated(data)
            data, asked_from = outer.payload, (outer.source.packed, outer.source_port)
            security = outer.security
            if outer.to_etr and not security:
                # The ECM may be of the Map-Server's making: see Question.octets.
                octets = len(data)
            if message_type(data) == ControlType.ENCAPSULATED:
                self.counters["dropped: ECM in ECM"] += 1
                return None
        if message_type(data) != ControlType.MAP_REQUEST:
            self.counters["dropped: no Map-Request"] += 1
            return None
        request = decode_map_request(data)
        if request.smr:
            # It solicits the ITR, which this is not.
            self.counters["dropped: SMR"] += 1
        elif request.dont_map_reply:
            self.counters["dropped: no Map-Reply wanted"] += 1
        elif request.probe and is_encapsulated:
            # RFC 9301 §5.8: it says nothing of the path to the RLOC.
            self.counters["dropped: RLOC-probe in an ECM"] += 1
        else:
            return _Question(request, octets, source, asked_from, security)
        return None

    def _reply_to(self, question: _Question) -> Endpoint | None:
        """Return where the Map-Reply goes, if anywhere (RFC 9301 §5.4)."""
        if question.request.probe:
            # Back the way that it came: anything else would tell nothing of that.
            return question.source if question.source[1] else None
        used, port = question.asked_from
        # A question from this very host may name the host's own loopback address.
        loopback = is_loopback(question.source[0])
        rlocs = [rloc for rloc in _itr_rlocs(question.request) if self._is_usable(rloc, loopback)]
        if not rlocs or not port:
            return None
        return (used if used in rlocs else rlocs[0]), port

    def _is_usable(self, rloc: bytes, loopback: bool) -> bool:
        return is_unicast(rloc, loopback=loopback) and self._can_reach(rloc)

    # Answers

    def _answer(self, question: _Question, now: float) -> None:
        """Queues output."""
        kind = "RLOC-probes" if question.request.probe else "Map-Requests"
        self.counters[f"{kind} in"] += 1
        reply_to = self._reply_to(question)
        if reply_to is None:
            self.counters["dropped: no ITR-RLOC to send to"] += 1
        elif not self._limits.admits(question.source[0], reply_to[0], now):
            self.counters["dropped: rate limit"] += 1
        else:
            reply = self._map_reply(question)
            if reply is not None and self._output.put(reply, reply_to):
                self.counters["Map-Replies out"] += 1

    def _map_reply(self, question: _Question) -> bytes | None:
        """Return the Map-Reply; None without a mapping, or where none is small enough."""
        request = question.request
        asked = [
            (one.eid, found, found.hit)
            for one in tuple(dict.fromkeys(request.records))[:MAX_EIDS]
            for found in (self._mappings.find(one.eid),)
            if found.hit is not None
        ]
        ours = [each for each in asked if not self._is_left(each[2].registration.record)]
        if len(ours) < len(asked):
            # Our RLOCs would keep ITRs coming that should hear of the move.
            self.counters["dropped: left to another xTR"] += 1
        asked = ours
        if not asked:
            self.counters["dropped: no mapping of ours"] += 1
            return None
        # Two of the EIDs may lie in the same mapping.
        answers = {record: one for each in asked for record, one in self._whole(*each, request)}
        if len(answers) > len(asked) and not _is_small(answers, question.octets):
            self.counters["Map-Replies without more-specifics"] += 1
            answers = {record: one for each in asked for record, one in self._parts(*each, request)}
        records = records_that_fit(list(answers.values()), question.octets, self.counters)
        if not records:
            return None
        bits = _PROBE * request.probe | len(records)
        reply = encode_header(ControlType.MAP_REPLY, bits, request.nonce) + b"".join(records)
        if self._security is None or not question.security:
            return reply
        signed = self._security.sign(question.security, request.nonce, reply)
        if signed is not None and not is_small_enough(signed, question.octets):
            self.counters["Map-Replies too large with LISP-SEC"] += 1
            return None
        return signed

    def _whole(
        self, eid: EidPrefix, found: Found, hit: Hit, request: MapRequest
    ) -> Iterator[tuple[bytes, Answer]]:
        """Yield the mapping and those inside of it (RFC 9301 §5.5)."""
        # What it covers may be narrower than the mapping, and is written as it was asked for.
        record = self._encode(hit, request.probe, found.eid)
        more = tuple(self._encode(inner, request.probe) for inner in found.more_specifics)
        whole = with_one_ttl(Answer(eid, found, record, more))
        for one in (whole.record, *whole.more_specifics):
            yield one, Answer(eid, found, one)

    def _parts(
        self, eid: EidPrefix, found: Found, hit: Hit, request: MapRequest
    ) -> Iterator[tuple[bytes, Answer]]:
        """Yield what is right without the rest: each of it may be left out."""
        more = found.more_specifics
        covered = hole_beside(eid, more) if more else found.eid
        hits = (hit,) if covered is not None else more
        for one in hits:
            record = self._encode(one, request.probe, covered)
            yield record, Answer(eid, found, record)

    def _encode(self, hit: Hit, is_probe: bool, eid: EidPrefix | None = None) -> bytes:
        record = hit.registration.decode()
        locators = record.locators
        if self._is_left(hit.registration.record):
            # Inside one of ours: whoever has packets for it shall ask the Map-Server.
            locators, record = (), replace(record, action=Action.SEND_MAP_REQUEST)
        elif is_probe:
            locators = self._with_probe_bit(locators)
        return encode_record(
            replace(record, eid=eid or record.eid, locators=locators, authoritative=True)
        )

    def _with_probe_bit(self, locators: tuple[Locator, ...]) -> tuple[Locator, ...]:
        """Set p on the locator that was probed, where that is known."""
        probed = [locator for locator in locators if locator.local]
        if self._address is not None:
            probed = [
                locator
                for locator in probed
                if isinstance(locator.rloc, Address) and locator.rloc.packed == self._address
            ]
        if len(probed) != 1:
            return locators
        return tuple(replace(locator, probe=locator in probed) for locator in locators)


def _itr_rlocs(request: MapRequest) -> list[bytes]:
    return [
        address.packed
        for rloc in request.itr_rlocs
        for address in plain_addresses(rloc) or ()
        if address.afi in (Afi.IPV4, Afi.IPV6)
    ]


def _is_small(answers: Collection[bytes], octets: int) -> bool:
    """Whether these records fit a datagram, and may answer one of so many octets."""
    size = _HEADER_OCTETS + sum(map(len, answers))
    return (
        len(answers) <= MAX_RECORDS
        and size <= MAX_UNFRAGMENTED
        and is_small_enough(bytes(size), octets)
    )
