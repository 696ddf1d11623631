"""What a Map-Request for an EID would be answered now, by the code that answers Map-Requests
(:mod:`lispmsrt.control.answers`): the two can't differ.

A Map-Request without LISP-SEC, as ITRs send it to a Map-Resolver. Nothing is sent, and nothing is
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from lispmsrt.control.answers import NO_SITE_TTL, Answers
from lispmsrt.control.forwarding import EtrChoice, is_own
from lispmsrt.control.map_replies import records_that_fit
from lispmsrt.control.questions import LISP_CONTROL_PORT, Drop, Question, read_question
from lispmsrt.control.unicast import is_unicast
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.mapping.lookup import Found, FoundKind
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import RlocPrefix
from lispmsrt.services.map_server import MapServer
from lispmsrt.sockets import pack_address
from lispmsrt.views.naming import endpoint_text
from lispmsrt.views.records import record_view
from lispmsrt.views.values import Answered
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import Action, MappingRecord, decode_record
from lispmsrt.wire.served_records import negative_record

__all__ = ["Expected", "ExpectedAnswers"]

_MOST_ETRS = 64
"""ETRs of a mapping that are named, of those that would get the Map-Request in turn."""

_SOMEWHERE = {
    Afi.IPV4: Address.from_text("192.0.2.1"),
    Afi.IPV6: Address.from_text("2001:db8::1"),
}
"Stands for any ITR, where it makes no difference."


class Expected(NamedTuple):
    """What is known of an EID, and what would be answered."""

    found: Found
    itr: Address
    answered: Answered


class ExpectedAnswers:
    """Ask in place of an ITR."""

    def __init__(self, server: MapServer) -> None:
        self._server = server
        self._mapping = server.mapping

    def about(self, eid: EidPrefix, itr: Address | None = None) -> Expected:
        """Return what an ITR would be answered; without one, one that the site allows."""
        found = self._mapping.lookup.find(eid)
        asks = itr or _any_itr(found, self._server.udp.can_reach)
        can_reach = self._server.udp.can_reach if itr is not None else _reaches_all
        question = _question(eid, asks, can_reach)
        if isinstance(question, Drop):
            return Expected(found, asks, Answered("none", (), (), _dropped(question)))
        resolver = self._mapping.resolver
        if resolver is not None and found.kind is FoundKind.NO_SITE:
            return Expected(found, asks, self._passed_on(eid, found))
        counters: Counter[str] = Counter()
        answer = Answers(lambda: self._server.registrar.sites, counters).about(question, eid, found)
        if answer is None:
            return Expected(found, asks, self._forwarded(found))
        records = records_that_fit([answer], question.octets, counters)
        reply = [decode_record(Reader(record)) for record in records]
        return Expected(found, asks, _replied(found, reply, asks))

    def _forwarded(self, found: Found) -> Answered:
        """Name the ETRs one of which would have to answer."""
        assert found.hit is not None
        choice = EtrChoice(self._own_addresses(), self._server.udp.can_reach, Counter())
        parts = parts_of(found.hit.registration)
        now = self._server.clock.seconds()
        named: dict[str, None] = {}
        # Each has its turn, and then the first again.
        for _turn in range(_MOST_ETRS):
            chosen = choice.choose(parts, now)
            if chosen is None or endpoint_text(chosen[1]) in named:
                break
            named[endpoint_text(chosen[1])] = None
        if named:
            reason = "registered without proxy-reply: one of its ETRs has to answer"
            return Answered("forwarded", (), tuple(named), reason)
        reason = "registered without proxy-reply, and no ETR of it can be sent to"
        return Answered("none", (), (), reason)

    def _passed_on(self, eid: EidPrefix, found: Found) -> Answered:
        """Say what the Map-Resolver in the same place makes of what no site has."""
        resolver = self._mapping.resolver
        assert resolver is not None
        own, can_reach = self._own_addresses(), self._server.udp.can_reach
        targets = resolver.targets.find(eid) if isinstance(eid.address, Address) else ()
        endpoints = [
            target.endpoint
            for target in targets
            if can_reach(Afi.IPV4 if len(target.endpoint[0]) == 4 else Afi.IPV6)
            and not is_own(target.endpoint, own)
        ]
        if endpoints:
            reason = "no site here has it: the Map-Resolver passes it on to a Map-Server"
            return Answered("forwarded", (), tuple(map(endpoint_text, endpoints)), reason)
        if targets:
            reason = "no Map-Server that it would be passed on to can be sent to"
            return Answered("none", (), (), reason)
        hole = resolver.targets.hole(eid, found.eid.length)
        record = negative_record(hole, NO_SITE_TTL, Action.NATIVELY_FORWARD)
        return _replied(found, [decode_record(Reader(record))], NO_ITR)

    def _own_addresses(self) -> frozenset[bytes]:
        """Return where Map-Requests would only come back to ourselves."""
        packed = {
            pack_address(address.host)
            for address in self._server.udp.addresses
            if address.port == LISP_CONTROL_PORT
        }
        return frozenset(one for one in packed if one is not None and any(one))


NO_ITR = _SOMEWHERE[Afi.IPV4]


def _question(eid: EidPrefix, itr: Address, can_reach: Callable[[int], bool]) -> Question | Drop:
    request = MapRequest(0, (itr,), (RequestedEid(eid),))
    message = EncapsulatedControlMessage(
        itr, itr, LISP_CONTROL_PORT, LISP_CONTROL_PORT, encode_map_request(request)
    )
    try:
        data = encode_encapsulated(message)
        return read_question(data, (itr.packed, LISP_CONTROL_PORT), can_reach)
    except WireError:
        return Drop.MALFORMED


def _any_itr(found: Found, can_reach: Callable[[int], bool]) -> Address:
    site = found.site_prefix.site if found.site_prefix is not None else None
    for prefix in site.allowed_itrs if site is not None else ():
        itr = _host_in(prefix)
        if is_unicast(itr.packed):
            return itr
    return _SOMEWHERE[Afi.IPV6 if can_reach(Afi.IPV6) and not can_reach(Afi.IPV4) else Afi.IPV4]


def _host_in(prefix: RlocPrefix) -> Address:
    width = WIDTHS[prefix.afi]
    network = (prefix.key ^ 1 << prefix.length) << width - prefix.length
    host = network | (1 if prefix.length < width else 0)
    return Address(prefix.afi, host.to_bytes(width // 8, "big"))


def _replied(found: Found, records: list[MappingRecord], itr: Address) -> Answered:
    kind, reason = _kind(found, records, itr)
    return Answered(kind, tuple(map(record_view, records)), (), reason)


def _kind(found: Found, records: list[MappingRecord], itr: Address) -> tuple[str, str]:
    if not records:
        return "none", "the Map-Reply would be too large for the datagram that asks"
    first = records[0]
    if found.hit is None:
        if found.kind is FoundKind.NO_SITE:
            return "negative", "no site is configured for it"
        return "negative", "a site may register it, and nobody has"
    if first.action == Action.DROP_POLICY_DENIED and not first.locators:
        return "denied", f"the site's allowed-itrs do not allow the ITR-RLOC {itr}"
    if not first.locators:
        return "negative", "registered without locators: ITRs are told what to do with packets"
    return "mapping", "registered with proxy-reply: the Map-Server answers for the ETRs"


def _dropped(drop: Drop) -> str:
    return f"a Map-Request for it is not answered ({drop.value})"


def _reaches_all(afi: int) -> bool:
    return True
