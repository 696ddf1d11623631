"""What one look costs at most, counted in things looked at: nobody must wait for an observer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import Database
from lispmsrt.mapping.refusals import Refusal
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.views import history, registration_walk
from lispmsrt.views.cursors import BEGINNING, Position
from lispmsrt.views.name_order import NameOrder
from lispmsrt.views.registration_walk import Range, Walk
from lispmsrt.views.values import HistoryFilter
from lispmsrt.wire.addresses import Afi
from lispmsrt.wire.record_walk import walk_records
from tests.builders import record
from tests.views_ground import ViewsGround, pages_of


class CoveringTests(SynchronousTestCase):
    """Looking for what covers an EID, in every instance."""

    def pages(self, length: int) -> int:
        """Return how many pages it takes to look through 100 instances."""
        self.patch(registration_walk, "MAX_LOOKED_AT", 20)
        database, names = Database(), NameOrder()
        for instance_id in range(100):
            database.table(instance_id, Afi.IPV6)
        ranges = [Range(number, Afi.IPV6, length, 1 << length, True) for number in range(100)]
        position: Position | None = BEGINNING
        for page in range(1, 1000):
            assert position is not None
            walk = Walk(database, names, ranges, position)
            self.assertEqual(list(walk.entries()), [])
            position = walk.position
            if position is None:
                return page
        raise AssertionError("it never ends")

    def test_each_length_is_looked_for(self) -> None:
        """An IPv6 address may be covered by 128 prefixes, which takes longer than a look."""
        self.assertEqual(self.pages(0), 5)
        self.assertEqual(self.pages(128), 50)


class RejectionTests(ViewsGround):
    """Rejections, each with a sentence that is made when somebody reads it."""

    def setUp(self) -> None:
        """Ten, of ten sites."""
        super().setUp()
        self.watched()
        rejections = self.map_server.registrar.rejections
        span = walk_records(record("10.1.0.0/16"), 0, len(record("10.1.0.0/16")), 1)[0]
        for at in range(10):
            refusal = Refusal(Verdict.OTHER, "a rule", f"site-{at}", lambda: "the rule")
            rejections.note(refusal, span, b"", "UDP", "192.0.2.9:4342", self.network.seconds())

    def test_they_count_for_more_than_one_line(self) -> None:
        """So a page of them is shorter, whether they are asked for or not."""
        self.patch(history, "MAX_LOOKED_AT", 20)
        self.assertEqual(len(self.views.rejections().items), 3)
        self.assertEqual(len(self.views.history().items), 3)
        page = self.views.history(HistoryFilter(event="expired"))
        self.assertEqual((page.items, page.next_cursor), ((), "7"))
        self.assertEqual(len(pages_of(lambda at: self.views.history(None, at))), 10)

    def test_the_groups_broken_last_are_told(self) -> None:
        """Anybody can be refused for every site."""
        self.patch(history, "MAX_GROUPS", 3)
        groups = self.views.rejection_groups()
        self.assertEqual([one.site for one in groups], ["site-9", "site-8", "site-7"])
