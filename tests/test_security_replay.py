"""What somebody can do with messages that were seen on their way, and what not (docs/security.rst).

The tests below "what is possible" show attacks that work: when one of them fails, somebody has
mended something, and the page has to say so.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.nonces import NonceCheck
from lispmsrt.session.base import CloseReason
from tests.builders import (
    ANY_IPV4,
    SHA1_KEY,
    Etr,
    M,
    MapServer,
    Peer,
    R,
    Secret,
    eid,
    frame,
    ip,
    locator,
    messages,
    record,
    site,
    sites,
)
from tests.rim import Packet
from tests.service_ground import (
    ETR_ONE,
    ETR_TWO,
    ITR,
    MAP_SERVER,
    Ground,
    eid_of,
    rlocs,
    server_text,
)
from tests.test_storage import StorageGround

_EID, _OTHER_EID = "10.1.0.0/16", "10.2.0.0/16"
_ATTACKER = "198.51.100.66"
_ELSEWHERE = (ip(_ATTACKER), 4342)
_HKDF_KEY = Secret(3, 3, b"derived for each message")
_ACK = ("ack", eid(_EID))
_FLAG_OCTETS = (0, 1, 2)
"""Of the first word: type, P, S, I, r, E, T, a, M. The fourth is the record count."""


class FlagTests(SynchronousTestCase):
    """An attacker on the path who changes what a Map-Register asks for."""

    def _changed(self, etr: Etr, octet: int, bit: int, flags: int) -> bytes:
        message = bytearray(etr.map_register(record(_EID), flags=flags))
        message[octet] ^= 1 << bit
        return bytes(message)

    def test_the_r_bit_can_neither_be_cleared_nor_set(self) -> None:
        """With any algorithm: nothing is registered, armed or answered."""
        for key in (Secret(), SHA1_KEY, _HKDF_KEY):
            for flags in (M, M | R):
                server = MapServer(sites((site("office", key), ANY_IPV4)))
                etr = Etr(key=key)
                self.assertEqual(server.hear(etr, self._changed(etr, 2, 5, flags)), [])
                self.assertIsNone(server.at(_EID))
                self.assertFalse(server.armory.admits(etr.source[0], 0.0))
                refused = "Map-Registers refused: AUTHENTICATION_FAILURE"
                self.assertEqual(server.control.counters[refused], 1)

    def test_no_other_flag_can_be_changed(self) -> None:
        """Every bit of the first word; the count of records as well."""
        for octet in (*_FLAG_OCTETS, 3):
            for bit in range(8):
                server, etr = MapServer(), Etr()
                self.assertEqual(server.hear(etr, self._changed(etr, octet, bit, M | R)), [])
                self.assertEqual(len(server.registrar.database), 0)
                self.assertEqual(server.armory.counters["tokens"], 0)


class AfterRestartTests(StorageGround):
    """A Map-Server that remembers."""

    def test_a_caught_map_register_arms_nobody_and_registers_nothing(self) -> None:
        """Each that the ETR ever sent, from its address and from another one."""
        server = self.remembering()
        etr = self.etr("10.1.1.0/24")
        self.network.run(10)
        self.assertEqual(len(server.sessions), 1)
        caught = self._map_registers()
        self.assertTrue(caught)
        self.network.run(2)
        self.kill(server)
        etr.stopService()
        self.services.remove(etr)
        self.network.run(5)
        server = self.remembering()
        self.network.run(200)
        self.assertEqual(len(server.database), 0)
        for source in ((ETR_ONE, 4342), (ITR, 4342)):
            for data in caught:
                self.network.send(source, (MAP_SERVER, 4342), data)
        self.network.run(1)
        self.assertEqual(len(server.database), 0)
        self.assertEqual(server.armory.counters["tokens"], 0)
        self.assertEqual(
            server.mapping.registrations.counters["Map-Registers repeated"], 2 * len(caught)
        )

    def test_what_is_possible_with_the_last_second(self) -> None:
        """What was not written when the process was killed is fresh once more, and then not."""
        server = self.remembering()
        self.network.run(5)
        etr = Etr(ETR_TWO, key=Secret(0, 2, b"campus secret"), xtr_id=9)
        caught = etr.map_register(record("10.1.9.0/24", locator(ETR_TWO)))
        self.network.send((ETR_TWO, 4342), (MAP_SERVER, 4342), caught)
        self.network.run(0.01)
        self.assertEqual(len(server.database), 1)
        self.kill(server)
        server = self.remembering()
        self.network.run(1)
        self.assertEqual(len(server.database), 0)
        for _ in range(2):
            self.network.send((ITR, 4342), (MAP_SERVER, 4342), caught)
            self.network.run(5)
        self.assertEqual(len(server.database), 1)
        self.assertEqual(server.mapping.registrations.counters["Map-Registers repeated"], 1)

    def _map_registers(self) -> list[bytes]:
        def is_one(packet: Packet) -> bool:
            return packet.protocol == "udp" and packet.data[0] >> 4 == 3

        return [packet.data for packet in self.network.packets if is_one(packet)]


class OtherMapServerTests(SynchronousTestCase):
    """A Map-Register that was caught on its way to one Map-Server, sent to another one."""

    def _other(self, secret: bytes) -> tuple[MapServer, Etr, bytes]:
        etr = Etr()
        caught = etr.map_register(record(_EID))
        self.assertTrue(MapServer().hear(etr, caught))
        return MapServer(sites((site("office", Secret(secret=secret)), ANY_IPV4))), etr, caught

    def test_a_key_for_each_map_server_keeps_it_out(self) -> None:
        """It is not authentic there."""
        server, etr, caught = self._other(b"another one for the second Map-Server")
        self.assertEqual(server.hear(etr, caught, source=_ELSEWHERE), [])
        self.assertIsNone(server.at(_EID))

    def test_what_is_possible_with_one_key_for_both(self) -> None:
        """It is fresh there, registers, and arms the attacker's address."""
        server, etr, caught = self._other(etr_secret := Secret().secret)
        self.assertEqual(etr.key.secret, etr_secret)
        self.assertEqual(len(server.hear(etr, caught, source=_ELSEWHERE)), 1)
        self.assertIsNotNone(server.at(_EID))
        self.assertTrue(server.armory.admits(ip(_ATTACKER), 0.0))


class CaughtRegistrationTests(SynchronousTestCase):
    """Registrations that were read from a session in the clear."""

    def setUp(self) -> None:
        self.server = MapServer(sites((site(), ANY_IPV4)))
        self.etr = Etr()
        self.peer = self.server.bring_up(self.etr, record(_EID))
        self.caught = self.etr.map_register(record(_EID), flags=M)
        self.assertEqual(self.peer.send(frame(17, self.caught)), [_ACK])

    def test_it_opens_no_connection(self) -> None:
        """r is 0 in it and under the MAC: sent over UDP it arms nobody."""
        self.server.hear(self.etr, self.caught, source=_ELSEWHERE)
        self.assertFalse(self.server.armory.admits(ip(_ATTACKER), 0.0))

    def test_it_is_nothing_on_another_xtrs_session(self) -> None:
        """That of an armed xTR of the same site: a Rejection, and the session is no more than it
        was.
        """
        other = Etr("192.0.2.9", xtr_id=9)
        own = self.server.bring_up(other, record("10.9.0.0/16"))
        self.assertEqual(own.send(frame(17, self.caught)), [("reject", 4, eid(_EID))])
        self.assertIs(self.server.holder(_EID), self.peer.session.lease)
        self.assertIsNone(self.peer.session.close_reason)

    def test_it_binds_no_session_of_an_xtr_that_is_not_armed(self) -> None:
        """An armed attacker with a key of its own, but the victim's Registration first."""
        attacker = Etr(_ATTACKER, xtr_id=66)
        self.server.hear(attacker, attacker.map_register(record("10.66.0.0/16")))
        wrong = self.server.connect(_ATTACKER)
        wrong.pull()
        self.assertEqual(wrong.send(frame(17, self.caught)), [("reject", 4, eid(_EID))])
        self.assertIsNone(self.peer.session.close_reason)


class OverUdpTests(Ground):
    """Registrations that were read from a session over TCP, and are sent over UDP: the ETR itself
    has sent nothing there since its session is up, and none of its nonces there is as high.
    """

    def _start(self, check: str) -> None:
        self.map_server = self.server(server_text(options=f'nonce-check = "{check}"'))
        self.own = self.etr("10.1.1.0/24")
        self.network.run(20)
        self.assertEqual(len(self.map_server.sessions), 1)

    def _catch(self) -> list[bytes]:
        """Return each Map-Register of the Registrations that passed."""
        stream = b"".join(
            packet.data
            for packet in self.network.packets
            if packet.protocol == "tcp" and packet.source[0] == ETR_ONE
        )
        return [body for kind, _message_id, body in messages(stream) if kind == 17]

    def _send_again(self, caught: list[bytes]) -> None:
        for data in caught:
            self.network.send((ITR, 4342), (MAP_SERVER, 4342), data)
        self.network.run(1)

    def test_where_nonces_must_count_up_they_are_repeats(self) -> None:
        """What was withdrawn since stays so; after the session is lost too."""
        self._start("strict")
        eids = [f"10.1.7.{number}/32" for number in range(40)]
        self.register(self.own, *eids)
        for one in eids:
            self.own.withdraw(eid_of(one))
        self.network.run(1)
        caught = self._catch()
        self.assertGreater(len(caught), 2 * len(eids))
        # Without the withdrawals, which would undo what the others did.
        registers = [data for data in caught if any(_ttl(data))]
        self.assertGreater(len(registers), len(eids))
        self._send_again(registers)
        self.assertEqual(len(self.map_server.database), 1)
        self.cut(self.map_server)
        self._send_again(registers)
        self.assertEqual(len(self.map_server.database), 1)
        self.network.run(30)
        self.assertEqual(len(self.map_server.sessions), 1)

    def test_those_that_came_in_a_run_likewise(self) -> None:
        """Of such, the last nonce stands for all."""
        self._start("strict")
        self.register(self.own, *(f"10.1.7.{number}/32" for number in range(40)))
        caught = self._catch()
        self.assertGreater(len(caught), 40)
        self._send_again(caught)
        counters = self.map_server.mapping.registrations.counters
        self.assertEqual(counters["Map-Registers repeated"], len(caught))

    def test_nor_do_they_take_an_eid_prefix_back_from_who_has_it_now(self) -> None:
        """It has moved to another ETR."""
        self._start("strict")
        other = self.etr(host=ETR_TWO)
        self.register(other, "10.1.1.0/24")
        self._send_again(self._catch())
        self.assertEqual(rlocs(self.ask("10.1.1.1")), [ETR_TWO])

    def test_what_is_possible_otherwise(self) -> None:
        """Each of them once: here for what was withdrawn."""
        self._start("lenient")
        self.register(self.own, "10.1.7.0/24")
        self.own.withdraw(eid_of("10.1.7.0/24"))
        self.network.run(1)
        first = next(data for data in self._catch() if ip("10.1.7.0") in data)
        self.assertEqual(len(self.map_server.database), 1)
        self.network.send((ITR, 4342), (MAP_SERVER, 4342), first)
        self.network.run(1)
        self.assertEqual(len(self.map_server.database), 2)


def _ttl(data: bytes) -> bytes:
    """Return the four octets of the first record's TTL."""
    at = 16 + int.from_bytes(data[14:16], "big")
    return data[at : at + 4]


class DivertedTests(SynchronousTestCase):
    """A Map-Register with r that an attacker on the path keeps from arriving, and sends itself."""

    def setUp(self) -> None:
        self.etr = Etr()
        self.demanded = {self.etr.ids[:16]: frozenset({"etr1.example.net"})}

    def _divert(self, server: MapServer) -> tuple[Peer, bytes]:
        caught = self.etr.map_register(record(_EID))
        self.assertEqual(len(server.hear(self.etr, caught, source=_ELSEWHERE)), 1)
        peer = server.connect(_ATTACKER)
        peer.pull()
        return peer, caught

    def test_what_is_possible_without_certificates(self) -> None:
        """It arms the attacker, and the same octets are a Registration on its connection."""
        for check in NonceCheck:
            server = MapServer(nonce_check=check)
            peer, caught = self._divert(server)
            self.assertEqual(peer.send(frame(17, caught)), [_ACK])
            self.assertIs(server.holder(_EID), peer.session.lease)

    def test_the_etr_takes_it_back(self) -> None:
        """With its next Map-Register and connection: it replaces the attacker's session."""
        server = MapServer()
        stolen, caught = self._divert(server)
        stolen.send(frame(17, caught))
        own = server.bring_up(self.etr, record(_EID))
        self.assertIs(stolen.session.close_reason, CloseReason.REPLACED)
        self.assertIs(server.holder(_EID), own.session.lease)

    def test_an_xtr_that_is_tied_to_a_certificate_loses_no_session(self) -> None:
        """The attacker has none: a Rejection with reason 2 and the end."""
        server = MapServer(sites((site(certificates=self.demanded), ANY_IPV4)))
        peer, caught = self._divert(server)
        self.assertEqual(peer.send(frame(17, caught)), [("reject", 2, eid(_EID))])
        self.assertIs(peer.session.close_reason, CloseReason.CERTIFICATE)
