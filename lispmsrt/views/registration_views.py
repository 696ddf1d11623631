"""Registrations as values, with every xTR's part."""

from __future__ import annotations

from collections.abc import Callable

from lispmsrt.mapping.database import EidTable, Lease, Registration
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.restored import RestoredLease
from lispmsrt.mapping.sites import Sites
from lispmsrt.views.naming import (
    afi_text,
    eid_text,
    flag_texts,
    lease_key_text,
    site_id_text,
    site_prefix_text,
    xtr_id_text,
)
from lispmsrt.views.records import view_of
from lispmsrt.views.times import Times
from lispmsrt.views.values import PartView, RegistrationView
from lispmsrt.wire.map_register import RegisterFlag

__all__ = ["LOST", "RESTORED", "RegistrationViews"]

LOST = "session lost: waiting to be confirmed"
"""State of a part whose session is gone, or whose key was changed."""

RESTORED = "restored: waiting to be confirmed"
"""State of a part that is known from before the Map-Server was started."""

_UDP = "UDP"


class RegistrationViews:
    """Makes views of registrations."""

    def __init__(
        self,
        sites: Callable[[], Sites],
        session_id: Callable[[Registration], int | None],
        times: Times,
    ) -> None:
        """``session_id`` returns that of the live session that holds a part, if one does."""
        self._sites = sites
        self._session_id = session_id
        self._times = times

    def view(self, table: EidTable, key: int, registration: Registration) -> RegistrationView:
        """Return what is registered for the EID-prefix of a key."""
        parts = parts_of(registration)
        newest = parts[-1]
        eid_prefix, instance_id = eid_text(table, key), table.instance_id
        match = self._sites().match(instance_id, table.afi, key.bit_length() - 1, key)
        times = self._times
        views = tuple([self._part(part, eid_prefix, instance_id) for part in parts])
        is_merged = len(parts) > 1
        record = registration.record
        return RegistrationView(
            eid_prefix=eid_prefix,
            instance_id=instance_id,
            afi=afi_text(table.afi),
            site=newest.lease.xtr.site,
            configured_prefix=site_prefix_text(match),
            merged=is_merged,
            since=times.wall(registration.since),
            expires_in=times.left_until(registration.expires),
            last_registered_by=newest.lease.source,
            transport=newest.lease.transport,
            reliable=any([part.lease.is_live for part in parts]),
            proxy_reply=bool(registration.flags & RegisterFlag.PROXY_REPLY),
            record=view_of(record, eid_prefix, instance_id) if is_merged else views[0].record,
            parts=views,
            restored=all([view.restored for view in views]),
        )

    def _part(self, part: Registration, eid_prefix: str, instance_id: int) -> PartView:
        lease = part.lease
        ids = lease.xtr.ids
        return PartView(
            site=lease.xtr.site,
            xtr_id=xtr_id_text(ids),
            site_id=site_id_text(ids),
            source=lease.source,
            transport=lease.transport,
            state=_state(lease),
            session=self._session_id(part),
            since=self._times.wall(part.since),
            expires_in=self._times.left_until(part.expires),
            flags=flag_texts(part.flags),
            record=view_of(part.record, eid_prefix, instance_id),
            key=lease_key_text(lease),
            restored=isinstance(lease, RestoredLease),
        )


def _state(lease: Lease) -> str:
    if lease.is_live:
        return "session"
    if isinstance(lease, RestoredLease):
        return RESTORED
    return _UDP if lease.transport == _UDP else LOST
