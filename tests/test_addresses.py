"""Addresses and EID-prefixes: text forms, wire forms, host bits and instance IDs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.addresses import (
    NO_ADDRESS,
    Address,
    Afi,
    EidPrefix,
    decode_address,
    decode_eid,
    encode_address,
    encode_eid,
)
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.lcaf import AsNumber, InstanceId
from lispmsrt.wire.packing import check_bits, check_octets
from lispmsrt.wire.reader import Reader
from tests import strategies
from tests.codec import CodecCase, whole

_decode = whole(decode_address)


class AddressTests(CodecCase):
    """Address and its codec."""

    def test_text_of_every_family(self) -> None:
        """Text is parsed to packed bytes and printed again."""
        for text, afi, packed in (
            ("10.1.1.1", Afi.IPV4, "0a010101"),
            ("2001:db8::1", Afi.IPV6, "20010db8000000000000000000000001"),
            ("00:11:22:aa:bb:cc", Afi.MAC, "001122aabbcc"),
            ("name:foo", Afi.NAME, "666f6f"),
            ("name:Zürich", Afi.NAME, "5ac3bc72696368"),
        ):
            address = Address.from_text(text)
            self.assertEqual(address, Address(afi, bytes.fromhex(packed)))
            self.assertEqual(str(address), text)

    def test_text_that_is_no_address(self) -> None:
        """The complaint quotes what was given."""
        for text in ("", "10.1.1", "10.1.1.256", "fe80::1%eth0", "00:11:22:33:44", "foo"):
            error = self.assertRaises(ValueError, Address.from_text, text)
            self.assertIn(repr(text), str(error))

    def test_names_that_cannot_be_sent(self) -> None:
        """A name is neither empty nor too long, and holds no NUL."""
        for text in ("name:", "name:" + "x" * 256, "name:a\0b"):
            self.assertRaises(ValueError, Address.from_text, text)

    def test_text_of_unusual_addresses(self) -> None:
        """Nothing a peer sends can break a line or a terminal."""
        self.assertEqual(str(NO_ADDRESS), "none")
        self.assertEqual(str(Address(99, b"\1\2")), "afi-99:0102")
        self.assertEqual(str(Address(Afi.NAME, b"a\nb\x1b")), "name:a\\nb\\x1b")
        self.assertEqual(str(Address(Afi.NAME, b"\xff")), "name:\\xff")
        self.assertEqual(str(Address(Afi.NAME, b"")), "name:")

    def test_golden_addresses(self) -> None:
        """AFI, then the address; a name ends with NUL."""
        for data, text in (
            ("0001c0000201", "192.0.2.1"),
            ("000220010db8000000000000000000000001", "2001:db8::1"),
            ("0006001122334455", "00:11:22:33:44:55"),
            ("0011666f6f00", "name:foo"),
        ):
            address = Address.from_text(text)
            self.assert_golden(bytes.fromhex(data), address, encode_address, _decode)
            self.assert_cuts_fail(bytes.fromhex(data), _decode)
        self.assert_golden(b"\0\0", NO_ADDRESS, encode_address, _decode)

    @given(strategies.addresses)
    def test_round_trip(self, address: Address) -> None:
        """What is encoded decodes to the same."""
        self.assertEqual(_decode(encode_address(address)), address)

    def test_unknown_family_loses_the_message(self) -> None:
        """Without the size of the address nothing after it can be read."""
        error = self.assertRaises(WireError, _decode, b"\0\x63\1\2\3\4")
        self.assertEqual(error.scope, ErrorScope.MESSAGE)

    def test_name_limit(self) -> None:
        """255 octets are accepted, 256 are not even when the NUL follows."""
        longest = Address(Afi.NAME, b"x" * 255)
        self.assertEqual(_decode(encode_address(longest)), longest)
        self.assertRaises(WireError, _decode, b"\0\x11" + b"x" * 256 + b"\0")
        self.assertRaises(ValueError, encode_address, Address(Afi.NAME, b"x" * 256))
        self.assertRaises(ValueError, encode_address, Address(Afi.NAME, b"a\0"))

    def test_octets_must_suit_the_family(self) -> None:
        """Values built by hand do not reach the wire unchecked."""
        for address in (Address(Afi.IPV4, b"123"), Address(99, b""), Address(Afi.NONE, b"1")):
            self.assertRaises(ValueError, encode_address, address)

    def test_range_checks(self) -> None:
        """Bit fields and fixed octets refuse what does not fit."""
        self.assertEqual(check_bits(4095, 12, "version"), 4095)
        for value in (-1, 4096):
            self.assertRaises(ValueError, check_bits, value, 12, "version")
        self.assertRaises(ValueError, check_octets, b"123", 4, "key")


class EidPrefixTests(CodecCase):
    """EidPrefix and its codec."""

    def test_text(self) -> None:
        """Text is parsed and printed again, the instance in front."""
        for text, iid, printed in (
            ("10.1.0.0/16", 0, "10.1.0.0/16"),
            ("10.1.0.0/16", 5, "[5] 10.1.0.0/16"),
            ("::/0", 0, "::/0"),
            ("00:11:22:33:44:55/48", 7, "[7] 00:11:22:33:44:55/48"),
            ("name:foo", 0, "name:foo"),
        ):
            self.assertEqual(str(EidPrefix.from_text(text, iid)), printed)
        self.assertEqual(EidPrefix.from_text("name:foo").length, 24)
        lcaf = EidPrefix(0, AsNumber(1, Address.from_text("10.0.0.1")), 32)
        self.assertEqual(str(lcaf), "AsNumber(10.0.0.1)/32")

    def test_text_that_is_no_prefix(self) -> None:
        """Each complaint names the prefix."""
        for text in ("10.1.1.1/16", "10.0.0.0", "10.0.0.0/x", "10.0.0.0/33", "10.0.0.0/-1", "/8"):
            error = self.assertRaises(ValueError, EidPrefix.from_text, text)
            self.assertIn(text.partition("/")[0], str(error))
        for iid in (-1, 1 << 32):
            self.assertRaises(ValueError, EidPrefix.from_text, "10.0.0.0/8", iid)

    def test_instance_zero_is_the_plain_eid(self) -> None:
        """Both forms are one key, and each is answered in its own form."""
        plain = bytes.fromhex("0001 0a010000")
        wrapped = bytes.fromhex("4003 00 00 02 00 000a 00000000 0001 0a010000")
        first, second = decode_eid(Reader(plain), 16), decode_eid(Reader(wrapped), 16)
        self.assertEqual(first, second)
        self.assertEqual(hash(first), hash(second))
        self.assertEqual(encode_eid(first), plain)
        self.assertEqual(encode_eid(second), wrapped)

    def test_instance_without_address(self) -> None:
        """As in a Registration Refresh: LCAF type 2 around AFI 0."""
        data = bytes.fromhex("4003 00 00 02 00 0006 00001001 0000")
        eid = decode_eid(Reader(data), 0)
        self.assertEqual(eid, EidPrefix(4097, NO_ADDRESS, 0))
        self.assertEqual(encode_eid(eid), data)

    @given(strategies.eids)
    def test_round_trip(self, eid: EidPrefix) -> None:
        """Value and wire form survive."""
        data = encode_eid(eid)
        decoded = whole(lambda reader: decode_eid(reader, eid.length))(data)
        self.assertEqual(decoded, eid)
        self.assertEqual(encode_eid(decoded), data)

    @given(strategies.ip_addresses, st.integers(0, 128))
    def test_host_bits_are_ignored(self, address: Address, length: int) -> None:
        """RFC 9301 §5.4: bits beyond the mask make no other EID."""
        length = min(length, address.width)
        eid = decode_eid(Reader(encode_address(address)), length)
        assert isinstance(eid.address, Address)
        for bit in range(address.width):
            octet, mask = bit // 8, 0x80 >> bit % 8
            expected = address.packed[octet] & mask if bit < length else 0
            self.assertEqual(eid.address.packed[octet] & mask, expected)

    def test_length_beyond_the_family_spoils_the_record_only(self) -> None:
        """The end of the EID is known, so the other records are safe."""
        for data, length in (("0001 0a010000", 33), ("0000", 1), ("0006 001122334455", 49)):
            error = self.assertRaises(WireError, decode_eid, Reader(bytes.fromhex(data)), length)
            self.assertEqual(error.scope, ErrorScope.RECORD)

    def test_names_are_matched_whole(self) -> None:
        """A name with another prefix length is refused; one above 31 octets has 255."""
        name = bytes.fromhex("0011 666f6f00")
        self.assertEqual(decode_eid(Reader(name), 24), EidPrefix.from_text("name:foo"))
        for length in (16, 32):
            error = self.assertRaises(WireError, decode_eid, Reader(name), length)
            self.assertEqual(error.scope, ErrorScope.RECORD)
        self.assertEqual(EidPrefix.from_text("name:" + "x" * 40).length, 255)

    def test_instance_id_must_fit(self) -> None:
        """Thirty-two bits go on the wire."""
        eid = EidPrefix(1 << 32, Address.from_text("10.0.0.0"), 8)
        self.assertRaises(ValueError, encode_eid, eid)

    def test_instance_inside_instance_stays(self) -> None:
        """Only the outer one is the EID's own."""
        inner = InstanceId(6, Address.from_text("10.0.0.0"))
        eid = EidPrefix(5, inner, 8)
        self.assertEqual(decode_eid(Reader(encode_eid(eid)), 8), eid)
