"""A Map-Server's answers to Map-Requests (RFC 9301 §8.3): Map-Replies of its own, or the
Map-Request passed on to an ETR.

Of several EIDs in one Map-Request those that can be answered here are, in one Map-Reply. Only where
none can does the message go to an ETR, whole: an ITR takes just the first Map-Reply to its nonce,
and asks again for what was not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol

from lispmsrt.control.answers import Answers, refusal
from lispmsrt.control.forwarding import EtrChoice, forwarded_to_etr
from lispmsrt.control.lisp_sec import (
    MapServerSecurity,
    Refusal,
    SecuredQuestion,
    etr_signs,
    etrs_that_sign,
    key_of_etr,
)
from lispmsrt.control.map_replies import (
    HEADER_OCTETS,
    Answer,
    is_small_enough,
    octets_used_up,
    records_that_fit,
)
from lispmsrt.control.ordinary_requests import ordinary_runs
from lispmsrt.control.plane import ReceiveRun
from lispmsrt.control.questions import Question, Questions
from lispmsrt.control.request_limits import Outgoing
from lispmsrt.control.unicast import is_loopback
from lispmsrt.control.vouching import covered_by, signature_octets, vouched_to_etr
from lispmsrt.mapping.database import Endpoint, Registration
from lispmsrt.mapping.lookup import Found, FoundKind, Lookup
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import Sites
from lispmsrt.wire.map_reply import write_map_reply
from lispmsrt.wire.records import Action

__all__ = [
    "MAX_CHOSEN_FROM",
    "MAX_LOOKUPS",
    "MapRequests",
    "Refers",
    "Subscribes",
]

MAX_LOOKUPS = 32
"""EIDs of one Map-Request that are looked up; RFC 9301 §5.2 has senders ask for one."""

MAX_CHOSEN_FROM = 4
"""Mappings of one Map-Request whose ETRs are looked at to pass it on: their sites decide how much
there is to read.
"""


class Subscribes(Protocol):
    """Takes care of subscriptions (RFC 9437)."""

    def subscribe(self, question: Question, now: float) -> bool:
        """Take a Map-Request with N and I bits; False when it is to have an ordinary Map-Reply."""


class Refers(Protocol):
    """Answers Map-Requests of the delegated database tree (RFC 8111)."""

    def refer(self, question: Question, found: Found, now: float) -> bytes | None:
        """Return the Map-Referral for who asked, if there is one to send."""


class MapRequests:
    """Answer Map-Requests for what sites have registered."""

    def __init__(
        self,
        lookup: Lookup,
        sites: Callable[[], Sites],
        questions: Questions,
        *,
        can_reach: Callable[[int], bool],
        own_addresses: Collection[bytes] = (),
        subscriptions: Subscribes | None = None,
        security: MapServerSecurity | None = None,
        referrals: Refers | None = None,
    ) -> None:
        """``own_addresses``: packed, where this very Map-Server listens on port 4342."""
        self.counters = questions.counters
        self._lookup = lookup
        self._sites = sites
        self._questions = questions
        self._own_addresses = own_addresses
        self._answers = Answers(sites, self.counters)
        self._etrs = EtrChoice(own_addresses, can_reach, self.counters)
        self._outgoing = Outgoing(self.counters)
        self._subscriptions = subscriptions
        self._security = security
        self._referrals = referrals
        self.receive_run = self.runs_of(questions)
        "takes what is ordinary many at a time; None where nothing was compiled"

    def runs_of(self, questions: Questions, *, passes_on: bool = False) -> ReceiveRun | None:
        """Return what answers ordinary Map-Requests many at a time, read by these questions; None
        where nothing was compiled. ``passes_on``: those for EIDs of no site go elsewhere.
        """
        return ordinary_runs(
            self._lookup,
            self._sites,
            questions,
            self.counters,
            self._outgoing,
            passes_on=passes_on,
        )

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a Map-Request or an ECM. Queues output."""
        question = self._questions.read(data, source, now)
        if question is not None:
            self.answer(question, self.look_up(question), now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now, and forget it."""
        return self._outgoing.take()

    def next_timeout(self) -> float | None:
        """None: there is nothing to wait for."""
        return None

    def look_up(self, question: Question) -> list[Found]:
        """Return what is known of each EID asked for, of the first :data:`MAX_LOOKUPS`."""
        find = self._lookup.find
        return [find(eid) for eid in question.eids[:MAX_LOOKUPS]]

    def answer(self, question: Question, found: Sequence[Found], now: float) -> None:
        """Answer, or pass on, a question whose EIDs have been looked up. Queues output."""
        if question.subscribes and self._subscriptions is not None:
            if self._subscriptions.subscribe(question, now):
                return
            # Some of it may have been taken, and its Map-Notifies take the other half.
            question = replace(question, used_up=(question.octets + HEADER_OCTETS) // 2)
        if question.reply_to is None:
            self.counters["subscriptions to cancel that nobody has"] += 1
            return
        if question.is_for_ddt:
            referred = self._refer(question, found[0], now)
            if referred is None:
                return
            question = referred
        secured = self._unwrap(question) if question.is_secured else None
        if isinstance(secured, Refusal):
            if secured is Refusal.NOT_UNWRAPPED:
                self._refuse(question, found, None)
            return
        about = self._answers.about
        answers = [
            answer
            for eid, one in zip(question.eids, found, strict=False)
            if (answer := about(question, eid, one)) is not None
        ]
        if not answers:
            self._forward(question, found, secured, now)
            return
        if len(answers) < len(question.eids):
            self.counters["Map-Requests answered in part"] += 1
        self._reply(question, answers, secured)

    # Whether others take it

    def _refer(self, question: Question, found: Found, now: float) -> Question | None:
        """Send a Map-Referral, if there is one; return what is to be answered besides, if anything.
        Queues output.
        """
        if self._referrals is None:
            self.counters["Map-Requests of DDT answered without"] += 1
            return question
        referral = self._referrals.refer(question, found, now)
        if referral is None:
            return question
        used_up = 0
        if is_small_enough(referral, question.octets):
            self._send(referral, question.source, "Map-Referrals out")
            used_up = octets_used_up(referral)
        # RFC 8111 §7: what is registered has its Map-Reply too; the rest is for the Map-Resolver to
        # tell.
        if found.kind is not FoundKind.MAPPED:
            return None
        return replace(question, used_up=used_up)

    def _unwrap(self, question: Question) -> SecuredQuestion | Refusal | None:
        """Return what the answer is secured with; None where it goes without."""
        found: SecuredQuestion | Refusal = Refusal.NO_KEY
        if self._security is not None and question.encapsulated is not None:
            found = self._security.unwrap(question.encapsulated.security, question.nonce)
        if found is Refusal.NO_KEY:
            # Whether such an answer will do is for the ITR to say.
            self.counters["Map-Requests with LISP-SEC answered without"] += 1
            return None
        return found

    # Where it goes

    def _refuse(
        self, question: Question, found: Sequence[Found], secured: SecuredQuestion | None
    ) -> None:
        """Tell that LISP-SEC forbids to say more; signed where we can, because no ETR could. Queues
        output.
        """
        answers = [
            refusal(eid, one, Action.DROP_AUTH_FAILURE)
            for eid, one in zip(question.eids, found, strict=False)
        ]
        self._reply(question, answers, secured, etr_cannot_sign=secured is not None)

    def _reply(
        self,
        question: Question,
        answers: Sequence[Answer],
        secured: SecuredQuestion | None,
        *,
        etr_cannot_sign: bool = False,
    ) -> None:
        """Queues output."""
        # What is left out of them makes these narrower, but hardly more.
        eids = [one.found.eid for one in answers] if secured is not None else []
        reserved = signature_octets(eids)
        records = records_that_fit(answers, question.octets, self.counters, reserved)
        if not records or question.reply_to is None:
            return
        reply = write_map_reply(question.nonce, records)
        if secured is not None:
            covered = covered_by(records)
            if signature_octets(covered) <= reserved:
                eids = covered
            reply = secured.sign(reply, eids, etr_cannot_sign)
        self._send(reply, question.reply_to, "Map-Replies out")

    def _forward(
        self,
        question: Question,
        found: Sequence[Found],
        secured: SecuredQuestion | None,
        now: float,
    ) -> None:
        """Queues output."""
        registrations = list(
            dict.fromkeys(one.hit.registration for one in found if one.hit is not None)
        )[:MAX_CHOSEN_FROM]
        choose_from = parts_of if secured is None else etrs_that_sign
        etrs = [part for one in registrations for part in choose_from(one)]
        if secured is not None and not etrs:
            self._refuse(question, found, secured)
            return
        # Who asks from this very host may be told to ask an ETR on it.
        chosen = self._etrs.choose(etrs, now, loopback=is_loopback(question.source[0]))
        if chosen is None:
            return
        part, endpoint = chosen
        # Without LISP-SEC here, an ITR's One-Time Key is nothing for an ETR to see.
        security: bytes | None = b""
        if secured is not None:
            security = self._security_for(question, part, found, secured)
        if security is None:
            return
        data = forwarded_to_etr(question, endpoint, self._own_addresses, security)
        self._send(data, endpoint, "Map-Requests forwarded to ETRs")

    def _security_for(
        self,
        question: Question,
        part: Registration,
        found: Sequence[Found],
        secured: SecuredQuestion,
    ) -> bytes | None:
        """Return the LISP-SEC data for an ETR; None, and counted, where it shares no key with us,
        or all that is asked for was registered by others.
        """
        site = self._sites().by_name().get(part.lease.xtr.site)
        key = key_of_etr(part, site.keys if site is not None else ())
        if key is None:
            self.counters["Map-Requests dropped: no key for LISP-SEC with the ETR"] += 1
            return None
        mine = [
            (one, eid)
            for asked, one in zip(question.eids, found, strict=False)
            if (eid := vouched_to_etr(asked, one, part.lease.xtr)) is not None
        ]
        if not mine:
            self.counters["Map-Requests dropped: LISP-SEC, and nothing of it is the ETR's"] += 1
            return None
        etr_cannot_sign = any(
            not etr_signs(each)
            for one, _ in mine
            if one.hit is not None
            for each in parts_of(one.hit.registration)
        )
        return secured.for_etr(key, (eid for _, eid in mine), etr_cannot_sign)

    def _send(self, data: bytes, destination: Endpoint, what: str) -> None:
        """Queues output."""
        if self._outgoing.put(data, destination):
            self.counters[what] += 1
