"""LISP-SEC and DDT through a whole Map-Server in memory: datagrams in, datagrams out."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.lisp_sec import EtrSecurity, MapServerSecurity
from lispmsrt.control.map_requests import MapRequests
from lispmsrt.control.questions import Endpoint, Questions
from lispmsrt.control.referrals import Referrals
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.control.secured_requests import ReplyFault, SecuredRequest, VerifiedReply
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import (
    EncapsulatedControlMessage,
    decode_encapsulated,
    encode_encapsulated,
)
from lispmsrt.wire.map_referral import ReferralAction, decode_map_referral
from lispmsrt.wire.map_reply import MapReply, decode_map_reply, encode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.records import Action, Locator, MappingRecord
from tests import builders
from tests.builders import MERGE, M, P, R

_S = 1 << 26
_NONCE = 0x0A0B0C0D0E0F1011
_ITR: Endpoint = (builders.ip("203.0.113.9"), 4342)
_itr = Address.from_text("203.0.113.9")
_itr_key = Key(5, AlgorithmId.HMAC_SHA_256_128, b"secret of the ITR")
_etr_key = builders.KEY.key()


class _Itr:
    """One secured question."""

    def __init__(self, key: Key = _itr_key) -> None:
        self.secured = SecuredRequest(_NONCE, bytes(range(16)), key)

    def asks(self, eid: str = "10.1.2.3/32", *, ddt: bool = False) -> bytes:
        request = MapRequest(_NONCE, (_itr,), (RequestedEid(EidPrefix.from_text(eid)),))
        message = EncapsulatedControlMessage(
            _itr, _itr, 4342, 4342, encode_map_request(request), ddt=ddt
        )
        message.security = self.secured.security
        return encode_encapsulated(message)

    def believes(self, data: bytes) -> VerifiedReply:
        verified = self.secured.verify(data)
        assert isinstance(verified, VerifiedReply), verified
        return verified


class SecuredMapRequestTests(SynchronousTestCase):
    """MapRequests with MapServerSecurity and Referrals."""

    def setUp(self) -> None:
        self.server = builders.MapServer()
        registrar = self.server.registrar
        self.security = MapServerSecurity(lambda key_id: [_itr_key] if key_id == 5 else [])
        self.requests = MapRequests(
            Lookup(registrar.database, lambda: registrar.sites),
            lambda: registrar.sites,
            Questions(RequestLimits(Random(1), rate=0), lambda afi: True),
            can_reach=lambda afi: True,
            security=self.security,
            referrals=Referrals(
                [EidPrefix.from_text("10.0.0.0/8"), EidPrefix.from_text("11.0.0.0/8")],
                [Address.from_text("198.51.100.1")],
            ),
        )
        self.itr = _Itr()

    def _register(self, number: int, flags: int) -> None:
        """Register 10.1.0.0/16 over UDP."""
        rloc = f"192.0.2.{number}"
        etr = builders.Etr(rloc, xtr_id=number)
        record = builders.record("10.1.0.0/16", builders.locator(rloc))
        self.server.hear(etr, etr.map_register(record, flags=R | M | flags))

    def _ask(self, data: bytes) -> list[tuple[bytes, Endpoint]]:
        self.requests.receive_datagram(data, _ITR, 0.0)
        return self.requests.datagrams_to_send(0.0)

    def _reply(self) -> bytes:
        ((data, to),) = self._ask(self.itr.asks())
        self.assertEqual(to, _ITR)
        return data

    def test_a_proxy_reply(self) -> None:
        """Signed by the Map-Server, even for ETRs that do without."""
        self._register(1, P)
        verified = self.itr.believes(self._reply())
        (record,) = verified.reply.records
        self.assertEqual((str(record.eid), len(record.locators)), ("10.1.0.0/16", 1))
        self.assertFalse(verified.etr_cannot_sign)

    def test_negative_replies(self) -> None:
        """Signed too, about the hole."""
        verified = self.itr.believes(self._reply())
        (record,) = verified.reply.records
        self.assertEqual((record.action, record.ttl), (Action.NATIVELY_FORWARD, 1))

    def _signed_by_etr(self, data: bytes) -> bytes:
        """Answer the ECM as an ETR with the site's key would."""
        message = decode_encapsulated(data)
        self.assertTrue(message.to_etr)
        record = MappingRecord(EidPrefix.from_text("10.1.0.0/16"), 60, (Locator(_itr),))
        etr = EtrSecurity(lambda key_id: [_etr_key] if key_id == _etr_key.key_id else [])
        reply = encode_map_reply(MapReply(_NONCE, (record,)))
        signed = etr.sign(message.security, _NONCE, reply)
        assert signed is not None
        return signed

    def test_through_an_etr(self) -> None:
        """The ECM goes to the ETR, with what it signs with, and the Map-Request unchanged."""
        self._register(1, _S)
        question = self.itr.asks()
        ((data, to),) = self._ask(question)
        self.assertEqual(to, (builders.ip("192.0.2.1"), 4342))
        self.assertEqual(decode_encapsulated(data).payload, decode_encapsulated(question).payload)
        verified = self.itr.believes(self._signed_by_etr(data))
        self.assertFalse(verified.etr_cannot_sign)

    def test_only_etrs_that_do_lisp_sec_are_asked(self) -> None:
        """Each time, and the E bit says that there are others."""
        self._register(1, _S | MERGE)
        self._register(2, MERGE)
        for _ in range(4):
            ((data, to),) = self._ask(self.itr.asks())
            self.assertEqual(to, (builders.ip("192.0.2.1"), 4342))
        self.assertTrue(self.itr.believes(self._signed_by_etr(data)).etr_cannot_sign)

    def test_no_etr_does_lisp_sec(self) -> None:
        """A signed refusal with the E bit; the ETR is not asked."""
        self._register(1, 0)
        verified = self.itr.believes(self._reply())
        (record,) = verified.reply.records
        self.assertEqual(record.action, Action.DROP_AUTH_FAILURE)
        self.assertTrue(verified.etr_cannot_sign)

    def test_a_wrong_key(self) -> None:
        """ACT 5, and not a word about the mapping; the ITR does not believe even that."""
        self._register(1, P)
        self.itr = _Itr(Key(5, AlgorithmId.HMAC_SHA_256_128, b"another"))
        data = self._reply()
        (record,) = decode_map_reply(data).records
        self.assertEqual((record.action, record.locators), (Action.DROP_AUTH_FAILURE, ()))
        self.assertIs(self.itr.secured.verify(data), ReplyFault.UNSECURED)
        self.assertEqual(self.security.counters, {"LISP-SEC One-Time Keys not unwrapped": 1})

    def test_no_key_in_common(self) -> None:
        """An ordinary Map-Reply, which the ITR must not take for a secured one."""
        self._register(1, P)
        self.itr = _Itr(Key(6, AlgorithmId.HMAC_SHA_256_128, b"unknown here"))
        data = self._reply()
        self.assertEqual(len(decode_map_reply(data).records[0].locators), 1)
        self.assertIs(self.itr.secured.verify(data), ReplyFault.UNSECURED)

    def test_no_changed_octet_of_a_question_makes_a_false_answer(self) -> None:
        """It is dropped, refused, or answered as if nothing had been changed."""
        self._register(1, P)
        question = self.itr.asks()
        faults: set[ReplyFault] = set()
        # The second makes the other algorithm, which we have too, of the one that was asked for.
        for mask in (0xFF, 0x03):
            for at in range(len(question)):
                changed = bytearray(question)
                changed[at] ^= mask
                for data, _to in self._ask(bytes(changed)):
                    verified = _Itr().secured.verify(data)
                    if isinstance(verified, ReplyFault):
                        faults.add(verified)
                    else:
                        # Unassigned bits, and those that an answer ignores.
                        self.assertEqual(str(verified.reply.records[0].eid), "10.1.0.0/16")
        self.assertEqual(faults, {ReplyFault.UNSECURED, ReplyFault.OTHER_ALGORITHM})

    def test_ddt_with_lisp_sec(self) -> None:
        """The Map-Referral goes to who asked, the secured Map-Reply to the ITR."""
        self._register(1, P)
        referral, reply = self._ask(self.itr.asks(ddt=True))
        self.assertEqual((referral[1], reply[1]), (_ITR, _ITR))
        (record,) = decode_map_referral(referral[0]).records
        self.assertEqual(record.action, ReferralAction.MS_ACK)
        self.itr.believes(reply[0])

    def test_ddt_without_a_mapping(self) -> None:
        """The Map-Referral is all; the Map-Resolver tells the ITR."""
        for eid, action in (
            ("10.1.2.3/32", ReferralAction.MS_NOT_REGISTERED),
            ("11.1.2.3/32", ReferralAction.DELEGATION_HOLE),
            ("12.1.2.3/32", ReferralAction.NOT_AUTHORITATIVE),
        ):
            ((data, to),) = self._ask(self.itr.asks(eid, ddt=True))
            self.assertEqual(to, _ITR)
            (record,) = decode_map_referral(data).records
            self.assertEqual(record.action, action)
