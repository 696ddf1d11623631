"""The routes that read: one declaration for each view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lispmsrt.views.cursors import CursorError
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.views.sessions import SeveralSessionsError
from lispmsrt.views.statistics import management_statistics
from lispmsrt.views.values import (
    EidView,
    EtrMappingView,
    EtrView,
    Explanation,
    HistoryFilter,
    HistoryView,
    MappingFilter,
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
from lispmsrt.web.declarations import API, Asked, Route
from lispmsrt.web.errors import ApiError, missing_role
from lispmsrt.web.parameters import (
    ADDRESS,
    EID,
    INSTANCE_ID,
    PAGING,
    TEXT,
    Parameter,
    filter_from,
    filter_parameters,
)
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["read_routes"]

_NO_ROLE = {404: "this process does not have the role"}
_ONE_EID = (
    Parameter("eid", EID, "an EID, or an EID-prefix", is_required=True),
    Parameter("instance_id", INSTANCE_ID, "its instance ID", default=0),
)
_ITR = Parameter("itr", ADDRESS, "address of the ITR that would ask")

_View = TypeVar("_View")


def read_routes(views: NodeViews, counters: Mapping[str, int]) -> tuple[Route, ...]:
    """Declare everything that reads; ``counters`` are those of the endpoint itself."""
    return (*_whole_routes(views, counters), *_list_routes(views), *_single_routes(views))


def _map_server(views: NodeViews) -> MapServerViews:
    if views.map_server is None:
        raise missing_role("Map-Server")
    return views.map_server


def _etr(views: NodeViews) -> EtrViews:
    if views.etr is None:
        raise missing_role("ETR")
    return views.etr


def _whole_routes(views: NodeViews, counters: Mapping[str, int]) -> tuple[Route, ...]:
    return (
        _whole("overview", "One look at everything", OverviewView, views.overview),
        _whole(
            "statistics",
            "Every counter, with what it means",
            tuple[StatisticView, ...],
            lambda: (*views.statistics(), *management_statistics(counters)),
        ),
        _whole(
            "rejection-groups",
            "Rejections by the rule that refused",
            tuple[RejectionGroupView, ...],
            lambda: _map_server(views).rejection_groups(),
            _NO_ROLE,
        ),
        _whole(
            "membership",
            "RLOC membership",
            MembershipView,
            lambda: _map_server(views).membership(),
            _NO_ROLE,
        ),
        _whole("etr", "The ETR and its Map-Servers", EtrView, lambda: _etr(views).etr(), _NO_ROLE),
    )


def _whole(
    name: str,
    summary: str,
    result: Any,
    view: Callable[[], object],
    errors: dict[int, str] | None = None,
) -> Route:
    """Declare a view that is answered whole."""
    return Route(
        "GET", f"{API}/{name}", name, summary, result, lambda asked: view(), errors=errors or {}
    )


def _list_routes(views: NodeViews) -> tuple[Route, ...]:
    return (
        _list(
            "sessions",
            "Reliable-transport sessions",
            SessionView,
            SessionFilter,
            lambda *asked: _map_server(views).sessions(*asked),
        ),
        _list(
            "registrations",
            "Registered EID-prefixes",
            RegistrationView,
            RegistrationFilter,
            lambda *asked: _map_server(views).registrations(*asked),
        ),
        _list(
            "history",
            "What became of mappings, newest first",
            HistoryView,
            HistoryFilter,
            lambda *asked: _map_server(views).history(*asked),
        ),
        _list(
            "rejections",
            "What was refused, newest first",
            RejectionView,
            HistoryFilter,
            lambda *asked: _map_server(views).rejections(*asked),
            without=("event",),
        ),
        _list(
            "etr/mappings",
            "Mappings of the ETR, at each Map-Server",
            EtrMappingView,
            MappingFilter,
            lambda *asked: _etr(views).mappings(*asked),
        ),
        _unfiltered(
            "sites",
            "Configured sites",
            SiteView,
            lambda *asked: _map_server(views).sites(*asked),
        ),
        _unfiltered(
            "subscriptions",
            "Subscriptions (RFC 9437)",
            SubscriptionView,
            lambda *asked: _map_server(views).subscriptions(*asked),
        ),
    )


def _list(
    name: str,
    summary: str,
    item: Any,
    kind: type[Any],
    view: Callable[[Any, str | None, int], object],
    *,
    without: tuple[str, ...] = (),
) -> Route:
    """Declare a long list, which is answered in pages."""

    def answer(asked: Asked) -> object:
        return _paged(lambda: view(filter_from(kind, asked.values), *_paging(asked)))

    parameters = (*PAGING, *filter_parameters(kind, without))
    return _list_route(name, summary, item, answer, parameters)


def _unfiltered(
    name: str, summary: str, item: Any, view: Callable[[str | None, int], object]
) -> Route:
    """Declare a list of which all is asked for."""

    def answer(asked: Asked) -> object:
        return _paged(lambda: view(*_paging(asked)))

    return _list_route(name, summary, item, answer, PAGING)


def _list_route(
    name: str,
    summary: str,
    item: Any,
    answer: Callable[[Asked], object],
    parameters: tuple[Parameter, ...],
) -> Route:
    label = name.replace("/", "-")
    return Route(
        "GET", f"{API}/{name}", label, summary, Page[item], answer, parameters, errors=_NO_ROLE
    )


def _paging(asked: Asked) -> tuple[str | None, int]:
    return asked.values.get("cursor"), asked.values["limit"]


def _paged(view: Callable[[], object]) -> object:
    try:
        return view()
    except CursorError as failure:
        raise ApiError(400, f"cursor {failure}") from None


def _single_routes(views: NodeViews) -> tuple[Route, ...]:
    nothing = {404: "there is none, or this process does not have the role"}
    session = Parameter("id", TEXT, "its id, its peer's address:port, or the address", True, "path")
    site = Parameter("name", TEXT, "name of the site", True, "path")
    return (
        Route(
            "GET",
            f"{API}/sessions/{{id}}",
            "session",
            "One session, with all its counters",
            SessionView,
            lambda asked: _found(_map_server(views).session, asked.values["id"], "session"),
            (session,),
            errors={**nothing, 409: "several sessions are from this address"},
        ),
        Route(
            "GET",
            f"{API}/sites/{{name}}",
            "site",
            "One site",
            SiteView,
            lambda asked: _found(_map_server(views).site, asked.values["name"], "site"),
            (site,),
            errors=nothing,
        ),
        Route(
            "GET",
            f"{API}/eid",
            "eid",
            "What is known of an EID, and what a Map-Request for it would be answered",
            EidView,
            lambda asked: _map_server(views).eid(_one_eid(asked), asked.values.get("itr")),
            (*_ONE_EID, _ITR),
            errors=_NO_ROLE,
        ),
        Route(
            "GET",
            f"{API}/explain",
            "explain",
            "Why an EID resolves, or does not",
            Explanation,
            lambda asked: _map_server(views).explain(_one_eid(asked)),
            _ONE_EID,
            errors=_NO_ROLE,
        ),
    )


def _found(view: Callable[[str], _View | None], text: str, what: str) -> _View:
    try:
        found = view(text)
    except SeveralSessionsError as failure:
        raise ApiError(409, str(failure)) from None
    if found is None:
        raise ApiError(404, f"there is no {what} {text}")
    return found


def _one_eid(asked: Asked) -> EidPrefix:
    eid: EidPrefix = asked.values["eid"]
    return EidPrefix(asked.values["instance_id"], eid.address, eid.length)
