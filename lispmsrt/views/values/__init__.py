"""The frozen values of every view: plain texts, numbers and tuples of such, which go into JSON as
they are.

Times are seconds since 1970 (UTC) where they say when, and seconds where they say how long.
EID-prefixes stand without their instance ID, which is beside them.
"""

from __future__ import annotations

from lispmsrt.views.values.eids import (
    Answered,
    EidView,
    Explanation,
    ExplanationStep,
)
from lispmsrt.views.values.etr import (
    EtrMappingState,
    EtrMappingView,
    EtrView,
    MapServerLinkView,
    TransportView,
)
from lispmsrt.views.values.events import (
    HistoryEvent,
    HistoryView,
    RejectionGroupView,
    RejectionView,
    StatisticView,
)
from lispmsrt.views.values.filters import (
    HistoryFilter,
    MappingFilter,
    RegistrationFilter,
    SessionFilter,
)
from lispmsrt.views.values.page import Page
from lispmsrt.views.values.registrations import (
    LocatorView,
    PartView,
    RecordView,
    RegistrationView,
)
from lispmsrt.views.values.sessions import SessionUseView, SessionView
from lispmsrt.views.values.system import (
    ListenerView,
    MemberFamilyView,
    MembershipView,
    OverviewView,
    SitePrefixView,
    SiteView,
    SubscriptionView,
    TransportCountView,
)

__all__ = [
    "Answered",
    "EidView",
    "EtrMappingState",
    "EtrMappingView",
    "EtrView",
    "Explanation",
    "ExplanationStep",
    "HistoryEvent",
    "HistoryFilter",
    "HistoryView",
    "ListenerView",
    "LocatorView",
    "MapServerLinkView",
    "MappingFilter",
    "MemberFamilyView",
    "MembershipView",
    "OverviewView",
    "Page",
    "PartView",
    "RecordView",
    "RegistrationFilter",
    "RegistrationView",
    "RejectionGroupView",
    "RejectionView",
    "SessionFilter",
    "SessionUseView",
    "SessionView",
    "SitePrefixView",
    "SiteView",
    "StatisticView",
    "SubscriptionView",
    "TransportCountView",
    "TransportView",
]
