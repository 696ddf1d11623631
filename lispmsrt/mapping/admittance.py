"""What may stand beside what is registered already: merging, room in the database, and who may take
whose place. It decides and writes nothing.
"""

from __future__ import annotations

from lispmsrt.mapping.database import Registration
from lispmsrt.mapping.merging import MergeError, parts_of, with_part
from lispmsrt.mapping.refusals import Refusal, database_full, merge_limit, no_xtr_id

__all__ = ["admitted"]


def admitted(
    current: Registration | None, part: Registration, *, count: int, limit: int
) -> Registration | Refusal:
    """Return what is to stand in the place of ``current`` with ``part``, or why it may not.

    ``count`` is how many registrations there are, of ``limit``.
    """
    present = parts_of(current)
    site = part.lease.xtr.site
    is_anonymous_over_udp = not part.lease.is_live and not part.lease.xtr.ids
    if is_anonymous_over_udp and any(one.lease.is_live for one in present):
        # docs/draft.rst, Arming 1: its messages could be another's, caught and sent again.
        return no_xtr_id(site)
    try:
        after = with_part(current, part)
    except MergeError as error:
        return merge_limit(site, str(error))
    growth = len(parts_of(after)) - len(present)
    if growth > 0 and count + growth > limit:
        return database_full(site, limit)
    return after
