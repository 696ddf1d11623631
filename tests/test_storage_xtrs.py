"""Which xTRs a Map-Server's memory keeps: found by the simulation, which moves EID-prefixes between
leases at any moment.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.storage.xtrs import Xtrs

_XTR = Xtr("red", bytes(24), b"")


class HandedOverTests(SynchronousTestCase):
    """An xTR has a lease per session and one over UDP."""

    def test_an_xtr_is_kept_whose_registrations_go_from_lease_to_lease(self) -> None:
        """However often they do so just before each lease would be looked at."""
        leases: dict[Lease, None] = {}
        xtrs = Xtrs(leases, 180.0)
        registration = Registration(b"record", self.lease(), 0, 0.0, None)
        holder = registration.lease
        holder.held[registration] = None
        leases[holder] = None
        xtrs.number(holder, 0.0, 0.0)
        for turn in range(10):
            xtrs.look(float(turn), 0.0, is_partial=False)
            self.assertEqual(xtrs.take()[1], [])
            # The next walk has begun with the leases of before. A registration that is confirmed
            # is not written again, so nobody asks for its number.
            successor = self.lease()
            holder.held.clear()
            del leases[holder]
            successor.held[registration] = None
            leases[successor] = None
            holder = successor

    def test_an_xtr_is_forgotten_that_has_nothing_any_more(self) -> None:
        """Else the file would grow with everybody who was ever there."""
        leases: dict[Lease, None] = {}
        xtrs = Xtrs(leases, 180.0)
        lease = self.lease()
        lease.held[Registration(b"record", lease, 0, 0.0, None)] = None
        leases[lease] = None
        number = xtrs.number(lease, 0.0, 0.0)
        xtrs.look(0.0, 0.0, is_partial=False)
        lease.held.clear()
        leases.clear()
        for turn in range(10):
            xtrs.look(float(turn), 0.0, is_partial=False)
        self.assertEqual(xtrs.take()[1], [number])

    @staticmethod
    def lease() -> Lease:
        """Return that of a live session."""
        return Lease(_XTR, "TCP", "198.51.100.3:50001", is_live=True)
