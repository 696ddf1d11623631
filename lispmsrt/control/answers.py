"""What a Map-Server says itself about an EID, in order of RFC 9301 §8.3: no site, nobody
registered, not for this ITR, the mapping; or nothing, where an ETR has to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lispmsrt.control.map_replies import Answer, prefix_of, with_one_ttl
from lispmsrt.control.questions import Question
from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.lookup import Found, FoundKind, Hit
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.wire.addresses import Address, Afi, EidPrefix, plain_addresses
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action
from lispmsrt.wire.served_records import (
    locator_count,
    negative_record,
    record_ttl,
    served_record,
)

__all__ = ["DENIED_TTL", "NOT_REGISTERED_TTL", "NO_SITE_TTL", "Answers", "refusal"]

NO_SITE_TTL = 15
"""Minutes that "there is no such site" holds (RFC 9301 §8.3)."""

NOT_REGISTERED_TTL = 1
"""Minutes that "nobody has registered it" holds (RFC 9301 §8.3)."""

DENIED_TTL = 1
"""Minutes that a refusal holds: policies and keys change."""

_PROXY_REPLY = RegisterFlag.PROXY_REPLY


def refusal(asked: EidPrefix, found: Found, action: Action) -> Answer:
    """Return an answer that tells nothing but to drop packets, and why."""
    return Answer(asked, found, negative_record(found.eid, DENIED_TTL, action))


class Answers:
    """Say what there is to say about an EID that has been looked up."""

    def __init__(self, sites: Callable[[], Sites], counters: Counter[str]) -> None:
        self._sites = sites
        self._counters = counters

    def about(self, question: Question, asked: EidPrefix, found: Found) -> Answer | None:
        """Return the records for one EID of a question; None when an ETR has to answer."""
        hit = found.hit
        record: bytes | None
        if hit is None:
            is_known = found.kind is FoundKind.NOT_REGISTERED
            ttl = NOT_REGISTERED_TTL if is_known else NO_SITE_TTL
            self._counters["EIDs not registered" if is_known else "EIDs of no site"] += 1
            record = negative_record(found.eid, ttl, Action.NATIVELY_FORWARD)
        else:
            site = found.site_prefix.site if found.site_prefix is not None else None
            record = self._record(question, found.eid, hit.registration, site)
        if record is None:
            return None
        answer = Answer(asked, found, record)
        return self._with_more_specifics(question, answer) if found.more_specifics else answer

    def _record(
        self, question: Question, eid: EidPrefix, registration: Registration, site: Site | None
    ) -> bytes | None:
        """Return the record for a registration; None when an ETR has to answer."""
        # Where there are no locators, there is nothing that an ETR could add.
        is_proxied = registration.flags & _PROXY_REPLY or not locator_count(registration.record)
        if site is not None and site.allowed_itrs:
            # An ETR answers to whichever ITR-RLOC it likes best.
            allows = _allows_answer if is_proxied else _allows_any_answer
            if not allows(site, question):
                self._counters["Map-Requests denied by policy"] += 1
                return negative_record(eid, DENIED_TTL, Action.DROP_POLICY_DENIED)
        return served_record(registration.record, eid) if is_proxied else None

    def _with_more_specifics(self, question: Question, answer: Answer) -> Answer:
        """Add what lies inside the prefix that the answer covers."""
        more = tuple(
            self._more_specific(question, answer, hit) for hit in answer.found.more_specifics
        )
        return with_one_ttl(Answer(answer.asked, answer.found, answer.record, more))

    def _more_specific(self, question: Question, answer: Answer, hit: Hit) -> bytes:
        eid = prefix_of(hit, answer.asked)
        table = hit.table
        prefix = self._sites().covering(table.instance_id, table.afi, hit.length, hit.key)
        site = prefix.site if prefix is not None else None
        record = self._record(question, eid, hit.registration, site)
        if record is not None:
            return record
        # Only its ETR may tell: who has packets for it shall ask for it.
        ttl = record_ttl(hit.registration.record)
        return negative_record(eid, ttl, Action.SEND_MAP_REQUEST)


def _allows_answer(site: Site, question: Question) -> bool:
    if question.reply_to is None:
        return False
    rloc = question.reply_to[0]
    return site.allows_itr(Address(Afi.IPV4 if len(rloc) == 4 else Afi.IPV6, rloc))


def _allows_any_answer(site: Site, question: Question) -> bool:
    """Whether every ITR-RLOC is allowed; one that can't be looked into is not."""
    inside = map(plain_addresses, question.request.itr_rlocs)
    return all(rlocs is not None and all(map(site.allows_itr, rlocs)) for rlocs in inside)
