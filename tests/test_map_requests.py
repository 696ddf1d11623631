"""A Map-Server's part for Map-Requests: who else takes them, and LISP-SEC around it."""

from __future__ import annotations

import dataclasses

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.lisp_sec import MapServerSecurity
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS
from lispmsrt.control.questions import Question
from lispmsrt.control.secured_requests import SecuredRequest, VerifiedReply
from lispmsrt.mapping.lookup import Found
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.lisp_sec import decode_eid_authentication, decode_request_security
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import RequestedEid
from lispmsrt.wire.records import Action
from tests.asking import (
    ITR,
    ITR_PORT,
    NONCE,
    OUTER,
    asker,
    ecm,
    forwarded,
    map_request,
    records_of,
    register,
    registered,
)
from tests.builders import (
    MERGE,
    Etr,
    M,
    MapServer,
    Secret,
    ip,
    locator,
    record,
    site,
    sites,
)

_eid = EidPrefix.from_text


_SECURITY = 1 << 26


def _merged(number: int) -> bytes:
    return record("10.1.0.0/16", locator(f"192.0.2.{number}"))


class _Hook:
    """Takes whatever it is shown, or nothing."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.seen: list[Question] = []

    def subscribe(self, question: Question, now: float) -> bool:
        self.seen.append(question)
        return bool(self.answer)

    def refer(self, question: Question, found: Found, now: float) -> bytes | None:
        self.seen.append(question)
        return self.answer if isinstance(self.answer, bytes) else None


class HookTests(SynchronousTestCase):
    """Others that take a Map-Request."""

    def _subscription(self, itr: object = ITR) -> bytes:
        request = map_request(itr=itr, xtr_id=bytes(16), site_id=bytes(8))
        wanted = RequestedEid(_eid("10.1.0.0/16"), subscribe=True)
        return ecm(dataclasses.replace(request, records=(wanted,)))

    def test_subscriptions(self) -> None:
        """Taken care of, or answered like any other."""
        server = registered(record("10.1.0.0/16"))
        for taken in (True, False):
            hook = _Hook(taken)
            sent = asker(server, subscriptions=hook).send(self._subscription())
            self.assertEqual(len(sent), not taken)
            self.assertEqual(len(hook.seen), 1)
        self.assertEqual(len(asker(server).send(self._subscription())), 1)

    def test_only_n_and_i_together_subscribe(self) -> None:
        """The I bit alone is just a name."""
        hook = _Hook(True)
        plane = asker(registered(record("10.1.0.0/16")), subscriptions=hook)
        request = map_request("10.1.2.3", xtr_id=bytes(16), site_id=bytes(8))
        self.assertEqual(len(plane.send(ecm(request))), 1)
        self.assertEqual(hook.seen, [])

    def test_who_cancels_has_no_itr_rloc(self) -> None:
        """RFC 9437 §5: AFI 0; there is nowhere to send a Map-Reply to."""
        data = self._subscription([Address(Afi.NONE, b"")])
        for taken in (True, False):
            hook = _Hook(taken)
            self.assertEqual(asker(MapServer(), subscriptions=hook).send(data), [])
            self.assertIsNone(hook.seen[0].reply_to)

    def test_ddt(self) -> None:
        """A Map-Referral goes where the ECM came from; of a mapping the answer follows."""
        server = registered(record("10.1.0.0/16"))
        plane = asker(server, referrals=_Hook(b"Map-Referral"))
        (referral, (reply, to)) = plane.send(ecm(map_request("10.1.2.3"), ddt=True))
        self.assertEqual(referral, (b"Map-Referral", OUTER))
        self.assertEqual((reply[0] >> 4, to), (2, (ip(ITR), ITR_PORT)))
        # The Map-Resolver tells its ITR, once nobody has it.
        ((only, _to),) = plane.send(ecm(map_request("10.2.2.3"), ddt=True))
        self.assertEqual(only, b"Map-Referral")

    def test_ddt_without_anybody_for_it(self) -> None:
        """It is a Map-Request like any other; a Map-Referral that is too large is none."""
        server = registered(record("10.1.0.0/16"))
        data = ecm(map_request("10.1.2.3"), ddt=True)
        for hook in (None, _Hook(None), _Hook(bytes(5000))):
            ((reply, _to),) = asker(server, referrals=hook).send(data)
            self.assertEqual(reply[0] >> 4, 2)


_ITR_KEY = Key(5, AlgorithmId.HMAC_SHA_256_128, b"secret of the ITR")


class SecurityTests(SynchronousTestCase):
    """LISP-SEC (RFC 9303) around answers and what is forwarded."""

    def setUp(self) -> None:
        """An ITR's One-Time Key."""
        self.secured = SecuredRequest(NONCE, bytes(range(16)), _ITR_KEY)
        self.security = MapServerSecurity(lambda key_id: [_ITR_KEY] if key_id == 5 else [])

    def _ask(self, server: MapServer, security: MapServerSecurity | None) -> bytes:
        data = ecm(map_request("10.1.2.3"), security=self.secured.security)
        plane = asker(server, security=security)
        ((out, _to),) = plane.send(data)
        return out

    def test_the_map_servers_own_answers_are_signed(self) -> None:
        """Positive and negative ones, and the ITR believes them."""
        for server in (registered(record("10.1.0.0/16")), MapServer()):
            self.setUp()
            verified = self.secured.verify(self._ask(server, self.security))
            self.assertIsInstance(verified, VerifiedReply)

    def test_large_mappings_leave_room_for_the_signature(self) -> None:
        """Locators give way to it, and the whole is no larger than it may be."""
        rlocs = [locator(f"2001:db8::{number}", priority=number) for number in range(1, 90)]
        data = self._ask(registered(record("10.1.0.0/16", *rlocs)), self.security)
        asked = ecm(map_request("10.1.2.3"), security=self.secured.security)
        self.assertLessEqual(
            len(data) + HEADER_OCTETS, AMPLIFICATION * (len(asked) + HEADER_OCTETS)
        )
        verified = self.secured.verify(data)
        assert isinstance(verified, VerifiedReply)
        self.assertGreater(len(verified.reply.records[0].locators), 20)

    def test_a_long_name_leaves_room_for_itself(self) -> None:
        """It stands twice in a signed Map-Reply."""
        name = "name:" + "x" * 250
        server = MapServer(sites((site(), name)))
        wire = b"\xff\0\x11" + b"x" * 250 + b"\0"
        register(server, record(wire, *(locator() for _ in range(250))))
        data = ecm(map_request(name), security=self.secured.security)
        ((out, _to),) = asker(server, security=self.security).send(data)
        most = AMPLIFICATION * (len(data) + HEADER_OCTETS)
        self.assertGreater(len(out) + HEADER_OCTETS, most - 100)
        self.assertLessEqual(len(out) + HEADER_OCTETS, most)
        self.assertIsInstance(self.secured.verify(out), VerifiedReply)

    def test_an_etr_that_shares_no_key_is_not_asked(self) -> None:
        """There is no way to hand it the One-Time Key."""
        nobodys = Secret(1, 0, b"")
        server = MapServer(sites((site("open", nobodys), "10.0.0.0/8")))
        register(server, _merged(1), etr=Etr(key=nobodys), flags=M | _SECURITY)
        plane = asker(server, security=self.security)
        data = ecm(map_request("10.1.2.3"), security=self.secured.security)
        self.assertEqual(plane.send(data), [])
        self.assertEqual(plane.counted("Map-Requests dropped: no key for LISP-SEC with the ETR"), 1)

    def test_without_lisp_sec_here_the_answer_goes_without(self) -> None:
        """Whether that will do is for the ITR to say; its key goes to no ETR."""
        reply = decode_map_reply(self._ask(registered(record("10.1.0.0/16")), None))
        self.assertEqual(reply.security, b"")
        out = self._ask(registered(record("10.1.0.0/16"), flags=M), None)
        message, _to = forwarded([(out, OUTER)])
        self.assertEqual(message.security, b"")

    def test_a_key_that_does_not_unwrap_is_refused(self) -> None:
        """ACT 5, and nothing about the EID."""
        other = Key(5, AlgorithmId.HMAC_SHA_256_128, b"another")
        security = MapServerSecurity(lambda key_id: [other])
        reply = decode_map_reply(self._ask(registered(record("10.1.0.0/16")), security))
        self.assertEqual(records_of(reply)[0][1:], (1, 0, Action.DROP_AUTH_FAILURE))

    def test_only_an_etr_that_signs_is_asked(self) -> None:
        """And gets the key wrapped with what it shares with us."""
        server = MapServer()
        for number, flags in ((1, M), (2, M | _SECURITY)):
            etr = Etr(f"192.0.2.{number}", xtr_id=number)
            register(server, _merged(number), etr=etr, flags=MERGE | flags)
        data = ecm(map_request("10.1.2.3"), security=self.secured.security)
        plane = asker(server, security=self.security)
        for _ in range(3):
            message, to = forwarded(plane.send(data))
            self.assertEqual(to[0], ip("192.0.2.2"))
            self.assertNotIn(message.security, (b"", self.secured.security))

    def test_an_etr_is_vouched_for_with_what_it_registered_only(self) -> None:
        """Else it could answer for the EIDs of others that are asked for at the same time."""
        keys = {"192.0.2.1": Secret(1, 2, b"one"), "192.0.2.2": Secret(1, 2, b"two")}
        one, two = (site(rloc, key) for rloc, key in keys.items())
        server = MapServer(sites((one, "10.1.0.0/16"), (two, "10.2.0.0/16")))
        for number, (rloc, key) in enumerate(keys.items(), 1):
            etr = Etr(rloc, key=key, xtr_id=number)
            own = record(f"10.{number}.0.0/16", locator(rloc))
            register(server, own, etr=etr, flags=M | _SECURITY)
        plane = asker(server, security=self.security)
        data = ecm(map_request("10.1.2.3", "10.2.2.3"), security=self.secured.security)
        vouched = {}
        for _ in range(2):
            message, to = forwarded(plane.send(data))
            eid_data = decode_request_security(message.security).eid_data
            vouched[to[0]] = decode_eid_authentication(eid_data).eids
        expected = {
            ip("192.0.2.1"): (_eid("10.1.0.0/16"),),
            ip("192.0.2.2"): (_eid("10.2.0.0/16"),),
        }
        self.assertEqual(vouched, expected)

    def test_where_no_etr_signs_we_do(self) -> None:
        """The ITR learns that it may ask without."""
        verified = self.secured.verify(
            self._ask(registered(record("10.1.0.0/16"), flags=M), self.security)
        )
        assert isinstance(verified, VerifiedReply)
        self.assertTrue(verified.etr_cannot_sign)
        self.assertEqual(verified.reply.records[0].locators, ())
