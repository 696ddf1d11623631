"""Every counter has a group and a meaning, and whoever asks for statistics finds it."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.services.etr import Etr
from lispmsrt.services.link import RegistrationRejected
from lispmsrt.services.map_server import MapServer
from lispmsrt.views import statistics
from lispmsrt.views.meanings import GROUPS, MAP_REGISTERS, TRANSPORTS, Group
from lispmsrt.views.statistics import (
    counters_of_port,
    etr_statistics,
    map_resolver_statistics,
    map_server_statistics,
    session_totals,
)
from lispmsrt.views.values import StatisticView
from tests.counter_keys import CountedKey, keys_of_package, keys_of_text
from tests.rim import mapping, outcome
from tests.service_ground import ETR_ONE, MAP_RESOLVER, Ground, server_text, site

_TARGET = """
[[map-resolver.map-server]]
address = "192.0.2.1:4342"
eid-prefix = [{ prefix = "10.9.0.0/16" }]
"""


def _meanings_of(key: CountedKey) -> list[tuple[str, list[str]]]:
    """Return the groups of a key's module, each with the counters there that the key may be."""
    return [
        (group.name, [counter for counter in group.meanings if _is_counted(key, counter)])
        for group in GROUPS
        if key.module in group.counted_in
    ]


def _is_counted(key: CountedKey, counter: str) -> bool:
    return key.counts(counter.replace("*", "1"))


class MeaningTests(SynchronousTestCase):
    """The meanings beside the source."""

    def test_every_counter_has_a_meaning(self) -> None:
        """In each group that its module counts for."""
        keys = keys_of_package()
        self.assertGreater(len(keys), 150)
        without = [
            (key, group)
            for key in keys
            for group, counters in _meanings_of(key) or [("no group", [])]
            if not counters
        ]
        self.assertEqual(without, [])

    def test_every_meaning_has_a_counter(self) -> None:
        """In one of the modules that its group names; rejections are summed from elsewhere."""
        keys = keys_of_package()
        unused = [
            (group.name, counter)
            for group in GROUPS
            if group.counted_in
            for counter in group.meanings
            if not any(key.module in group.counted_in and _is_counted(key, counter) for key in keys)
        ]
        self.assertEqual(unused, [])

    def test_every_module_of_a_group_counts(self) -> None:
        """A module that was moved does not stay behind in a list; some hand counters on only."""
        counting = {key.module for key in keys_of_package()} | {"mapping/rloc_members.py"}
        for group in GROUPS:
            self.assertEqual(set(group.counted_in) - counting, set(), group.name)

    def test_meanings_are_one_line_each(self) -> None:
        """A sentence or two that fit beside a name and a number."""
        for group in GROUPS:
            for counter, meaning in group.meanings.items():
                self.assertTrue(meaning.endswith("."), (group.name, counter))
                self.assertNotIn("\n", meaning)
                self.assertLessEqual(len(meaning), 140, (group.name, counter))

    def test_group_names_are_unique(self) -> None:
        """They are what is filtered by."""
        names = [group.name for group in GROUPS]
        self.assertEqual(len(set(names)), len(names))

    def test_a_patterns_meaning_is_found(self) -> None:
        """And what nobody has described says so."""
        self.assertIn("does not know", MAP_REGISTERS.meaning_of("type 7 not handled"))
        self.assertEqual(MAP_REGISTERS.meaning_of("who knows"), "not described")


class SampleTests(SynchronousTestCase):
    """The test that reads the source sees what it is there for."""

    def _keys(self, body: str, rest: str = "") -> list[str]:
        text = f"class A:\n    def f(self, what):\n        {body}\n{rest}"
        return [key.text for key in keys_of_text("control/lisp_sec.py", text)]

    def test_keys_are_found_in_all_their_forms(self) -> None:
        """Texts, f-strings, either of two, parameters, tables, enums."""
        self.assertEqual(self._keys("self.counters['one'] += 1"), ["one"])
        self.assertEqual(self._keys("_counters[f'a {b.name} c'] += 1"), ["a {} c"])
        self.assertEqual(self._keys("counters['x' if y else 'z'] += n"), ["x", "z"])
        self.assertEqual(
            self._keys("self.counters[what] += 1", "    def g(self):\n        self.f('handed')"),
            ["handed"],
        )
        self.assertEqual(
            self._keys("k = _T.get(1, f'{what}?'); self.counters[k] += 1", "_T = {1: 'one'}"),
            ["{}?", "one"],
        )
        self.assertIn("LISP-SEC data malformed", self._keys("self.counters[found.value] += 1"))

    def test_what_can_not_be_found_out_fails(self) -> None:
        """So that nobody counts where this test does not look."""
        for body in ("self.counters[g()] += 1", "self.counters['x'] = 1", "counters[key] += 1"):
            self.assertRaises(AssertionError, self._keys, body)

    def test_an_f_string_stands_for_what_it_makes(self) -> None:
        """And nothing else."""
        key = CountedKey("control/plane.py", "type {} not handled")
        self.assertTrue(key.counts("type 7 not handled"))
        self.assertFalse(key.counts("type 7 handled"))


def _by_name(views: tuple[StatisticView, ...], group: str) -> dict[str, int]:
    return {view.name: view.value for view in views if view.group == group}


class ServiceTests(Ground):
    """Statistics of services that run."""

    def test_map_server_tells_what_it_counted(self) -> None:
        """A session's messages, a Map-Register, and what has never happened as 0."""
        server = self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(5)
        views = map_server_statistics(server)
        registers = _by_name(views, "map-registers")
        self.assertGreaterEqual(registers["Map-Registers in"], 1)
        self.assertEqual(registers["Map-Registers refused: AUTHENTICATION_FAILURE"], 0)
        messages = _by_name(views, "sessions")["messages in"]
        self.assertGreaterEqual(messages, 1)
        self.assertEqual([view for view in views if view.meaning == "not described"], [])
        etr.stopService()
        self.services.remove(etr)
        self.network.run(5)
        self.assertEqual(server.sessions, [])
        ended = _by_name(map_server_statistics(server), "sessions")["messages in"]
        self.assertGreaterEqual(ended, messages)

    def test_rejections_are_split_as_in_a_rejection(self) -> None:
        """Not a valid EID-prefix, locators not allowed, over UDP and on the session alike."""
        server = self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(5)
        for eid, rloc in (("10.9.0.0/24", ETR_ONE), ("10.1.2.0/24", "192.0.2.99")):
            (result,) = self._refused(etr, eid, rloc)
            self.assertIsInstance(result, RegistrationRejected)
        found = _by_name(map_server_statistics(server), "verdicts")
        self.assertGreaterEqual(found["not a valid site EID-prefix"], 1)
        self.assertGreaterEqual(found["locator set not allowed"], 1)
        self.assertEqual((found["authentication failure"], found["other"]), (0, 0))

    def _refused(self, etr: Etr, eid: str, rloc: str) -> list[Any]:
        result = outcome(etr.register(mapping(eid, rloc)))
        self.network.run(1)
        return result

    def test_wrong_key_is_an_authentication_failure(self) -> None:
        """Over UDP, where it is met with silence otherwise."""
        server = self.server(server_text(site(secrets=("right",))))
        self.etr("10.1.1.0/24", secret="wrong")
        self.network.run(5)
        found = _by_name(map_server_statistics(server), "verdicts")
        self.assertGreaterEqual(found["authentication failure"], 1)

    def test_etr_tells_what_it_counted(self) -> None:
        """Map-Registers, and its session's messages."""
        self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(5)
        views = etr_statistics(etr)
        self.assertGreaterEqual(_by_name(views, "registering")["Map-Registers out"], 1)
        self.assertGreaterEqual(_by_name(views, "etr-sessions")["messages out"], 1)
        self.assertEqual([view for view in views if view.meaning == "not described"], [])

    def test_map_resolver_tells_what_it_counted(self) -> None:
        """A question for which it knows no Map-Server."""
        service = self.resolver(f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n{_TARGET}')
        self.ask("10.1.1.1", MAP_RESOLVER)
        requests = _by_name(map_resolver_statistics(service), "map-requests")
        self.assertEqual((requests["Map-Requests in"], requests["Map-Replies out"]), (1, 1))


class _Server:
    """As much of a Map-Server as sessions are counted by."""

    def __init__(self, sessions: int) -> None:
        self.sessions = [SimpleNamespace(counters=Counter({"messages in": 1}))] * sessions
        self.ended: Counter[str] = Counter()

    @property
    def session_protocols(self) -> list[SimpleNamespace]:
        """As many as there are sessions."""
        return self.sessions


class TotalTests(SynchronousTestCase):
    """The sum over all sessions."""

    def setUp(self) -> None:
        self.now = 10.0

    def total(self, server: _Server) -> int:
        """Return how many messages came, says the sum at this time."""
        return session_totals(cast(MapServer, server), lambda: self.now)["messages in"]

    def test_few_sessions_are_summed_at_once(self) -> None:
        """Nobody waits to see what has just happened."""
        server = _Server(3)
        self.assertEqual(self.total(server), 3)
        server.ended["messages in"] += 5
        self.assertEqual(self.total(server), 8)

    def test_the_sum_of_many_is_told_again_for_half_a_second(self) -> None:
        """Whoever asks all the time, and however many do, makes one sum."""
        server = _Server(1000)
        self.assertEqual(self.total(server), 1000)
        server.ended["messages in"] += 5
        self.now += 0.4
        self.assertEqual(self.total(server), 1000)
        self.now += 0.2
        self.assertEqual(self.total(server), 1005)

    def test_the_sum_of_very_many_lasts_longer(self) -> None:
        """The share of the time that it takes stays the same."""
        server = _Server(40_000)
        self.total(server)
        server.ended["messages in"] += 5
        self.now += 1.9
        self.assertEqual(self.total(server), 40_000)
        self.now += 0.2
        self.assertEqual(self.total(server), 40_005)

    def test_an_end_does_not_count_twice(self) -> None:
        """A session goes from the living to the ended: no counter ever falls or jumps."""
        server = _Server(1000)
        self.assertEqual(self.total(server), 1000)
        del server.sessions[0]
        server.ended["messages in"] += 1
        self.assertEqual(self.total(server), 1000)
        self.now += 1.0
        self.assertEqual(self.total(server), 1000)

    def test_a_forgotten_server_is_forgotten(self) -> None:
        """The sums are kept for those that there are."""
        before = len(statistics._sums)
        self.total(_Server(1))
        self.assertLessEqual(len(statistics._sums), before + 1)


class PortTests(SynchronousTestCase):
    """What listening ports count, wherever they keep it."""

    def test_counters_of_ports_are_found(self) -> None:
        """At the port, at the factory before the sessions, and among its handshakes."""
        handshakes: Any = SimpleNamespace(counters=Counter({"handshakes begun": 2}))
        factory: Any = SimpleNamespace(counters=Counter({"refusals": 3}), handshakes=handshakes)
        port = SimpleNamespace(counters=Counter({"Retries sent": 1}), factory=factory)
        self.assertEqual(
            counters_of_port(port), {"Retries sent": 1, "refusals": 3, "handshakes begun": 2}
        )
        self.assertEqual(counters_of_port(SimpleNamespace()), {})

    def test_a_group_lists_what_never_happened(self) -> None:
        """In the order of its meanings, then what only shows when it happens."""
        group = Group("g", (), {"one": "One.", "two *": "Two.", "three": "Three."})
        views = group.views({"three": 3, "two 2": 2})
        self.assertEqual(
            [(view.name, view.value, view.meaning) for view in views],
            [("one", 0, "One."), ("three", 3, "Three."), ("two 2", 2, "Two.")],
        )
        self.assertEqual({view.group for view in TRANSPORTS.views({})}, {"transports"})
