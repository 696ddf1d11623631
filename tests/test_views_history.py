"""Views of what has happened: history and rejections as one list."""

from __future__ import annotations

from lispmsrt.views import history
from lispmsrt.views.cursors import CursorError
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.values import (
    HistoryEvent,
    HistoryFilter,
    HistoryView,
    Page,
    RejectionGroupView,
    RejectionView,
)
from tests.service_ground import ETR_ONE, ETR_TWO, XTR_ONE, eid_of, server_text, site
from tests.views_ground import NOON, ViewsGround, pages_of


class HistoryTests(ViewsGround):
    """Newest first, whatever it is."""

    def setUp(self) -> None:
        """Something of every kind."""
        super().setUp()
        self.watched(site("campus", "10.1.0.0/16", "7 10.1.0.0/16"))
        self.one = self.etr("10.1.1.0/24", "10.1.2.0/24", "10.9.1.0/24")
        self.network.run(10)
        self.two = self.etr("10.1.3.0/24", host=ETR_TWO, server_options='session = "off"')
        self.network.run(10)
        self.one.withdraw(eid_of("10.1.2.0/24"))
        self.network.run(1)
        self.register(self.one, "10.1.1.0/24", rloc=ETR_TWO)
        self.two.stopService()
        self.lose(ETR_TWO)
        self.network.run(200)

    def _events(self, **asked: object) -> list[tuple[str, str]]:
        page = self.views.history(HistoryFilter(**asked))  # type: ignore[arg-type]
        return [(one.event.value, one.eid_prefix) for one in page.items]

    def test_everything_in_the_order_in_which_it_was(self) -> None:
        """One sequence of numbers."""
        page = self.views.history()
        numbers = [one.number for one in page.items]
        self.assertEqual(numbers, list(range(len(numbers), 0, -1)))
        self.assertEqual([one.at for one in page.items], sorted(o.at for o in page.items)[::-1])
        found = self._events()
        self.assertEqual(found[0], ("expired", "10.1.3.0/24"))
        self.assertEqual(
            set(found),
            {
                ("registered", "10.1.1.0/24"),
                ("registered", "10.1.2.0/24"),
                ("registered", "10.1.3.0/24"),
                ("rejected", "10.9.1.0/24"),
                ("withdrawn", "10.1.2.0/24"),
                ("changed", "10.1.1.0/24"),
                ("expired", "10.1.3.0/24"),
            },
        )
        self.assert_json(page, Page[HistoryView])

    def test_what_a_line_has(self) -> None:
        """Of a mapping its RLOCs, of a rejection the rule."""
        (changed,) = self.views.history(HistoryFilter(event="changed")).items
        self.assertEqual((changed.rlocs, changed.rule), ((ETR_TWO,), ""))
        self.assertEqual((changed.site, changed.xtr_id), ("campus", XTR_ONE))
        self.assertEqual((changed.protocol, changed.source[:12]), ("TCP", ETR_ONE))
        self.assertAlmostEqual(changed.at, NOON + 21, delta=1)
        (gone,) = self.views.history(HistoryFilter(event="expired")).items
        self.assertEqual((gone.rlocs, gone.protocol), ((), "UDP"))
        self.assertEqual((gone.remaining, changed.remaining), ((), ()))
        refused = self.views.history(HistoryFilter(event="rejected")).items[0]
        self.assertIn("no site", refused.rule)
        self.assertEqual(refused.event, HistoryEvent.REJECTED)

    def test_filters(self) -> None:
        """Each of them."""
        expired = ("expired", "10.1.3.0/24")
        self.assertEqual(self._events(transport="udp", event="EXPIRED"), [expired])
        self.assertEqual(
            self._events(eid=eid_of("10.1.3.7")), [expired, ("registered", expired[1])]
        )
        self.assertEqual(len(self._events(eid=eid_of("10.1.0.0/16"), instance_id=7)), 0)
        self.assertEqual(self._events(since=NOON + 100), [expired])
        self.assertEqual(self._events(site="nobody"), [])
        self.assertNotIn(("rejected", "10.9.1.0/24"), self._events(site="campus"))

    def test_only_what_is_newer(self) -> None:
        """As a stream asks: nothing twice, nothing left out."""
        newest = self.views.overview().history_number
        self.assertEqual(self._events(after=newest), [])
        self.assertEqual(len(self._events(after=newest - 2)), 2)
        self.register(self.one, "10.1.7.0/24")
        self.assertEqual(self._events(after=newest), [("registered", "10.1.7.0/24")])

    def test_page_by_page(self) -> None:
        """New lines don't shift the older ones."""
        whole = self.views.history().items
        first = self.views.history(None, None, 2)
        self.register(self.one, "10.1.7.0/24")
        rest = pages_of(lambda at: self.views.history(None, at or first.next_cursor, 2))
        self.assertEqual((*first.items, *rest), whole)
        self.assertRaises(CursorError, self.views.history, None, "x")

    def test_few_are_looked_at_for_a_page(self) -> None:
        """A page may be empty, and there is more."""
        self.patch(history, "MAX_LOOKED_AT", 2)
        asked = HistoryFilter(event="withdrawn")
        self.assertEqual(self.views.history(asked).items, ())
        self.assertEqual(len(pages_of(lambda at: self.views.history(asked, at))), 1)

    def test_rejections_on_their_own(self) -> None:
        """With the same numbers; and by the rule that refused them."""
        rejections = self.views.rejections()
        numbers = [one.number for one in self.views.history(HistoryFilter(event="rejected")).items]
        self.assertEqual([one.number for one in rejections.items], numbers)
        one = rejections.items[0]
        self.assertEqual((one.reason, one.site), ("not a valid site EID-prefix", ""))
        self.assertEqual((one.eid_prefix, one.xtr_id), ("10.9.1.0/24", XTR_ONE))
        (group,) = self.views.rejection_groups()
        self.assertEqual((group.count, group.last), (len(numbers), one))
        self.assert_json(rejections, Page[RejectionView])
        self.assert_json(self.views.rejection_groups(), tuple[RejectionGroupView, ...])

    def test_nothing_has_happened_yet(self) -> None:
        """An empty page."""
        other = self.server(server_text(host="192.0.2.2"))
        self.assertEqual(MapServerViews(other).history(), Page((), 0, None))


class MergedTests(ViewsGround):
    """Mappings of several xTRs."""

    def test_a_part_that_ends_leaves_the_others(self) -> None:
        """And explain does not say that the EID-prefix ended."""
        self.watched()
        etrs = [
            self.etr("10.1.9.0/24", host=host, server_options="merge = true")
            for host in (ETR_ONE, ETR_TWO)
        ]
        self.network.run(5)
        etrs[0].withdraw(eid_of("10.1.9.0/24"))
        self.network.run(1)
        line = self.views.history().items[0]
        self.assertEqual((line.event, line.eid_prefix), (HistoryEvent.WITHDRAWN, "10.1.9.0/24"))
        self.assertEqual((line.rlocs, line.remaining), ((), (ETR_TWO,)))
        checks = [step.check for step in self.explained("10.1.0.0/16").steps]
        self.assertNotIn("history", checks)
