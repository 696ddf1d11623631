"""Ordinary Map-Requests, answered many at a time where :mod:`lispmsrt.control._map_requests` was
compiled.

There is nothing of the kind in Python: :class:`lispmsrt.control.map_requests.MapRequests` answers
whatever is declined here, one by one, and the answer is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lispmsrt.compiled import twin
from lispmsrt.control.plane import ReceiveRun
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import Outgoing
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.sites import Sites

__all__ = ["ordinary_runs"]

_compiled = twin("lispmsrt.control._map_requests")


def ordinary_runs(
    lookup: Lookup,
    sites: Callable[[], Sites],
    questions: Questions,
    counters: Counter[str],
    outgoing: Outgoing,
    *,
    passes_on: bool,
) -> ReceiveRun | None:
    """Return what answers runs of ordinary Map-Requests; None where nothing was compiled.

    ``counters`` counts the answers; ``passes_on``: EIDs of no site are for somebody else.
    """
    if _compiled is None:
        return None
    runs = _compiled.Runs(lookup.tables, sites, questions, counters, outgoing, passes_on)
    receive_run: ReceiveRun = runs.receive_run
    return receive_run
