"""A Map-Resolver, on its own and together with a Map-Server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.lisp_sec import MapServerSecurity
from lispmsrt.control.map_requests import MAX_LOOKUPS
from lispmsrt.control.map_resolver import Target, Targets
from lispmsrt.control.secured_requests import SecuredRequest
from lispmsrt.wire.addresses import NO_ADDRESS, Address, Afi, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import decode_map_request, encode_map_request
from lispmsrt.wire.records import Action
from tests import golden
from tests.asking import ITR, NONCE, Asker, ecm, forwarded, map_request, only_record, resolver
from tests.asking import records_of as _records
from tests.builders import Etr, MapServer, P, ip, record

_eid = EidPrefix.from_text
_ip = Address.from_text
_FIRST, _SECOND = (ip("192.0.2.101"), 4342), (ip("192.0.2.102"), 4342)


def _target(endpoint: tuple[bytes, int], *prefixes: str, key: Key | None = None) -> Target:
    return Target(endpoint, tuple(map(_eid, prefixes)), key)


class ForwardingTests(SynchronousTestCase):
    """What a Map-Resolver passes on."""

    def _asked(self, asker: Asker, eid: str) -> set[tuple[bytes, int]]:
        return {forwarded(asker.send(ecm(map_request(eid))))[1] for _ in range(4)}

    def test_the_ecm_goes_on_octet_for_octet(self) -> None:
        """But for the bit that says: to a Map-Server."""
        data = ecm(map_request("10.1.2.3", pitr=True), hop_limit=3, security=golden.LISP_SEC)
        ((out, to),) = resolver(_target(_FIRST)).send(data)
        self.assertEqual(out[:4], bytes((0x89, 0, 0, 0)))
        self.assertEqual((out[4:], to), (data[4:], _FIRST))

    def test_a_plain_map_request_is_put_into_an_ecm(self) -> None:
        """From where it came, to the EID if that is of the same family."""
        over_ipv6 = (ip("2001:db8::53"), 4342)
        for eid, itr, target, destination in (
            ("10.1.2.3", ITR, _FIRST, "10.1.2.3"),
            ("2001:db8:1::1", ITR, _FIRST, "192.0.2.101"),
            ("name:router", ITR, _FIRST, "192.0.2.101"),
            ("10.1.2.3", "2001:db8::9", over_ipv6, "2001:db8::53"),
            ("10.1.2.3", "2001:db8::9", _FIRST, "2001:db8::1"),
            ("2001:db8:1::1", ITR, over_ipv6, ITR),
        ):
            request = encode_map_request(map_request(eid, itr=itr))
            part = resolver(_target(target), own_addresses=[ip("2001:db8::1")])
            message, to = forwarded(part.send(request, (ip(itr), 777)))
            expected = EncapsulatedControlMessage(
                _ip(itr), _ip(destination), 777, 4342, request, to_map_server=True
            )
            self.assertEqual((message, to), (expected, target), eid)

    def test_the_longest_match_is_asked(self) -> None:
        """Whoever has no prefixes gets the rest."""
        part = resolver(
            _target(_FIRST, "10.0.0.0/8"), _target(_SECOND, "10.1.0.0/16"), _target((ITR_IP, 1))
        )
        self.assertEqual(self._asked(part, "10.2.2.2"), {_FIRST})
        self.assertEqual(self._asked(part, "10.1.2.2"), {_SECOND})
        self.assertEqual(self._asked(part, "11.1.2.2"), {(ITR_IP, 1)})

    def test_instances_and_names(self) -> None:
        """A prefix is one of its instance; names match whole."""
        first = Target(_FIRST, (_eid("10.0.0.0/8", 5), _eid("name:router")))
        part = resolver(first)
        forwarded(part.send(ecm(map_request(_eid("10.1.1.1/32", 5)))))
        forwarded(part.send(ecm(map_request("name:router"))))
        self.assertEqual(only_record(part.ask("10.1.1.1")).eid, _eid("0.0.0.0/0"))
        self.assertEqual(str(only_record(part.ask("name:rout")).eid), "name:rout")

    def test_several_map_servers_take_turns(self) -> None:
        """So a retry reaches another one."""
        part = resolver(_target(_FIRST, "10.0.0.0/8"), _target(_SECOND, "10.0.0.0/8"))
        self.assertEqual(self._asked(part, "10.1.1.1"), {_FIRST, _SECOND})
        self.assertEqual(part.counted("Map-Requests forwarded to Map-Servers"), 4)

    def test_map_servers_that_cannot_be_reached(self) -> None:
        """The others are asked; where there is none, nothing is said."""
        six = (ip("2001:db8::1"), 4342)
        part = resolver(_target(_FIRST), _target(six), can_reach=lambda afi: afi == Afi.IPV4)
        self.assertEqual(self._asked(part, "10.1.1.1"), {_FIRST})
        part = resolver(_target(six), can_reach=lambda afi: afi == Afi.IPV4)
        self.assertEqual(part.send(ecm(map_request("10.1.1.1"))), [])
        self.assertEqual(part.counted("Map-Requests dropped: no Map-Server to send to"), 1)

    def test_eids_of_several_map_servers_are_asked_for_in_turn(self) -> None:
        """Each would deny what it does not know, and the ITR would believe it."""
        part = resolver(_target(_FIRST, "10.0.0.0/8"), _target(_SECOND, "11.0.0.0/8"))
        whole = map_request("10.1.1.1", "11.1.1.1", "10.1.1.2")
        for data, source in (
            (ecm(whole), (ip("198.51.100.53"), 4342)),
            (encode_map_request(whole), (ITR_IP, 777)),
        ):
            seen = {}
            for _ in range(4):
                message, to = forwarded(part.send(data, source))
                seen[to] = decode_map_request(message.payload)
                self.assertEqual(message.source, _ip(ITR))
            asked = {to: [str(one.eid) for one in found.records] for to, found in seen.items()}
            self.assertEqual(
                asked, {_FIRST: ["10.1.1.1/32", "10.1.1.2/32"], _SECOND: ["11.1.1.1/32"]}
            )
            self.assertEqual({found.nonce for found in seen.values()}, {NONCE})

    def test_every_map_server_of_several_eids_has_its_turn(self) -> None:
        """One that is dead does not keep the others of the same EID from being asked."""
        four = [(ip(f"192.0.2.{last}"), 4342) for last in (101, 102, 103, 104)]
        prefixes = ("10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8", "11.0.0.0/8")
        part = resolver(*map(_target, four, prefixes))
        data = ecm(map_request("10.1.1.1", "11.1.1.1"))
        asked = {forwarded(part.send(data))[1] for _ in range(4)}
        self.assertEqual(asked, set(four))

    def test_eids_of_one_map_server_stay_together(self) -> None:
        """The message is not touched."""
        part = resolver(_target(_FIRST))
        request = map_request("10.1.1.1", "11.1.1.1")
        message, _to = forwarded(part.send(ecm(request)))
        self.assertEqual(message.payload, encode_map_request(request))

    def test_a_limit_on_what_is_looked_up(self) -> None:
        """What is beyond is cut off."""
        part = resolver(_target(_FIRST))
        request = map_request(*(f"10.{number}.0.1" for number in range(200)))
        message, _to = forwarded(part.send(ecm(request)))
        self.assertEqual(len(decode_map_request(message.payload).records), MAX_LOOKUPS)


ITR_IP = ip(ITR)


class LoopTests(SynchronousTestCase):
    """Nothing goes round."""

    def test_what_is_for_a_map_server_goes_to_no_other(self) -> None:
        """A Map-Resolver sent it here."""
        data = ecm(map_request("10.1.1.1"), to_map_server=True)
        part = resolver(_target(_FIRST))
        self.assertEqual(part.send(data), [])
        self.assertEqual(part.counted("Map-Requests dropped: loop"), 1)

    def test_a_map_server_in_the_same_place_takes_it_as_its_own(self) -> None:
        """And says what a Map-Server says."""
        part = resolver(_target(_FIRST), server=MapServer())
        ((data, _to),) = part.send(ecm(map_request("11.1.1.1"), to_map_server=True))
        self.assertEqual(_records(decode_map_reply(data))[0][:2], ("11.0.0.0/8", 15))

    def test_what_is_for_an_etr(self) -> None:
        """It was sent to the wrong place."""
        part = resolver(_target(_FIRST))
        self.assertEqual(part.send(ecm(map_request("10.1.1.1"), to_etr=True)), [])

    def test_ourselves_as_map_server(self) -> None:
        """A mistake of the configuration; the same address at another port is somebody else."""
        own = {_FIRST[0]}
        part = resolver(_target(_FIRST), own_addresses=own)
        self.assertEqual(part.send(ecm(map_request("10.1.1.1"))), [])
        self.assertEqual(part.counted("Map-Requests dropped: loop"), 1)
        part = resolver(_target((_FIRST[0], 4343)), own_addresses=own)
        self.assertEqual(len(part.send(ecm(map_request("10.1.1.1")))), 1)


class NegativeTests(SynchronousTestCase):
    """Nobody knows the EID."""

    def test_the_hole_is_as_wide_as_can_be(self) -> None:
        """And touches no prefix that some Map-Server knows."""
        part = resolver(_target(_FIRST, "10.0.0.0/8", "2001:db8::/32"))
        for eid, hole in (
            ("11.1.1.1", "11.0.0.0/8"),
            ("8.1.1.1", "8.0.0.0/7"),
            ("128.1.1.1", "128.0.0.0/1"),
            ("2001:db9::1", "2001:db9::/32"),
            (_eid("02:00:00:00:00:01/48"), "00:00:00:00:00:00/0"),
            (_eid("11.0.0.0/16"), "11.0.0.0/8"),
            # Something lies inside: only of the network address can be said that nobody knows it.
            (_eid("8.0.0.0/6"), "8.0.0.0/7"),
        ):
            expected = [(hole, 15, 0, Action.NATIVELY_FORWARD)]
            self.assertEqual(_records(part.ask(eid)), expected, eid)

    def test_no_map_server_at_all(self) -> None:
        """Everything is a hole."""
        self.assertEqual(_records(resolver().ask("10.1.1.1"))[0][:2], ("0.0.0.0/0", 15))
        self.assertEqual(len(resolver().ask("10.1.1.1", "11.1.1.1").records), 2)

    def test_the_hole_spares_what_the_map_server_here_knows(self) -> None:
        """Sites and registrations."""
        part = resolver(_target(_FIRST, "12.0.0.0/8"), server=MapServer())
        self.assertEqual(_records(part.ask("11.1.1.1"))[0][:2], ("11.0.0.0/8", 15))
        self.assertEqual(_records(part.ask("13.1.1.1"))[0][:2], ("13.0.0.0/8", 15))
        self.assertEqual(_records(part.ask("128.1.1.1"))[0][:2], ("128.0.0.0/1", 15))

    def test_who_cancels_a_subscription_that_nobody_has(self) -> None:
        """There is nowhere to say so."""
        part = resolver()
        self.assertEqual(part.send(ecm(golden.MAP_REQUEST_UNSUBSCRIBE)), [])
        self.assertEqual(part.counted("subscriptions to cancel that nobody has"), 1)
        self.assertEqual(
            len(resolver(_target(_FIRST)).send(ecm(golden.MAP_REQUEST_UNSUBSCRIBE))), 1
        )

    def test_no_itr_rloc(self) -> None:
        """A Map-Resolver drops it like a Map-Server."""
        self.assertEqual(resolver().send(ecm(map_request("10.1.1.1", itr=(NO_ADDRESS,)))), [])


class TogetherTests(SynchronousTestCase):
    """A Map-Server in the same place."""

    def setUp(self) -> None:
        """One mapping here, everything else elsewhere."""
        self.server = MapServer()
        etr = Etr()
        assert self.server.hear(etr, etr.map_register(record("10.1.0.0/16"), flags=P | 1 << 8))
        self.part = resolver(_target(_FIRST), server=self.server)

    def test_what_is_registered_here_is_answered_here(self) -> None:
        """And what could be registered here."""
        self.assertEqual(_records(self.part.ask("10.1.2.3"))[0], ("10.1.0.0/16", 1440, 1, 0))
        self.assertEqual(_records(self.part.ask("10.2.2.3"))[0][:2], ("10.2.0.0/15", 1))

    def test_the_rest_is_forwarded(self) -> None:
        """To a Map-Server that knows more."""
        self.assertEqual(forwarded(self.part.send(ecm(map_request("11.1.1.1"))))[1], _FIRST)

    def test_of_a_mixture_only_what_is_known_here_is_answered(self) -> None:
        """The rest is not denied: the ITR asks again."""
        reply = self.part.ask("11.1.1.1", "10.1.2.3", "12.1.1.1")
        self.assertEqual(_records(reply), [("10.1.0.0/16", 1440, 1, 0)])
        self.assertEqual(self.part.counted("Map-Requests answered in part"), 1)

    def test_nothing_waits_for_a_time(self) -> None:
        """As the services ask."""
        self.assertIsNone(self.part.part.next_timeout())


class SecurityTests(SynchronousTestCase):
    """LISP-SEC (RFC 9303 §6.6): the One-Time Key is wrapped anew for the Map-Server."""

    def setUp(self) -> None:
        """Two shared keys."""
        self.itr_key = Key(5, AlgorithmId.HMAC_SHA_256_128, b"secret of the ITR")
        self.server_key = Key(6, AlgorithmId.HMAC_SHA_256_128, b"secret of the Map-Server")
        self.secured = SecuredRequest(NONCE, bytes(range(16)), self.itr_key)
        self.data = ecm(map_request("10.1.2.3"), security=self.secured.security)

    def _security(self, *keys: Key) -> MapServerSecurity:
        return MapServerSecurity(lambda key_id: [key for key in keys if key.key_id == key_id])

    def _forwarded(self, security: MapServerSecurity | None, key: Key | None) -> bytes:
        part = resolver(_target(_FIRST, key=key), security=security)
        return forwarded(part.send(self.data))[0].security

    def test_it_is_wrapped_with_what_the_map_server_shares(self) -> None:
        """Who can unwrap it there."""
        rewrapped = self._forwarded(self._security(self.itr_key), self.server_key)
        self.assertNotEqual(rewrapped, self.secured.security)
        found = self._security(self.server_key).unwrap(rewrapped, NONCE)
        self.assertEqual(type(found).__name__, "SecuredQuestion")

    def test_without_a_key_it_goes_on_as_it_is(self) -> None:
        """The Map-Server may share one with the ITR."""
        for security, key in (
            (None, self.server_key),
            (self._security(self.itr_key), None),
            (self._security(), self.server_key),
        ):
            self.assertEqual(self._forwarded(security, key), self.secured.security)

    def test_what_is_no_security_data_is_dropped(self) -> None:
        """An OTK length that lies about the rest."""
        self.data = ecm(map_request("10.1.2.3"), security=golden.LISP_SEC)
        part = resolver(_target(_FIRST), security=self._security(self.itr_key))
        self.assertEqual(part.send(self.data), [])


class TargetsTests(SynchronousTestCase):
    """Which Map-Servers know an EID."""

    def test_families_do_not_mix(self) -> None:
        """A prefix key says nothing of its family."""
        targets = Targets([_target(_FIRST, "0.0.0.0/0")])
        self.assertEqual(targets.find(_eid("2001:db8::1/128")), ())
        self.assertEqual(len(targets.find(_eid("10.1.1.1/32"))), 1)

    def test_a_prefix_that_is_longer_than_the_query_does_not_match(self) -> None:
        """Who asks for all of 10/8 is not asking for 10.1/16."""
        targets = Targets([_target(_FIRST, "10.1.0.0/16")])
        self.assertEqual(targets.find(_eid("10.0.0.0/8")), ())
