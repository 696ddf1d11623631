"""What ``lispmsrt lig`` says of mappings: lines for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from lispmsrt.config import SocketAddress
from lispmsrt.services.requester import Answer, ReplyFault
from lispmsrt.services.subscriber import News, What
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.records import NO_EXPIRY, Action, Locator, MappingRecord

__all__ = [
    "Json",
    "answer_json",
    "answer_lines",
    "complain",
    "eid_text",
    "news_json",
    "news_lines",
    "no_answer_text",
    "not_authentic_text",
    "remedy_text",
    "row",
    "row_header",
]

Json = dict[str, object]

_NOTHING = 2
"""The exit code where there is no answer."""

_ROW = "{:{width}}  {:8}  {:18}  {:10}  {:>7}  {}"

_MINUTES_A_DAY, _MINUTES_AN_HOUR = 1440, 60

_ACTIONS = {
    Action.NO_ACTION: "no action is named",
    Action.NATIVELY_FORWARD: "forward natively",
    Action.SEND_MAP_REQUEST: "ask again for each packet",
    Action.DROP: "drop packets, no reason given",
    Action.DROP_POLICY_DENIED: "drop packets, denied by policy",
    Action.DROP_AUTH_FAILURE: "drop packets, authentication failed",
}

_NEWS = {
    What.CONFIRMED: "subscribed to",
    What.PUBLISHED: "changed, of",
    What.REFUSED: "no subscription to",
    What.CANCELLED: "unsubscribed from",
}

_NO_SITE_TTL, _NOT_REGISTERED_TTL = 15, 1
"""Minutes by which a Map-Server tells the two from each other (RFC 9301 §8.2, §8.4)."""


def eid_text(eid: EidPrefix) -> str:
    """Return an EID-prefix, or an EID without the length that says nothing."""
    address = eid.address
    is_host = isinstance(address, Address) and eid.length == address.width
    text = str(address) if is_host else str(EidPrefix(0, address, eid.length))
    return f"[{eid.instance_id}] {text}" if eid.instance_id else text


def complain(sentence: str) -> int:
    """Print what went wrong; return the exit code for that."""
    print(f"lig: {sentence}", file=sys.stderr)
    return _NOTHING


def no_answer_text(resolver: SocketAddress, source: str, asked: int) -> str:
    """Return what to do when nothing came."""
    return (
        f"no answer from {resolver} to {asked} Map-Requests: check that a Map-Resolver runs there,"
        f" and that answers can reach {source} (--source)"
    )


def not_authentic_text(
    resolver: SocketAddress, fault: ReplyFault, counters: Mapping[str, int]
) -> str:
    """Return what to do when nothing came that LISP-SEC verifies."""
    counted = ", ".join(
        f"{one.value}: {counters[one.value]}" for one in ReplyFault if counters[one.value]
    )
    if fault is ReplyFault.UNSECURED:
        remedy = f"check that {resolver} has this key (itr-keys), under this ID"
    else:
        remedy = "somebody on the way may have forged or changed them; else check the keys"
    return f"no authentic answer ({counted}): {remedy}"


def remedy_text(
    resolver: SocketAddress, source: str, fault: ReplyFault | None, counters: Mapping[str, int]
) -> str:
    """Return what to do when there was no answer that can be believed."""
    if fault is not None:
        return not_authentic_text(resolver, fault, counters)
    if counters["Map-Replies about another EID-prefix"]:
        return (
            f"{resolver} answered, but about another EID-prefix: that can't be believed, so ask"
            " another Map-Resolver"
        )
    return no_answer_text(resolver, source, counters["Map-Requests out"])


def row_header(width: int) -> str:
    """Return what stands above rows."""
    return _ROW.format("EID", "Answer", "EID-prefix", "TTL", "ms", "RLOCs", width=max(width, 3))


def row(eid: EidPrefix, answer: Answer | None, width: int) -> str:
    """Return what an answer says in one line, the first column so wide."""
    if answer is None:
        return _ROW.format(eid_text(eid), "none", "", "", "", "", width=width).rstrip()
    record = answer.record
    rlocs = ", ".join(
        str(locator.rloc) if locator.reachable else f"{locator.rloc} (down)"
        for locator in record.locators
    )
    return _ROW.format(
        eid_text(eid),
        "negative" if answer.is_negative else "mapping",
        _prefix_text(record.eid),
        _minutes(record.ttl),
        f"{1000 * answer.rtt:.1f}",
        rlocs or _action_name(record.action),
        width=width,
    )


def answer_lines(eid: EidPrefix, answer: Answer) -> Iterator[str]:
    """Yield what an answer says, for people."""
    milliseconds = 1000 * answer.rtt
    authentic = ", authentic (LISP-SEC)" if answer.is_secured else ""
    yield f"Map-Reply from {_endpoint(answer)} after {milliseconds:.1f} ms{authentic}"
    if answer.etr_cannot_sign:
        yield "Some ETRs of the EID-prefix do without LISP-SEC."
    yield ""
    if answer.is_negative:
        yield f"No mapping for EID {eid_text(eid)}:"
    else:
        yield f"Mapping entry for EID {eid_text(eid)}:"
    yield from _record_lines(answer.record)
    others = [record for record in answer.reply.records if record is not answer.record]
    if others:
        yield ""
        yield "The same Map-Reply has:"
    for record in others:
        yield from _record_lines(record)


def news_lines(news: News, seconds: float) -> Iterator[str]:
    """Yield what a subscriber heard, for people; ``seconds`` since it began."""
    yield f"{seconds:.3f} s: {_NEWS[news.what]} {eid_text(news.eid)}"
    for record in news.records:
        if record.ttl:
            yield from _record_lines(record)
        else:
            yield f"  {record.eid} is gone"


def news_json(news: News, seconds: float) -> Json:
    """Return what a subscriber heard; ``seconds`` since it began."""
    return {
        "event": news.what.value,
        "seconds": round(seconds, 6),
        "eid": eid_text(EidPrefix(0, news.eid.address, news.eid.length)),
        "instance_id": news.eid.instance_id,
        "records": [_record_json(record) for record in news.records],
    }


def _record_lines(record: MappingRecord) -> Iterator[str]:
    """Yield one mapping, or what is said in its place."""
    if not record.locators:
        yield f"  {_negative(record)}"
        return
    version = f", map version {record.map_version}" if record.map_version else ""
    who = "authoritative" if record.authoritative else "not authoritative: on behalf of the ETR"
    yield f"{record.eid}, record TTL: {_minutes(record.ttl)}, {who}{version}"
    rlocs = [str(locator.rloc) for locator in record.locators]
    width = max(16, *map(len, rlocs))
    yield f"  {'Locator':{width}}  State  Priority/Weight"
    for rloc, locator in zip(rlocs, record.locators, strict=True):
        state = "up" if locator.reachable else "down"
        usage = f"{locator.priority}/{locator.weight}"
        yield f"  {rloc:{width}}  {state:5}  {usage:15} {_marks(locator)}".rstrip()


def answer_json(
    eid: EidPrefix, resolver: SocketAddress, source: str, answer: Answer | None
) -> Json:
    """Return everything about a question, answered or not."""
    found: Json = {
        "eid": eid_text(EidPrefix(0, eid.address, eid.length)),
        "instance_id": eid.instance_id,
        "resolver": str(resolver),
        "source": source,
        "answer": "none",
    }
    if answer is not None:
        found["answer"] = "negative" if answer.is_negative else "mapping"
        found["answered_by"] = _endpoint(answer)
        found["rtt"] = round(answer.rtt, 6)
        found["tries"] = answer.tries
        found["nonce"] = f"{answer.reply.nonce:016x}"
        found["probe"] = answer.reply.probe
        found["secured"] = answer.is_secured
        found["etr_cannot_sign"] = answer.etr_cannot_sign
        found["eid_prefix"] = _prefix_text(answer.record.eid)
        found["records"] = [_record_json(record) for record in answer.reply.records]
    return found


def _record_json(record: MappingRecord) -> Json:
    """Return one record."""
    return {
        "eid_prefix": _prefix_text(record.eid),
        "instance_id": record.eid.instance_id,
        "ttl": record.ttl,
        "action": _action_name(record.action),
        "authoritative": record.authoritative,
        "map_version": record.map_version,
        "locators": [_locator_json(locator) for locator in record.locators],
    }


def _locator_json(locator: Locator) -> Json:
    return {
        "rloc": str(locator.rloc),
        "state": "up" if locator.reachable else "down",
        "priority": locator.priority,
        "weight": locator.weight,
        "multicast_priority": locator.multicast_priority,
        "multicast_weight": locator.multicast_weight,
        "local": locator.local,
        "probe": locator.probe,
    }


def _negative(record: MappingRecord) -> str:
    """Say what no locators mean."""
    known = record.action in Action.__members__.values()
    action = _ACTIONS[Action(record.action)] if known else f"action {record.action}"
    said = f"{action}, for {_minutes(record.ttl)}, for all of {record.eid}"
    if record.authoritative:
        return f"the ETR has no locators for it: {said}"
    if record.action == Action.NATIVELY_FORWARD:
        if record.ttl == _NO_SITE_TTL:
            return f"no such site: {said}"
        if record.ttl == _NOT_REGISTERED_TTL:
            return f"a site has it, but no ETR has registered it: {said}"
    return said


def _minutes(ttl: int) -> str:
    if ttl == NO_EXPIRY:
        return "as long as the receiver likes"
    if ttl and not ttl % _MINUTES_A_DAY:
        return _plural(ttl // _MINUTES_A_DAY, "day")
    if ttl and not ttl % _MINUTES_AN_HOUR:
        return _plural(ttl // _MINUTES_AN_HOUR, "hour")
    return _plural(ttl, "minute")


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _marks(locator: Locator) -> str:
    """Return what the flags L and p say."""
    marks = [
        text for is_set, text in ((locator.local, "local"), (locator.probe, "probed")) if is_set
    ]
    return ", ".join(marks)


def _action_name(action: int) -> str:
    if action in Action.__members__.values():
        return Action(action).name.lower().replace("_", "-")
    return f"action-{action}"


def _prefix_text(eid: EidPrefix) -> str:
    return str(EidPrefix(0, eid.address, eid.length))


def _endpoint(answer: Answer) -> str:
    address = Address(Afi.IPV4 if len(answer.source[0]) == 4 else Afi.IPV6, answer.source[0])
    return str(SocketAddress(str(address), answer.source[1]))
