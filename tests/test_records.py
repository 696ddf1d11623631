"""EID-records and RLOC-records."""

from __future__ import annotations

from hypothesis import given

from lispmsrt.wire.addresses import NO_ADDRESS, Address, EidPrefix
from lispmsrt.wire.errors import ErrorScope, WireError
from lispmsrt.wire.lcaf import AfiList, AsNumber, NullBody
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import (
    NO_EXPIRY,
    Action,
    Locator,
    MappingRecord,
    decode_record,
    decode_records,
    encode_record,
    sorted_locators,
)
from tests import strategies
from tests.codec import CodecCase, whole
from tests.golden import RECORD, RECORD_INSTANCE

_decode = whole(decode_record)
_ip = Address.from_text
_eid = EidPrefix.from_text("10.1.0.0/16")


class RecordTests(CodecCase):
    """MappingRecord and its codec."""

    def test_golden_record(self) -> None:
        """Two locators of different families and flags."""
        locators = (
            Locator(_ip("192.0.2.1"), 1, 50),
            Locator(_ip("2001:db8::1"), 2, 50, local=False, probe=True),
        )
        record = MappingRecord(_eid, 1440, locators, authoritative=True)
        self.assert_golden(RECORD, record, encode_record, _decode)
        self.assert_cuts_fail(RECORD, _decode)

    def test_golden_record_of_an_instance(self) -> None:
        """No locators: the action counts."""
        eid = EidPrefix.from_text("2001:db8::/32", 0xFFFFFF)
        action = Action.DROP_POLICY_DENIED
        record = MappingRecord(eid, NO_EXPIRY, (), action, map_version=4095)
        self.assert_golden(RECORD_INSTANCE, record, encode_record, _decode)
        self.assert_cuts_fail(RECORD_INSTANCE, _decode)

    @given(strategies.mapping_records)
    def test_round_trip(self, record: MappingRecord) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        data = encode_record(record)
        decoded = _decode(data)
        self.assertEqual(decoded, record)
        self.assertEqual(encode_record(decoded), data)

    def test_locators_are_sorted(self) -> None:
        """RFC 9301 §5.4: IPv4, IPv6, then LCAFs by type; addresses ascend."""
        rlocs = (
            NO_ADDRESS,
            _ip("10.0.0.1"),
            _ip("192.0.2.1"),
            _ip("2001:db8::1"),
            NullBody(),
            AfiList((_ip("192.0.2.9"),)),
            AsNumber(1, _ip("192.0.2.1")),
            AsNumber(1, _ip("192.0.2.2")),
        )
        locators = tuple(map(Locator, rlocs))
        self.assertEqual(sorted_locators(locators[::-1]), locators)
        record = MappingRecord(_eid, 1, locators[::-1])
        self.assertEqual(_decode(encode_record(record)).locators, locators)

    def test_reserved_bits_are_ignored(self) -> None:
        """They may mean something one day."""
        noisy = bytearray(RECORD)
        noisy[7] |= 0x0F  # behind A, upper octet's lower half is part of the 12 reserved bits
        noisy[8] |= 0xF0  # before the version
        self.assertEqual(_decode(bytes(noisy)), _decode(RECORD))

    def test_fields_out_of_range(self) -> None:
        """Encoders raise ValueError, never struct.error."""
        locator = Locator(_ip("192.0.2.1"))
        for record in (
            MappingRecord(_eid, -1, ()),
            MappingRecord(_eid, 1 << 32, ()),
            MappingRecord(_eid, 1, (), action=8),
            MappingRecord(_eid, 1, (), map_version=4096),
            MappingRecord(_eid, 1, (locator,) * 256),
            MappingRecord(_eid, 1, (Locator(_ip("192.0.2.1"), priority=256),)),
            MappingRecord(EidPrefix(0, _ip("10.0.0.0"), 256), 1, ()),
        ):
            self.assertRaises(ValueError, encode_record, record)

    def test_several_records(self) -> None:
        """The count says how many to read."""
        reader = Reader(RECORD + RECORD_INSTANCE + b"rest")
        records = decode_records(reader, 2)
        self.assertEqual(records, (_decode(RECORD), _decode(RECORD_INSTANCE)))
        self.assertEqual(reader.read_remaining(), b"rest")
        self.assertRaises(WireError, decode_records, Reader(RECORD), 2)

    def test_unknown_family_of_an_rloc_loses_the_message(self) -> None:
        """Nobody knows where that RLOC ends."""
        data = RECORD[:16] + bytes.fromhex("01 64 ff 00 0005 0063 c0000201")
        error = self.assertRaises(WireError, decode_record, Reader(data))
        self.assertEqual(error.scope, ErrorScope.MESSAGE)
