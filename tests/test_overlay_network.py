"""The whole mapping service between machines: who answers an ITR, and what becomes of the answers
when an ETR is cut off or an EID-prefix moves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from tests.overlay_ground import (
    LATEST,
    REGISTRATION_TIMEOUT,
    OverlayGround,
    Shown,
    ends,
    etr_text,
    map_server_text,
)
from tests.overlay_network import Host
from tests.running import Child

_SHARED, _FIRSTS = "10.1.1.5", "10.1.11.5"
_NOT_REGISTERED, _NO_SITE = (1, "natively-forward"), (15, "natively-forward")

_ONCE = ("--count", "1", "--timeout", "1")
_PATIENTLY = ("--count", "10", "--timeout", "1")

_MAP_REPLY, _MAP_REGISTER, _MAP_NOTIFY, _ENCAPSULATED = "2", "3", "4", "8"
_MAPPING_NOTIFICATION = "21"


class _Together(OverlayGround):
    """Two ETRs that register one EID-prefix together, and each one of its own besides."""

    async def start_all(self, options: str) -> None:
        """Start all three processes; the session of the second ETR is over IPv6."""
        server, first, second = self.server, self.first, self.second
        options = f"merge = true\n{options}"
        self.start(server, map_server_text(server))
        eids = ["10.1.1.0/24", "10.1.11.0/24"]
        control = f"{first.ipv4}:4342"
        text = etr_text(first, server.ipv4, eids, control=control, options=options)
        self.first_etr = self.start(first, text)
        eids = ["10.1.1.0/24", "10.1.12.0/24", "2001:db8:e1d:6::/64"]
        text = etr_text(second, f"[{server.ipv6}]:4342", eids, options=options)
        await self.are_up(self.first_etr, self.start(second, text))

    def assert_not_before(self, since: float, shown: Shown) -> None:
        """A registration outlives its session for so long, and so does what is said of it."""
        self.assertGreaterEqual(shown.shown - since, REGISTRATION_TIMEOUT)


class ProxyTests(_Together, TestCase):
    """ETRs that leave the answers to the Map-Server."""

    async def test_the_map_server_answers_for_a_killed_etr_until_that_has_timed_out(self) -> None:
        """With the RLOCs of both, then with those that are left; and in the end negatively."""
        await self.start_all("proxy-reply = true")
        both = self.first.rlocs | self.second.rlocs
        shown = await self.ask_until(lambda one: set(one.rlocs) == both, _SHARED)
        self.assert_is_of_the_map_server(shown[-1][0], "10.1.1.0/24")
        await self.check_other_answers()
        killed = await self.kill(self.first_etr)
        shown = await self.ask_until(
            lambda one, own: set(one.rlocs) == self.second.rlocs and not own.rlocs,
            *(_SHARED, _FIRSTS),
            end=killed + LATEST,
        )
        self.check_what_a_loss_has_changed(shown, killed)
        self.assert_is_of_the_map_server(shown[-1][0], "10.1.1.0/24")
        self.assert_negative(shown[-1][1], _NOT_REGISTERED, "10.1.8.0/22")
        self.check_messages()

    def check_what_a_loss_has_changed(self, shown: Sequence[Sequence[Shown]], at: float) -> None:
        """Nothing before its time, and nothing but what was lost."""
        first, second = self.first.rlocs, self.second.rlocs
        for one, own in shown:
            self.assertIn(set(one.rlocs), (first | second, second))
            self.assertIn(set(own.rlocs), (first, set()))
            for answer, is_reduced in ((one, set(one.rlocs) == second), (own, not own.rlocs)):
                if is_reduced:
                    self.assert_not_before(at, answer)

    async def check_other_answers(self) -> None:
        """What one ETR alone has registered, over IPv6 too, and what nobody has."""
        over_ipv6 = ("--resolver", self.server.ipv6)
        own, sixth, known, foreign = await self.ask_together(
            (_FIRSTS,), ("2001:db8:e1d:6::5", *over_ipv6), ("10.1.200.5",), ("10.9.0.5", *over_ipv6)
        )
        self.assertEqual(set(own.rlocs), self.first.rlocs)
        self.assert_is_of_the_map_server(own, "10.1.11.0/24")
        self.assertEqual((sixth.who, set(sixth.rlocs)), (self.server.ipv6, self.second.rlocs))
        self.assert_negative(known, _NOT_REGISTERED, "10.1.128.0/17")
        self.assert_negative(foreign, _NO_SITE, "10.8.0.0/13")

    def assert_is_of_the_map_server(self, shown: Shown, eid_prefix: str) -> None:
        """RFC 9301 §8.3: it says so by a clear A bit, and by clear L bits."""
        self.assertEqual((shown.code, shown.who), (0, self.server.ipv4))
        self.assertEqual((shown.said["eid_prefix"], shown.record["ttl"]), (eid_prefix, 1440))
        self.assertFalse(shown.record["authoritative"])
        self.assertEqual({each["local"] for each in shown.record["locators"]}, {False})

    def check_messages(self) -> None:
        """Over IPv4 and IPv6; no ETR was asked."""
        found = self.messages()
        for server, etr, itr in (
            (self.server.ipv4, self.first.ipv4, self.itr.ipv4),
            (self.server.ipv6, self.second.ipv6, self.itr.ipv6),
        ):
            for message in (
                (etr, server, _MAP_REGISTER),
                (server, etr, _MAP_NOTIFY),
                (itr, server, _ENCAPSULATED),
                (server, itr, _MAP_REPLY),
            ):
                self.assertGreater(found[message], 0, message)
        asked = {to for _from, to, kind in found if kind == _ENCAPSULATED}
        self.assertEqual(asked, {self.server.ipv4, self.server.ipv6})


class NonProxyTests(_Together, TestCase):
    """ETRs that answer themselves."""

    async def test_an_etr_that_is_cut_off_is_passed_over_and_its_mappings_time_out(self) -> None:
        """An ITR that asks again reaches the other one. Put back, it answers again."""
        await self.start_all("proxy-reply = false")
        await self.see_both()
        cut = time.monotonic()
        self.network.cut(self.first)
        self.assert_is_of(self.second, await self.ask(_SHARED, *_PATIENTLY))
        shown = await self.ask_until(
            lambda own: own.code == 1, _FIRSTS, options=_ONCE, end=cut + LATEST
        )
        self.assertLessEqual({own.said["answer"] for (own,) in shown[:-1]}, {"none"})
        self.assert_not_before(cut, shown[-1][0])
        self.assert_negative(shown[-1][0], _NOT_REGISTERED, "10.1.8.0/22")
        for one in await self.ask_together((_SHARED,), (_SHARED,)):
            self.assert_is_of(self.second, one)
            self.assertEqual(one.said["tries"], 1)
        self.network.mend(self.first)
        shown = await self.ask_until(lambda own: own.code == 0, _FIRSTS, options=_ONCE)
        self.assert_is_of(self.first, shown[-1][0])
        self.check_messages()

    async def see_both(self) -> None:
        """Ask until each has had its turn."""
        answers: dict[str, Shown] = {}

        def is_enough(shown: Shown) -> bool:
            if shown.code == 0:
                answers[shown.who] = shown
            return len(answers) == 2

        await self.ask_until(is_enough, _SHARED)
        for host in (self.first, self.second):
            self.assert_is_of(host, answers[host.ipv4])

    def assert_is_of(self, host: Host, shown: Shown) -> None:
        """It speaks for itself only."""
        self.assertEqual((shown.code, shown.who), (0, host.ipv4))
        self.assertTrue(shown.record["authoritative"])
        self.assertEqual(set(shown.rlocs), host.rlocs)

    def check_messages(self) -> None:
        """The ITR asked the Map-Server, which asked both ETRs, which answered the ITR."""
        found = self.messages()
        server, itr = self.server, self.itr.ipv4
        for message in (
            (itr, server.ipv4, _ENCAPSULATED),
            (server.ipv4, self.first.ipv4, _ENCAPSULATED),
            (server.ipv6, self.second.ipv6, _ENCAPSULATED),
            (self.first.ipv4, itr, _MAP_REPLY),
            (self.second.ipv4, itr, _MAP_REPLY),
        ):
            self.assertGreater(found[message], 0, message)


class MobilityTests(OverlayGround, TestCase):
    """An EID-prefix that another ETR registers, without merge."""

    async def test_it_has_moved_at_once_and_is_not_taken_back(self) -> None:
        """The ETR that it has left hears of it, and leaves it there even when all are asked to
        register anew.
        """
        daemon = await self.start_and_move()
        self.assertEqual(set((await self.ask(_SHARED)).rlocs), self.second.rlocs)
        # Other keys: everything is to be registered anew. Another EID-prefix: it shows when that
        # has been done.
        self.reload(
            daemon,
            map_server_text(
                self.server, ("campus secret", "next secret"), ("10.1.0.0/16", "10.3.0.0/16")
            ),
        )
        shown = await self.ask_until(lambda one: one.code == 0, "10.3.1.5")
        self.assertEqual(set(shown[-1][0].rlocs), self.first.rlocs)
        self.assertEqual(set((await self.ask(_SHARED)).rlocs), self.second.rlocs)
        self.check_who_spoke_of_it()

    async def start_and_move(self) -> Child:
        """Return the Map-Server, as soon as the second ETR has a session with its new mind."""
        server, first, second = self.server, self.first, self.second
        daemon = self.start(server, map_server_text(server))
        # The last one belongs to no site yet.
        eids = ["10.1.1.0/24", "10.1.11.0/24", "10.3.1.0/24"]
        etr = self.start(first, etr_text(first, server.ipv4, eids))
        earlier = self.start(second, etr_text(second, server.ipv4, ["10.1.12.0/24"]))
        await self.are_up(etr, earlier)
        shown = await self.ask_until(lambda one: one.code == 0, _SHARED)
        self.assertEqual(set(shown[-1][0].rlocs), first.rlocs)
        await self.kill(earlier)
        eids = ["10.1.12.0/24", "10.1.1.0/24"]
        await self.are_up(self.start(second, etr_text(second, server.ipv4, eids)))
        return daemon

    def check_who_spoke_of_it(self) -> None:
        """From when the first ETR heard of it, it has not registered it any more."""
        told: list[int] = []
        registered: list[int] = []
        rows = self.dissected("lisp-tcp.message.type", "lisp.mapping.eid.ipv4")
        for number, row in enumerate(rows):
            if "10.1.1.0" not in row["lisp.mapping.eid.ipv4"]:
                continue
            types = row["lisp-tcp.message.type"]
            if ends(row) == (self.server.ipv4, self.first.ipv4) and _MAPPING_NOTIFICATION in types:
                told.append(number)
            if ends(row) == (self.first.ipv4, self.server.ipv4):
                registered.append(number)
        self.assertTrue(told)
        self.assertTrue(registered)
        self.assertLess(max(registered), min(told))
