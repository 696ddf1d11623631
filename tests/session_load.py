"""Many Registrations, never more of them unanswered than the window allows."""

from __future__ import annotations

from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.session.limits import SessionLimits
from tests.session_ground import SessionGround

__all__ = ["LoadTests"]


class LoadTests(SessionGround):
    """An ETR that starts with all of them."""

    async def test_a_great_many_registrations_go_through_the_window(self) -> None:
        """All are acknowledged, and the database has exactly these."""
        self.start_server()
        etr, listener = self.start_etr(many=self.registrations)
        link = etr.links[0]
        entries = link.registrations.entries.values()
        highest = 0

        def is_done() -> bool:
            nonlocal highest
            highest = max(highest, link.registrations.outstanding)
            is_idle = not link.registrations.unanswered and not link.registrations.due
            return "up" in listener.names() and is_idle

        await self.until(is_done, "all are acknowledged")
        self.assertEqual({entry.state for entry in entries}, {EtrState.STABLE})
        self.assertEqual(len(entries), self.registrations)
        self.assertEqual(len(self.server.database), self.registrations)
        self.assertTrue(all(each.lease.is_live for each in self.server.database.registrations()))
        self.assertEqual(listener.names(), ["up"])
        self.assertLessEqual(highest, SessionLimits().window)
        self.assertGreater(highest, 0)
