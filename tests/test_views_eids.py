"""Views of one EID: what is known, what is answered, and why."""

from __future__ import annotations

from lispmsrt import Etr
from lispmsrt.control.inquiries import Form
from lispmsrt.services.requester import NoAnswerError
from lispmsrt.views import past
from lispmsrt.views.ages import ago, lasting
from lispmsrt.views.values import EidView, Explanation
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.records import Action
from tests.rim import mapping, outcome
from tests.service_ground import ETR_ONE, ETR_TWO, ITR, eid_of, rlocs, site
from tests.views_ground import ViewsGround, steps_of

_OVER_UDP = 'session = "off"'
_FORWARDS = "proxy-reply = false"


class EidTests(ViewsGround):
    """What is known of an EID."""

    def test_a_registered_one(self) -> None:
        """The longest match, what covers it, and what an ITR is told."""
        self.watched(site("campus", "10.1.0.0/16", "7 10.1.0.0/16"))
        etr = self.etr("10.1.0.0/16", "10.1.1.0/24")
        self.register(etr, "10.1.1.0/24", instance_id=7)
        one = self.views.eid(eid_of("10.1.1.9"))
        self.assertEqual((one.found, one.covered, one.site), ("mapped", "10.1.1.0/24", "campus"))
        assert one.registration is not None
        self.assertEqual(one.registration.eid_prefix, "10.1.1.0/24")
        self.assertEqual((one.covering, one.other_instances), (("10.1.0.0/16",), (7,)))
        self.assertEqual(one.answer.kind, "mapping")
        self.assertEqual(self.views.eid(eid_of("10.1.0.0/16")).more_specifics, ("10.1.1.0/24",))
        self.assert_json(one, EidView)

    def test_what_nobody_has(self) -> None:
        """Registered, or configured."""
        self.watched()
        one = self.views.eid(eid_of("10.1.1.9"))
        self.assertEqual((one.found, one.covered), ("not registered", "10.1.0.0/16"))
        self.assertEqual((one.configured_prefix, one.answer.kind), ("10.1.0.0/16", "negative"))
        other = self.views.eid(eid_of("10.9.0.0"))
        self.assertEqual((other.found, other.site, other.registration), ("no site", "", None))

    def test_names(self) -> None:
        """Which match whole."""
        self.watched()
        one = self.views.eid(EidPrefix.from_text("name:printer"))
        self.assertEqual((one.eid, one.found, one.covering), ("name:printer", "no site", ()))
        self.assertFalse(self.views.explain(EidPrefix.from_text("name:printer")).resolves)


class AnswerTests(ViewsGround):
    """What is said of an answer is what is answered."""

    def _is_answered(self, eid: str, source: str = ITR) -> str:
        """Ask, and compare; return the kind of the answer."""
        counters = self.map_server.mapping.requests.counters.copy()
        said = self.views.eid(eid_of(eid), Address.from_text(source)).answer
        self.assertEqual(self.map_server.mapping.requests.counters, counters)
        answer = self.ask(eid, source=source, form=Form.ENCAPSULATED)
        if said.kind == "none":
            self.assertIsInstance(answer.value, NoAnswerError)
        elif said.kind != "forwarded":
            (record,) = said.records
            self.assertEqual(record.eid_prefix, str(answer.record.eid))
            self.assertEqual(record.ttl, answer.record.ttl)
            self.assertEqual([one.rloc for one in record.locators], rlocs(answer))
            is_denied = answer.record.action == Action.DROP_POLICY_DENIED
            self.assertEqual(said.kind == "denied", is_denied)
        return said.kind

    def test_a_mapping_and_holes(self) -> None:
        """With proxy-reply."""
        self.watched(site(), site("branch", "10.2.0.0/16"))
        self.etr("10.1.1.0/24")
        self.network.run(5)
        kinds = [self._is_answered(eid) for eid in ("10.1.1.7", "10.1.9.9", "10.2.0.1", "11.0.0.1")]
        self.assertEqual(kinds, ["mapping", "negative", "negative", "negative"])

    def test_an_itr_that_is_not_allowed(self) -> None:
        """And one that is; without one said, the site allows it."""
        self.watched(site(options='allowed-itrs = ["203.0.113.0/24"]'))
        self.etr("10.1.1.0/24")
        self.network.run(5)
        self.assertEqual(self._is_answered("10.1.1.7"), "mapping")
        self.assertEqual(self._is_answered("10.1.1.7", "192.0.2.99"), "denied")
        self.assertEqual(self.views.eid(eid_of("10.1.1.7")).answer.kind, "mapping")

    def test_etrs_that_have_to_answer_themselves(self) -> None:
        """All of them are named, and nothing was sent to them."""
        self.watched()
        for host in (ETR_ONE, ETR_TWO):
            options = f"{_FORWARDS}\nmerge = true"
            self.etr("10.1.1.0/24", host=host, server_options=options)
            self.network.run(5)
        sent = len(self.network.udp_payloads(ETR_ONE))
        answer = self.views.eid(eid_of("10.1.1.7")).answer
        self.assertEqual(answer.kind, "forwarded")
        self.assertEqual(set(answer.forwarded_to), {f"{ETR_ONE}:4342", f"{ETR_TWO}:4342"})
        self.assertEqual(len(self.network.udp_payloads(ETR_ONE)), sent)
        self.assertEqual(self._is_answered("10.1.1.7"), "forwarded")

    def test_an_itr_that_cannot_be_reached(self) -> None:
        """There is no socket for its family."""
        self.watched()
        answer = self.views.eid(eid_of("10.1.1.7"), Address.from_text("2001:db8::9")).answer
        self.assertEqual(answer.kind, "none")

    def test_a_map_resolver_in_the_same_place(self) -> None:
        """Passes on what no site has."""
        resolver = '\n[map-resolver]\n[[map-resolver.map-server]]\naddress = "192.0.2.2:4342"\n'
        self.watched(site() + resolver + 'eid-prefix = [{ prefix = "10.9.0.0/16" }]\n')
        answer = self.views.eid(eid_of("10.9.0.1")).answer
        self.assertEqual((answer.kind, answer.forwarded_to), ("forwarded", ("192.0.2.2:4342",)))
        self.assertEqual(self._is_answered("10.8.0.1"), "negative")
        explained = self.explained("10.9.0.1")
        self.assertTrue(explained.resolves)


class ExplanationTests(ViewsGround):
    """Why it resolves, or does not."""

    def _remedies(self, explained: Explanation) -> str:
        return " ".join(explained.remedies)

    def _told(self, explained: Explanation) -> str:
        return "; ".join(step.result for step in explained.steps)

    def test_all_is_well(self) -> None:
        """There is nothing to do."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(5)
        explained = self.explained("10.1.1.7")
        self.assertTrue(explained.resolves)
        self.assertEqual(explained.remedies, ())
        self.assertEqual({verdict for _check, verdict in steps_of(explained)}, {"ok"})
        self.assertIn(f"resolves to {ETR_ONE}", explained.summary)
        self.assert_json(explained, Explanation)

    def test_no_site_in_this_instance_but_in_another(self) -> None:
        """Which one is said, and what to write where."""
        self.watched(site("campus", "7 10.9.0.0/16"))
        explained = self.explained("10.9.0.1")
        self.assertFalse(explained.resolves)
        self.assertIn("instance 7 has it: site campus", self._told(explained))
        self.assertIn("--instance-id 7", self._remedies(explained))
        self.assertIn("[[site.eid-prefix]]", self._remedies(explained))

    def test_nobody_ever_registered_it(self) -> None:
        """It says where to look."""
        self.watched()
        explained = self.explained("10.1.1.7")
        self.assertIn("does not resolve: nobody has registered it", explained.summary)
        self.assertIn("no xTR of site campus", self._told(explained))
        self.assertIn("show mappings", self._remedies(explained))

    def test_registered_in_another_instance(self) -> None:
        """Often it is just that."""
        self.watched(site("campus", "10.1.0.0/16", "7 10.1.0.0/16"))
        self.register(self.etr(), "10.1.1.0/24", instance_id=7)
        explained = self.explained("10.1.1.7")
        self.assertIn("registered in instance 7", self._told(explained))
        self.assertIn("--instance-id 7", self._remedies(explained))

    def test_rejected_lately(self) -> None:
        """By which rule, and what to change."""
        self.watched()
        self.etr("10.1.1.0/24", secret="wrong")
        self.network.run(5)
        explained = self.explained("10.1.1.7")
        self.assertIn("authentication data is wrong", self._told(explained))
        self.assertIn("the same key", self._remedies(explained))

    def test_rejected_for_its_rlocs(self) -> None:
        """The option is named."""
        self.watched()
        etr = self.etr("10.1.2.0/24")
        self.network.run(5)
        self.register_rejected(etr, "10.1.1.0/24", "192.0.2.200")
        self.assertIn("allowed-rlocs of site campus", self._remedies(self.explained("10.1.1.7")))

    def register_rejected(self, etr: Etr, eid: str, rloc: str) -> None:
        """Register what will be refused."""
        outcome(etr.register(mapping(eid, rloc)))
        self.network.run(1)

    def test_withdrawn(self) -> None:
        """When, and by whom."""
        self.watched()
        etr = self.etr("10.1.1.0/24")
        self.network.run(5)
        etr.withdraw(eid_of("10.1.1.0/24")).addErrback(lambda failure: None)
        self.network.run(30)
        told = self._told(self.explained("10.1.1.7"))
        self.assertIn("10.1.1.0/24 was withdrawn", told)
        self.assertIn(f"at {ETR_ONE}:", told)

    def test_withdrawn_too_long_ago(self) -> None:
        """Only so much of the history is looked at in one turn."""
        self.watched()
        etr = self.etr("10.1.1.0/24", "10.1.2.0/24")
        self.network.run(5)
        for prefix in ("10.1.1.0/24", "10.1.2.0/24"):
            etr.withdraw(eid_of(prefix)).addErrback(lambda failure: None)
            self.network.run(30)
        self.assertIn("was withdrawn", self._told(self.explained("10.1.1.7")))
        self.patch(past, "MAX_LOOKED_AT", 1)
        self.assertNotIn("was withdrawn", self._told(self.explained("10.1.1.7")))
        self.assertIn("was withdrawn", self._told(self.explained("10.1.2.7")))

    def test_expired(self) -> None:
        """Its ETR went away."""
        self.watched()
        etr = self.etr("10.1.1.0/24", server_options=_OVER_UDP)
        self.network.run(5)
        self.lose(ETR_ONE)
        etr.stopService()
        self.network.run(150)
        self.assertIn("Map-Registers stay away", self._told(self.explained("10.1.1.7")))
        self.network.run(100)
        explained = self.explained("10.1.1.7")
        self.assertIn("10.1.1.0/24 expired", self._told(explained))
        self.assertIn("UDP port 4342", self._remedies(explained))

    def test_taken_out_by_the_configuration(self) -> None:
        """And what to put back."""
        self.watched(site("campus", "10.1.0.0/16"))
        self.etr("10.1.1.0/24")
        self.network.run(5)
        self.reload(self.map_server, site("campus", "10.1.1.128/25"))
        told = self._told(self.explained("10.1.1.200"))
        self.assertIn("the configuration no longer allowed it", told)

    def test_a_lost_session_with_and_without_proxy_reply(self) -> None:
        """With it the mapping still holds; without, nobody may answer."""
        for options, resolves, kind in (("", True, "ok"), (_FORWARDS, True, "problem")):
            self.network.loses = lambda packet: False
            self.watched()
            etr = self.etr("10.1.1.0/24", server_options=options)
            self.network.run(10)
            self.lose(ETR_ONE)
            self.cut(self.map_server)
            etr.stopService()
            self.network.run(10)
            explained = self.explained("10.1.1.7")
            self.assertIn("its session was lost", self._told(explained))
            self.assertEqual(explained.resolves, resolves)
            self.assertEqual(dict(steps_of(explained))["answer"], kind)
            is_advised = "proxy-reply" in self._remedies(explained)
            self.assertEqual(is_advised, kind == "problem")
            self.map_server.stopService()
            self.network.run(10)

    def test_locators_that_cannot_be_used(self) -> None:
        """All of them have the priority that says so."""
        self.watched()
        self.register(self.etr(), "10.1.1.0/24", priority=255)
        explained = self.explained("10.1.1.7")
        self.assertFalse(explained.resolves)
        self.assertIn("priority 255", self._told(explained))

    def test_only_some_itrs_are_answered(self) -> None:
        """It says which."""
        self.watched(site(options='allowed-itrs = ["203.0.113.0/24"]'))
        self.etr("10.1.1.0/24")
        self.network.run(5)
        explained = self.explained("10.1.1.7")
        self.assertIn("203.0.113.0/24 only", self._told(explained))
        self.assertIn("allowed-itrs", self._remedies(explained))

    def test_a_more_specific_that_is_missing_inside_another(self) -> None:
        """The wider one answers, which may not be meant."""
        self.watched(
            site("campus", "10.1.0.0/16"), site("branch", "10.1.1.0/24", secrets=("other",))
        )
        self.etr("10.1.0.0/16")
        self.network.run(5)
        explained = self.explained("10.1.1.7")
        self.assertTrue(explained.resolves)
        self.assertIn("site branch may register 10.1.1.0/24", self._told(explained))
        self.assertIn("the wider 10.1.0.0/16 answers", self._told(explained))

    def test_a_host_that_has_left_inside_what_covers_it(self) -> None:
        """When it was withdrawn is told, and nothing is wrong."""
        self.watched()
        etr = self.etr("10.1.0.0/16", "10.1.1.7/32")
        self.network.run(5)
        etr.withdraw(eid_of("10.1.1.7"))
        self.network.run(1)
        explained = self.explained("10.1.1.7")
        self.assertTrue(explained.resolves)
        self.assertIn("10.1.1.7/32 was withdrawn", self._told(explained))
        self.assertEqual(explained.remedies, ())

    def test_an_eid_prefix_with_registrations_inside(self) -> None:
        """They are named."""
        self.watched()
        self.etr("10.1.1.0/24")
        self.network.run(5)
        self.assertIn("inside it 10.1.1.0/24", self._told(self.explained("10.1.0.0/16")))
        self.assertIn("there is one inside it", self._told(self.explained("10.0.0.0/8")))


class AgeTests(ViewsGround):
    """Times in words."""

    def test_largest_unit_of_which_there_are_two(self) -> None:
        """Never below 0 s."""
        found = [lasting(seconds) for seconds in (-1, 0, 1.9, 119, 120, 7199, 7200, 172_800)]
        self.assertEqual(found, ["0 s", "0 s", "1 s", "119 s", "2 min", "119 min", "2 h", "2 d"])
        self.assertEqual(ago(5), "5 s ago")
