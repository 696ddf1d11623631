"""Everything that an operator can see of a Map-Server, as frozen values."""

from __future__ import annotations

import time
from collections.abc import Callable

from lispmsrt.mapping.database import Registration
from lispmsrt.services.map_server import MapServer
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.views.eids import Eids
from lispmsrt.views.expected_answers import ExpectedAnswers
from lispmsrt.views.explained_registrations import ExplainedRegistrations
from lispmsrt.views.explanations import Explanations
from lispmsrt.views.history import HistoryPages
from lispmsrt.views.membership import membership_view
from lispmsrt.views.overview import Overview
from lispmsrt.views.past import Past
from lispmsrt.views.registration_views import RegistrationViews
from lispmsrt.views.registrations import RegistrationPages
from lispmsrt.views.sessions import SessionPages
from lispmsrt.views.site_prefixes import SitePrefixes
from lispmsrt.views.sites import SitePages
from lispmsrt.views.statistics import map_server_statistics
from lispmsrt.views.subscriptions import subscription_page
from lispmsrt.views.tally import Tallies
from lispmsrt.views.times import Times
from lispmsrt.views.values import (
    EidView,
    Explanation,
    HistoryFilter,
    HistoryView,
    MembershipView,
    OverviewView,
    Page,
    RegistrationFilter,
    RegistrationView,
    RejectionGroupView,
    RejectionView,
    SessionFilter,
    SessionView,
    SiteView,
    StatisticView,
    SubscriptionView,
)
from lispmsrt.views.values.page import DEFAULT_LIMIT
from lispmsrt.wire.addresses import Address, EidPrefix

__all__ = ["MapServerViews"]


class MapServerViews:
    """Look at a Map-Server. Nothing here changes it, and no call takes long, however much is
    registered. What takes a cursor raises CursorError for one that is none.
    """

    def __init__(self, server: MapServer, wall_clock: Callable[[], float] = time.time) -> None:
        """``wall_clock`` returns seconds since 1970."""
        self.server = server
        registrar, mapping = server.registrar, server.mapping
        times = Times(server.clock.seconds, wall_clock)
        prefixes = SitePrefixes(lambda: registrar.sites)
        tallies = Tallies(server)
        registrations = RegistrationViews(lambda: registrar.sites, self._session_id, times)
        answers = ExpectedAnswers(server)
        self._overview = Overview(server, tallies, prefixes, times)
        self._sessions = SessionPages(server, times)
        self._sites = SitePages(registrar, prefixes, tallies, times)
        self._registrations = RegistrationPages(registrar, prefixes, registrations, times)
        self._eids = Eids(registrar, prefixes, answers, registrations)
        self._history = HistoryPages(mapping.history, registrar.rejections, times)
        past = Past(self._history, times)
        explained = ExplainedRegistrations(server, self._eids, past, tallies)
        self._explanations = Explanations(self._eids, answers, explained)

    def overview(self) -> OverviewView:
        """Return one look at everything; it may be half a second old."""
        return self._overview.view()

    def sessions(
        self,
        asked: SessionFilter | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Page[SessionView]:
        """Return some sessions, in the order in which they came up."""
        return self._sessions.page(asked or SessionFilter(), cursor, limit)

    def session(self, text: str) -> SessionView | None:
        """Return the session with an ID, or from an address and port, or from an address if it is
        the only one. SeveralSessionsError where it is not.
        """
        return self._sessions.one(text)

    def sites(self, cursor: str | None = None, limit: int = DEFAULT_LIMIT) -> Page[SiteView]:
        """Return some sites, in the order of their names."""
        return self._sites.page(cursor, limit)

    def site(self, name: str) -> SiteView | None:
        """Return the site of this name."""
        return self._sites.one(name)

    def registrations(
        self,
        asked: RegistrationFilter | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Page[RegistrationView]:
        """Return some registered EID-prefixes, in order of instance ID, family and prefix."""
        return self._registrations.page(asked or RegistrationFilter(), cursor, limit)

    def eid(self, eid: EidPrefix, itr: Address | None = None) -> EidView:
        """Return what is known of an EID, and what an ITR at this RLOC would be answered."""
        return self._eids.view(eid, itr)

    def explain(self, eid: EidPrefix) -> Explanation:
        """Return why an EID resolves, or does not."""
        return self._explanations.of(eid)

    def history(
        self,
        asked: HistoryFilter | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Page[HistoryView]:
        """Return what has happened, newest first, rejections too."""
        return self._history.page(asked or HistoryFilter(), cursor, limit)

    def rejections(
        self,
        asked: HistoryFilter | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Page[RejectionView]:
        """Return what was refused, newest first."""
        return self._history.rejections(asked or HistoryFilter(), cursor, limit)

    def rejection_groups(self) -> tuple[RejectionGroupView, ...]:
        """Return what was refused by which rule, the rule that was broken last first."""
        return self._history.groups()

    def statistics(self) -> tuple[StatisticView, ...]:
        """Return every counter."""
        return map_server_statistics(self.server)

    def membership(self) -> MembershipView:
        """Return the RLOC members of every family."""
        return membership_view(self.server.mapping.members)

    def subscriptions(
        self, cursor: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> Page[SubscriptionView]:
        """Return some subscriptions, in order of instance ID, family and prefix."""
        subscriptions = self.server.mapping.subscriptions
        if subscriptions is None:
            return Page((), 0, None)
        return subscription_page(subscriptions.table, cursor, limit)

    def _session_id(self, part: Registration) -> int | None:
        """Return that of the live session that holds a part."""
        session = self.server.armory.session_of(part.lease.xtr)
        is_held = isinstance(session, MapServerSession) and session.lease is part.lease
        return session.id if is_held and isinstance(session, MapServerSession) else None
