"""What those can do who have been trusted with something: a key, an address, a place on the path
(docs/security.rst). As in ``test_security_replay``, "what is possible" are attacks that work.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.nonces import NonceCheck
from lispmsrt.session.base import CloseReason
from tests.builders import (
    ANY_IPV4,
    OTHER_KEY,
    Etr,
    M,
    MapServer,
    R,
    Secret,
    eid,
    frame,
    ip,
    locator,
    record,
    site,
    sites,
)
from tests.rim import Listener
from tests.service_ground import ETR_ONE, ITR, MAP_SERVER, Ground, rlocs, server_text

_EID = "10.1.0.0/16"
_ACK = ("ack", eid(_EID))
_PRIME = (1 << 61) - 1


class KeyHolderTests(SynchronousTestCase):
    """An ETR whose key is in wrong hands."""

    def setUp(self) -> None:
        self.victim = Etr("192.0.2.1")
        self.attacker = Etr("192.0.2.66", xtr_id=66)
        self.squatter = Etr("192.0.2.66")
        "has the victim's xTR-ID"

    def test_of_another_site_it_registers_and_withdraws_nothing(self) -> None:
        """Its key is not that of the EID-prefix."""
        server = MapServer(
            sites((site(), "10.0.0.0/8"), (site("shop", OTHER_KEY), "172.16.0.0/12"))
        )
        server.hear(self.victim, self.victim.map_register(record(_EID)))
        stranger = Etr("192.0.2.66", key=OTHER_KEY)
        for one in (record(_EID, ttl=0), record(_EID, locator("203.0.113.66"))):
            self.assertEqual(server.hear(stranger, stranger.map_register(one)), [])
        self.assertEqual(server.holder(_EID).source, "192.0.2.1:4342")
        self.assertFalse(server.armory.admits(ip("192.0.2.66"), 0.0))

    def test_of_another_site_an_xtr_id_is_another_xtr(self) -> None:
        """It touches no session of the xTR with the same ID."""
        server = MapServer(
            sites((site(), "10.0.0.0/8"), (site("shop", OTHER_KEY), "172.16.0.0/12"))
        )
        peer = server.bring_up(self.victim, record(_EID))
        stranger = Etr("192.0.2.66", key=OTHER_KEY)
        server.bring_up(stranger, record("172.16.1.0/24"))
        self.assertIsNone(peer.session.close_reason)

    def test_rlocs_outside_those_of_the_site_are_refused(self) -> None:
        """Traffic can't be sent to somebody else's address where ``allowed-rlocs`` is given."""
        server = MapServer(sites((site(allowed=("192.0.2.0/24",)), ANY_IPV4)))
        bad = record(_EID, locator("203.0.113.80"))
        self.assertEqual(server.hear(self.attacker, self.attacker.map_register(bad)), [])
        self.assertIsNone(server.at(_EID))

    def test_what_is_possible_with_the_key_of_the_same_site(self) -> None:
        """Its EID-prefixes can be taken over, and sent anywhere without ``allowed-rlocs``."""
        server = MapServer()
        server.bring_up(self.victim, record(_EID))
        stolen = record(_EID, locator("203.0.113.80"))
        self.assertTrue(server.hear(self.attacker, self.attacker.map_register(stolen)))
        self.assertEqual(server.holder(_EID).source, "192.0.2.66:4342")

    def test_what_is_possible_with_the_xtr_id_of_another(self) -> None:
        """Its session is replaced."""
        server = MapServer()
        peer = server.bring_up(self.victim, record(_EID))
        # One counter: what the victim has shown is the attacker's to go beyond.
        self.squatter.nonce = self.victim.nonce
        server.bring_up(self.squatter, record(_EID))
        self.assertIs(peer.session.close_reason, CloseReason.REPLACED)

    def test_a_certificate_keeps_the_xtr_id_of_another_from_its_session(self) -> None:
        """[[site.xtr]]: the key alone does not replace it."""
        demanded = {self.victim.ids[:16]: frozenset({"etr1.example.net"})}
        server = MapServer(sites((site(certificates=demanded), ANY_IPV4)))
        server.hear(self.victim, self.victim.map_register(record(_EID)))
        peer = server.connect("192.0.2.1", 0.0, "etr1.example.net")
        peer.pull()
        self.assertEqual(peer.send(self.victim.registration(record(_EID))), [_ACK])
        self.squatter.nonce = self.victim.nonce
        server.hear(self.squatter, self.squatter.map_register(record(_EID)))
        wrong = server.connect("192.0.2.66")
        wrong.pull()
        self.assertEqual(
            wrong.send(self.squatter.registration(record(_EID))), [("reject", 2, eid(_EID))]
        )
        self.assertIsNone(peer.session.close_reason)

    def test_what_is_possible_with_the_largest_nonce(self) -> None:
        """In the name of another xTR of the site it shuts that one out over UDP."""
        server = MapServer(nonce_check=NonceCheck.STRICT)
        self.squatter.nonce = (1 << 64) - 2
        server.hear(self.squatter, self.squatter.map_register(record(_EID)))
        own = self.victim.map_register(record(_EID))
        self.assertEqual(server.hear(self.victim, own), [])

    def test_a_full_database_leaves_what_is_registered_alone(self) -> None:
        """Whoever fills it: others keep and confirm theirs."""
        server = MapServer(
            sites((site(), "10.0.0.0/8"), (site("shop", OTHER_KEY), "172.16.0.0/12")),
            max_registrations=10,
        )
        shop = Etr("192.0.2.9", key=OTHER_KEY)
        self.assertTrue(server.hear(shop, shop.map_register(record("172.16.1.0/24"))))
        for number in range(20):
            one = record(f"10.66.{number}.0/24")
            server.hear(self.attacker, self.attacker.map_register(one))
        self.assertEqual(server.registrar.count, 10)
        self.assertTrue(server.hear(shop, shop.map_register(record("172.16.1.0/24"))))

    def test_what_is_possible_by_filling_the_database(self) -> None:
        """One site may have all of ``max-registrations``: others register nothing new then."""
        server = MapServer(
            sites((site(), "10.0.0.0/8"), (site("shop", OTHER_KEY), "172.16.0.0/12")),
            max_registrations=10,
        )
        for number in range(20):
            one = record(f"10.66.{number}.0/24")
            server.hear(self.attacker, self.attacker.map_register(one))
        shop = Etr("192.0.2.9", key=OTHER_KEY)
        self.assertEqual(server.hear(shop, shop.map_register(record("172.16.1.0/24"))), [])

    def test_what_is_possible_with_equal_hashes(self) -> None:
        """Python's hash of a number is its remainder by 2^61 - 1, in every process: an IPv6 prefix
        has any number of EIDs that share one. By numbers plain Python keeps its tables.
        """
        server = MapServer(sites((site(), "2001:db8::/32")))
        first = int.from_bytes(ip("2001:db8::"), "big")
        for number in range(50):
            wire = bytes((128, 0, 2)) + (first + number * _PRIME).to_bytes(16, "big")
            server.hear(self.attacker, self.attacker.map_register(record(wire)))
        (table,) = server.registrar.database.tables.values()
        self.assertEqual(len(table.entries), 50)
        self.assertEqual(len({hash(key) for key in table.entries}), 1)


class SpoofedSourceTests(SynchronousTestCase):
    """Connections in the name of an address."""

    def test_without_a_key_no_address_is_armed(self) -> None:
        """Whatever the source that a forged Map-Register pretends."""
        server, forger = MapServer(), Etr("192.0.2.66", key=OTHER_KEY)
        for source in ("192.0.2.1", "192.0.2.66", "127.0.0.1"):
            server.hear(forger, forger.map_register(record(_EID)), source=(ip(source), 4342))
            self.assertFalse(server.armory.admits(ip(source), 0.0))
        self.assertEqual(server.armory.counters["tokens"], 0)

    def test_an_armed_address_is_no_registration(self) -> None:
        """Who connects from it, behind the same NAT, needs the key of an armed xTR."""
        server, etr, forger = MapServer(), Etr(), Etr(key=OTHER_KEY)
        server.hear(etr, etr.map_register(record(_EID), flags=M | R))
        peer = server.connect("192.0.2.1")
        peer.pull()
        self.assertEqual(peer.send(forger.registration(record(_EID))), [("reject", 2, eid(_EID))])
        peer.wait(30.0)
        self.assertIs(peer.session.close_reason, CloseReason.NO_REGISTRATION)


class ItrTests(Ground):
    """An ITR, or a Map-Resolver, whose key is in wrong hands."""

    def test_the_key_of_an_itr_registers_nothing(self) -> None:
        """``itr-keys`` are for LISP-SEC; Map-Registers need one of the site's."""
        server = self.server(server_text(options='itr-keys = [{ id = 0, secret = "of ITRs" }]'))
        thief = Etr(ITR, key=Secret(0, 2, b"of ITRs"))
        self.network.send((ITR, 4342), (MAP_SERVER, 4342), thief.map_register(record(_EID)))
        self.network.run(1)
        self.assertEqual(len(server.database), 0)
        self.assertEqual(server.armory.counters["tokens"], 0)

    def test_what_is_possible_is_to_ask_for_everything(self) -> None:
        """A mapping is no secret: whoever asks is answered, where ``allowed-itrs`` is not given."""
        self.server()
        self.etr("10.1.77.0/24")
        self.network.run(5)
        self.assertEqual(rlocs(self.ask("10.1.77.1", source="203.0.113.66")), [ETR_ONE])


class InTheClearTests(Ground):
    """What is seen on the path, whatever carries the session."""

    def test_what_is_possible_is_to_read_map_registers(self) -> None:
        """They go over UDP until the session has acknowledged them, and are not encrypted."""
        self.server()
        self.etr("10.1.77.0/24")
        self.network.run(5)
        seen = [data for data in self.network.udp_payloads(MAP_SERVER) if data[0] >> 4 == 3]
        self.assertTrue(any(ip("10.1.77.0") in data and ip(ETR_ONE) in data for data in seen))

    def test_what_is_possible_is_to_guess_a_poor_secret(self) -> None:
        """One Map-Register tells whether a guess is right, and nobody counts the guesses."""
        seen = Etr(key=Secret(secret=b"lisp1234")).map_register(record(_EID))
        nonce = int.from_bytes(seen[4:12], "big")
        right = []
        for guess in (b"lisp", b"secret", b"lisp123", b"lisp1234", b"changeme"):
            own = Etr(key=Secret(secret=guess)).map_register(record(_EID), nonce=nonce)
            if own[16:48] == seen[16:48]:
                right.append(guess)
        self.assertEqual(right, [b"lisp1234"])

    def test_what_is_possible_is_to_answer_for_the_map_server_over_tcp(self) -> None:
        """An ETR believes a Rejection that somebody else has put into the stream."""
        self.server()
        listener = Listener()
        self.etr("10.1.77.0/24", listener=listener)
        self.network.run(5)
        (own,) = [pipe for pipe in self.network.pipes if pipe.host.host == ETR_ONE]
        own.protocol.dataReceived(frame(19, bytes((4, 0, 0)) + eid("10.1.77.0/24")))
        (rejected,) = [event for event in listener.heard if event[0] == "rejected"]
        self.assertEqual(rejected[2:], ("10.1.77.0/24", 4))

    def test_an_etr_connects_by_what_is_configured_alone(self) -> None:
        """Where its only transport is kept from it, it goes on over UDP and tries no other."""
        server = self.server()
        self.network.silent.add(4999)
        self.etr("10.1.77.0/24", server_options=f'transports = ["tcp:{MAP_SERVER}:4999"]')
        self.network.run(300)
        self.assertEqual(server.sessions, [])
        self.assertEqual(
            [one.protocol for one in self.network.packets if one.protocol != "udp"], []
        )
        self.assertEqual(len(server.database), 1)
