"""Whether an EID is registered, by whom, for how long; or why not, as far as the past tells."""

from __future__ import annotations

from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.lookup import Found, FoundKind, Hit
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.sites import SitePrefix, eid_key
from lispmsrt.services.map_server import MapServer
from lispmsrt.views.ages import ago, lasting
from lispmsrt.views.eids import Eids
from lispmsrt.views.findings import Findings
from lispmsrt.views.naming import counted, eid_text, site_prefix_text
from lispmsrt.views.past import Past
from lispmsrt.views.tally import Tallies
from lispmsrt.wire.addresses import Address, EidPrefix

__all__ = ["ExplainedRegistrations", "allowed_by"]

_FADING = 60.0
"""Seconds before its end from which a registration over UDP has missed two Map-Registers (RFC 9301
§8.2).
"""

_UDP = "UDP"

_MOST_NAMED = 16
"""Parts of a merged mapping that are told one by one."""


class ExplainedRegistrations:
    """Look at what is registered for an EID."""

    def __init__(self, server: MapServer, eids: Eids, past: Past, tallies: Tallies) -> None:
        self._server = server
        self._eids = eids
        self._past = past
        self._tallies = tallies

    def look_for(self, findings: Findings, eid: EidPrefix, found: Found) -> None:
        """Tell why nobody has registered it."""
        if found.kind is FoundKind.NO_SITE:
            self._past.tell_rejections(findings, eid)
            return
        if found.more_specifics:
            inside = [eid_text(more.table, more.key) for more in found.more_specifics]
            text = f"nobody has registered it as a whole, but inside it {', '.join(inside)}"
            findings.problem("registration", text)
            return
        findings.problem("registration", "nobody has registered it")
        others = self._eids.other_instances(eid)
        if others:
            named = ", ".join(map(str, others))
            findings.note("other instances", f"it is registered in instance {named}")
            findings.remedy(
                f"If instance {others[0]} is meant, ask with --instance-id {others[0]}."
            )
        is_told = self._past.tell_end(findings, eid)
        is_told = self._past.tell_rejections(findings, eid) or is_told
        if found.site_prefix is not None:
            self._tell_of_site(findings, found.site_prefix.site.name, is_told=is_told)

    def _tell_of_site(self, findings: Findings, site: str, *, is_told: bool) -> None:
        """Tell what else the site has registered, if anything."""
        tally = self._tallies.of_site(site)
        if tally.xtrs:
            xtrs, has = counted(tally.xtrs, "xTR"), "has" if tally.xtrs == 1 else "have"
            text = f"{xtrs} of site {site} {has} {counted(tally.registrations, 'registration')}"
            text = f"{text} and {counted(tally.sessions, 'session')}"
            findings.note("xTRs of the site", text)
        else:
            text = f"no xTR of site {site} has anything registered"
            findings.note("xTRs of the site", text)
        if not is_told:
            findings.remedy(
                f"Nothing of it is in the history: look on the ETRs of site {site} whether they"
                " have the mapping configured and this Map-Server as theirs (on lispmsrt: lispmsrt"
                " show mappings), and with lispmsrt show rejections whether anything of them is"
                " refused."
            )

    def look_at(self, findings: Findings, hit: Hit) -> None:
        """Tell who has registered it, and for how long that holds."""
        for part in parts_of(hit.registration)[:_MOST_NAMED]:
            self._look_at_part(findings, eid_text(hit.table, hit.key), part)

    def _look_at_part(self, findings: Findings, eid_prefix: str, part: Registration) -> None:
        now = self._server.clock.seconds()
        lease, expires = part.lease, part.expires
        left = None if expires is None else max(0.0, expires - now)
        who = f"{eid_prefix} is registered by {lease.xtr}"
        text = f"{who} over {lease.transport} from {lease.source}, {ago(now - part.since)}"
        if left is None:
            findings.ok("registration", f"{text}; its session is up")
        elif lease.transport != _UDP:
            text = f"{text}; its session was lost, and it ends in {lasting(left)}"
            findings.note("registration", f"{text} unless it is confirmed")
            findings.remedy(
                f"Look in the log why the session with {lease.source} ended (lispmsrt show"
                " statistics --group session-endings has all of them counted), and whether the ETR"
                " can reach this Map-Server by UDP port 4342, which it needs to be let in again."
            )
        elif left < _FADING:
            text = f"{text}; its Map-Registers stay away, and it ends in {lasting(left)}"
            findings.note("registration", text)
            findings.remedy(
                f"Look whether the ETR at {lease.source} is up and its Map-Registers reach this"
                " Map-Server."
            )
        else:
            findings.ok("registration", f"{text}; it lasts for {lasting(left)} more")

    def look_inside(self, findings: Findings, eid: EidPrefix, found: Found) -> None:
        """Tell of what is more specific than the hit, and registered or missing."""
        hit = found.hit
        assert hit is not None
        if found.more_specifics:
            inside = counted(len(found.more_specifics), "more specific EID-prefix", "es")
            is_one = len(found.more_specifics) == 1
            text = f"{inside} {'is' if is_one else 'are'} registered inside what the answer is"
            findings.note(
                "more specifics", f"{text} about; {'it goes' if is_one else 'they go'} with it"
            )
        if not isinstance(eid.address, Address):
            return
        instance_id, afi, length, key = eid_key(eid)
        configured = self._server.registrar.sites.covering(instance_id, afi, length, key)
        if configured is not None and configured.length > hit.length:
            text = f"{allowed_by(configured)}, and nobody has registered that:"
            text = f"{text} the wider {eid_text(hit.table, hit.key)} answers for it"
            findings.note("more specifics", text)
        # A host that has left, say: what covers it answers now.
        self._past.tell_end(findings, eid, longer_than=hit.length, advises=False)
        self._past.tell_rejections(findings, eid)

    def is_there(self, part: Registration) -> bool:
        """Whether an ETR has been heard of lately, as :mod:`lispmsrt.control.forwarding` has it."""
        if part.lease.transport != _UDP or part.deadline is None:
            return part.lease.is_live
        return part.deadline - self._server.clock.seconds() >= _FADING


def allowed_by(prefix: SitePrefix) -> str:
    """Say what a site may register by one of its EID-prefixes."""
    more = "and anything more specific" if prefix.accept_more_specifics else "exactly"
    text = f"site {prefix.site.name} may register {site_prefix_text(prefix)}"
    return f"{text} {more}"
