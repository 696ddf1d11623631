"""LISP-SEC authentication data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lisp_sec import (
    EidAuthentication,
    HmacId,
    KdfId,
    ReplySecurity,
    RequestSecurity,
    WrappingId,
    decode_eid_authentication,
    decode_reply_security,
    decode_request_security,
    encode_eid_authentication,
    encode_kdf_only,
    encode_reply_security,
    encode_request_security,
    read_kdf_id,
)
from tests import golden, strategies
from tests.codec import CodecCase

_KDF_ONLY = bytes.fromhex("0004 0002")  # four octets, HKDF-SHA256

_EID_AD = bytes.fromhex(
    "0040 0002"  # 64 octets, HKDF-SHA256
    "02 80 0002"  # two records, E, HMAC-SHA-256-128
    "00 10 0001 0a010000"  # reserved, /16, 10.1.0.0
    "00 40 4003 00 00 02 00 0016 00000007"  # /64 in instance 7: LCAF type 2, 22 octets
    "0002 20010db8 00010002 00000000 00000000"  # 2001:db8:1:2::
) + bytes(range(16))

_REQUEST = (
    bytes.fromhex(
        "01 80 0002"  # LISP-SEC, V, requested HMAC-SHA-256-128
        "0018 07 02"  # 24 octets, key ID 7, AES key wrap
        "1fa68b0a8112b447 aef34bd8fb5a7b829d3e862371d2cfe5"  # preamble, One-Time Key
    )
    + _KDF_ONLY
)

_REPLY = (
    bytes.fromhex("01 000000")  # LISP-SEC
    + _EID_AD
    + bytes.fromhex("0014 0002 000102030405060708090a0b0c0d0e0f")  # 20 octets, HMAC-SHA-256-128
)

_eids = EidAuthentication(
    KdfId.HKDF_SHA256,
    HmacId.HMAC_SHA_256_128,
    (EidPrefix.from_text("10.1.0.0/16"), EidPrefix.from_text("2001:db8:1:2::/64", 7)),
    bytes(range(16)),
    etr_cannot_sign=True,
)
_request = RequestSecurity(
    HmacId.HMAC_SHA_256_128,
    7,
    WrappingId.AES_KEY_WRAP_128_HKDF_SHA256,
    bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
    _KDF_ONLY,
    key_version=True,
)
_reply = ReplySecurity(_EID_AD, HmacId.HMAC_SHA_256_128, bytes(range(16)))

_u8, _u16 = st.integers(0, 255), st.integers(0, 65535)
_macs = st.binary(max_size=32)
_eid_data = st.builds(
    EidAuthentication,
    _u16,
    _u16,
    st.lists(strategies.eids, max_size=3).map(tuple),
    _macs,
    st.booleans(),
)
_wrapped = st.binary(min_size=24, max_size=24)
_any_eid_data = st.one_of(_u16.map(encode_kdf_only), _eid_data.map(encode_eid_authentication))
_requests = st.builds(
    RequestSecurity, _u16, _u8, _u8, _wrapped, _any_eid_data, key_version=st.booleans()
)
_replies = st.builds(ReplySecurity, _any_eid_data, _u16, _macs)


class LispSecTests(CodecCase):
    """The three kinds of authentication data, and their codecs."""

    def test_golden_of_a_request(self) -> None:
        """As an ITR sends it: with a KDF ID alone for an EID-AD."""
        self.assert_golden(_REQUEST, _request, encode_request_security, decode_request_security)

    def test_golden_of_the_request_that_an_ecm_carries(self) -> None:
        """The golden ECM's data are read too."""
        security = decode_request_security(golden.LISP_SEC)
        self.assertEqual(security.wrapping_id, WrappingId.NULL_KEY_WRAP_128)
        key = bytes(8) + bytes.fromhex("00112233445566778899aabbccddeeff")
        self.assertEqual(security.wrapped_key, key)
        self.assertEqual(read_kdf_id(security.eid_data), KdfId.HKDF_SHA1_128)

    def test_golden_of_eid_authentication_data(self) -> None:
        """With two EID-prefixes, one of an instance, and the E bit."""
        self.assert_golden(_EID_AD, _eids, encode_eid_authentication, decode_eid_authentication)

    def test_golden_of_a_reply(self) -> None:
        """EID-AD as it is, PKT-AD behind it."""
        self.assert_golden(_REPLY, _reply, encode_reply_security, decode_reply_security)

    def test_golden_kdf_only(self) -> None:
        """Four octets, and read in either form of an EID-AD."""
        self.assertEqual(encode_kdf_only(2), _KDF_ONLY)
        self.assertEqual(read_kdf_id(_KDF_ONLY), 2)
        self.assertEqual(read_kdf_id(_EID_AD), 2)

    def test_cut_anywhere(self) -> None:
        """No prefix is authentication data, nor is one octet more."""
        self.assert_cuts_fail(_REQUEST, decode_request_security)
        self.assert_cuts_fail(_EID_AD, decode_eid_authentication)
        self.assert_cuts_fail(_REPLY, decode_reply_security)

    def test_unassigned_bits_are_ignored(self) -> None:
        """Set to ones they change nothing that is read."""
        data = bytearray(_REQUEST)
        data[1] |= 0x7F
        self.assertEqual(decode_request_security(bytes(data)), _request)
        data = bytearray(_EID_AD)
        data[5] |= 0x7F
        data[8] = 0xFF
        self.assertEqual(decode_eid_authentication(bytes(data)), _eids)
        data = bytearray(_REPLY)
        data[1:4] = b"\xff" * 3
        self.assertEqual(decode_reply_security(bytes(data)), _reply)

    def test_lengths_that_lie(self) -> None:
        """Each is checked against what is there."""
        for data, at, size, wrong, decode in (
            (_REQUEST, 4, 2, (0, 16, 23, 25, 65535), decode_request_security),
            (_REQUEST, 32, 2, (0, 3, 5, 65535), decode_request_security),
            (_EID_AD, 0, 2, (0, 3, 4, 7, 8, 63, 65, 65535), decode_eid_authentication),
            (_EID_AD, 4, 1, (3, 255), decode_eid_authentication),
            (_REPLY, 4, 2, (0, 3, 65535), decode_reply_security),
            (_REPLY, len(_REPLY) - 20, 2, (0, 3, 4, 19, 21, 65535), decode_reply_security),
        ):
            for value in wrong:
                bad = data[:at] + value.to_bytes(size, "big") + data[at + size :]
                self.assertRaises(WireError, decode, bad)

    def test_a_one_time_key_of_another_size(self) -> None:
        """None but a preamble of 64 bits and a key of 128 is known."""
        for octets in (0, 8, 16, 32):
            length = octets.to_bytes(2, "big")
            data = _REQUEST[:4] + length + _REQUEST[6:8] + bytes(octets) + _KDF_ONLY
            self.assertRaises(WireError, decode_request_security, data)

    def test_another_type_of_authentication_data(self) -> None:
        """There is only one."""
        for data, decode in (
            (_REQUEST, decode_request_security),
            (_REPLY, decode_reply_security),
        ):
            for ad_type in (0, 2, 255):
                self.assertRaises(WireError, decode, bytes([ad_type]) + data[1:])

    def test_what_does_not_fit_is_not_encoded(self) -> None:
        """A One-Time Key of another size, more EID-prefixes than can be counted."""
        request = RequestSecurity(2, 0, 2, bytes(16), _KDF_ONLY)
        self.assertRaises(ValueError, encode_request_security, request)
        eids = EidAuthentication(2, 2, (_eids.eids[0],) * 256, b"")
        self.assertRaises(ValueError, encode_eid_authentication, eids)

    @given(_requests)
    def test_round_trip_of_requests(self, security: RequestSecurity) -> None:
        """What is encoded decodes to the same."""
        data = encode_request_security(security)
        self.assertEqual(decode_request_security(data), security)
        self.assertEqual(len(data), 32 + len(security.eid_data))

    @given(_eid_data)
    def test_round_trip_of_eid_authentication(self, eids: EidAuthentication) -> None:
        """What is encoded decodes to the same."""
        self.assertEqual(decode_eid_authentication(encode_eid_authentication(eids)), eids)

    @given(_replies)
    def test_round_trip_of_replies(self, security: ReplySecurity) -> None:
        """What is encoded decodes to the same."""
        self.assertEqual(decode_reply_security(encode_reply_security(security)), security)

    @given(st.binary(max_size=80))
    def test_garbage(self, data: bytes) -> None:
        """Whatever comes is a WireError or has one stable wire form."""
        for head in (b"", b"\x01\x00\x00\x02\x00\x18\x00\x02", b"\x01\x00\x00\x00"):
            self.assert_survives(head + data, encode_request_security, decode_request_security)
            self.assert_survives(head + data, encode_reply_security, decode_reply_security)
        length = (len(data) + 2).to_bytes(2, "big")
        self.assert_survives(length + data, encode_eid_authentication, decode_eid_authentication)
