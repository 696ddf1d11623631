"""The mark of what was registered before the process began, and that nobody has confirmed since."""

from __future__ import annotations

from lispmsrt.mapping.database import Lease

__all__ = ["RestoredLease"]


class RestoredLease(Lease):
    """Holds what an xTR had registered, until the xTR confirms it or its time is over."""

    __slots__ = ()
