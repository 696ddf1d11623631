"""Encapsulated Control Messages."""

from __future__ import annotations

import dataclasses

from hypothesis import given

from lispmsrt.wire.addresses import Address
from lispmsrt.wire.encapsulated import (
    EncapsulatedControlMessage,
    EncapsulatedFlag,
    decode_encapsulated,
    encode_encapsulated,
    reflagged,
    walk_encapsulated,
)
from lispmsrt.wire.errors import WireError
from tests import golden, strategies
from tests.codec import CodecCase

_ip = Address.from_text

_IPV4 = EncapsulatedControlMessage(
    _ip("192.0.2.1"), _ip("10.1.1.1"), 4342, 4342, golden.MAP_REQUEST
)
_IPV6 = EncapsulatedControlMessage(
    _ip("2001:db8::1"),
    _ip("2001:db8:1::5"),
    61000,
    4342,
    golden.MAP_REQUEST,
    ddt=True,
    to_etr=True,
    to_map_server=True,
)
_INNER = 4  # where the inner packet begins without security data
_IPV4_UDP, _IPV6_UDP = _INNER + 20, _INNER + 40


def _fix_ipv4(data: bytearray) -> bytes:
    """Put the right header checksum in, added word by word."""
    end = _INNER + (data[_INNER] & 0xF) * 4
    data[_INNER + 10 : _INNER + 12] = b"\0\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(_INNER, end, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[_INNER + 10 : _INNER + 12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(data)


class EncapsulatedTests(CodecCase):
    """EncapsulatedControlMessage and its codec."""

    def test_golden_ipv4(self) -> None:
        """A Map-Request inside IPv4, checksums included."""
        self.assert_golden(golden.ECM_IPV4, _IPV4, encode_encapsulated, decode_encapsulated)

    def test_golden_ipv6(self) -> None:
        """The same inside IPv6, with the flags D, E and M."""
        self.assert_golden(golden.ECM_IPV6, _IPV6, encode_encapsulated, decode_encapsulated)

    def test_golden_secured(self) -> None:
        """LISP-SEC data stands before the inner packet."""
        message = dataclasses.replace(_IPV4, security=golden.LISP_SEC)
        self.assert_golden(golden.ECM_SECURED, message, encode_encapsulated, decode_encapsulated)

    def test_flags_one_by_one(self) -> None:
        """Every flag has its own bit, as RFC 9301 §5.8 numbers them from the left."""
        for bit, name in ((5, "ddt"), (6, "to_etr"), (7, "to_map_server")):
            message = dataclasses.replace(_IPV4, **{name: True})
            data = bytes([golden.ECM_IPV4[0] | 0x80 >> bit]) + golden.ECM_IPV4[1:]
            self.assert_golden(data, message, encode_encapsulated, decode_encapsulated)

    def test_cut_anywhere(self) -> None:
        """No prefix is an Encapsulated Control Message, nor is one octet more."""
        for data in (golden.ECM_IPV4, golden.ECM_IPV6, golden.ECM_SECURED):
            self.assert_cuts_fail(data, decode_encapsulated)

    @given(strategies.encapsulated)
    def test_round_trip(self, message: EncapsulatedControlMessage) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        data = encode_encapsulated(message)
        decoded = decode_encapsulated(data)
        self.assertEqual(decoded, message)
        self.assertEqual(encode_encapsulated(decoded), data)

    def test_any_changed_octet_of_headers_or_payload(self) -> None:
        """The checksums notice: nothing inside is read with a flipped bit."""
        for data in (golden.ECM_IPV4, golden.ECM_IPV6):
            # IPv6 has traffic class and flow label in octets 0 to 3, the hop limit in octet 7.
            unprotected = {_INNER, _INNER + 1, _INNER + 2, _INNER + 3, _INNER + 7}
            for at in range(_INNER, len(data)):
                if data is golden.ECM_IPV6 and at in unprotected:
                    continue
                changed = bytearray(data)
                changed[at] ^= 0x01
                self.assertRaises(WireError, decode_encapsulated, bytes(changed))

    def test_no_udp_checksum(self) -> None:
        """Zero is tolerated over IPv4 and refused over IPv6."""
        data = bytearray(golden.ECM_IPV4)
        data[_IPV4_UDP + 6 : _IPV4_UDP + 8] = b"\0\0"
        self.assertEqual(decode_encapsulated(bytes(data)), _IPV4)
        data = bytearray(golden.ECM_IPV6)
        data[_IPV6_UDP + 6 : _IPV6_UDP + 8] = b"\0\0"
        self.assertRaises(WireError, decode_encapsulated, bytes(data))

    def test_checksum_that_adds_up_to_zero_is_sent_as_ones(self) -> None:
        """RFC 768: zero is kept for "none"."""
        for port in range(1 << 16):
            message = dataclasses.replace(_IPV4, source_port=port, payload=b"odd")
            data = encode_encapsulated(message)
            checksum = data[_IPV4_UDP + 6 : _IPV4_UDP + 8]
            self.assertNotEqual(checksum, b"\0\0")
            if checksum == b"\xff\xff":
                self.assertEqual(decode_encapsulated(data), message)
                return
        self.fail("no port gave the sum in question")

    def test_ipv4_options_are_skipped(self) -> None:
        """A longer header is legal; we do not send one."""
        data = bytearray(golden.ECM_IPV4)
        data[_IPV4_UDP:_IPV4_UDP] = b"\1\1\1\0"
        data[_INNER], data[_INNER + 3] = 0x46, data[_INNER + 3] + 4
        self.assertEqual(decode_encapsulated(_fix_ipv4(data)), _IPV4)

    def test_faulty_ipv4_headers(self) -> None:
        """Right checksum, wrong contents."""
        for changes in (
            {0: 0x44},  # header of four words
            {0: 0x4F},  # header of fifteen, into the payload
            {3: 0x37},  # total length
            {6: 0x20},  # more fragments
            {7: 0x01},  # an offset
            {9: 6},  # TCP
        ):
            data = bytearray(golden.ECM_IPV4)
            for at, octet in changes.items():
                data[_INNER + at] = octet
            self.assertRaises(WireError, decode_encapsulated, _fix_ipv4(data))

    def test_other_packets(self) -> None:
        """IP version 5, another message type, other security data."""
        version = golden.ECM_IPV4[:4] + b"\x55" + golden.ECM_IPV4[5:]
        security = golden.ECM_SECURED[:4] + b"\x02" + golden.ECM_SECURED[5:]
        eid_octets = bytearray(golden.ECM_SECURED)
        eid_octets[4 + 8 + 24 + 1] = 3
        for data in (version, security, bytes(eid_octets), golden.MAP_REQUEST, b""):
            self.assertRaises(WireError, decode_encapsulated, data)

    def test_an_inner_header_beyond_the_message(self) -> None:
        """Its length is believed by nobody."""
        for data in (golden.ECM_IPV4[: _INNER + 20], golden.ECM_IPV6[: _INNER + 40]):
            for at in (0, -1, -19):
                cut = data[: len(data) + at]
                self.assertRaises(WireError, walk_encapsulated, cut)
        options = bytearray(golden.ECM_IPV4[: _INNER + 24])
        options[_INNER] = 0x4F
        self.assertRaises(WireError, walk_encapsulated, bytes(options))

    def test_an_ipv4_packet_without_room_for_udp(self) -> None:
        """Its own length and checksum are right."""
        data = bytearray(golden.ECM_IPV4[: _INNER + 27])
        data[_INNER + 3] = 27
        self.assertRaises(WireError, walk_encapsulated, _fix_ipv4(data))

    @given(strategies.encapsulated)
    def test_walk(self, message: EncapsulatedControlMessage) -> None:
        """It finds what the decoder makes values of."""
        data = encode_encapsulated(message)
        _, inner, source, destination, *ports, hop_limit, payload = walk_encapsulated(data)
        self.assertEqual(data[4:inner], message.security)
        self.assertEqual((source, destination), (message.source.packed, message.destination.packed))
        self.assertEqual(ports, [message.source_port, message.destination_port])
        self.assertEqual((hop_limit, data[payload:]), (message.hop_limit, message.payload))

    @given(strategies.encapsulated)
    def test_reflagged(self, message: EncapsulatedControlMessage) -> None:
        """Flags are replaced, security data on demand, and everything else stays."""
        data = encode_encapsulated(message)
        for flag, names in (
            (EncapsulatedFlag.TO_ETR, {"to_etr": True}),
            (EncapsulatedFlag.TO_MAP_SERVER, {"to_map_server": True}),
            (0, {}),
        ):
            flags = {"ddt": False, "to_etr": False, "to_map_server": False, **names}
            expected = dataclasses.replace(message, **flags)
            self.assertEqual(decode_encapsulated(reflagged(data, flag)), expected)
            for security in (b"", golden.LISP_SEC):
                expected = dataclasses.replace(expected, security=security)
                self.assertEqual(decode_encapsulated(reflagged(data, flag, security)), expected)

    def test_values_that_cannot_be_sent(self) -> None:
        """Encoders raise ValueError, never struct.error."""
        for change in (
            {"source": _ip("2001:db8::1")},
            {"source": _ip("name:foo"), "destination": _ip("name:bar")},
            {"source": Address(1, b"123")},
            {"source": Address(1, b"12345")},
            {"source_port": 1 << 16},
            {"hop_limit": 256},
            {"payload": bytes(1 << 16)},
            {"payload": bytes((1 << 16) - 20)},
        ):
            message = dataclasses.replace(_IPV4, **change)
            self.assertRaises(ValueError, encode_encapsulated, message)
        for change in ({"destination": Address(2, b"1")}, {"hop_limit": -1}):
            message = dataclasses.replace(_IPV6, **change)
            self.assertRaises(ValueError, encode_encapsulated, message)
