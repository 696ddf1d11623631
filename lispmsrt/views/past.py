"""What the history and the rejections say of an EID that is not registered, in words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from lispmsrt.mapping.history import HistoryLine
from lispmsrt.mapping.rejections import Rejection
from lispmsrt.mapping.sites import eid_key
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.views.ages import ago
from lispmsrt.views.findings import Findings
from lispmsrt.views.history import MAX_LOOKED_AT, TAKEN_OUT, HistoryPages
from lispmsrt.views.naming import eid_text
from lispmsrt.views.registration_walk import is_inside
from lispmsrt.views.times import Times
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.reliable_transport import reason_text

__all__ = ["LATELY", "MAX_TOLD", "Past"]

LATELY = 24 * 3600.0
"""Seconds for which a rejection is worth telling."""

MAX_TOLD = 3
"""Rejections of one EID by different rules that are told."""

_ENDS = ("withdrawn", "expired", "deconfigured", "rejected")


_ADVICE = {
    "withdrawn": (
        "Look at the xTR at {where} why it has withdrawn {what}: its mapping was taken out of its"
        " configuration, or its own check of the EID failed."
    ),
    "expired": (
        "Look whether the ETR at {where} is up, and whether its Map-Registers reach this"
        " Map-Server (UDP port 4342; then TCP, TLS, QUIC or SCTP for its session)."
    ),
    "deconfigured": (
        "Put {what} back into eid-prefix of a [[site]], or its RLOCs into allowed-rlocs, and run"
        " lispmsrt reload."
    ),
}
"What to do, by how a registration ended."


class Past:
    """Tell why something is missing."""

    def __init__(self, history: HistoryPages, times: Times) -> None:
        self._history = history
        self._times = times

    def tell_end(
        self, findings: Findings, eid: EidPrefix, *, longer_than: int = -1, advises: bool = True
    ) -> bool:
        """Tell how the last registration ended that covered an EID, or was inside the EID-prefix,
        and what to do about it; whether there is any to tell of among the newest MAX_LOOKED_AT
        lines.
        """
        is_about = _is_about(eid)
        for line in islice(self._history.ends(), MAX_LOOKED_AT):
            is_longer = line.key.bit_length() - 1 > longer_than
            if not is_longer or not is_about(line.table.instance_id, line.table.afi, line.key):
                continue
            if line.event not in _ENDS or line.remaining is not None:
                return False  # what it is now, and part of something else
            findings.note("history", self._told(line))
            if advises and line.event in _ADVICE:
                findings.remedy(_ADVICE[line.event].format(where=line.source, what=_what(line)))
            return True
        return False

    def tell_rejections(self, findings: Findings, eid: EidPrefix) -> bool:
        """Tell what was refused lately of what covers an EID, by different rules; whether anything
        was.
        """
        told: set[str] = set()
        for one in self._history.refused(_is_about(eid)):
            if one.rule in told or self._times.now - one.at > LATELY:
                continue
            told.add(one.rule)
            reason = reason_text(one.verdict)
            text = f"{one.eid} of {one.source} over {one.protocol} was rejected"
            text = f"{text} {ago(self._times.now - one.at)} ({reason}): {one.rule}"
            findings.note("rejections", text)
            if one.site or one.verdict is not Verdict.NOT_A_VALID_SITE_EID_PREFIX:
                findings.remedy(_remedy(one))
            if len(told) >= MAX_TOLD:
                break
        return bool(told)

    def _told(self, line: HistoryLine) -> str:
        when, what, lease = ago(self._times.now - line.at), _what(line), line.lease
        who = f"{lease.xtr} at {line.source}"
        if line.event == "withdrawn":
            return f"{what} was withdrawn {when} by {who} ({lease.transport})"
        if line.event == "expired":
            return f"{what} expired {when}: {who} ({lease.transport}) did not confirm it in time"
        if line.event == "deconfigured":
            return f"{what} of {who} was taken out {when}: the configuration no longer allowed it"
        return f"{what} of {who} is gone since {when}: {TAKEN_OUT}"


def _is_about(eid: EidPrefix) -> Callable[[int, int, int], bool]:
    """Return whether an EID-prefix covers an EID or lies inside, by instance ID, family and key."""
    if not isinstance(eid.address, Address):
        return lambda instance_id, afi, key: False
    asked, family, _length, wanted = eid_key(eid)

    def is_about(instance_id: int, afi: int, key: int) -> bool:
        if (instance_id, afi) != (asked, family) or not key:
            return False
        if afi == Afi.NAME:
            return key == wanted
        return is_inside(key, wanted) or is_inside(wanted, key)

    return is_about


def _what(line: HistoryLine) -> str:
    return eid_text(line.table, line.key)


def _remedy(one: Rejection) -> str:
    """Return what to do about a rejection."""
    site = f"site {one.site}" if one.site else "the site"
    if one.verdict is Verdict.AUTHENTICATION_FAILURE:
        return (
            f"Give {site} and the ETR at {one.source} the same key: keys in [[site]] (id,"
            " algorithm, secret) and key in the ETR's [[etr.map-server]]."
        )
    if one.verdict is Verdict.LOCATOR_SET_NOT_ALLOWED:
        return f"Add the RLOC to allowed-rlocs of {site}, and run lispmsrt reload."
    if one.verdict is Verdict.NOT_A_VALID_SITE_EID_PREFIX:
        return (
            f"Let {site} register {one.eid} in instance {one.instance_id}: an eid-prefix of its"
            " own, or accept-more-specifics = true for one that covers it; then run lispmsrt"
            " reload."
        )
    if "max-registrations" in one.rule:
        return "Raise max-registrations in [map-server]: the database is full."
    return f"Look at what {one.source} sends: lispmsrt show rejections has its latest mistakes."
