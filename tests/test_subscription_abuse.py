"""What others can't do to a Map-Server's subscribers: take their key, their room, their nonces."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.subscription_table import SecurityAssociation
from lispmsrt.control.subscriptions import SubscriptionLimits
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire.addresses import NO_ADDRESS, Address, EidPrefix
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import write_map_notify_ack
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.messages import ControlType, message_type
from tests.builders import Etr, Secret, ip, locator, site, sites
from tests.subscription_ground import PublishingMapServer, ids, prefix

_NOTIFY, _REPLY = ControlType.MAP_NOTIFY, ControlType.MAP_REPLY
_CAMPUS, _BRANCH = Secret(1, 2, b"campus"), Secret(1, 2, b"branch")
_KEYS = {"campus": _CAMPUS.key(), "branch": _BRANCH.key()}
_SOURCE: Endpoint = (ip("203.0.113.1"), 4342)
_SPOOFED: Endpoint = (ip("198.51.100.66"), 4342)
_HEADERS = 28


def _request(
    *eids: str | EidPrefix,
    nonce: int,
    number: int = 1,
    rloc: str | None = "203.0.113.1",
    plain: tuple[str, ...] = (),
) -> bytes:
    wanted = [
        RequestedEid(eid if isinstance(eid, EidPrefix) else prefix(eid), subscribe=True)
        for eid in eids
    ]
    wanted += [RequestedEid(prefix(eid)) for eid in plain]
    who = ids(number)
    itr = Address.from_text(rloc) if rloc is not None else NO_ADDRESS
    return encode_map_request(
        MapRequest(nonce, (itr,), tuple(wanted), xtr_id=who[:16], site_id=who[16:])
    )


def _ack(nonce: int, secret: Secret = _CAMPUS) -> bytes:
    key = secret.key()
    return write_map_notify_ack(
        nonce=nonce,
        records=[],
        ids=b"",
        key=key,
        length=key.sent_length,
        coverage=key.default_coverage,
    )


class _Case(SynchronousTestCase):
    """xTRs below 1000 are of one site, the others of another."""

    def setUp(self) -> None:
        self.site_of: Callable[[bytes], str] = lambda who: (
            "campus" if int.from_bytes(who[:16], "big") < 1000 else "branch"
        )
        self.keys: dict[str, Key] = dict(_KEYS)
        self.etr = Etr()
        self.now = 1.0
        self.server = self._server()

    def _server(self, limits: SubscriptionLimits | None = None) -> PublishingMapServer:
        server = PublishingMapServer(
            sites((site(), "10.0.0.0/8")),
            find_association=lambda who: SecurityAssociation(self.site_of(who), self.keys.get),
            subscription_limits=limits,
        )
        server.register(self.etr, "10.1.0.0/16", now=0.0)
        return server

    def _send(self, data: bytes, source: Endpoint = _SOURCE, now: float = 1.0) -> list[ControlType]:
        self.server.receive_datagram(data, source, now)
        return [ControlType(message_type(one)) for one, _to in self.server.datagrams_to_send(now)]

    def _subscribe(self, eid: str, nonce: int, number: int = 1) -> bool:
        """Subscribe and acknowledge; tell whether the Map-Server took it."""
        self.now += 0.01
        kinds = self._send(_request(eid, nonce=nonce, number=number), now=self.now)
        if kinds == [_NOTIFY]:
            self._send(_ack(nonce, _CAMPUS if number < 1000 else _BRANCH), now=self.now)
        return kinds == [_NOTIFY]


class KeyTests(_Case):
    """A subscription stays with the site that it was confirmed with."""

    def _signers(self, now: float) -> list[str]:
        """Change a mapping; return by whose key each publication is signed."""
        host = locator(f"192.0.2.{int(now)}")
        self.server.register(self.etr, "10.1.0.0/16", host, now=now)
        sent = [data for data, _to in self.server.datagrams_to_send(now)]
        for data in sent:
            nonce = int.from_bytes(data[4:12], "big")
            for name, secret in (("campus", _CAMPUS), ("branch", _BRANCH)):
                if self.server.subscriptions.acknowledge(_ack(nonce, secret), _SOURCE, now):
                    return [name]
        return []

    def test_whoever_registers_its_xtr_id_later(self) -> None:
        """Is another subscriber, beside it."""
        self._subscribe("10.1.0.0/16", 100)
        self.site_of = lambda who: "branch"
        self.assertEqual(self._signers(2.0), ["campus"])
        self._send(_request("10.1.0.0/16", nonce=500), now=3.0)
        self._send(_ack(500, _BRANCH), now=3.0)
        self.assertEqual(len(self.server.subscriptions), 2)

    def test_another_key_of_the_site_counts_at_once(self) -> None:
        """And without its site a subscription ends."""
        self._subscribe("10.1.0.0/16", 100)
        self.keys["campus"] = _BRANCH.key()
        self.assertEqual(self._signers(2.0), ["branch"])
        del self.keys["campus"]
        self.assertEqual(self._signers(4.0), [])
        self.assertEqual(len(self.server.subscriptions), 0)


class RoomTests(_Case):
    """One site's invented xTR-IDs don't use up what is there for all."""

    def test_the_site_with_most_makes_room(self) -> None:
        """For others, not for more of its own; of its own the oldest goes."""
        self.server = self._server(SubscriptionLimits(max_subscriptions=4))
        for each in range(4):
            self.assertTrue(self._subscribe(f"10.{each}.0.0/16", 10 + 10 * each, 1000 + each))
        self.assertFalse(self._subscribe("10.5.0.0/16", 80, 1005))
        self.assertTrue(self._subscribe("10.1.0.0/16", 90))
        self.assertTrue(self._subscribe("10.2.0.0/16", 100))
        self.assertFalse(self._subscribe("10.3.0.0/16", 110))
        self.assertEqual(len(self.server.subscriptions), 4)
        self.assertEqual(self.server.count("subscriptions displaced"), 2)

    def test_nor_of_one_eid_prefix(self) -> None:
        """Few of them or many."""
        for most in (4, 300):
            self.server = self._server(SubscriptionLimits(max_per_eid=most))
            for each in range(most):
                self._subscribe("10.1.0.0/16", 1000 + 10 * each, 1000 + each)
            self.assertEqual(len(self.server.subscriptions), most)
            self.assertFalse(self._subscribe("10.1.0.0/16", 10, 5000))
            self.assertTrue(self._subscribe("10.1.0.0/16", 20, 1))
            self.assertTrue(self._subscribe("10.1.0.0/16", 40, 2))
            self.assertEqual(len(self.server.subscriptions), most)
            self.assertEqual(self.server.count("subscriptions displaced"), 2)

    def test_ever_new_instance_ids_leave_nothing_behind(self) -> None:
        """No site is configured there, so an ordinary Map-Reply says so."""
        tables = len(self.server.registrar.database.tables)
        for instance_id in range(1, 100):
            eid = prefix("10.1.0.0/16", instance_id)
            kinds = self._send(_request(eid, nonce=10 * instance_id))
            self.assertEqual(kinds, [_REPLY])
        self.assertEqual(len(self.server.registrar.database.tables), tables)
        self.assertEqual(self.server.count("subscriptions refused: no site in that instance"), 99)


class NonceTests(_Case):
    """A captured Map-Notify-Ack confirms nothing more."""

    def _replay(self, eid: str, nonce: int, number: int = 1) -> int:
        """Ask with the nonce for somebody else's RLOC, and acknowledge; return how many
        subscriptions there are.
        """
        forged = _request(eid, nonce=nonce, number=number, rloc="198.51.100.66")
        self._send(forged, _SPOOFED)
        self._send(_ack(nonce), _SPOOFED)
        return len(self.server.subscriptions)

    def test_not_for_other_eid_prefixes_nor_for_other_xtrs_of_the_site(self) -> None:
        """Who has the key in common."""
        self._subscribe("10.1.0.0/16", 2**64 - 1)
        for eid, number in (("10.1.1.0/24", 1), ("10.0.0.0/8", 1), ("10.1.0.0/16", 2)):
            self.assertEqual(self._replay(eid, 2**64 - 1, number), 1)

    def test_not_one_of_a_publication(self) -> None:
        """Captured, or caught as it comes."""
        self._subscribe("10.1.0.0/16", 2**64 - 1)
        self._send(_request("10.1.1.0/24", nonce=0, rloc="198.51.100.66"), _SPOOFED)
        self.server.register(self.etr, "10.1.0.0/16", locator("192.0.2.9"), now=2.0)
        kinds = [message_type(one) for one, _to in self.server.datagrams_to_send(2.0)]
        self.assertEqual(kinds, [_NOTIFY])
        self._send(_ack(0), now=2.0)
        self.assertEqual(len(self.server.subscriptions), 1)
        self.assertEqual(self._replay("10.1.1.0/24", 0), 1)

    def test_not_that_of_a_renewal(self) -> None:
        """Its nonce can be foreseen."""
        self._subscribe("10.1.0.0/16", 100)
        self._send(_request("10.1.1.0/24", nonce=101, rloc="198.51.100.66"), _SPOOFED)
        self._subscribe("10.1.0.0/16", 101)
        self.assertEqual(len(self.server.subscriptions), 1)
        self.assertEqual(self.server.count("subscriptions renewed"), 1)

    def test_not_after_the_subscription_has_ended(self) -> None:
        """Neither its own nonces nor that by which it was cancelled."""
        self._subscribe("10.1.0.0/16", 100)
        self._send(_request("10.1.0.0/16", nonce=101, rloc=None))
        self.assertEqual(len(self.server.subscriptions), 0)
        for nonce in (100, 101):
            self.assertEqual(self._replay("10.1.0.0/16", nonce), 0)
        self.assertTrue(self._subscribe("10.1.0.0/16", 102))

    def test_of_two_that_wait_under_one_nonce_one_is_confirmed(self) -> None:
        """The first: whoever saw its nonce comes second."""
        self._send(_request("10.1.0.0/16", nonce=7))
        self._send(_request("10.1.1.0/24", nonce=7, rloc="198.51.100.66"), _SPOOFED)
        self._send(_ack(7))
        self._send(_ack(7))
        self.assertEqual(len(self.server.subscriptions), 1)


class SpoofedTests(_Case):
    """Map-Requests that somebody else sent."""

    def test_a_candidate_is_not_pushed_out_from_another_address(self) -> None:
        """However many pretend to be its xTR."""
        self._send(_request("10.1.0.0/16", nonce=7))
        for nonce in range(100, 200):
            self._send(_request("10.1.0.0/16", nonce=nonce), _SPOOFED)
        self._send(_ack(7))
        self.assertEqual(len(self.server.subscriptions), 1)

    def test_all_that_a_map_request_draws_is_bounded(self) -> None:
        """Eight times as much with all headers, whatever it asks for and whatever is registered."""
        hosts = [locator(f"192.0.2.{host}") for host in range(1, 13)]
        for length in (8, 14, 16, 24, 32):
            self.server.register(self.etr, f"10.1.0.0/{length}", *hosts, now=0.0)
        self.server.datagrams_to_send(0.0)
        for count in (1, 2, 4, 8, 16):
            eids = [f"10.1.{each}.0/24" for each in range(count)]
            data = _request(*eids, nonce=100 * count, rloc="198.51.100.66")
            self.server.receive_datagram(data, _SPOOFED, 1000.0 * count)
            sent = [
                len(one) + _HEADERS
                for second in range(100)
                for one, _to in self.server.datagrams_to_send(1000.0 * count + second)
            ]
            self.assertEqual(len(sent), 3)
            self.assertLessEqual(sum(sent), 8 * (len(data) + _HEADERS))

    def test_map_notifies_beside_a_map_reply_are_half_as_much(self) -> None:
        """Of a Map-Request with records that nobody subscribes to; the Map-Reply is the other."""
        hosts = [locator(f"192.0.2.{host}") for host in range(1, 100)]
        self.server.register(self.etr, "10.1.200.0/24", *hosts, now=0.0)
        self.server.datagrams_to_send(0.0)
        for count in (1, 4, 16):
            eids = [f"10.1.{each}.0/24" for each in range(count)]
            data = _request(*eids, nonce=100 * count, plain=("10.1.200.0/24",))
            self.server.receive_datagram(data, _SPOOFED, 1000.0 * count)
            sent = [
                (message_type(one), len(one) + _HEADERS)
                for second in range(100)
                for one, _to in self.server.datagrams_to_send(1000.0 * count + second)
            ]
            notifies = [octets for kind, octets in sent if kind == _NOTIFY]
            replies = [octets for kind, octets in sent if kind == _REPLY]
            self.assertEqual((len(notifies), len(replies)), (3, 1))
            self.assertLessEqual(sum(notifies), 4 * (len(data) + _HEADERS))
            self.assertLessEqual(sum(notifies) + sum(replies), 8 * (len(data) + _HEADERS))
