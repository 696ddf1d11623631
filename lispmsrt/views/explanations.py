"""Why an EID resolves, or does not: every reason in words, and what to do.

It looks in the order in which an answer comes about: the site, the registration, the locators, who
may ask, the answer. The past is told where it says why something is missing.
"""

from __future__ import annotations

from lispmsrt.mapping.lookup import Found, FoundKind, Hit
from lispmsrt.mapping.merging import parts_of
from lispmsrt.views.eids import Eids
from lispmsrt.views.expected_answers import ExpectedAnswers
from lispmsrt.views.explained_registrations import ExplainedRegistrations, allowed_by
from lispmsrt.views.findings import Findings
from lispmsrt.views.naming import eid_text, prefix_text, rloc_prefix_text
from lispmsrt.views.records import is_usable, view_of
from lispmsrt.views.values import Answered, Explanation
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["Explanations"]


class Explanations:
    """Explain EIDs."""

    def __init__(
        self, eids: Eids, answers: ExpectedAnswers, registrations: ExplainedRegistrations
    ) -> None:
        self._eids = eids
        self._answers = answers
        self._registrations = registrations

    def of(self, eid: EidPrefix) -> Explanation:
        """Return why an EID resolves, or does not."""
        expected = self._answers.about(eid)
        found, answered = expected.found, expected.answered
        findings = Findings()
        self._look_at_site(findings, eid, found)
        if found.hit is None:
            self._registrations.look_for(findings, eid, found)
        else:
            self._registrations.look_at(findings, found.hit)
            self._registrations.look_inside(findings, eid, found)
            self._look_at_locators(findings, found.hit)
            self._look_at_itrs(findings, found)
        self._look_at_answer(findings, answered, found)
        resolves = self._resolves(found, answered)
        return Explanation(
            eid=prefix_text(eid),
            instance_id=eid.instance_id,
            resolves=resolves,
            summary=self._summary(eid, found, answered, findings, resolves),
            steps=findings.steps,
            remedies=findings.remedies,
        )

    # The site

    def _look_at_site(self, findings: Findings, eid: EidPrefix, found: Found) -> None:
        prefix, instance_id = found.site_prefix, eid.instance_id
        if prefix is not None:
            findings.ok("site", allowed_by(prefix))
            return
        if found.kind is FoundKind.NOT_REGISTERED:
            text = "no site's EID-prefix covers all of it, but there is one inside it"
            findings.note("site", text)
            return
        text = f"no site has an EID-prefix that covers it in instance {instance_id}"
        findings.problem("site", text)
        elsewhere = self._eids.configured_elsewhere(eid)
        for other in elsewhere[:3]:
            text = f"instance {other.instance_id} has it: {allowed_by(other)}"
            findings.note("other instances", text)
        if elsewhere:
            findings.remedy(
                f"If instance {elsewhere[0].instance_id} is meant, ask there"
                f" (--instance-id {elsewhere[0].instance_id}), and look which instance ID the ITR"
                " puts into its Map-Requests."
            )
        findings.remedy(
            f"If it belongs to a site, add a [[site.eid-prefix]] with prefix ="
            f' "{prefix_text(eid)}" (or a wider one with accept-more-specifics = true) and'
            f" instance-id = {instance_id} to that [[site]], then run lispmsrt reload."
        )

    # What is in it

    def _look_at_locators(self, findings: Findings, hit: Hit) -> None:
        record = view_of(hit.registration.record, eid_text(hit.table, hit.key), 0)
        locators = record.locators
        usable = [one.rloc for one in locators if is_usable(one)]
        rest = [
            f"{one.rloc} ({one.state}, priority {one.priority})"
            for one in locators
            if not is_usable(one)
        ]
        if not locators:
            text = f"it has none: ITRs are told what to do with packets ({record.action})"
            findings.note("locators", text)
            findings.remedy(
                "If packets are to go somewhere, give the mapping locators at its ETR"
                " (locators in [[etr.mapping]] on lispmsrt)."
            )
        elif usable:
            text = f"packets go to {', '.join(usable)}"
            if rest:
                text = f"{text}; not to {', '.join(rest)}"
            (findings.note if rest else findings.ok)("locators", text)
        else:
            findings.problem("locators", f"none can be used: {', '.join(rest)}")
            findings.remedy(
                "Look at the ETR why its locators are down (R bit), or give one of them a priority"
                " below 255 (priority in [[etr.mapping]] on lispmsrt)."
            )

    def _look_at_itrs(self, findings: Findings, found: Found) -> None:
        site = found.site_prefix.site if found.site_prefix is not None else None
        if site is None or not site.allowed_itrs:
            return
        named = ", ".join(map(rloc_prefix_text, site.allowed_itrs[:5]))
        text = f"site {site.name} allows ITRs in {named} only; others are told to drop packets"
        findings.note("who may ask", text)
        findings.remedy(
            f"If an ITR is refused, add its RLOC to allowed-itrs of site {site.name} and run"
            " lispmsrt reload."
        )

    # What comes of it

    def _look_at_answer(self, findings: Findings, answered: Answered, found: Found) -> None:
        if answered.kind == "mapping":
            findings.ok("answer", answered.reason)
        elif answered.kind == "forwarded":
            text = f"{answered.reason} ({', '.join(answered.forwarded_to[:4])})"
            parts = parts_of(found.hit.registration) if found.hit is not None else ()
            if parts and not any(map(self._registrations.is_there, parts)):
                findings.problem("answer", f"{text}, and it may be gone")
                findings.remedy(
                    "Let the ETR register with proxy-reply, so that this Map-Server answers for it"
                    " while it is away (proxy-reply in [[etr.map-server]] or [[etr.mapping]] on"
                    " lispmsrt)."
                )
            else:
                findings.ok("answer", text)
        elif answered.kind == "negative":
            eid = f" about {prefix_text(found.eid)}" if not answered.records else ""
            for record in answered.records[:1]:
                eid = f" about {record.eid_prefix}, for {record.ttl} min ({record.action})"
            findings.note("answer", f"a negative Map-Reply{eid}: {answered.reason}")
        else:
            findings.problem("answer", answered.reason)
            if found.hit is not None and answered.kind == "none":
                findings.remedy(
                    "Let the ETR register with proxy-reply, or with an RLOC of its own (L bit)"
                    " that is up and that this Map-Server has a socket to send to."
                )

    def _resolves(self, found: Found, answered: Answered) -> bool:
        if found.hit is None:
            return answered.kind == "forwarded"
        record = view_of(found.hit.registration.record, "", 0)
        is_usable_somewhere = any(map(is_usable, record.locators))
        return answered.kind in ("mapping", "forwarded") and is_usable_somewhere

    def _summary(
        self,
        eid: EidPrefix,
        found: Found,
        answered: Answered,
        findings: Findings,
        resolves: bool,
    ) -> str:
        what = f"{prefix_text(eid)} in instance {eid.instance_id}"
        if not resolves:
            why = findings.first_problem or answered.reason
            return f"{what} does not resolve: {why}."
        if found.hit is None:
            return f"{what} is not ours: {answered.reason}."
        record = view_of(found.hit.registration.record, "", 0)
        rlocs = ", ".join([one.rloc for one in record.locators if is_usable(one)])
        who = eid_text(found.hit.table, found.hit.key)
        trouble = f", but {findings.first_problem}" if findings.first_problem else ""
        return f"{what} resolves to {rlocs}, as {who} of site {_site_of(found)}{trouble}."


def _site_of(found: Found) -> str:
    assert found.hit is not None
    return parts_of(found.hit.registration)[-1].lease.xtr.site
