"""LISP-SEC: Map-Server, Map-Resolver, ETR and ITR back to back, and what they refuse."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.lisp_sec import (
    EtrSecurity,
    MapServerSecurity,
    Refusal,
    SecuredQuestion,
    etrs_that_sign,
    key_of_etr,
)
from lispmsrt.control.one_time_keys import choose_hmac, choose_kdf, derive_key, make_mac
from lispmsrt.control.secured_requests import ReplyFault, SecuredRequest, VerifiedReply
from lispmsrt.mapping.database import Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.merging import MergedRegistration
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key
from lispmsrt.wire.lisp_sec import (
    HmacId,
    KdfId,
    WrappingId,
    decode_eid_authentication,
    decode_reply_security,
    decode_request_security,
    encode_kdf_only,
    encode_request_security,
    with_security,
)
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.map_reply import MapReply, decode_map_reply, encode_map_reply
from lispmsrt.wire.records import Action, Locator, MappingRecord
from tests import builders

_NONCE = 0x0102030405060708
_ITR_OTK = bytes.fromhex("00112233445566778899aabbccddeeff")
_ALGORITHM = AlgorithmId.HMAC_SHA_256_128

_itr_key = Key(5, _ALGORITHM, b"secret of the ITR")
_etr_key = Key(1, _ALGORITHM, b"secret of the site")
_other_key = Key(5, _ALGORITHM, b"another secret")

_eid = EidPrefix.from_text
_locators = (Locator(Address.from_text("192.0.2.1"), local=False),)
_record = MappingRecord(_eid("10.1.0.0/16"), 1440, _locators)
_reply = MapReply(_NONCE, (_record,))


def _keys(*keys: Key) -> Callable[[int], Sequence[Key]]:
    return lambda key_id: [key for key in keys if key.key_id == key_id]


def _request(hmac_id: int = 2, kdf_id: int = 2, key: Key = _itr_key) -> SecuredRequest:
    return SecuredRequest(_NONCE, _ITR_OTK, key, hmac_id, kdf_id)


def _unwrapped(request: SecuredRequest, *keys: Key, nonce: int = _NONCE) -> SecuredQuestion:
    question = MapServerSecurity(_keys(*keys or (_itr_key,))).unwrap(request.security, nonce)
    assert isinstance(question, SecuredQuestion), question
    return question


def _proxied(
    request: SecuredRequest, reply: MapReply = _reply, *eids: EidPrefix, cannot: bool = False
) -> bytes:
    vouched = eids or tuple(record.eid for record in reply.records)
    return _unwrapped(request).sign(encode_map_reply(reply), vouched, cannot)


def _through_etr(
    request: SecuredRequest, reply: MapReply = _reply, *eids: EidPrefix, cannot: bool = False
) -> bytes:
    vouched = eids or tuple(record.eid for record in reply.records)
    security = _unwrapped(request).for_etr(_etr_key, vouched, cannot)
    signed = EtrSecurity(_keys(_etr_key)).sign(security, _NONCE, encode_map_reply(reply))
    assert signed is not None
    return signed


_WAYS = (_proxied, _through_etr)


class OneTimeKeyTests(SynchronousTestCase):
    """Known answers, and agreement with code that is not ours."""

    def test_aes_key_wrap(self) -> None:
        """RFC 3394 §4.1, as the key wrap used has it."""
        kek = bytes(range(16))
        wrapped = bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5")
        self.assertEqual(aes_key_wrap(kek, _ITR_OTK), wrapped)
        self.assertEqual(aes_key_unwrap(kek, wrapped), _ITR_OTK)

    def test_hkdf_sha256(self) -> None:
        """RFC 5869 A.3: neither salt nor info; the first 128 bits."""
        expected = bytes.fromhex("8da4e775a563c18f715f802a063c5a31")
        self.assertEqual(derive_key(KdfId.HKDF_SHA256, b"\x0b" * 22), expected)

    def test_hkdf_sha1(self) -> None:
        """RFC 5869 A.6: neither salt nor info; the first 128 bits."""
        expected = bytes.fromhex("0ac1af7002b3d761d1e55298da9d0506")
        self.assertEqual(derive_key(KdfId.HKDF_SHA1_128, b"\x0b" * 22), expected)

    @given(st.integers(0, (1 << 64) - 1), st.binary(min_size=1, max_size=100))
    def test_wrapping_key(self, nonce: int, secret: bytes) -> None:
        """HKDF-SHA256 of nonce, label and secret, 128 bits of it."""
        hkdf = HKDF(hashes.SHA256(), 16, salt=None, info=None)
        expected = hkdf.derive(nonce.to_bytes(8, "big") + b"OTK-Key-Wrap" + secret)
        self.assertEqual(Key(0, _ALGORITHM, secret).wrapping_key(nonce), expected)

    def test_macs_are_truncated(self) -> None:
        """To 96 and 128 bits, over what precedes them and zeros in their place."""
        for hmac_id, name, octets in ((1, "sha1", 12), (2, "sha256", 16)):
            whole = hmac.digest(_ITR_OTK, b"covered" + bytes(octets), name)
            self.assertEqual(make_mac(hmac_id, _ITR_OTK, b"covered"), whole[:octets])

    def test_unknown_algorithms_are_replaced(self) -> None:
        """By those that everybody must have; no preference is one of these cases."""
        self.assertEqual([choose_hmac(n) for n in (0, 1, 2, 3, 65535)], [2, 1, 2, 2, 2])
        self.assertEqual([choose_kdf(n) for n in (0, 1, 2, 3, 65535)], [2, 1, 2, 2, 2])


class KnownAnswerTests(SynchronousTestCase):
    """The octets that go out, computed a second time by hand."""

    def _wrapping_key(self, secret: bytes) -> bytes:
        ikm = _NONCE.to_bytes(8, "big") + b"OTK-Key-Wrap" + secret
        extracted = hmac.digest(bytes(32), ikm, "sha256")
        return hmac.digest(extracted, b"\x01", "sha256")[:16]

    def test_what_an_itr_sends(self) -> None:
        """AD type, HMAC ID, wrapped key under its key ID, and an EID-AD of four octets."""
        wrapped = aes_key_wrap(self._wrapping_key(b"secret of the ITR"), _ITR_OTK)
        expected = "01 00 0002 0018 05 02" + wrapped.hex() + "0004 0002"
        self.assertEqual(_request().security, bytes.fromhex(expected))

    def test_what_a_proxy_sends(self) -> None:
        """S bit, EID-AD signed with the ITR-OTK, PKT-AD with the MS-OTK over everything."""
        sent = _proxied(_request(), cannot=True)
        eid_ad = bytes.fromhex("0020 0002 01 80 0002 00 10 0001 0a010000")
        eid_ad += hmac.digest(_ITR_OTK, eid_ad + bytes(16), hashlib.sha256)[:16]
        plain = encode_map_reply(_reply)
        covered = b"\x22" + plain[1:] + bytes.fromhex("01 000000") + eid_ad
        covered += bytes.fromhex("0014 0002")
        extracted = hmac.digest(bytes(32), _ITR_OTK, "sha256")
        ms_otk = hmac.digest(extracted, b"\x01", "sha256")[:16]
        mac = hmac.digest(ms_otk, covered + bytes(16), "sha256")[:16]
        self.assertEqual(sent.hex(), (covered + mac).hex())

    def test_what_goes_on_to_an_etr(self) -> None:
        """The MS-OTK under the ETR's key ID, never the ITR-OTK, and the signed EID-AD."""
        security = _unwrapped(_request()).for_etr(_etr_key, [_record.eid])
        self.assertEqual(security[:8], bytes.fromhex("01 00 0002 0018 01 02"))
        unwrapped = aes_key_unwrap(self._wrapping_key(b"secret of the site"), security[8:32])
        self.assertEqual(unwrapped, derive_key(2, _ITR_OTK))
        self.assertNotEqual(unwrapped, _ITR_OTK)
        eids = decode_eid_authentication(security[32:])
        self.assertEqual((eids.eids, eids.etr_cannot_sign), ((_record.eid,), False))


class BackToBackTests(SynchronousTestCase):
    """An ITR's question through Map-Server and ETR, and back."""

    def _believed(self, request: SecuredRequest, data: bytes) -> VerifiedReply:
        verified = request.verify(data)
        assert isinstance(verified, VerifiedReply), verified
        return verified

    def test_a_proxy_reply_is_believed(self) -> None:
        """And what is in it is what was meant."""
        request = _request()
        verified = self._believed(request, _proxied(request))
        self.assertEqual(verified.reply.records, (_record,))
        self.assertFalse(verified.etr_cannot_sign)

    def test_an_etrs_reply_is_believed(self) -> None:
        """The EID-AD of the Map-Server passes through the ETR unchanged."""
        request = _request()
        verified = self._believed(request, _through_etr(request))
        self.assertEqual(verified.reply.records, (_record,))

    def test_a_negative_reply_is_believed(self) -> None:
        """The EID-AD then names the hole."""
        hole = MappingRecord(_eid("10.128.0.0/9"), 15, (), Action.NATIVELY_FORWARD)
        request = _request()
        verified = self._believed(request, _proxied(request, MapReply(_NONCE, (hole,))))
        self.assertEqual(verified.reply.records, (hole,))

    def test_every_algorithm(self) -> None:
        """Those asked for are used, also those left open."""
        for way in _WAYS:
            for hmac_id in HmacId:
                for kdf_id in KdfId:
                    request = _request(hmac_id, kdf_id)
                    data = way(request)
                    self._believed(request, data)
                    security = decode_reply_security(decode_map_reply(data).security)
                    self.assertEqual(security.hmac_id, hmac_id or 2)
                    eids = decode_eid_authentication(security.eid_data)
                    self.assertEqual((eids.hmac_id, eids.kdf_id), (hmac_id or 2, kdf_id or 2))

    def test_a_map_resolver_hands_the_key_on(self) -> None:
        """Wrapped anew for the Map-Server, which then answers the ITR as if asked by it."""
        between = Key(9, _ALGORITHM, b"secret of the Map-Server")
        request = _request(1, 1)
        security = _unwrapped(request).for_map_server(between)
        handed = MapServerSecurity(_keys(between)).unwrap(security, _NONCE)
        assert isinstance(handed, SecuredQuestion)
        data = handed.sign(encode_map_reply(_reply), [_record.eid])
        self.assertEqual(self._believed(request, data).reply.records, (_record,))

    def test_several_eid_prefixes(self) -> None:
        """Of several families and instances, each record inside one of them."""
        texts = (("10.1.0.0/16", 0), ("10.1.0.0/16", 7), ("2001:db8::/32", 7), ("name:one", 0))
        records = tuple(MappingRecord(_eid(*text), 60, _locators) for text in texts)
        for way in _WAYS:
            request = _request()
            verified = self._believed(request, way(request, MapReply(_NONCE, records)))
            self.assertEqual(verified.reply.records, records)

    def test_an_eid_prefix_is_vouched_for_once(self) -> None:
        """However many records lie in it."""
        security = _unwrapped(_request()).for_etr(_etr_key, [_record.eid] * 300)
        self.assertEqual(decode_eid_authentication(security[32:]).eids, (_record.eid,))

    def test_the_e_bit_arrives(self) -> None:
        """Whether some ETR does without LISP-SEC is for the ITR to know."""
        for way in _WAYS:
            request = _request()
            self.assertTrue(self._believed(request, way(request, cannot=True)).etr_cannot_sign)

    def test_a_rotated_key(self) -> None:
        """Several keys may share an ID: each is tried."""
        for key in (_itr_key, _other_key):
            self._believed(_request(key=key), _unwrapped_sign(_request(key=key)))
        security = _unwrapped(_request()).for_etr(_etr_key, [_record.eid])
        newer = Key(1, _ALGORITHM, b"the next secret of the site")
        etr = EtrSecurity(_keys(newer, _etr_key))
        self.assertIsNotNone(etr.sign(security, _NONCE, encode_map_reply(_reply)))


def _unwrapped_sign(request: SecuredRequest) -> bytes:
    question = _unwrapped(request, _itr_key, _other_key)
    return question.sign(encode_map_reply(_reply), [_record.eid])


class TamperingTests(SynchronousTestCase):
    """What an ITR does not believe."""

    def test_any_changed_octet(self) -> None:
        """Of a secured Map-Reply: each bit of each is noticed, headers and unassigned ones too."""
        for way in _WAYS:
            request = _request()
            data = way(request)
            for at in range(len(data)):
                for bit in range(8):
                    changed = bytearray(data)
                    changed[at] ^= 1 << bit
                    self.assertIsInstance(request.verify(bytes(changed)), ReplyFault, (at, bit))
            self.assertIsInstance(request.verify(data), VerifiedReply)

    def test_any_cut(self) -> None:
        """Nor is a shorter or longer one believed."""
        request = _request()
        data = _proxied(request)
        for size in range(len(data)):
            self.assertIsInstance(request.verify(data[:size]), ReplyFault)
        self.assertIsInstance(request.verify(data + b"\0"), ReplyFault)

    def test_a_reply_without_lisp_sec(self) -> None:
        """It would be the cheapest way around all of this."""
        self.assertIs(_request().verify(encode_map_reply(_reply)), ReplyFault.UNSECURED)

    def test_a_secured_reply_stripped_of_its_data(self) -> None:
        """The same, by somebody on the path."""
        request = _request()
        reply = replace(decode_map_reply(_proxied(request)), security=b"")
        self.assertIs(request.verify(encode_map_reply(reply)), ReplyFault.UNSECURED)

    def test_a_replay_with_another_nonce(self) -> None:
        """An old Map-Reply, as it was or with the new nonce written in, is of no use."""
        old = _proxied(_request())
        request = SecuredRequest(77, bytes(range(16)), _itr_key)
        self.assertIs(request.verify(old), ReplyFault.WRONG_NONCE)
        renumbered = old[:4] + (77).to_bytes(8, "big") + old[12:]
        self.assertIs(request.verify(renumbered), ReplyFault.EIDS_NOT_AUTHENTIC)

    def test_a_replay_with_the_same_nonce(self) -> None:
        """The first answer counts, the One-Time Key is good for no other."""
        request = _request()
        data = _proxied(request)
        self.assertIsInstance(request.verify(data), VerifiedReply)
        self.assertIs(request.verify(data), ReplyFault.ANSWERED)

    def test_a_false_reply_does_not_shut_out_the_true_one(self) -> None:
        """The request stays open until something can be believed."""
        request = _request()
        data = _proxied(request)
        request.verify(data[:-1] + bytes((data[-1] ^ 1,)))
        self.assertIsInstance(request.verify(data), VerifiedReply)

    def test_other_algorithms_than_asked_for(self) -> None:
        """RFC 9303 §6.9: discarded, so that nobody chooses the weaker one for us."""
        for asked, used in (((2, 2), (1, 2)), ((2, 2), (2, 1)), ((1, 0), (2, 2)), ((3, 0), (2, 2))):
            data = _proxied(_request(*used))
            self.assertIs(_request(*asked).verify(data), ReplyFault.OTHER_ALGORITHM)

    def test_algorithms_that_nobody_knows(self) -> None:
        """An open choice is one among those that we have."""
        data = _proxied(_request())
        eid_ad = data.index(bytes.fromhex("0020 0002"))
        for at in (eid_ad + 2, eid_ad + 6, len(data) - 18):
            for unknown in (0, 3, 65535):
                changed = data[:at] + unknown.to_bytes(2, "big") + data[at + 2 :]
                fault = _request(0, 0).verify(changed)
                self.assertIs(fault, ReplyFault.OTHER_ALGORITHM)

    def test_macs_of_another_length(self) -> None:
        """None at all, half of one, the whole digest: not what the algorithm says."""
        request = _request()
        genuine = decode_reply_security(decode_map_reply(_proxied(request)).security)
        for octets in (0, 1, 8, 15, 17, 32):
            packet = (4 + octets).to_bytes(2, "big") + b"\0\x02" + bytes(octets)
            security = b"\x01\0\0\0" + genuine.eid_data + packet
            fault = request.verify(with_security(encode_map_reply(_reply), security))
            self.assertIs(fault, ReplyFault.NOT_AUTHENTIC)
            body = genuine.eid_data[4:-16] + bytes(octets)
            eid_ad = (4 + len(body)).to_bytes(2, "big") + genuine.eid_data[2:4] + body
            security = b"\x01\0\0\0" + eid_ad + bytes.fromhex("0014 0002") + bytes(16)
            fault = request.verify(with_security(encode_map_reply(_reply), security))
            self.assertIs(fault, ReplyFault.EIDS_NOT_AUTHENTIC)

    def test_an_eid_ad_that_no_map_server_completed(self) -> None:
        """An ITR's four octets come back."""
        security = b"\x01\0\0\0" + encode_kdf_only(2) + bytes.fromhex("0014 0002") + bytes(16)
        fault = _request().verify(with_security(encode_map_reply(_reply), security))
        self.assertIs(fault, ReplyFault.MALFORMED)

    def test_an_etr_that_claims_more_than_it_registered(self) -> None:
        """It gets just what the Map-Server vouched for."""
        for claimed, believed in (
            ("10.0.0.0/8", ["10.1.0.0/16"]),
            ("0.0.0.0/0", ["10.1.0.0/16"]),
            ("10.1.0.0/16", ["10.1.0.0/16"]),
            ("10.1.2.0/24", ["10.1.2.0/24"]),
            ("10.2.0.0/16", []),
            ("::/0", []),
            ("name:x", []),
        ):
            reply = MapReply(_NONCE, (replace(_record, eid=_eid(claimed)),))
            request = _request()
            verified = request.verify(_through_etr(request, reply, _eid("10.1.0.0/16")))
            if not believed:
                self.assertIs(verified, ReplyFault.NOT_AUTHORIZED)
                continue
            assert isinstance(verified, VerifiedReply)
            self.assertEqual([str(one.eid) for one in verified.reply.records], believed)

    def test_the_widest_part_that_was_vouched_for(self) -> None:
        """Where more than one lies inside what is claimed."""
        reply = MapReply(_NONCE, (replace(_record, eid=_eid("0.0.0.0/0")),))
        vouched = [_eid(text) for text in ("10.1.2.0/24", "10.1.0.0/16", "10.1.3.0/24")]
        request = _request()
        verified = request.verify(_through_etr(request, reply, *vouched))
        assert isinstance(verified, VerifiedReply)
        self.assertEqual([str(one.eid) for one in verified.reply.records], ["10.1.0.0/16"])

    def test_another_instance_or_name(self) -> None:
        """Neither is inside, even where the bits are alike."""
        for claimed, vouched in (
            (_eid("10.1.0.0/16", 7), _eid("10.1.0.0/16", 8)),
            (_eid("10.1.0.0/16", 7), _eid("10.1.0.0/16")),
            (_eid("name:ab"), _eid("name:abc")),
            (_eid("name:abc"), _eid("name:ab")),
        ):
            reply = MapReply(_NONCE, (replace(_record, eid=claimed),))
            request = _request()
            fault = request.verify(_through_etr(request, reply, vouched))
            self.assertIs(fault, ReplyFault.NOT_AUTHORIZED)

    def test_records_nobody_vouched_for_are_left_out(self) -> None:
        """The others stay."""
        foreign = replace(_record, eid=_eid("203.0.113.0/24"))
        request = _request()
        data = _through_etr(request, MapReply(_NONCE, (foreign, _record)), _record.eid)
        verified = request.verify(data)
        assert isinstance(verified, VerifiedReply)
        self.assertEqual(verified.reply.records, (_record,))

    def test_an_etr_cannot_vouch_itself(self) -> None:
        """What it has, the MS-OTK, does not sign an EID-AD."""
        forged = _unwrapped(SecuredRequest(_NONCE, derive_key(2, _ITR_OTK), _itr_key))
        security = forged.for_etr(_etr_key, [_eid("0.0.0.0/0")])
        eid_data = decode_request_security(security).eid_data
        genuine = decode_request_security(_unwrapped(_request()).for_etr(_etr_key, [_record.eid]))
        security = encode_request_security(replace(genuine, eid_data=eid_data))
        etr = EtrSecurity(_keys(_etr_key))
        data = etr.sign(security, _NONCE, encode_map_reply(_reply))
        assert data is not None
        self.assertIs(_request().verify(data), ReplyFault.EIDS_NOT_AUTHENTIC)

    @given(st.binary(max_size=100))
    def test_garbage(self, data: bytes) -> None:
        """Nothing is believed, nothing fails."""
        request = _request()
        plain = encode_map_reply(_reply)
        for garbage in (data, plain + data, with_security(plain, data)):
            self.assertIsInstance(request.verify(garbage), ReplyFault)

    def test_a_one_time_key_of_another_size(self) -> None:
        """It has 128 bits."""
        self.assertRaises(ValueError, SecuredRequest, _NONCE, bytes(15), _itr_key)


class MapServerSecurityTests(SynchronousTestCase):
    """What a Map-Server refuses, and counts."""

    def _refused(self, security: bytes, refusal: Refusal, nonce: int = _NONCE) -> None:
        server = MapServerSecurity(_keys(_itr_key))
        self.assertIs(server.unwrap(security, nonce), refusal)
        self.assertEqual(server.counters, {refusal.value: 1})

    def test_success_is_counted(self) -> None:
        """Under its own name."""
        server = MapServerSecurity(_keys(_itr_key))
        self.assertIsInstance(server.unwrap(_request().security, _NONCE), SecuredQuestion)
        self.assertEqual(server.counters, {"LISP-SEC Map-Requests unwrapped": 1})

    def test_an_unknown_key_id(self) -> None:
        """There is nothing in common with this ITR."""
        self._refused(_request(key=_etr_key).security, Refusal.NO_KEY)

    def test_another_secret(self) -> None:
        """Under the same key ID."""
        self._refused(_request(key=_other_key).security, Refusal.NOT_UNWRAPPED)

    def test_another_nonce(self) -> None:
        """Authentication data moved to another Map-Request unwrap to nothing."""
        self._refused(_request().security, Refusal.NOT_UNWRAPPED, _NONCE + 1)

    def test_any_changed_bit_of_the_wrapped_key(self) -> None:
        """AES key wrap notices."""
        security = _request().security
        for at in range(8, 32):
            changed = bytearray(security)
            changed[at] ^= 0x80
            self._refused(bytes(changed), Refusal.NOT_UNWRAPPED)

    def test_an_unprotected_key(self) -> None:
        """RFC 9303 §6.5: never without DTLS, whether there is a key in common or not."""
        security = decode_request_security(_request().security)
        plain = replace(
            security, wrapping_id=WrappingId.NULL_KEY_WRAP_128, wrapped_key=bytes(8) + _ITR_OTK
        )
        self._refused(encode_request_security(plain), Refusal.UNPROTECTED)
        self._refused(encode_request_security(replace(plain, key_id=99)), Refusal.UNPROTECTED)

    def test_an_unknown_wrapping(self) -> None:
        """What was made by it can't be undone."""
        security = decode_request_security(_request().security)
        for wrapping_id in (0, 3, 255):
            data = encode_request_security(replace(security, wrapping_id=wrapping_id))
            self._refused(data, Refusal.NOT_UNWRAPPED)

    def test_malformed_data(self) -> None:
        """Cut anywhere."""
        security = _request().security
        for size in range(len(security)):
            self._refused(security[:size], Refusal.MALFORMED)

    @given(st.binary(max_size=80))
    def test_garbage(self, data: bytes) -> None:
        """One clear answer each time."""
        server = MapServerSecurity(_keys(_itr_key))
        self.assertIsInstance(server.unwrap(data, _NONCE), Refusal)


class EtrSecurityTests(SynchronousTestCase):
    """What an ETR refuses, and counts."""

    def setUp(self) -> None:
        self.etr = EtrSecurity(_keys(_etr_key))
        self.security = _unwrapped(_request()).for_etr(_etr_key, [_record.eid])

    def _sign(self, security: bytes, nonce: int = _NONCE) -> bytes | None:
        return self.etr.sign(security, nonce, encode_map_reply(_reply))

    def test_success_is_counted(self) -> None:
        """Under its own name."""
        self.assertIsNotNone(self._sign(self.security))
        self.assertEqual(self.etr.counters, {"LISP-SEC Map-Replies signed": 1})

    def test_what_can_not_be_unwrapped(self) -> None:
        """Another secret, nonce or key ID: nothing is sent."""
        other = Key(1, _ALGORITHM, b"another secret")
        for security, nonce in (
            (_unwrapped(_request()).for_etr(other, [_record.eid]), _NONCE),
            (_unwrapped(_request()).for_etr(_itr_key, [_record.eid]), _NONCE),
            (self.security, _NONCE + 1),
        ):
            self.assertIsNone(self._sign(security, nonce))
        self.assertEqual(self.etr.counters, {"LISP-SEC One-Time Keys not unwrapped": 3})

    def test_an_unprotected_key(self) -> None:
        """No better than none."""
        security = decode_request_security(self.security)
        plain = replace(security, wrapping_id=1, wrapped_key=bytes(8) + _ITR_OTK)
        self.assertIsNone(self._sign(encode_request_security(plain)))

    def test_data_that_no_map_server_completed(self) -> None:
        """An ITR that sends to the ETR itself, and what is malformed."""
        security = decode_request_security(self.security)
        bare = encode_request_security(replace(security, eid_data=encode_kdf_only(2)))
        self.assertIsNone(self._sign(bare))
        for size in range(len(self.security)):
            self.assertIsNone(self._sign(self.security[:size]))
        total = 1 + len(self.security)
        self.assertEqual(self.etr.counters, {"LISP-SEC data malformed": total})

    @given(st.binary(max_size=80))
    def test_garbage(self, data: bytes) -> None:
        """Nothing is signed, nothing fails."""
        self.assertIsNone(self._sign(data))


class EtrsTests(SynchronousTestCase):
    """Who of those that registered an EID-prefix does LISP-SEC, and with which secret."""

    def _registration(self, number: int, flags: int, path: UdpPath | None = None) -> Registration:
        xtr = Xtr("site", bytes((number,)) * 24, b"")
        lease = Lease(xtr, "udp", "", is_live=path is None, path=path)
        record = builders.record("10.1.0.0/16", builders.locator(f"192.0.2.{number}"))
        return Registration(record, lease, flags | RegisterFlag.MERGE, 0.0, 180.0)

    def test_the_s_bit(self) -> None:
        """Of each that registered; of several only those that have it."""
        with_s = self._registration(1, RegisterFlag.SECURITY)
        without = self._registration(2, 0)
        self.assertEqual(etrs_that_sign(with_s), [with_s])
        self.assertEqual(etrs_that_sign(without), [])
        merged = MergedRegistration({part.lease.xtr: part for part in (with_s, without)})
        self.assertEqual(etrs_that_sign(merged), [with_s])

    def test_the_key(self) -> None:
        """Over UDP that of its Map-Registers, on a session the site's first that has a secret."""
        path = UdpPath((b"\xc0\0\2\1", 4342), _other_key, 32, Coverage.WHOLE_MESSAGE, True)
        keyless = Key(0, AlgorithmId.NONE, b"")
        keys = (keyless, _etr_key, _itr_key)
        self.assertIs(key_of_etr(self._registration(1, 0, path), keys), _other_key)
        self.assertIs(key_of_etr(self._registration(1, 0), keys), _etr_key)
        self.assertIsNone(key_of_etr(self._registration(1, 0), (keyless,)))
        unsigned = path._replace(key=keyless)
        self.assertIsNone(key_of_etr(self._registration(1, 0, unsigned), keys))
