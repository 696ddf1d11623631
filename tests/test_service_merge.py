"""Several ETRs for one EID-prefix, as whole services: merged, or one after the other (mobility)."""

from __future__ import annotations

from lispmsrt import Etr, MapServer
from lispmsrt.control.inquiries import Form
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.services.requester import NoAnswerError
from lispmsrt.wire.records import Action, MappingRecord
from lispmsrt.wire.reliable_transport import MappingNotification
from tests.rim import Listener, mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    Ground,
    negative,
    rlocs,
)

_MERGE, _OVER_UDP = "merge = true", 'session = "off"'
_EID = "10.1.1.0/24"
_NOBODY = ("10.1.0.0/16", 1, int(Action.NATIVELY_FORWARD))
_BOTH = [ETR_ONE, ETR_TWO]
_ETR_THREE = "198.51.100.3"


def _heard(listener: Listener) -> list[list[str] | None]:
    """Return the RLOCs of every notification; None where the mapping is gone."""
    return [
        rlocs(record) if record.ttl else None
        for event in listener.heard
        if event[0] == "notified"
        for record in (_record(event[2]),)
    ]


def _record(notification: MappingNotification) -> MappingRecord:
    return notification.record


class _Case(Ground):
    def setUp(self) -> None:
        """A Map-Server, and nobody registered."""
        super().setUp()
        self.map_server: MapServer = self.server()
        self.listeners: dict[str, Listener] = {}

    def etr_at(self, host: str, *server_options: str, options: str = "", eid: str = _EID) -> Etr:
        """Return an ETR that has registered the EID-prefix."""
        listener = self.listeners[host] = Listener()
        etr = self.etr(
            eid,
            host=host,
            listener=listener,
            options=options,
            server_options="\n".join(server_options),
        )
        self.network.run(1)
        return etr

    def heard(self, host: str) -> list[list[str] | None]:
        """Return what an ETR was told since the last time."""
        heard = _heard(self.listeners[host])
        self.listeners[host].heard.clear()
        return heard

    def now(self) -> list[str] | tuple[str, int, int]:
        """Return what an ITR is told."""
        answer = self.ask("10.1.1.5")
        return negative(answer) if answer.is_negative else rlocs(answer)

    def states(self, etr: Etr) -> list[EtrState]:
        """Return the state of each of an ETR's entries."""
        return [EtrState(one.state) for one in etr.links[0].registrations.entries.values()]


class MergeTests(_Case):
    """With the a bit."""

    def _merged(self, *ways: str) -> tuple[Etr, Etr]:
        first = self.etr_at(ETR_ONE, _MERGE, *ways)
        second = self.etr_at(ETR_TWO, _MERGE, *ways)
        self.assertEqual(self.now(), _BOTH)
        return first, second

    def test_rlocs_of_both_are_answered_and_both_hear_it(self) -> None:
        """Over sessions by a Mapping Notification; who came last by its first Map-Notify."""
        self._merged()
        self.assertEqual(len(self.map_server.sessions), 2)
        self.assertEqual(self.heard(ETR_ONE)[-1], _BOTH)
        self.assertEqual(self.heard(ETR_TWO), [_BOTH])

    def test_over_udp_alike(self) -> None:
        """By an unsolicited Map-Notify, which is acknowledged: it does not come again."""
        self._merged(_OVER_UDP)
        self.assertEqual(self.map_server.sessions, [])
        self.assertEqual(self.heard(ETR_ONE), [_BOTH])
        self.network.run(300.0)
        self.assertEqual(self.heard(ETR_TWO), [_BOTH], "once, however often it registers")
        self.assertEqual(self.heard(ETR_ONE), [])
        self.assertEqual(self.map_server.mapping.retransmissions.next_timeout(), None)

    def test_one_on_a_session_and_one_over_udp(self) -> None:
        """Each hears it its way."""
        self.etr_at(ETR_ONE, _MERGE)
        self.etr_at(ETR_TWO, _MERGE, _OVER_UDP)
        self.assertEqual(self.now(), _BOTH)
        self.assertEqual(self.heard(ETR_ONE)[-1], _BOTH)
        self.assertEqual(len(self.map_server.sessions), 1)

    def test_a_withdrawal_takes_out_just_its_part(self) -> None:
        """Whichever way; who stays hears of it."""
        for way in ("", _OVER_UDP):
            first, second = self._merged(way)
            self.heard(ETR_ONE)
            outcome(second.withdraw(mapping(_EID).eid))
            self.network.run(0.1)
            self.assertEqual(self.now(), [ETR_ONE])
            self.assertEqual(self.heard(ETR_ONE), [[ETR_ONE]])
            outcome(first.withdraw(mapping(_EID).eid))
            self.network.run(0.1)
            self.assertEqual(self.now(), _NOBODY)
            for etr in (first, second):
                etr.stopService()
                self.services.remove(etr)
            self.network.run(1)

    def test_a_lost_session_takes_out_its_part_after_three_minutes(self) -> None:
        """The other ETR is told then."""
        _first, second = self._merged()
        self.heard(ETR_ONE)
        second.stopService()
        self.network.run(178)
        self.assertEqual((self.now(), self.heard(ETR_ONE)), (_BOTH, []))
        self.network.run(4)
        self.assertEqual((self.now(), self.heard(ETR_ONE)), ([ETR_ONE], [[ETR_ONE]]))

    def test_map_registers_that_stay_away_take_it_out_after_three_minutes(self) -> None:
        """Since the last one came."""
        self._merged(_OVER_UDP)
        self.heard(ETR_ONE)
        self.lose(ETR_TWO)
        self.network.run(110)
        self.assertEqual(self.now(), _BOTH)
        self.network.run(75)
        self.assertEqual((self.now(), self.heard(ETR_ONE)), ([ETR_ONE], [[ETR_ONE]]))

    def test_a_session_that_comes_back_in_time_changes_nothing(self) -> None:
        """Nobody is told anything new."""
        self._merged()
        self.network.run(1)
        self.cut(self.map_server)
        self.assertEqual(self.map_server.sessions, [])
        self.heard(ETR_ONE)
        for _ in range(10):
            self.network.run(20)
            self.assertEqual(self.now(), _BOTH)
        self.assertEqual(len(self.map_server.sessions), 2)
        self.assertEqual({tuple(heard or ()) for heard in self.heard(ETR_ONE)}, set())

    def test_a_change_of_one_part_is_told_to_all(self) -> None:
        """Other RLOCs of the second ETR."""
        _first, second = self._merged()
        self.heard(ETR_ONE)
        self.register(second, _EID, rloc=_ETR_THREE)
        self.assertEqual(self.now(), [ETR_ONE, _ETR_THREE])
        self.assertEqual(self.heard(ETR_ONE), [[ETR_ONE, _ETR_THREE]])

    def test_a_restarted_etr_takes_its_own_place_again(self) -> None:
        """Its part is not there twice, and nobody else's is lost."""
        _first, second = self._merged()
        second.stopService()
        self.services.remove(second)
        self.network.run(30)
        self.etr_at(ETR_TWO, _MERGE)
        self.assertEqual(self.now(), _BOTH)
        self.network.run(200)
        self.assertEqual(self.now(), _BOTH)

    def test_without_the_bit_on_one_side_the_newest_has_it(self) -> None:
        """Merging is for those who both want it."""
        self.etr_at(ETR_ONE, _MERGE)
        self.etr_at(ETR_TWO)
        self.assertEqual(self.now(), [ETR_TWO])
        self.assertEqual(self.heard(ETR_ONE)[-1], [ETR_TWO])


class NotificationTests(_Case):
    """Who hears what."""

    def test_who_covers_a_prefix_hears_of_what_lies_inside(self) -> None:
        """On its session: of the new one, its change, and its end."""
        self.etr_at(ETR_ONE, eid="10.1.0.0/16")
        self.heard(ETR_ONE)
        other = self.etr_at(ETR_TWO)
        self.register(other, _EID, rloc=_ETR_THREE)
        outcome(other.withdraw(mapping(_EID).eid))
        self.network.run(1)
        self.assertEqual(self.heard(ETR_ONE), [[ETR_TWO], [_ETR_THREE], None])

    def test_who_did_not_ask_hears_nothing(self) -> None:
        """mapping-notifications = false."""
        self.etr_at(ETR_ONE, "mapping-notifications = false", eid="10.1.0.0/16")
        self.etr_at(ETR_TWO)
        self.assertEqual(self.heard(ETR_ONE), [])


class MobilityTests(_Case):
    """Without the a bit the newest registration replaces, and who had it hears of it."""

    def _roams(self, *ways: str, options: str = "") -> tuple[Etr, Etr]:
        first = self.etr_at(ETR_ONE, *ways, options=options)
        self.assertEqual(self.now(), [ETR_ONE])
        self.heard(ETR_ONE)
        return first, self.etr_at(ETR_TWO, *ways, options=options)

    def test_who_had_it_on_a_session_gives_way(self) -> None:
        """It is told once, and the new one keeps it for good."""
        first, second = self._roams()
        self.assertEqual((self.now(), self.heard(ETR_ONE)), ([ETR_TWO], [[ETR_TWO]]))
        self.assertEqual(self.states(first), [EtrState.ROAMED])
        for _ in range(4):
            self.network.run(100)
            self.assertEqual(self.now(), [ETR_TWO])
        self.assertEqual(self.states(second), [EtrState.STABLE])
        self.assertEqual(self.heard(ETR_ONE), [])

    def test_over_udp_alike(self) -> None:
        """A Map-Notify that is acknowledged."""
        first, second = self._roams(_OVER_UDP)
        self.assertEqual((self.now(), self.heard(ETR_ONE)), ([ETR_TWO], [[ETR_TWO]]))
        self.assertEqual(self.states(first), [EtrState.ROAMED])
        for _ in range(4):
            self.network.run(100)
            self.assertEqual(self.now(), [ETR_TWO])
        self.assertEqual(self.states(second), [EtrState.PERIODIC])
        self.assertIsNone(self.map_server.mapping.retransmissions.next_timeout())

    def test_over_udp_the_map_notify_is_repeated_until_it_arrives(self) -> None:
        """Two are lost."""
        self.etr_at(ETR_ONE, _OVER_UDP)
        self.heard(ETR_ONE)
        self.lose(ETR_ONE)
        self.etr_at(ETR_TWO, _OVER_UDP)
        self.network.run(4)
        self.assertEqual(self.heard(ETR_ONE), [])
        self.lose()
        self.network.run(4)
        self.assertEqual((self.now(), self.heard(ETR_ONE)), ([ETR_TWO], [[ETR_TWO]]))

    def test_who_had_it_may_take_it_back(self) -> None:
        """The application registers it once more: now the other one gives way."""
        for way in ("", _OVER_UDP):
            first, second = self._roams(way)
            self.register(first, _EID)
            self.network.run(1)
            self.assertEqual(self.now(), [ETR_ONE])
            self.assertEqual(self.states(second), [EtrState.ROAMED])
            self.network.run(300)
            self.assertEqual(self.now(), [ETR_ONE])
            for etr in (first, second):
                etr.stopService()
                self.services.remove(etr)
            self.network.run(200)

    def test_who_roamed_may_withdraw_what_is_not_its_own_any_more(self) -> None:
        """It stays with the other."""
        for way in ("", _OVER_UDP):
            first, second = self._roams(way)
            result = outcome(first.withdraw(mapping(_EID).eid))
            self.network.run(1)
            self.assertEqual((self.now(), len(result)), ([ETR_TWO], 1))
            for etr in (first, second):
                etr.stopService()
                self.services.remove(etr)
            self.network.run(200)

    def test_who_does_not_yield_takes_it_back_with_its_period(self) -> None:
        """Over UDP, and so does the other."""
        first, _second = self._roams(_OVER_UDP, options="yield-to-newer = false")
        self.assertEqual(self.heard(ETR_ONE), [[ETR_TWO]])
        self.assertEqual(self.states(first), [EtrState.PERIODIC])
        said = set()
        for _ in range(250):
            self.network.run(0.5)
            said.add(tuple(self.now()))
        self.assertEqual(said, {(ETR_ONE,), (ETR_TWO,)})

    def test_who_does_not_yield_on_a_session_says_nothing_before_it_is_asked(self) -> None:
        """Sessions have no period."""
        first, _second = self._roams(options="yield-to-newer = false")
        self.network.run(300)
        self.assertEqual((self.now(), self.states(first)), ([ETR_TWO], [EtrState.STABLE]))
        self.map_server.refresh()
        self.network.run(1)
        self.assertIn(self.now(), ([ETR_ONE], [ETR_TWO]))

    def test_a_lost_session_of_who_gave_way_brings_nothing_back(self) -> None:
        """It authenticates with something else, or not at all."""
        first, _second = self._roams()
        self.cut(self.map_server)
        for _ in range(4):
            self.network.run(50)
            self.assertEqual(self.now(), [ETR_TWO])
        self.assertEqual(self.states(first), [EtrState.ROAMED])

    def test_an_etr_that_restarts_takes_it_back(self) -> None:
        """It has forgotten that it gave way, and registers what it is configured to."""
        first, second = self._roams()
        first.stopService()
        self.services.remove(first)
        self.network.run(1)
        self.etr_at(ETR_ONE)
        self.assertEqual(self.now(), [ETR_ONE])
        self.assertEqual(self.states(second), [EtrState.ROAMED])

    def test_who_gave_way_answers_nobody(self) -> None:
        """Neither a Map-Request nor an RLOC-probe: its mapping is out of date."""
        self._roams("proxy-reply = false")
        self.assertEqual(self.now(), [ETR_TWO])
        for form in (Form.PLAIN, Form.PROBE):
            self.assertIsInstance(self.ask("10.1.1.5", ETR_ONE, form=form), NoAnswerError)
            self.assertEqual(rlocs(self.ask("10.1.1.5", ETR_TWO, form=form)), [ETR_TWO])

    def test_a_restarted_map_server_hears_from_who_has_it(self) -> None:
        """Who gave way still does."""
        first, _second = self._roams()
        self.map_server.stopService()
        self.network.run(5)
        self.map_server = self.server()
        self.network.run(70)
        for _ in range(4):
            self.assertEqual(self.now(), [ETR_TWO])
            self.network.run(50)
        self.assertEqual(self.states(first), [EtrState.ROAMED])

    def test_when_the_newer_one_ends_it_comes_back(self) -> None:
        """Who had it before is asked by name, and still means it."""
        first, second = self._roams()
        outcome(second.withdraw(mapping(_EID).eid))
        self.network.run(1)
        self.assertEqual(self.now(), [ETR_ONE])
        self.assertEqual(self.states(first), [EtrState.STABLE])

    def test_from_udp_to_a_session_and_back(self) -> None:
        """Both ways of registering are equal."""
        self.etr_at(ETR_ONE, _OVER_UDP)
        self.etr_at(ETR_TWO)
        self.assertEqual((self.now(), self.heard(ETR_ONE)[-1]), ([ETR_TWO], [ETR_TWO]))
        self.etr_at(_ETR_THREE, _OVER_UDP)
        self.assertEqual((self.now(), self.heard(ETR_TWO)[-1]), ([_ETR_THREE], [_ETR_THREE]))
