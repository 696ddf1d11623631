"""What is known of one EID."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lispmsrt.mapping.lookup import Found
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import SitePrefix, eid_key
from lispmsrt.views.expected_answers import ExpectedAnswers
from lispmsrt.views.naming import eid_text, prefix_text, site_prefix_text
from lispmsrt.views.registration_views import RegistrationViews
from lispmsrt.views.site_prefixes import SitePrefixes
from lispmsrt.views.values import EidView
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = ["MAX_INSTANCES", "MAX_OTHER_INSTANCES", "Eids"]

MAX_INSTANCES = 5_000
"""Instances in which an EID is looked for: some 5 ms."""

MAX_OTHER_INSTANCES = 16
"""Instances that are named."""

_MOST_COVERING = 128
"""EID-prefixes that cover an EID, all lengths together: so many there can be."""


class Eids:
    """Look EIDs up."""

    def __init__(
        self,
        registrar: Registrar,
        prefixes: SitePrefixes,
        answers: ExpectedAnswers,
        views: RegistrationViews,
    ) -> None:
        self._registrar = registrar
        self._prefixes = prefixes
        self._answers = answers
        self._views = views

    def view(self, eid: EidPrefix, itr: Address | None = None) -> EidView:
        """Return what is known of an EID, and what an ITR at this RLOC would be answered."""
        found, _itr, answered = self._answers.about(eid, itr)
        prefix, hit = found.site_prefix, found.hit
        registration = None
        if hit is not None:
            registration = self._views.view(hit.table, hit.key, hit.registration)
        return EidView(
            eid=prefix_text(eid),
            instance_id=eid.instance_id,
            found=found.kind.value,
            covered=prefix_text(found.eid),
            site=prefix.site.name if prefix is not None else "",
            configured_prefix=site_prefix_text(prefix),
            accept_more_specifics=prefix is not None and prefix.accept_more_specifics,
            registration=registration,
            covering=tuple(self._covering(found)),
            more_specifics=tuple([eid_text(more.table, more.key) for more in found.more_specifics]),
            answer=answered,
            other_instances=tuple(self.other_instances(eid)),
        )

    def other_instances(self, eid: EidPrefix) -> list[int]:
        """Return other instance IDs in which somebody registered what covers an EID."""
        return list(islice(self._registered_elsewhere(eid), MAX_OTHER_INSTANCES))

    def configured_elsewhere(self, eid: EidPrefix) -> list[SitePrefix]:
        """Return sites' EID-prefixes that cover an EID in other instances."""
        if not isinstance(eid.address, Address):
            return []
        instance_id, afi, length, key = eid_key(eid)
        sites = self._registrar.sites
        families = islice(self._prefixes.families, MAX_INSTANCES)
        found = (
            sites.covering(other, afi, length, key)
            for other, family in families
            if family == afi and other != instance_id
        )
        return list(islice((one for one in found if one is not None), MAX_OTHER_INSTANCES))

    def _registered_elsewhere(self, eid: EidPrefix) -> Iterator[int]:
        if not isinstance(eid.address, Address):
            return
        instance_id, afi, length, key = eid_key(eid)
        for (other, family), table in islice(
            self._registrar.database.tables.items(), MAX_INSTANCES
        ):
            is_other = family == afi and other != instance_id and table.entries
            if is_other and next(table.covering(length, key), None) is not None:
                yield other

    def _covering(self, found: Found) -> Iterator[str]:
        hit = found.hit
        if hit is None or hit.table.afi == Afi.NAME:
            return
        for key, _registration in islice(hit.table.covering(hit.length, hit.key), _MOST_COVERING):
            if key != hit.key:
                yield eid_text(hit.table, key)
