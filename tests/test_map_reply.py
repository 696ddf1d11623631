"""Map-Reply."""

from __future__ import annotations

from hypothesis import given

from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import AsNumber
from lispmsrt.wire.map_reply import (
    MapReply,
    decode_map_reply,
    encode_map_reply,
    write_map_reply,
)
from lispmsrt.wire.records import Action, Locator, MappingRecord
from tests import golden, strategies
from tests.codec import CodecCase

_ip = Address.from_text
_eid = EidPrefix.from_text
_SECURITY_OCTETS = 32


class MapReplyTests(CodecCase):
    """MapReply and its codec."""

    def test_golden_positive(self) -> None:
        """One mapping of two locators."""
        locators = (
            Locator(_ip("192.0.2.1"), 1, 50),
            Locator(_ip("2001:db8::1"), 2, 50, local=False, probe=True),
        )
        record = MappingRecord(_eid("10.1.0.0/16"), 1440, locators, authoritative=True)
        reply = MapReply(golden.NONCE, (record,))
        self.assert_golden(golden.MAP_REPLY, reply, encode_map_reply, decode_map_reply)

    def test_golden_negative(self) -> None:
        """No locators, an action, and the flags P and E."""
        record = MappingRecord(_eid("2001:db8::/32"), 15, (), Action.NATIVELY_FORWARD)
        reply = MapReply(golden.NONCE, (record,), probe=True, echo_nonce=True)
        self.assert_golden(golden.MAP_REPLY_NEGATIVE, reply, encode_map_reply, decode_map_reply)

    def test_golden_mac_and_name(self) -> None:
        """EIDs that are no IP addresses, an RLOC that is an LCAF."""
        mac = MappingRecord(
            _eid("02:00:00:00:00:01/48", 4097),
            1,
            (Locator(AsNumber(65000, _ip("192.0.2.1")), 255, 0, local=False, reachable=False),),
        )
        name = MappingRecord(_eid("name:foo"), 1, (Locator(_ip("192.0.2.2"), 1, 1, local=False),))
        reply = MapReply(golden.NONCE, (mac, name))
        self.assert_golden(golden.MAP_REPLY_MAC, reply, encode_map_reply, decode_map_reply)

    def test_golden_secured(self) -> None:
        """LISP-SEC data follows the records and stays as it is."""
        record = MappingRecord(_eid("11.0.0.0/8"), 15, (), Action.DROP)
        security = golden.MAP_REPLY_SECURED[-_SECURITY_OCTETS:]
        reply = MapReply(golden.NONCE, (record,), security=security)
        self.assert_golden(golden.MAP_REPLY_SECURED, reply, encode_map_reply, decode_map_reply)

    def test_cut_anywhere(self) -> None:
        """No prefix is a Map-Reply, nor is one octet more; security data has any size but none."""
        for data in (golden.MAP_REPLY, golden.MAP_REPLY_NEGATIVE, golden.MAP_REPLY_MAC):
            self.assert_cuts_fail(data, decode_map_reply)
        tail = _SECURITY_OCTETS - 1
        self.assert_cuts_fail(golden.MAP_REPLY_SECURED, decode_map_reply, opaque_tail=tail)

    @given(strategies.map_replies)
    def test_round_trip(self, reply: MapReply) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        data = encode_map_reply(reply)
        decoded = decode_map_reply(data)
        self.assertEqual(decoded, reply)
        self.assertEqual(encode_map_reply(decoded), data)

    def test_another_type(self) -> None:
        """A Map-Request is no Map-Reply."""
        self.assertRaises(WireError, decode_map_reply, golden.MAP_REQUEST)

    def test_too_many_records(self) -> None:
        """The count has eight bits."""
        record = MappingRecord(_eid("10.0.0.0/8"), 1, ())
        self.assertRaises(ValueError, encode_map_reply, MapReply(1, (record,) * 256))
        self.assertRaises(ValueError, write_map_reply, 1, [b""] * 256)

    def test_records_in_wire_form(self) -> None:
        """Written as they are."""
        self.assertEqual(write_map_reply(golden.NONCE, [golden.RECORD]), golden.MAP_REPLY)
