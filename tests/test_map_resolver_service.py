"""Map-Resolvers as a whole: alone in front of Map-Servers, and together with one."""

from __future__ import annotations

from lispmsrt.services.requester import NoAnswerError
from lispmsrt.wire.records import Action
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    ITR,
    MAP_RESOLVER,
    MAP_SERVER,
    MAP_SERVER_TWO,
    Ground,
    negative,
    rlocs,
    server_text,
    site,
)

_NATIVELY = int(Action.NATIVELY_FORWARD)
_NO_PROXY = "proxy-reply = false"


def _target(host: str, *prefixes: str) -> str:
    """Return one [[map-resolver.map-server]]; a prefix may have an instance ID before a blank."""
    text = f'[[map-resolver.map-server]]\naddress = "{host}"\n'
    for prefix in prefixes:
        instance_id, _, eid = prefix.rpartition(" ")
        text += "[[map-resolver.map-server.eid-prefix]]\n"
        text += f'prefix = "{eid}"\ninstance-id = {instance_id or 0}\n'
    return text


def _resolver_text(*targets: str, host: str = MAP_RESOLVER) -> str:
    return f'[map-resolver]\ncontrol = ["{host}:4342"]\n' + "".join(targets)


class AloneTests(Ground):
    """In front of two Map-Servers, each with a site of its own."""

    def setUp(self) -> None:
        """An ETR at each Map-Server."""
        super().setUp()
        self.one = self.server(server_text(site("campus", "10.1.0.0/16", "7 10.0.0.0/8")))
        self.two = self.server(server_text(site("branch", "10.2.0.0/16"), host=MAP_SERVER_TWO))
        self.etr("10.1.1.0/24")
        self.etr("10.2.1.0/24", host=ETR_TWO, map_servers=(MAP_SERVER_TWO,))
        self.network.run(1)
        self.map_resolver = self.resolver(
            _resolver_text(
                _target(MAP_SERVER, "10.1.0.0/16", "7 10.0.0.0/8"),
                _target(MAP_SERVER_TWO, "10.2.0.0/16"),
            )
        )

    def test_each_is_asked_for_what_it_has(self) -> None:
        """It answers the ITR itself."""
        for eid, rloc, host in (("10.1.1.5", ETR_ONE, 1), ("10.2.1.5", ETR_TWO, 2)):
            answer = self.ask(eid, MAP_RESOLVER)
            self.assertEqual((rlocs(answer), answer.source[0][3]), ([rloc], host))

    def test_negative_answers_are_those_of_the_map_server(self) -> None:
        """With its hole and its TTL."""
        self.assertEqual(
            negative(self.ask("10.1.2.5", MAP_RESOLVER)), ("10.1.2.0/23", 1, _NATIVELY)
        )
        self.assertEqual(
            negative(self.ask("10.200.0.1", MAP_RESOLVER, instance_id=7)),
            ("[7] 10.0.0.0/8", 1, _NATIVELY),
        )

    def test_what_no_map_server_has_is_answered_by_the_resolver(self) -> None:
        """For 15 minutes, with a hole that touches no prefix of any."""
        for asked, instance_id, hole in (
            ("10.0.0.5", 0, "10.0.0.0/16"),
            ("10.3.0.5", 0, "10.3.0.0/16"),
            ("10.4.0.5", 0, "10.4.0.0/14"),
            ("2001:db8::1", 0, "::/0"),
            ("10.1.1.5", 9, "[9] 0.0.0.0/0"),
        ):
            answer = self.ask(asked, MAP_RESOLVER, instance_id=instance_id)
            self.assertEqual(negative(answer), (hole, 15, _NATIVELY))
            self.assertEqual(answer.source[0], bytes([192, 0, 2, 53]))

    def test_an_etr_that_answers_itself_is_reached_through_both(self) -> None:
        """ITR, Map-Resolver, Map-Server, ETR, ITR."""
        self.etr(
            "10.1.3.0/24",
            host="198.51.100.3",
            server_options=_NO_PROXY,
        )
        self.network.run(1)
        self.network.packets.clear()
        answer = self.ask("10.1.3.5", MAP_RESOLVER)
        self.assertTrue(answer.record.authoritative)
        hops = [(packet.source[0], packet.destination[0]) for packet in self.network.packets]
        self.assertEqual(
            hops,
            [
                (ITR, MAP_RESOLVER),
                (MAP_RESOLVER, MAP_SERVER),
                (MAP_SERVER, "198.51.100.3"),
                ("198.51.100.3", ITR),
            ],
        )

    def test_a_map_server_that_is_away_leaves_the_itr_waiting(self) -> None:
        """The other one is not asked for what it does not have."""
        self.lose(MAP_SERVER)
        self.assertIsInstance(self.ask("10.1.1.5", MAP_RESOLVER), NoAnswerError)
        self.assertEqual(rlocs(self.ask("10.2.1.5", MAP_RESOLVER)), [ETR_TWO])


class SharingTests(Ground):
    """Several Map-Servers for the same EIDs."""

    def test_they_take_turns(self) -> None:
        """An ITR that asks again after one went away is answered by the other."""
        for host in (MAP_SERVER, MAP_SERVER_TWO):
            self.server(server_text(host=host))
        self.etr("10.1.1.0/24", map_servers=(MAP_SERVER, MAP_SERVER_TWO))
        self.network.run(1)
        self.resolver(_resolver_text(_target(MAP_SERVER), _target(MAP_SERVER_TWO)))
        answerers = [self.ask("10.1.1.5", MAP_RESOLVER).source[0][3] for _ in range(4)]
        self.assertEqual(sorted(answerers), [1, 1, 2, 2])
        self.lose(MAP_SERVER)
        answers = [self.ask("10.1.1.5", MAP_RESOLVER) for _ in range(2)]
        self.assertEqual(sum(isinstance(answer, NoAnswerError) for answer in answers), 1)


class TogetherTests(Ground):
    """With a Map-Server in the same process."""

    def _both(self, *targets: str, host: str = MAP_SERVER, sites: str = "") -> None:
        text = server_text(sites or site(), host=host)
        self.server(text + "[map-resolver]\n" + "".join(targets))

    def test_own_sites_are_answered_and_others_are_asked_for(self) -> None:
        """What nobody has is denied here."""
        self._both(_target(MAP_SERVER_TWO, "10.2.0.0/16"))
        self.server(server_text(site("branch", "10.2.0.0/16"), host=MAP_SERVER_TWO))
        self.etr("10.1.1.0/24")
        self.etr("10.2.1.0/24", host=ETR_TWO, map_servers=(MAP_SERVER_TWO,))
        self.network.run(1)
        self.assertEqual(rlocs(self.ask("10.1.1.5")), [ETR_ONE])
        answer = self.ask("10.2.1.5")
        self.assertEqual((rlocs(answer), answer.source[0][3]), ([ETR_TWO], 2))
        self.assertEqual(negative(self.ask("10.1.2.5")), ("10.1.2.0/23", 1, _NATIVELY))
        self.assertEqual(negative(self.ask("10.3.0.5")), ("10.3.0.0/16", 15, _NATIVELY))

    def test_two_that_name_each_other_for_anything_pass_on_once(self) -> None:
        """The second one denies what it does not have."""
        self._both(_target(MAP_SERVER_TWO))
        self._both(_target(MAP_SERVER), host=MAP_SERVER_TWO, sites=site("branch", "10.2.0.0/16"))
        self.etr("10.2.1.0/24", host=ETR_TWO, map_servers=(MAP_SERVER_TWO,))
        self.network.run(1)
        self.assertEqual(rlocs(self.ask("10.2.1.5")), [ETR_TWO])
        self.network.packets.clear()
        answer = self.ask("10.3.0.5")
        self.assertEqual((negative(answer), answer.source[0][3]), (("10.3.0.0/16", 15, 1), 2))
        self.assertEqual(len(self.network.packets), 3)

    def test_a_socket_of_its_own_answers_too(self) -> None:
        """[map-resolver] control beside that of [map-server]."""
        text = server_text() + f'[map-resolver]\ncontrol = ["{MAP_RESOLVER}:4342"]\n'
        self.server(text)
        self.etr("10.1.1.0/24")
        self.network.run(1)
        for host, last in ((MAP_SERVER, 1), (MAP_RESOLVER, 53)):
            answer = self.ask("10.1.1.5", host)
            self.assertEqual((rlocs(answer), answer.source[0][3]), ([ETR_ONE], last))


class LoopTests(Ground):
    """What would come back is not sent."""

    def test_two_that_are_alone_do_not_play_ball(self) -> None:
        """The second one drops what a Map-Resolver has sent it."""
        first = self.resolver(_resolver_text(_target("192.0.2.54")))
        second = self.resolver(_resolver_text(_target(MAP_RESOLVER), host="192.0.2.54"))
        self.assertIsInstance(self.ask("10.1.1.5", MAP_RESOLVER), NoAnswerError)
        self.assertEqual(len(self.network.packets), 2)
        self.assertEqual(first.resolver.counters["Map-Requests dropped: loop"], 0)
        self.assertEqual(second.resolver.counters["Map-Requests dropped: loop"], 1)

    def test_one_that_names_itself_does_not_ask_itself(self) -> None:
        """It is silent: its configuration says that somebody knows."""
        resolver = self.resolver(_resolver_text(_target(MAP_RESOLVER)))
        self.assertIsInstance(self.ask("10.1.1.5", MAP_RESOLVER), NoAnswerError)
        self.assertEqual(len(self.network.packets), 1)
        self.assertEqual(resolver.resolver.counters["Map-Requests dropped: loop"], 1)

    def test_an_etr_whose_rloc_is_the_map_servers_is_not_sent_its_own_questions(self) -> None:
        """Somebody registered 192.0.2.1."""
        server = self.server(server_text(site().replace('"198.51.100.0/24"', '"0.0.0.0/0"')))
        etr = self.etr(server_options=_NO_PROXY)
        self.network.run(1)
        self.register(etr, "10.1.1.0/24", rloc=MAP_SERVER)
        self.network.packets.clear()
        self.assertIsInstance(self.ask("10.1.1.5"), NoAnswerError)
        self.assertEqual(len(self.network.packets), 1)
        counters = server.mapping.requests.counters
        self.assertEqual(counters["ETRs that are ourselves passed over: loop"], 1)
