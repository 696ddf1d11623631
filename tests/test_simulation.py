"""Simulated worlds keep every promise; and the simulation finds each of the planted mistakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.session.map_server import MapServerSession
from tests.simulate.convergence import SETTLING
from tests.simulate.mistakes import MISTAKES
from tests.simulate.recovery import FAULTS as SINGLE_FAULTS
from tests.simulate.recovery import recovery
from tests.simulate.running import Report, Sums, live, run_seed
from tests.simulate.schedule import FAULTS, Event, plan_of
from tests.simulate.shrinking import shrink

_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_SEEDS = range(1, 126) if _LONG else range(1, 7)
_HOURS = 12.0 if _LONG else 1.0
_LEAST_HOURS, _LEAST_FAULTS = (1000, 10_000) if _LONG else (5, 150)


def _output_of(*arguments: str, **environment: str) -> str:
    """Return what another Python says."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        check=True,
        text=True,
    ).stdout


class PromiseTests(SynchronousTestCase):
    """Worlds in which everything goes wrong."""

    def test_every_promise_is_kept(self) -> None:
        """Whatever the seed."""
        sums = Sums()
        for seed in _SEEDS:
            self.assert_kept(run_seed(seed, _HOURS, sums))
        self.assertGreaterEqual(sums.hours, _LEAST_HOURS)
        self.assertGreaterEqual(sums.faults, _LEAST_FAULTS)
        if _LONG:
            self.assertEqual(set(FAULTS) - set(sums.events), set(), "kinds that never happened")

    def test_every_promise_is_kept_in_plain_python(self) -> None:
        """Where nothing is compiled, or with what is compiled left out."""
        said = _output_of(
            *("-m", "tests.simulate"), LISPMSRT_PURE="1", HOURS="1", SEEDS="30" if _LONG else "2"
        )
        self.assertIn("every promise was kept", said)

    def assert_kept(self, report: Report | None) -> None:
        """Fail with all that is needed to see it again."""
        if report is not None:
            self.fail(report.text())


class ReplayTests(SynchronousTestCase):
    """A seed says everything."""

    def test_a_seed_gives_the_same_world_twice(self) -> None:
        """Octet for octet, and at the same times."""
        plan = plan_of(3, 0.3, SETTLING)
        digests = {live(plan).network.digest for _ in range(2)}
        self.assertEqual(len(digests), 1)

    def test_a_seed_gives_the_same_world_in_other_processes(self) -> None:
        """Nothing depends on the order of sets, which differs between processes."""
        code = (
            "from tests.simulate.running import live\n"
            "from tests.simulate.schedule import plan_of\n"
            f"print(live(plan_of(4, 0.3, {SETTLING})).network.digest)"
        )
        digests = {_output_of("-c", code, PYTHONHASHSEED=number) for number in ("1", "2")}
        self.assertEqual(len(digests), 1)

    def test_another_seed_gives_another_world(self) -> None:
        """Or one world would be all that is ever seen."""
        digests = {live(plan_of(seed, 0.2, SETTLING)).network.digest for seed in (1, 2, 3)}
        self.assertEqual(len(digests), 3)

    def test_a_world_without_faults_converges(self) -> None:
        """What is found broken is so because of the schedule."""
        plan = replace(plan_of(5, 0.2, SETTLING), events=())
        world = live(plan)
        self.assertIsNone(world.violation)
        self.assertGreaterEqual(world.counters["rests"], 1)

    def test_shrinking_keeps_what_is_needed(self) -> None:
        """Two of fifty."""
        events = [Event(float(number), "cut") for number in range(50)]
        needed = {events[7], events[31]}
        kept = shrink(events, lambda fewer: needed <= set(fewer))
        self.assertEqual(set(kept), needed)


def _break(*_: object) -> None:
    raise RuntimeError("planted")


@cache
def _first_report() -> Report:
    reports = (run_seed(seed, 0.3) for seed in range(1, 60))
    return next(report for report in reports if report is not None)


class ReportTests(SynchronousTestCase):
    """What is said of a seed that breaks a promise is enough for somebody who sees only that."""

    def setUp(self) -> None:
        """Plant a mistake."""
        self.patch(MapServerSession, "_on_timeout", _break)
        self.report = _first_report()
        self.text = self.report.text()

    def test_it_says_who_was_there_what_was_done_and_what_happened(self) -> None:
        """In words."""
        self.assertIn("breaks NothingLoggedAsError", self.text)
        self.assertIn("planted", self.text)
        for line in (r"    MS1 at 192\.0\.2\.1$", r"    ETR2 at .*, site blue, .*, xTR-ID 2$"):
            self.assertRegex(self.text, re.compile(line, re.MULTILINE))
        for event, what in self.report.events:
            self.assertIn(f"    {tuple(event)},  # {what}", self.text)
        self.assertLessEqual(len(self.report.events), 6)
        self.assertRegex(self.text, re.compile("^[0-9:.]+  BROKEN: Nothing", re.MULTILINE))
        self.assertRegex(self.text.splitlines()[-1], "^again: make simulate SEED=[0-9]+ HOURS=0.3$")

    def test_what_it_says_to_do_shows_it_again(self) -> None:
        """The same seed of other hours is another world."""
        options = dict(re.findall(r"(\w+)=(\S+)", self.text.splitlines()[-1]))
        again = run_seed(int(options["SEED"]), float(options["HOURS"]), shrinks=False)
        assert again is not None
        self.assertEqual(again.violation.invariant, self.report.violation.invariant)

    def test_its_schedule_alone_shows_it_again(self) -> None:
        """As it is printed: to be kept as a test."""
        events = [Event(*event) for event, _what in self.report.events]
        world = live(self.report.plan, events)
        assert world.violation is not None
        self.assertEqual(world.violation.invariant, self.report.violation.invariant)


class RecoveryTests(SynchronousTestCase):
    """One fault in a world at rest."""

    def test_everything_is_back_within_a_period_and_the_longest_back_off(self) -> None:
        """However it was lost: until the next Map-Register, and until the next connection."""
        for fault in SINGLE_FAULTS:
            for seed in range(1, 31 if _LONG else 4):
                self.assertLess(recovery(seed, fault), 60.0 + 75.0, (fault, seed))


class PlantedMistakeTests(SynchronousTestCase):
    """The checks can fail, each of them."""

    names = list(MISTAKES) if _LONG else list(MISTAKES)[:4]

    def test_planted_mistakes_are_found_and_shrunk_to_a_handful_of_events(self) -> None:
        """By the invariant that is there for them."""
        # In plain Python: what is compiled would not know of what is planted.
        lines = _output_of("-m", "tests.simulate.mistakes", *self.names, LISPMSRT_PURE="1")
        found = re.findall(r"^(.*): (\w+), (\d+) events, seed \d+$", lines, re.MULTILINE)
        self.assertEqual(
            {name: invariant for name, invariant, _events in found},
            {name: MISTAKES[name][0] for name in self.names},
        )
        # A leak shows only after a while.
        sizes = [int(size) for _name, invariant, size in found if invariant != "WithinLimits"]
        self.assertLessEqual(max(sizes), 6, lines)
