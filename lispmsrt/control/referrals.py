"""A Map-Server's place in the delegated database tree: Map-Referrals to who asks with the D bit
(RFC 8111 §6.1, §7).

What is registered, and how a question is answered or forwarded besides, is found out elsewhere.
Nothing is delegated further, and nothing is signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lispmsrt.control.eid_nesting import covers
from lispmsrt.control.questions import Question
from lispmsrt.mapping.lookup import Found, FoundKind
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_referral import (
    MapReferral,
    ReferralAction,
    ReferralRecord,
    encode_map_referral,
)
from lispmsrt.wire.records import Locator

__all__ = ["MAX_MAP_SERVERS", "Referrals"]

MAX_MAP_SERVERS = 8
"""Addresses that a Map-Referral lists: with more, it would be several times as large as a
Map-Request whose source anybody can forge.
"""

# Minutes, RFC 8111 §6.1 (table of action codes).
_TTLS = {
    ReferralAction.MS_ACK: 1440,
    ReferralAction.MS_NOT_REGISTERED: 1,
    ReferralAction.DELEGATION_HOLE: 15,
    ReferralAction.NOT_AUTHORITATIVE: 0,
}


class Referrals:
    """Answers for the EID-prefixes that the tree delegates to this Map-Server."""

    def __init__(self, delegations: Iterable[EidPrefix], map_servers: Sequence[Address]) -> None:
        """``map_servers``: the addresses of all Map-Servers for the delegations, this one too.

        None given: Map-Referrals are marked as incomplete. ValueError where there are too many, or
        for a delegation that can't be looked up.
        """
        if len(map_servers) > MAX_MAP_SERVERS:
            raise ValueError(f"a Map-Referral lists at most {MAX_MAP_SERVERS} Map-Servers")
        self.counters: Counter[str] = Counter()
        # Longest first: the delegation around a hole is the nearest.
        self._delegations = sorted(delegations, key=lambda eid: eid.length, reverse=True)
        for delegation in self._delegations:
            eid_key(delegation)
        self._locators = tuple(Locator(rloc, local=False) for rloc in map_servers)

    def refer(self, question: Question, found: Found, now: float) -> bytes:
        """Return the Map-Referral about what was found; it goes to where the ECM came from.

        For MAPPED the question is answered or forwarded besides; else this is all that is sent.
        """
        record = self._record(found, _asked(question, found))
        self.counters[f"Map-Referrals {ReferralAction(record.action).name}"] += 1
        return encode_map_referral(MapReferral(question.nonce, (record,)))

    def _record(self, found: Found, asked: EidPrefix) -> ReferralRecord:
        if found.kind is FoundKind.MAPPED:
            return self._about_site(found, ReferralAction.MS_ACK)
        if found.kind is FoundKind.NOT_REGISTERED:
            return self._about_site(found, ReferralAction.MS_NOT_REGISTERED)
        for delegation in self._delegations:
            if covers(delegation, asked):
                # The hole may reach beyond what is ours to speak about.
                hole = found.eid if covers(delegation, found.eid) else delegation
                return _record(hole, ReferralAction.DELEGATION_HOLE, authoritative=True)
        return _record(asked, ReferralAction.NOT_AUTHORITATIVE, incomplete=True)

    def _about_site(self, found: Found, action: ReferralAction) -> ReferralRecord:
        return _record(
            found.eid,
            action,
            self._locators,
            authoritative=True,
            # RFC 8111 §6.1: without the whole set of Map-Servers the set is incomplete.
            incomplete=not self._locators,
        )


def _record(
    eid: EidPrefix,
    action: ReferralAction,
    locators: tuple[Locator, ...] = (),
    *,
    authoritative: bool = False,
    incomplete: bool = False,
) -> ReferralRecord:
    return ReferralRecord(eid, _TTLS[action], locators, action, authoritative, incomplete)


def _asked(question: Question, found: Found) -> EidPrefix:
    """Return the EID of the question that the finding is about."""
    return next((eid for eid in question.eids if covers(found.eid, eid)), question.eids[0])
