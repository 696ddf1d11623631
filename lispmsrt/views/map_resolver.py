"""What an operator may see of a Map-Resolver that is no Map-Server."""

from __future__ import annotations

from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.views.statistics import map_resolver_statistics
from lispmsrt.views.values import StatisticView

__all__ = ["MapResolverViews"]


class MapResolverViews:
    """One Map-Resolver."""

    def __init__(self, service: MapResolverService) -> None:
        self.service = service

    def statistics(self) -> tuple[StatisticView, ...]:
        """Return every counter."""
        return map_resolver_statistics(self.service)
