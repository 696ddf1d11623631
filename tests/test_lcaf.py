"""LISP canonical addresses: every type both ways, nesting, and what policy may know of an RLOC."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.afi import NO_ADDRESS, Address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import (
    MAX_LCAF_NESTING,
    AfiList,
    ApplicationData,
    AsNumber,
    Encapsulation,
    ExplicitPath,
    Geo,
    Hop,
    InstanceId,
    Json,
    KeyValue,
    Lcaf,
    MulticastInfo,
    NatTraversal,
    NonceLocator,
    NullBody,
    OpaqueKey,
    ReplicationEntry,
    ReplicationList,
    SecurityKey,
    SourceDestination,
    UnknownLcaf,
    VendorSpecific,
    decode_address,
    decode_locator_address,
    encode_address,
    plain_addresses,
)
from lispmsrt.wire.reader import Reader
from tests import strategies
from tests.codec import CodecCase, whole
from tests.golden import LCAFS

_decode = whole(decode_address)
_decode_rloc = whole(decode_locator_address)
_ip = Address.from_text

_V4, _V6 = _ip("192.0.2.1"), _ip("2001:db8::1")

_VALUES: dict[int, Lcaf] = {
    0: NullBody(),
    1: AfiList((_V4, _V6)),
    2: InstanceId(5, _V4, reserved2=32),
    3: AsNumber(65000, _V4),
    4: ApplicationData(16, 6, (80, 81), (49152, 65535), _V4),
    5: Geo(True, (48, 11, 12), False, (11, 34, 5), -2, _V4),
    6: OpaqueKey(2, 3, bytes.fromhex("cafebabe")),
    7: NatTraversal(4342, 54321, _V4, _ip("198.51.100.1"), _ip("10.1.1.1"), (NO_ADDRESS,)),
    8: NonceLocator(0xABCDEF, _V4),
    9: MulticastInfo(5, 32, 24, _ip("10.1.1.1"), _ip("224.1.1.0"), flags=1),
    10: ExplicitPath((Hop(_V4, 1), Hop(_V6, 6))),
    11: SecurityKey(2, (bytes.fromhex("0123456789ab"),), _V4, key_flags=1),
    12: SourceDestination(24, 16, _ip("10.1.1.0"), _ip("10.2.0.0")),
    13: ReplicationList((ReplicationEntry(_V4, 1), ReplicationEntry(_ip("192.0.2.2"), 128))),
    14: Json(b'{"a": 1}  ', _V4),
    15: KeyValue(_V4, _ip("name:foo")),
    16: Encapsulation(0x12, _V4),
    200: UnknownLcaf(200, b"\1\2\3", reserved1=7, flags=8, reserved2=9),
    255: VendorSpecific(12, b"\1\2\3"),
}


def _nested(levels: int) -> Address | Lcaf:
    address: Address | Lcaf = _V4
    for _ in range(levels):
        address = AsNumber(1, address)
    return address


class LcafTests(CodecCase):
    """Codec of all types."""

    def test_golden_of_every_type(self) -> None:
        """Hand-made octets and values match."""
        self.assertEqual(LCAFS.keys(), _VALUES.keys())
        for kind, data in LCAFS.items():
            self.assertEqual(_VALUES[kind].lcaf_type, kind)
            self.assert_golden(data, _VALUES[kind], encode_address, _decode)
            self.assert_golden(data, _VALUES[kind], encode_address, _decode_rloc)

    def test_cut_anywhere(self) -> None:
        """No prefix of an LCAF is an address."""
        for data in LCAFS.values():
            self.assert_cuts_fail(data, _decode)
            self.assert_cuts_fail(data, _decode_rloc)

    def test_body_cut_behind_a_matching_length(self) -> None:
        """A body that ends early is an error as an EID and a blob as an RLOC."""
        for kind in (2, 3, 4, 5, 7, 8, 9, 11, 12, 14, 15, 16):
            body = LCAFS[kind][8:-1]
            data = LCAFS[kind][:6] + len(body).to_bytes(2, "big") + body
            self.assertRaises(WireError, _decode, data)
            rloc = _decode_rloc(data)
            self.assertEqual(rloc, UnknownLcaf(kind, body, **_header(_VALUES[kind])))
            self.assertEqual(encode_address(rloc), data)

    def test_body_longer_than_its_fields(self) -> None:
        """Left-over octets are no part of a known type."""
        data = bytes.fromhex("4003 00 00 03 00 000b 0000fde8 0001 c0000201 ff")
        self.assertRaises(WireError, _decode, data)
        self.assertIsInstance(_decode_rloc(data), UnknownLcaf)

    @given(strategies.lcafs)
    def test_round_trip(self, lcaf: Lcaf) -> None:
        """Values survive, reserved fields included, in either position."""
        data = encode_address(lcaf)
        self.assertEqual(_decode(data), lcaf)
        self.assertEqual(_decode_rloc(data), lcaf)

    @given(st.integers(0, 255), st.binary(max_size=40))
    def test_any_body_survives_as_rloc(self, kind: int, body: bytes) -> None:
        """What an xTR registered is returned octet for octet."""
        data = bytes([0x40, 3, 1, 2, kind, 3, 0, len(body)]) + body
        self.assertEqual(encode_address(_decode_rloc(data)), data)

    def test_nesting_limit(self) -> None:
        """Eight levels are read, the ninth is refused; as an RLOC it is a blob."""
        deepest = _nested(MAX_LCAF_NESTING)
        self.assertEqual(_decode(encode_address(deepest)), deepest)
        too_deep = encode_address(_nested(MAX_LCAF_NESTING + 1))
        self.assertRaises(WireError, _decode, too_deep)
        self.assertIsInstance(_decode_rloc(too_deep), UnknownLcaf)

    def test_plain_rloc(self) -> None:
        """An RLOC need not be an LCAF; an unknown family is an error here too."""
        self.assertEqual(_decode_rloc(encode_address(_V4)), _V4)
        self.assertRaises(WireError, _decode_rloc, b"\0\x63\1\2\3\4")

    def test_fields_out_of_range(self) -> None:
        """Encoders raise ValueError, never struct.error."""
        for lcaf in (
            InstanceId(1 << 32, _V4),
            InstanceId(-1, _V4),
            AsNumber(1, _V4, flags=256),
            ApplicationData(1 << 24, 6, (0, 0), (0, 0), _V4),
            ApplicationData(0, 256, (0, 0), (0, 0), _V4),
            Geo(True, (1 << 15, 0, 0), True, (0, 0, 0), 0, _V4),
            Geo(True, (0, 0, 0), True, (0, 0, 0), 1 << 31, _V4),
            NonceLocator(1 << 24, _V4),
            SecurityKey(1, (b"",) * 256, _V4),
            SecurityKey(1, (bytes(1 << 16),), _V4),
            Json(bytes(1 << 16), _V4),
            ReplicationList((ReplicationEntry(_V4, 256),)),
            ReplicationList((ReplicationEntry(_V4, 0, 1 << 24),)),
            VendorSpecific(1 << 24, b""),
            OpaqueKey(0, 0, bytes(1 << 16)),
            UnknownLcaf(256, b""),
        ):
            self.assertRaises(ValueError, encode_address, lcaf)

    def test_text(self) -> None:
        """A view shows the type and what is inside."""
        self.assertEqual(str(_VALUES[1]), "AfiList(192.0.2.1, 2001:db8::1)")
        self.assertEqual(str(_VALUES[6]), "OpaqueKey()")
        self.assertEqual(str(_VALUES[200]), "lcaf-200:010203")

    def test_unknown_lcaf_has_no_decoder(self) -> None:
        """It is what remains when there is none."""
        self.assertRaises(TypeError, UnknownLcaf.decode_body, Reader(b""), decode_address)


class PlainAddressesTests(CodecCase):
    """plain_addresses: where traffic may go."""

    def test_every_type(self) -> None:
        """All addresses of a type that has any; nothing where they cannot be known."""
        expected = {
            0: [],
            1: [_V4, _V6],
            6: None,
            7: [_V4, _ip("10.1.1.1")],
            9: [_ip("10.1.1.1"), _ip("224.1.1.0")],
            10: [_V4, _V6],
            12: [_ip("10.1.1.0"), _ip("10.2.0.0")],
            13: [_V4, _ip("192.0.2.2")],
            200: None,
            255: None,
        }
        for kind, lcaf in _VALUES.items():
            self.assertEqual(plain_addresses(lcaf), expected.get(kind, [_V4]), kind)

    def test_plain(self) -> None:
        """Names and AFI 0 lead nowhere."""
        self.assertEqual(plain_addresses(_V6), [_V6])
        self.assertEqual(plain_addresses(NO_ADDRESS), [])
        self.assertEqual(plain_addresses(_ip("name:foo")), [])

    def test_one_unknown_spoils_all(self) -> None:
        """A blob deep inside may hide any address."""
        hidden = AfiList((_V4, ExplicitPath((Hop(UnknownLcaf(3, b"")),))))
        self.assertIsNone(plain_addresses(hidden))
        nested = AfiList((_V4, AsNumber(1, _V6)))
        self.assertEqual(plain_addresses(nested), [_V4, _V6])


def _header(lcaf: Lcaf) -> dict[str, int]:
    return {"reserved1": lcaf.reserved1, "flags": lcaf.flags, "reserved2": lcaf.reserved2}
