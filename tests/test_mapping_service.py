"""A Map-Server as a whole, asked for what ETRs as a whole have registered."""

from __future__ import annotations

from lispmsrt.control.inquiries import Answer, Form
from lispmsrt.services.requester import NoAnswerError
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.records import Action
from tests.asking import ecm, map_request
from tests.rim import mapping, outcome
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    ITR,
    MAP_SERVER,
    Ground,
    negative,
    rlocs,
    server_text,
    site,
)

_NATIVELY, _ASK_AGAIN = int(Action.NATIVELY_FORWARD), int(Action.SEND_MAP_REQUEST)
_DENIED = int(Action.DROP_POLICY_DENIED)
_NO_PROXY = "proxy-reply = false"
_OVER_UDP = 'session = "off"'


class ProxyTests(Ground):
    """The Map-Server answers itself."""

    def test_what_is_registered_on_a_session_is_answered(self) -> None:
        """Not authoritative, and no locator is local to who answers."""
        server = self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertEqual(len(server.sessions), 1)
        answer = self.ask("10.1.1.5")
        self.assertEqual(str(answer.record.eid), "10.1.1.0/24")
        self.assertEqual((rlocs(answer), answer.record.ttl), ([ETR_ONE], 1440))
        self.assertFalse(answer.record.authoritative)
        self.assertFalse(answer.record.locators[0].local)
        self.assertEqual(answer.source, (bytes([192, 0, 2, 1]), 4342))

    def test_what_is_registered_over_udp_is_answered_alike(self) -> None:
        """Nobody has a session."""
        server = self.server()
        self.etr("10.1.1.0/24", server_options=_OVER_UDP)
        self.network.run(1)
        self.assertEqual(server.sessions, [])
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])

    def test_a_plain_map_request_is_answered_alike(self) -> None:
        """Without ECM."""
        self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertEqual(rlocs(self.ask("10.1.1.5", form=Form.PLAIN)), [ETR_ONE])

    def test_an_rloc_probe_is_not(self) -> None:
        """It says nothing of a path to us."""
        server = self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertIsInstance(self.ask("10.1.1.5", form=Form.PROBE), NoAnswerError)
        self.assertEqual(server.mapping.requests.counters["Map-Requests dropped: RLOC-probe"], 1)

    def test_more_specifics_come_along(self) -> None:
        """With the least of the TTLs."""
        self.server()
        etr = self.etr("10.1.0.0/16")
        self.network.run(1)
        self.register(etr, "10.1.1.0/24", rloc=ETR_TWO, ttl=5)
        answer = self.ask("10.1.2.5")
        self.assertEqual(
            [(str(one.eid), one.ttl, rlocs(one)) for one in answer.reply.records],
            [("10.1.0.0/16", 5, [ETR_ONE]), ("10.1.1.0/24", 5, [ETR_TWO])],
        )

    def test_instances_are_apart(self) -> None:
        """The same EID-prefix twice, and nobody in a third."""
        self.server(server_text(site("campus", "10.1.0.0/16", "7 10.1.0.0/16")))
        etr = self.etr("10.1.1.0/24")
        self.network.run(1)
        self.register(etr, "10.1.1.0/24", rloc=ETR_TWO, instance_id=7)
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])
        self.assertEqual(rlocs(self.ask("10.1.1.5", instance_id=7)), [ETR_TWO])
        self.assertEqual(
            negative(self.ask("10.1.1.5", instance_id=8)), ("[8] 0.0.0.0/0", 15, _NATIVELY)
        )

    def test_a_withdrawal_changes_the_answer_at_once(self) -> None:
        """And a registration changes it back."""
        self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(1)
        outcome(etr.withdraw(mapping().eid))
        self.network.run()
        self.assertEqual(negative(self.ask("10.1.1.5")), ("10.1.0.0/16", 1, _NATIVELY))
        self.register(etr, "10.1.1.0/24")
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])

    def test_a_lost_session_changes_the_answer_after_three_minutes(self) -> None:
        """The ETR is gone for good."""
        server = self.server()
        etr = self.etr("10.1.1.0/24")
        self.network.run(1)
        etr.stopService()
        self.network.run(178)
        self.assertEqual(server.sessions, [])
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])
        self.network.run(4)
        self.assertEqual(negative(self.ask("10.1.1.5")), ("10.1.0.0/16", 1, _NATIVELY))


class NegativeTests(Ground):
    """Nobody has it."""

    def test_no_site_holds_for_fifteen_minutes(self) -> None:
        """For the widest prefix that touches no site."""
        self.server()
        self.assertEqual(negative(self.ask("11.2.3.4")), ("11.0.0.0/8", 15, _NATIVELY))
        self.assertEqual(negative(self.ask("10.0.0.1")), ("10.0.0.0/16", 15, _NATIVELY))
        self.assertEqual(negative(self.ask("10.2.0.1")), ("10.2.0.0/15", 15, _NATIVELY))
        self.assertEqual(negative(self.ask("2001:db8::1")), ("::/0", 15, _NATIVELY))

    def test_a_site_that_registered_nothing_holds_for_one_minute(self) -> None:
        """For all of it."""
        self.server()
        self.assertEqual(negative(self.ask("10.1.2.3")), ("10.1.0.0/16", 1, _NATIVELY))

    def test_the_hole_reaches_to_what_is_registered(self) -> None:
        """10.1.1.0/24 is; the holes around it become larger with the distance."""
        self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        for asked, hole in (
            ("10.1.0.9", "10.1.0.0/24"),
            ("10.1.2.9", "10.1.2.0/23"),
            ("10.1.4.9", "10.1.4.0/22"),
            ("10.1.200.9", "10.1.128.0/17"),
        ):
            self.assertEqual(negative(self.ask(asked)), (hole, 1, _NATIVELY))

    def test_a_site_inside_another_is_touched_by_no_hole(self) -> None:
        """Its prefix is configured, though nobody has registered there."""
        self.server(server_text(site(), site("branch", "10.1.64.0/24", secrets=("other",))))
        self.assertEqual(negative(self.ask("10.1.65.9")), ("10.1.65.0/24", 1, _NATIVELY))
        self.assertEqual(negative(self.ask("10.1.64.9")), ("10.1.64.0/24", 1, _NATIVELY))

    def test_a_mapping_without_locators_is_told_as_its_etr_wants_it(self) -> None:
        """Even where the ETR wants to answer itself."""
        self.server()
        text = '[[etr.mapping]]\neid-prefix = "10.1.1.0/24"\naction = "drop"\nttl = 7\n'
        self.etr(server_options=f"{_NO_PROXY}\n{text}")
        self.network.run(1)
        self.assertEqual(negative(self.ask("10.1.1.5")), ("10.1.1.0/24", 7, int(Action.DROP)))


class PolicyTests(Ground):
    """Who may ask (allowed-itrs)."""

    def setUp(self) -> None:
        """The campus tells only whoever is at 203.0.113.0/28."""
        super().setUp()
        closed = site(options='allowed-itrs = ["203.0.113.0/28"]')
        self.map_server = self.server(server_text(closed, site("branch", "10.2.0.0/16")))

    def test_who_may_is_answered_and_others_are_denied(self) -> None:
        """For a minute, and by the EID-prefix that was found."""
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])
        answer = self.ask("10.1.1.5", source="203.0.113.77")
        self.assertEqual(negative(answer), ("10.1.1.0/24", 1, _DENIED))

    def test_an_etr_that_answers_itself_is_not_asked_by_others(self) -> None:
        """The ECM does not leave."""
        self.etr("10.1.1.0/24", server_options=_NO_PROXY)
        self.network.run(1)
        self.network.packets.clear()
        answer = self.ask("10.1.1.5", source="203.0.113.77")
        self.assertEqual(negative(answer), ("10.1.1.0/24", 1, _DENIED))
        self.assertEqual(self.network.udp_payloads(ETR_ONE), [])

    def test_other_sites_and_holes_are_open(self) -> None:
        """The policy is the site's, about what it has registered."""
        self.assertEqual(negative(self.ask("10.2.1.1", source="203.0.113.77"))[1:], (1, _NATIVELY))
        self.assertEqual(negative(self.ask("10.1.1.1", source="203.0.113.77"))[1:], (1, _NATIVELY))

    def test_a_reload_changes_it(self) -> None:
        """At once."""
        self.etr("10.1.1.0/24")
        self.network.run(1)
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])
        self.reload(self.map_server, site(options='allowed-itrs = ["203.0.113.77/32"]'))
        self.assertEqual(negative(self.ask("10.1.1.5")), ("10.1.1.0/24", 1, _DENIED))
        self.assertEqual(rlocs(self.ask("10.1.1.5", source="203.0.113.77")), [ETR_ONE])


class EtrTests(Ground):
    """The ETR answers itself: its Map-Registers have no P bit."""

    def test_the_etr_answers_the_itr_directly(self) -> None:
        """Authoritative, from its own address, with its own locators."""
        self.server()
        self.etr("10.1.1.0/24", server_options=_NO_PROXY)
        self.network.run(1)
        answer = self.ask("10.1.1.5")
        self.assertEqual(rlocs(answer), [ETR_ONE])
        self.assertTrue(answer.record.authoritative)
        self.assertTrue(answer.record.locators[0].local)
        self.assertEqual(answer.source, (bytes([198, 51, 100, 1]), 4342))

    def test_over_udp_alike(self) -> None:
        """Without any session, and for a plain Map-Request."""
        self.server()
        self.etr("10.1.1.0/24", server_options=f"{_NO_PROXY}\n{_OVER_UDP}")
        self.network.run(1)
        for form in (Form.ENCAPSULATED, Form.PLAIN):
            answer = self.ask("10.1.1.5", form=form)
            self.assertTrue(answer.record.authoritative)
            self.assertEqual(answer.source[0], bytes([198, 51, 100, 1]))

    def test_an_rloc_probe_goes_to_the_etr(self) -> None:
        """It answers with the p bit on the locator that was probed."""
        self.server()
        self.etr("10.1.1.0/24")
        self.network.run(1)
        answer = self.ask("10.1.1.5", ETR_ONE, form=Form.PROBE)
        self.assertTrue(answer.reply.probe)
        self.assertTrue(answer.record.locators[0].probe)

    def test_an_etr_that_does_not_answer_leaves_the_itr_waiting(self) -> None:
        """Somebody else on its host does: answer-map-requests = false."""
        self.server()
        self.etr("10.1.1.0/24", options="answer-map-requests = false", server_options=_NO_PROXY)
        self.network.run(1)
        self.assertIsInstance(self.ask("10.1.1.5"), NoAnswerError)

    def test_of_two_merged_etrs_each_has_its_turn(self) -> None:
        """And the other one alone, once it is cut off: within two periods of Map-Registers."""
        self.server()
        for host in (ETR_ONE, ETR_TWO):
            options = f"{_NO_PROXY}\n{_OVER_UDP}\nmerge = true"
            self.etr("10.1.1.0/24", host=host, server_options=options)
        self.network.run(1)
        answerers = {self.ask("10.1.1.5").source[0][3] for _ in range(4)}
        self.assertEqual(answerers, {1, 2})
        self.lose(ETR_ONE)
        self.network.run(125)
        answerers = {self.ask("10.1.1.5").source[0][3] for _ in range(4)}
        self.assertEqual(answerers, {2})

    def test_a_lost_session_makes_the_other_etr_the_first_choice_at_once(self) -> None:
        """It may come back; till then nobody asks it."""
        self.server()
        first, _second = (
            self.etr("10.1.1.0/24", host=host, server_options=f"{_NO_PROXY}\nmerge = true")
            for host in (ETR_ONE, ETR_TWO)
        )
        self.network.run(1)
        self.assertEqual({self.ask("10.1.1.5").source[0][3] for _ in range(4)}, {1, 2})
        first.stopService()
        self.network.run()
        self.assertEqual({self.ask("10.1.1.5").source[0][3] for _ in range(4)}, {2})

    def test_what_is_mixed_is_answered_where_it_can_be(self) -> None:
        """A more-specific whose ETR answers itself shall be asked for."""
        self.server()
        self.etr("10.1.0.0/16")
        self.etr("10.1.1.0/24", host=ETR_TWO, server_options=_NO_PROXY)
        self.network.run(1)
        answer = self.ask("10.1.2.5")
        self.assertEqual(
            [(str(one.eid), rlocs(one), int(one.action)) for one in answer.reply.records],
            [("10.1.0.0/16", [ETR_ONE], 0), ("10.1.1.0/24", [], _ASK_AGAIN)],
        )
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_TWO])

    def test_what_was_withdrawn_is_answered_no_longer(self) -> None:
        """Neither by the Map-Server nor by the ETR when it is asked itself."""
        self.server()
        etr = self.etr("10.1.1.0/24", server_options=_NO_PROXY)
        self.network.run(1)
        outcome(etr.withdraw(mapping().eid))
        self.network.run()
        self.assertEqual(negative(self.ask("10.1.1.5"))[1:], (1, _NATIVELY))
        self.assertIsInstance(self.ask("10.1.1.5", ETR_ONE, form=Form.PLAIN), NoAnswerError)


class FamilyTests(Ground):
    """IPv4 and IPv6 in one Map-Server."""

    def setUp(self) -> None:
        """A socket of each family."""
        super().setUp()
        text = server_text(site("campus", "10.1.0.0/16", "2001:db8:e1d::/48"))
        self.server(text.replace('control = ["', f'control = ["[{_V6}]", "'))

    def _sent_by(self, to: str) -> list[str]:
        return [
            packet.source[0]
            for packet in self.network.packets
            if packet.protocol == "udp" and packet.destination[0] == to
        ]

    def test_each_family_is_answered_by_its_own_socket(self) -> None:
        """EIDs of either family are asked for over either."""
        self.etr("10.1.1.0/24", "2001:db8:e1d:1::/64")
        self.network.run(1)
        for eid in ("10.1.1.5", "2001:db8:e1d:1::5"):
            for at, source in ((MAP_SERVER, ITR), (_V6, _ITR_V6)):
                answer = self.ask(eid, at, source=source)
                self.assertIsInstance(answer, Answer)
                self.assertEqual(rlocs(answer), [ETR_ONE])
                self.assertEqual(set(self._sent_by(source)), {at})

    def test_an_answer_leaves_by_the_socket_that_reaches_the_itr(self) -> None:
        """The question came to the other one: through a Map-Resolver of the other family."""
        self.etr("10.1.1.0/24")
        self.network.run(1)
        for at, itr in ((MAP_SERVER, _ITR_V6), (_V6, ITR)):
            self.network.packets.clear()
            question = ecm(map_request("10.1.1.5", itr=itr), source=itr)
            relay = "198.51.100.53" if at == MAP_SERVER else "2001:db8::53"
            self.network.send((relay, 4342), (at, 4342), question)
            self.network.run()
            (reply,) = self.network.udp_payloads(itr)
            self.assertEqual(rlocs(decode_map_reply(reply).records[0]), [ETR_ONE])
            self.assertEqual(self._sent_by(itr), [_V6 if itr == _ITR_V6 else MAP_SERVER])

    def test_an_ipv6_etr_is_sent_questions_by_the_socket_that_reaches_it(self) -> None:
        """The ITR asks over IPv4, and hears from the ETR over it: the ETR has just IPv6."""
        options = f"{_NO_PROXY}\n{_OVER_UDP}"
        self.etr("10.1.1.0/24", host=_ETR_V6, map_servers=(f"[{_V6}]",), server_options=options)
        self.network.run(1)
        self.network.packets.clear()
        self.assertIsInstance(self.ask("10.1.1.5"), NoAnswerError)
        self.assertEqual(self._sent_by(_ETR_V6), [_V6])
        self.assertTrue(self.ask("10.1.1.5", _V6, source=_ITR_V6).record.authoritative)


_V6, _ETR_V6, _ITR_V6 = "2001:db8::1", "2001:db8:51::1", "2001:db8:99::9"
