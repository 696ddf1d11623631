"""Map-Register, Map-Notify and Map-Notify-Ack: values, bytes and offsets agree."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key, Purpose
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import InstanceId, MulticastInfo
from lispmsrt.wire.map_register import (
    MapNotify,
    MapNotifyAck,
    MapRegister,
    RegisterFlag,
    decode_map_notify,
    decode_map_notify_ack,
    decode_map_register,
    encode_map_notify,
    encode_map_notify_ack,
    encode_map_register,
    register_flags,
    sign,
    walk_map_notify,
    walk_map_register,
    write_map_notify,
    write_map_register,
)
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import (
    EID_OFFSET,
    UNSUPPORTED_EID,
    RecordSpan,
    prefix_key,
    walk_records,
)
from lispmsrt.wire.records import (
    RECORD_LAYOUT,
    Action,
    Locator,
    MappingRecord,
    decode_record,
    encode_locators,
    encode_record,
)
from tests import strategies
from tests.codec import CodecCase, whole
from tests.golden import LCAFS, RECORD, RECORD_INSTANCE
from tests.golden_registers import (
    ACKS,
    IDS,
    NOTIFIES,
    REGISTERS,
    SECRET,
    SITE_ID,
    XTR_ID,
    GoldenMessage,
)

_ip = Address.from_text
_NONCE = 0xFFEEDDCCBBAA9988

_PLAIN = MappingRecord(
    EidPrefix.from_text("10.1.0.0/16"),
    1440,
    (
        Locator(_ip("192.0.2.1"), 1, 50),
        Locator(_ip("2001:db8::1"), 2, 50, local=False, probe=True),
    ),
    authoritative=True,
)
_INSTANCE = MappingRecord(
    EidPrefix.from_text("2001:db8::/32", 0xFFFFFF),
    0xFFFFFFFF,
    (),
    Action.DROP_POLICY_DENIED,
    map_version=4095,
)
_MAC = MappingRecord(
    EidPrefix.from_text("02:00:00:00:00:01/48", 4097),
    1,
    (Locator(_ip("192.0.2.2"), 255, 0, local=False, reachable=False),),
)
_GROUP = MulticastInfo(5, 32, 24, _ip("10.1.1.1"), _ip("224.1.1.0"), flags=1)
_MULTICAST = MappingRecord(EidPrefix(0, _GROUP, 0), 15, ())

_IDS = {"xtr_id": XTR_ID, "site_id": SITE_ID}

_REGISTER_VALUES = {
    "plain": MapRegister((_PLAIN,)),
    "none": MapRegister((_PLAIN,), want_map_notify=True),
    "reliable": MapRegister((_PLAIN,), reliable_transport=True, want_map_notify=True),
    "full": MapRegister(
        (_PLAIN, _MAC),
        proxy_reply=True,
        security=True,
        reliable_transport=True,
        eid_notify=True,
        use_ttl=True,
        merge=True,
        want_map_notify=True,
        **_IDS,
    ),
    "short-sha1": MapRegister((_INSTANCE,), merge=True),
    "short-sha256": MapRegister((_PLAIN,), proxy_reply=True),
    "hkdf": MapRegister((_PLAIN,), reliable_transport=True, **_IDS),
    "short-hkdf": MapRegister((_INSTANCE,), use_ttl=True),
    "records-only": MapRegister((_PLAIN,), **_IDS),
    "multicast": MapRegister((_MULTICAST,), eid_notify=True),
}
_NOTIFY_VALUES = {
    "plain": MapNotify((_PLAIN,)),
    "none": MapNotify((_PLAIN,)),
    "sha1": MapNotify((_PLAIN, _MAC), reliable_transport=True, **_IDS),
    "hkdf": MapNotify((_PLAIN,), reliable_transport=True, **_IDS),
    "short-sha1": MapNotify((_INSTANCE,), reliable_transport=True),
    "bitless": MapNotify((_PLAIN,), **_IDS),
}
_ACK_VALUES = {
    "plain": MapNotifyAck((_PLAIN,)),
    "none": MapNotifyAck((_PLAIN,)),
    "sha1": MapNotifyAck((_INSTANCE,), **_IDS),
    "hkdf": MapNotifyAck((_PLAIN,), reliable_transport=True),
}

Message = MapRegister | MapNotify | MapNotifyAck
Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any], Purpose]

_CODECS: dict[type[Any], Codec] = {
    MapRegister: (encode_map_register, decode_map_register, Purpose.MAP_REGISTER),
    MapNotify: (encode_map_notify, decode_map_notify, Purpose.MAP_NOTIFY),
    MapNotifyAck: (encode_map_notify_ack, decode_map_notify_ack, Purpose.MAP_NOTIFY_ACK),
}

_flag, _u8 = st.booleans(), st.integers(0, 255)
_ids = st.one_of(st.just(b""), st.binary(min_size=24, max_size=24))


@st.composite
def _messages(draw: st.DrawFn, *kinds: type[Any]) -> Any:
    kind = draw(st.sampled_from(kinds or tuple(_CODECS)))
    records = draw(st.lists(strategies.mapping_records, max_size=4))
    ids = draw(_ids)
    message = kind(tuple(records), draw(strategies.nonces), ids[:16] or None, ids[16:] or None)
    message.key_id, message.algorithm_id = draw(_u8), draw(_u8)
    message.authentication_data = draw(st.binary(max_size=40))
    for name in ("reliable_transport", *(_register_flags if kind is MapRegister else ())):
        setattr(message, name, draw(_flag))
    return message


_register_flags = (
    "proxy_reply",
    "security",
    "eid_notify",
    "use_ttl",
    "merge",
    "want_map_notify",
)
_registers = _messages(MapRegister)
_keys = st.builds(Key, _u8, st.sampled_from(AlgorithmId), st.binary(min_size=1, max_size=80))


def _complete(value: Any, golden: GoldenMessage) -> Any:
    """Fill in what the golden message's author chose."""
    value.nonce = _NONCE
    value.key_id, value.algorithm_id = golden.key_id, golden.algorithm_id
    value.authentication_data = golden.authentication_data
    return value


def _golden_pairs() -> list[tuple[str, GoldenMessage, Any]]:
    return [
        (name, table[name], _complete(values[name], table[name]))
        for table, values in (
            (REGISTERS, _REGISTER_VALUES),
            (NOTIFIES, _NOTIFY_VALUES),
            (ACKS, _ACK_VALUES),
        )
        for name in table
    ]


def _expected_key(address: Address, length: int) -> int:
    bits = "".join(f"{octet:08b}" for octet in address.packed)
    return int("1" + bits[:length], 2)


def _expected_span(data: bytes, offset: int) -> RecordSpan:
    """Return what the walk should say of the record at this offset, by decoding it."""
    reader = Reader(data, offset)
    record = decode_record(reader)
    eid, end = record.eid, reader.offset
    # Decoded locators encode to the same octets only if they were sorted: measured from the front.
    reader = Reader(data, offset)
    ttl, _count, mask, _bits, _version = reader.unpack(RECORD_LAYOUT)
    whole_eid = _eid_octets(reader)
    address = eid.address
    locators_at = offset + RECORD_LAYOUT.size + whole_eid
    if not isinstance(address, Address) or address.afi == Afi.NONE:
        return offset, ttl, eid.instance_id, UNSUPPORTED_EID, mask, 0, locators_at, end
    named = address.afi == Afi.NAME
    length = 8 * len(address.packed) if named else eid.length
    key = _expected_key(address, length)
    return offset, ttl, eid.instance_id, int(address.afi), length, key, locators_at, end


def _eid_octets(reader: Reader) -> int:
    """Return the octets of AFI and EID."""
    afi = int.from_bytes(reader.peek(2), "big")
    if afi == Afi.LCAF:
        return 8 + int.from_bytes(reader.peek(8)[6:], "big")
    if afi == Afi.NAME:
        return reader.peek(reader.remaining).index(0, 2) + 1
    return 2 + {Afi.NONE: 0, Afi.IPV4: 4, Afi.IPV6: 16, Afi.MAC: 6}[Afi(afi)]


class SignedMessageTests(CodecCase):
    """The values, and the pair of functions of each type."""

    def test_golden_messages(self) -> None:
        """Both ways, but for a Map-Notify that lacks the bit it should have."""
        for name, golden, value in _golden_pairs():
            encode, decode, _purpose = _CODECS[type(value)]
            if name == "bitless":
                self.assertEqual(decode(golden.data), value)
                with_bit = bytes([golden.data[0] | 0x08]) + golden.data[1:]
                self.assertEqual(encode(value), with_bit)
                self.assertEqual(decode(with_bit), value)
            else:
                self.assert_golden(golden.data, value, encode, decode)

    def test_golden_messages_cut_at_every_octet(self) -> None:
        """A WireError, but where a Map-Notify's IDs are missing as a whole."""
        for _name, golden, value in _golden_pairs():
            _encode, decode, _purpose = _CODECS[type(value)]
            tail = 0
            if value.xtr_id is not None and not isinstance(value, MapRegister):
                tail = len(IDS)
                without = decode(golden.data[:-tail])
                self.assertEqual((without.xtr_id, without.site_id), (None, None))
                for size in range(len(golden.data) - tail + 1, len(golden.data)):
                    self.assertRaises(WireError, decode, golden.data[:size])
            for size in range(len(golden.data) - tail):
                self.assertRaises(WireError, decode, golden.data[:size])
            self.assertRaises(WireError, decode, golden.data + b"\0")

    @given(_messages())
    def test_round_trip(self, message: Message) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        encode, decode, _purpose = _CODECS[type(message)]
        data = encode(message)
        self.assertEqual(decode(data), message)
        self.assertEqual(encode(decode(data)), data)

    def test_each_flag_has_its_bit(self) -> None:
        """RFC 9301 §5.6 counts from the left; r comes before E."""
        bits = {
            "proxy_reply": 4,
            "security": 5,
            "reliable_transport": 18,
            "eid_notify": 19,
            "use_ttl": 20,
            "merge": 21,
            "want_map_notify": 23,
        }
        for name, bit in bits.items():
            register = MapRegister((), **{name: True})
            word = int.from_bytes(encode_map_register(register)[:4], "big")
            self.assertEqual(word, 3 << 28 | 1 << 31 - bit, name)
            self.assertEqual(register_flags(register), 1 << 31 - bit)
        register = MapRegister((), **_IDS)
        self.assertEqual(encode_map_register(register)[:4].hex(), "32000000")
        for kind, first in ((MapNotify, "4"), (MapNotifyAck, "5")):
            encode, _decode, _purpose = _CODECS[kind]
            self.assertEqual(encode(kind(()))[:4].hex(), first + "0000000")
            self.assertEqual(encode(kind((), **_IDS))[:4].hex(), first + "8000000")
            reliable = kind((), reliable_transport=True)
            self.assertEqual(encode(reliable)[:4].hex(), first + "0002000")

    def test_reserved_bits_are_ignored(self) -> None:
        """They may mean something one day."""
        for table, reserved in (
            (REGISTERS, 0x01FFC200),
            (NOTIFIES, 0x07FFDF00),
            (ACKS, 0x07FFDF00),
        ):
            golden = table["plain"].data
            noisy = (int.from_bytes(golden[:4], "big") | reserved).to_bytes(4, "big") + golden[4:]
            _encode, decode, _purpose = _CODECS[
                {3: MapRegister, 4: MapNotify, 5: MapNotifyAck}[golden[0] >> 4]
            ]
            self.assertEqual(decode(noisy), decode(golden))

    def test_other_types_are_refused(self) -> None:
        """Each function reads one type."""
        for _encode, decode, _purpose in _CODECS.values():
            accepted = 0
            for table in (REGISTERS, NOTIFIES, ACKS):
                try:
                    decode(table["plain"].data)
                except WireError:
                    continue
                accepted += 1
            self.assertEqual(accepted, 1)

    def test_i_bit_and_xtr_id_belong_together(self) -> None:
        """In a Map-Register the bit is the rule, so IDs without it are left-over octets."""
        for data in (
            bytes([REGISTERS["full"].data[0] & ~0x02]) + REGISTERS["full"].data[1:],
            bytes([REGISTERS["plain"].data[0] | 0x02]) + REGISTERS["plain"].data[1:],
        ):
            self.assertRaises(WireError, decode_map_register, data)
            self.assertRaises(WireError, walk_map_register, data, 0, len(data))

    def test_what_can_not_be_encoded(self) -> None:
        """Half of an identity, too many records, fields out of range."""
        for register in (
            MapRegister((), xtr_id=XTR_ID),
            MapRegister((), xtr_id=XTR_ID[1:], site_id=SITE_ID),
            MapRegister((), xtr_id=XTR_ID, site_id=SITE_ID + b"\0"),
            MapRegister((_MULTICAST,) * 256),
            MapRegister((), nonce=1 << 64),
            MapRegister((), key_id=256),
            MapRegister((), authentication_data=bytes(0x10000)),
        ):
            self.assertRaises(ValueError, encode_map_register, register)
        most = MapRegister((_MULTICAST,) * 255)
        self.assertEqual(len(decode_map_register(encode_map_register(most)).records), 255)


class SignTests(CodecCase):
    """Authentication data put into messages."""

    def test_golden_messages(self) -> None:
        """Signing the message that has no MAC yet gives the one that has."""
        for name, golden, value in _golden_pairs():
            if name == "bitless":
                continue
            encode, decode, purpose = _CODECS[type(value)]
            unsigned = decode(golden.data)
            unsigned.key_id = unsigned.algorithm_id = 0
            unsigned.authentication_data = b""
            key = Key(golden.key_id, AlgorithmId(golden.algorithm_id), SECRET)
            coverage = Coverage.WHOLE_MESSAGE if golden.covers_ids else Coverage.RECORDS
            signed = sign(encode(unsigned), key, purpose, length=golden.length, coverage=coverage)
            self.assertEqual(signed.hex(), golden.data.hex(), name)
            if golden.length == key.sent_length and name != "records-only":
                self.assertEqual(sign(encode(unsigned), key, purpose), golden.data, name)

    def test_configured_length_and_coverage(self) -> None:
        """What a key is told to send is what signing and writing send."""
        for name, coverage, is_truncated in (
            ("short-sha256", None, True),
            ("short-hkdf", None, True),
            ("records-only", Coverage.RECORDS, False),
            ("plain", Coverage.WHOLE_MESSAGE, False),
        ):
            golden, value = REGISTERS[name], _REGISTER_VALUES[name]
            key = Key(
                golden.key_id,
                AlgorithmId(golden.algorithm_id),
                SECRET,
                coverage=coverage,
                is_truncated=is_truncated,
            )
            records = [encode_record(record) for record in value.records]
            ids = IDS if value.xtr_id else b""
            flags = register_flags(value) & ~RegisterFlag.XTR_ID
            self.assertEqual(write_map_register(flags, _NONCE, records, ids, key), golden.data)
            unsigned = decode_map_register(golden.data)
            unsigned.authentication_data = b""
            signed = sign(encode_map_register(unsigned), key, Purpose.MAP_REGISTER)
            self.assertEqual(signed, golden.data)

    def test_signing_twice_is_refused(self) -> None:
        """The MAC would cover a MAC."""
        golden = REGISTERS["plain"]
        key = Key(1, AlgorithmId.HMAC_SHA_256_128, SECRET)
        self.assertRaises(ValueError, sign, golden.data, key, Purpose.MAP_REGISTER)

    def test_lengths_that_nobody_accepts_are_refused(self) -> None:
        """Before the message leaves."""
        message = encode_map_register(MapRegister((_PLAIN,)))
        for algorithm, length in (
            (AlgorithmId.HMAC_SHA_1_96, 16),
            (AlgorithmId.HMAC_SHA_256_128, 20),
            (AlgorithmId.HMAC_SHA_256_128, 0),
            (AlgorithmId.NONE, 12),
        ):
            key = Key(1, algorithm, SECRET)
            self.assertRaises(ValueError, sign, message, key, Purpose.MAP_REGISTER, length=length)

    @given(_registers, _keys)
    def test_write_map_register_agrees(self, register: MapRegister, key: Key) -> None:
        """The fast writer makes what encoding and signing make."""
        register.key_id = register.algorithm_id = 0
        register.authentication_data = b""
        signed = sign(encode_map_register(register), key, Purpose.MAP_REGISTER)
        records = [encode_record(record) for record in register.records]
        ids = (register.xtr_id or b"") + (register.site_id or b"")
        flags = register_flags(register) & ~RegisterFlag.XTR_ID
        written = write_map_register(flags, register.nonce, records, ids, key)
        self.assertEqual(written.hex(), signed.hex())
        self.assert_verifies(written, key)

    @given(_messages(MapNotify), _keys, st.sampled_from(Coverage), st.data())
    def test_write_map_notify_agrees(
        self, notify: MapNotify, key: Key, coverage: Coverage, data: st.DataObject
    ) -> None:
        """With any length and coverage that a Map-Register may have had."""
        lengths = [length for length in range(33) if key.accepts_length(length)]
        length = data.draw(st.sampled_from(lengths))
        notify.key_id = notify.algorithm_id = 0
        notify.authentication_data = b""
        signed = sign(
            encode_map_notify(notify), key, Purpose.MAP_NOTIFY, length=length, coverage=coverage
        )
        written = write_map_notify(
            nonce=notify.nonce,
            records=[encode_record(record) for record in notify.records],
            ids=(notify.xtr_id or b"") + (notify.site_id or b""),
            reliable_transport=notify.reliable_transport,
            key=key,
            length=length,
            coverage=coverage,
        )
        self.assertEqual(written.hex(), signed.hex())

    def test_golden_messages_written(self) -> None:
        """From the golden records' own octets."""
        sha1 = Key(255, AlgorithmId.HMAC_SHA_1_96, SECRET)
        hkdf = Key(2, AlgorithmId.HMAC_SHA256_128_HKDF_SHA256, SECRET)
        reliable = RegisterFlag.RELIABLE_TRANSPORT
        written = write_map_register(reliable, _NONCE, [RECORD], IDS, hkdf)
        self.assertEqual(written, REGISTERS["hkdf"].data)
        notify = functools.partial(write_map_notify, nonce=_NONCE, ids=IDS, reliable_transport=True)
        self.assertEqual(
            notify(records=[RECORD], key=hkdf, length=32, coverage=Coverage.RECORDS),
            NOTIFIES["hkdf"].data,
        )
        records = [RECORD, encode_record(_MAC)]
        self.assertEqual(
            notify(records=records, key=sha1, length=20, coverage=Coverage.WHOLE_MESSAGE),
            NOTIFIES["sha1"].data,
        )

    def test_too_many_records_are_refused(self) -> None:
        """The 256th would be read as the M bit of a message without records."""
        key = Key(1, AlgorithmId.HMAC_SHA_256_128, SECRET)
        record = encode_record(_INSTANCE)
        written = write_map_register(0, 1, [record] * 255, b"", key)
        self.assertEqual(len(walk_map_register(written, 0, len(written))[5]), 255)
        self.assertRaises(ValueError, write_map_register, 0, 1, [record] * 256, b"", key)
        self.assertRaises(
            ValueError,
            write_map_notify,
            nonce=1,
            records=[record] * 256,
            ids=b"",
            reliable_transport=False,
            key=key,
            length=32,
            coverage=Coverage.RECORDS,
        )

    def assert_verifies(self, data: bytes, key: Key) -> None:
        """The message is authentic, and whoever only walked it finds that out."""
        word, _nonce, key_id, algorithm_id, length, _records, last = walk_map_register(
            data, 0, len(data)
        )
        self.assertEqual((key_id, algorithm_id), (key.key_id, key.algorithm_id))
        found = key.verify(data, 0, last, len(data), length, Purpose.MAP_REGISTER)
        ids = bool(word & RegisterFlag.XTR_ID)
        derived = key.default_coverage is Coverage.RECORDS
        self.assertIs(found, Coverage.RECORDS if ids and derived else Coverage.WHOLE_MESSAGE)


class WalkTests(CodecCase):
    """Offsets instead of values, and nothing but WireError."""

    def assert_walk_agrees(self, data: bytes, before: bytes, after: bytes) -> None:
        """Walking finds what decoding finds, whatever stands around the message."""
        register = decode_map_register(data)
        start, end = len(before), len(before) + len(data)
        chunk = before + data + after
        word, nonce, key_id, algorithm_id, length, spans, last = walk_map_register(
            chunk, start, end
        )
        self.assertEqual(word & 0x0FFFFFFF & ~0xFF & ~0x01FFC200, register_flags(register))
        self.assertEqual(
            (nonce, key_id, algorithm_id, length),
            (
                register.nonce,
                register.key_id,
                register.algorithm_id,
                len(register.authentication_data),
            ),
        )
        self.assertEqual(end - last, 0 if register.xtr_id is None else 24)
        offset = start + 16 + length
        self.assertEqual(len(spans), len(register.records))
        for span, record in zip(spans, register.records, strict=True):
            self.assertEqual(span, _expected_span(chunk, offset))
            self.assertEqual(span[1], record.ttl)
            self.assertEqual(len(encode_locators(record.locators)), span[7] - span[6])
            offset = span[7]
        self.assertEqual(offset, last)
        self.assertEqual(spans, walk_records(chunk, start + 16 + length, last, len(spans)))

    def walk_or_fail(self, data: bytes) -> bool:
        """Tell whether the walk accepts the message; anything but WireError is an error."""
        try:
            walk_map_register(data, 0, len(data))
        except WireError:
            return False
        return True

    @given(_registers, st.binary(max_size=40), st.binary(max_size=40))
    def test_agrees_with_decoding(self, register: MapRegister, before: bytes, after: bytes) -> None:
        """On all that can be encoded."""
        self.assert_walk_agrees(encode_map_register(register), before, after)

    def test_agrees_on_golden_messages(self) -> None:
        """On those made by hand, too."""
        for golden in REGISTERS.values():
            self.assert_walk_agrees(golden.data, b"\x30", b"\0\1")

    @given(_registers, st.data())
    def test_damaged_messages(self, register: MapRegister, data: st.DataObject) -> None:
        """Nothing but WireError; and what decoding accepts, the walk accepts and sees alike."""
        damaged = bytearray(encode_map_register(register))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            removed = data.draw(st.integers(0, 2))
            damaged[at : at + removed] = data.draw(st.binary(max_size=2))
        self.assert_survives_walk(bytes(damaged))

    def assert_survives_walk(self, data: bytes) -> None:
        """Decoding accepts no more than the walk does, and both see the same."""
        walked = self.walk_or_fail(data)
        try:
            decode_map_register(data)
        except WireError:
            return
        self.assertTrue(walked)
        self.assert_walk_agrees(data, b"", b"")

    def test_every_octet_replaced(self) -> None:
        """By the values most likely to hurt."""
        for golden in REGISTERS.values():
            for at in range(len(golden.data)):
                for octet in (0x00, 0x01, 0x11, 0x40, 0x7F, 0x80, 0xFF, golden.data[at] ^ 1):
                    damaged = golden.data[:at] + bytes([octet]) + golden.data[at + 1 :]
                    self.assert_survives_walk(damaged)

    @given(st.binary(max_size=120))
    def test_random_bytes(self, data: bytes) -> None:
        """Out of nowhere, and behind the start of a Map-Register."""
        self.walk_or_fail(data)
        self.walk_or_fail(bytes.fromhex("30000002 0000000000000000 00000000") + data)

    @given(_registers)
    def test_cut_at_every_octet(self, register: MapRegister) -> None:
        """Neither a shorter chunk nor a longer one that belongs to somebody else helps."""
        data = encode_map_register(register)
        for end in range(len(data)):
            self.assertRaises(WireError, walk_map_register, data[:end], 0, end)
            self.assertRaises(WireError, walk_map_register, data, 0, end)
        self.assertRaises(WireError, walk_map_register, data + b"\0", 0, len(data) + 1)

    def test_end_beyond_the_data(self) -> None:
        """A caller's slip is not an IndexError."""
        data = REGISTERS["plain"].data
        self.assertRaises(WireError, walk_map_register, data, 0, len(data) + 1)
        self.assertRaises(WireError, walk_records, RECORD, 0, len(RECORD) + 1, 1)

    def test_other_types_are_refused(self) -> None:
        """A Map-Notify has the same layout."""
        data = NOTIFIES["plain"].data
        self.assertRaises(WireError, walk_map_register, data, 0, len(data))

    def test_count_and_records_contradict_each_other(self) -> None:
        """Too many, too few, none."""
        for count in (0, 1, 3):
            self.assertRaises(WireError, walk_records, RECORD * 2, 0, 2 * len(RECORD), count)
        self.assertEqual(len(walk_records(RECORD * 2, 0, 2 * len(RECORD), 2)), 2)
        self.assertEqual(walk_records(RECORD, 5, 5, 0), [])


class NotifyWalkTests(CodecCase):
    """The same for a Map-Notify, whose IDs are found by what is left."""

    def assert_walk_agrees(self, data: bytes) -> None:
        """Walking finds what decoding finds."""
        notify = decode_map_notify(data)
        word, nonce, key_id, algorithm_id, length, spans, last = walk_map_notify(data)
        self.assertEqual(word, int.from_bytes(data[:4], "big"))
        self.assertEqual(
            (nonce, key_id, algorithm_id, length),
            (notify.nonce, notify.key_id, notify.algorithm_id, len(notify.authentication_data)),
        )
        self.assertEqual(len(data) - last, 0 if notify.xtr_id is None else 24)
        offset = 16 + length
        self.assertEqual(len(spans), len(notify.records))
        for span in spans:
            self.assertEqual(span, _expected_span(data, offset))
            offset = span[7]
        self.assertEqual(offset, last)

    @given(_messages(MapNotify))
    def test_agrees_with_decoding(self, notify: MapNotify) -> None:
        """On all that can be encoded."""
        self.assert_walk_agrees(encode_map_notify(notify))

    def test_agrees_on_golden_messages(self) -> None:
        """With the bit that announces IDs, without IDs, and with IDs that nothing announces."""
        for golden in NOTIFIES.values():
            self.assert_walk_agrees(golden.data)

    def test_golden_messages_cut_at_every_octet(self) -> None:
        """Accepted when decoding accepts it, which is when all of the IDs are missing."""
        for golden in NOTIFIES.values():
            for size in range(len(golden.data)):
                self.assert_survives_walk(golden.data[:size])
            self.assertRaises(WireError, walk_map_notify, golden.data + b"\0")
        for size in range(len(NOTIFIES["plain"].data)):
            self.assertRaises(WireError, walk_map_notify, NOTIFIES["plain"].data[:size])

    @given(_messages(MapNotify), st.data())
    def test_damaged_messages(self, notify: MapNotify, data: st.DataObject) -> None:
        """Nothing but WireError; and what decoding accepts, the walk accepts and sees alike."""
        damaged = bytearray(encode_map_notify(notify))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            removed = data.draw(st.integers(0, 2))
            damaged[at : at + removed] = data.draw(st.binary(max_size=2))
        self.assert_survives_walk(bytes(damaged))

    def test_every_octet_replaced(self) -> None:
        """By the values most likely to hurt."""
        for golden in NOTIFIES.values():
            for at in range(len(golden.data)):
                for octet in (0x00, 0x01, 0x11, 0x40, 0x7F, 0x80, 0xFF, golden.data[at] ^ 1):
                    damaged = golden.data[:at] + bytes([octet]) + golden.data[at + 1 :]
                    self.assert_survives_walk(damaged)

    def assert_survives_walk(self, data: bytes) -> None:
        """Decoding accepts no more than the walk does, and both see the same."""
        try:
            decode_map_notify(data)
        except WireError:
            with contextlib.suppress(WireError):
                walk_map_notify(data)
            return
        self.assert_walk_agrees(data)

    def test_other_types_are_refused(self) -> None:
        """Nobody believes a Map-Register or Map-Notify-Ack that comes in its place."""
        for table in (REGISTERS, ACKS):
            self.assertRaises(WireError, walk_map_notify, table["plain"].data)

    def test_golden_messages_verify(self) -> None:
        """What was walked is enough to check the authentication data."""
        for golden in NOTIFIES.values():
            *_, length, _records, last = walk_map_notify(golden.data)
            key = Key(golden.key_id, AlgorithmId(golden.algorithm_id), SECRET)
            found = key.verify(golden.data, 0, last, len(golden.data), length, Purpose.MAP_NOTIFY)
            expected = Coverage.WHOLE_MESSAGE if golden.covers_ids else Coverage.RECORDS
            self.assertIs(found, expected)


class RecordWalkTests(CodecCase):
    """One record of each kind."""

    def walk(self, record: bytes) -> RecordSpan:
        """Walk one record that fills its bytes."""
        (span,) = walk_records(record, 0, len(record), 1)
        return span

    def record(self, length: int, eid: str, ttl: int = 7) -> bytes:
        """Make a record without locators from AFI and EID as hex."""
        return ttl.to_bytes(4, "big") + bytes([0, length, 0, 0, 0, 0]) + bytes.fromhex(eid)

    def test_golden_records(self) -> None:
        """Offsets counted by hand."""
        key = 1 << 16 | 0x0A01
        self.assertEqual(self.walk(RECORD), (0, 1440, 0, 1, 16, key, 16, 52))
        key = 1 << 32 | 0x20010DB8
        expected = (0, 0xFFFFFFFF, 0xFFFFFF, 2, 32, key, 40, 40)
        self.assertEqual(self.walk(RECORD_INSTANCE), expected)

    def test_families(self) -> None:
        """Plain and within an instance, with the same key."""
        for afi, address, length, key in (
            (1, "0a010200", 23, 1 << 23 | 0x0A0102 >> 1),
            (1, "00000000", 0, 1),
            (1, "ffffffff", 32, (1 << 33) - 1),
            (2, "20010db8" + "00" * 12, 32, 1 << 32 | 0x20010DB8),
            (6, "020000000001", 48, 1 << 48 | 0x020000000001),
            (17, "666f6f00", 24, 1 << 24 | 0x666F6F),
            (17, "00", 0, 1),
        ):
            octets = len(address) // 2
            plain = f"{afi:04x}{address}"
            span = self.walk(self.record(length, plain))
            end = 12 + octets
            self.assertEqual(span, (0, 7, 0, afi, length, key, end, end))
            inside = f"4003 0000 0200 {6 + octets:04x} 00000309" + plain
            span = self.walk(self.record(length, inside))
            self.assertEqual(span, (0, 7, 777, afi, length, key, end + 12, end + 12))

    def test_host_bits_do_not_count(self) -> None:
        """RFC 9301 §5.4: bits beyond the mask are ignored."""
        for eid in ("00010a01ffff", "4003 0000 0200 000a 00000000 0001 0a01ffff"):
            self.assertEqual(self.walk(self.record(16, eid))[5], 1 << 16 | 0x0A01)

    def test_prefix_too_long(self) -> None:
        """For the family, plain or within an instance."""
        for eid, width in (
            ("0001 0a010000", 32),
            ("0006 020000000001", 48),
            ("4003 0000 0200 000a 00000001 0001 0a010000", 32),
            ("0002 20010db8" + "00" * 12, 128),
        ):
            self.assertEqual(self.walk(self.record(width, eid))[4], width)
            self.assertRaises(WireError, self.walk, self.record(width + 1, eid))
            self.assertRaises(WireError, self.walk, self.record(255, eid))

    def test_name_of_an_rloc_is_no_longer_than_can_be_read(self) -> None:
        """Else a registration would be kept that nobody can show or merge."""
        for octets in (255, 256):
            rloc = "0164000000050011" + "61" * octets + "00"
            data = bytes.fromhex(f"000005a0 01 20 0000 0000 0001 0a000001 {rloc}")
            if octets == 255:
                self.assertEqual(walk_records(data, 0, len(data), 1)[0][7], len(data))
            else:
                with self.assertRaises(WireError):
                    walk_records(data, 0, len(data), 1)

    def test_mask_length_of_a_name_is_all_its_bits(self) -> None:
        """Names match whole (RFC 9735): with another mask length they can't be looked up."""
        span = self.walk(self.record(24, "0011 666f6f00"))
        self.assertEqual(span[3:6], (17, 24, 1 << 24 | 0x666F6F))
        # 40 octets are more bits than a mask length can say.
        span = self.walk(self.record(255, "0011" + "61" * 40 + "00"))
        self.assertEqual(span[4], 320)
        self.assertEqual(span[5], int.from_bytes(b"a" * 40, "big") | 1 << 320)
        for length, name in ((0, "666f6f"), (8, "666f6f"), (255, "61" * 256)):
            span = self.walk(self.record(length, f"0011{name}00"))
            self.assertEqual((span[3], span[5]), (UNSUPPORTED_EID, 0))

    def test_eids_that_can_not_be_looked_up(self) -> None:
        """LCAFs of every type but instance ID, and no address: skipped, not refused."""
        for kind, lcaf in LCAFS.items():
            span = self.walk(self.record(9, lcaf.hex()))
            end = 10 + len(lcaf)
            if kind == InstanceId.TYPE:
                self.assertEqual(span[2:5], (5, Afi.IPV4, 9))
            else:
                self.assertEqual(span, (0, 7, 0, UNSUPPORTED_EID, 9, 0, end, end))
        for eid, instance in (
            ("0000", 0),
            ("4003 0000 0200 0000", 0),  # no room for an instance ID
            ("4003 0000 0200 0005 00000005 00", 0),  # nor here for an AFI
            ("4003 0000 0200 0006 00000005 0000", 5),
            ("4003 0000 0200 0008 00000005 0063 1234", 5),
            ("4003 0000 0200 0012 00000005 4003 0000 0200 0006 00000006 0000", 5),
        ):
            span = self.walk(self.record(0, eid))
            self.assertEqual(span[2:6], (instance, UNSUPPORTED_EID, 0, 0), eid)

    def test_broken_eids(self) -> None:
        """Families unknown, lengths that lie, names without end."""
        for eid in (
            "0063 0a010000",
            "0001 0a0100",
            "0002 20010db8",
            "0006 0200000000",
            "0011 666f6f",
            "0011",
            "4003",
            "4003 0000 02",
            "4003 0000 0200 00ff 00000005 0001 0a010000",
            "4003 0000 0200 000c 00000005 0001 0a010000 0000",  # longer than what is inside
            "4003 0000 0200 0008 00000005 0001 0a01",  # shorter
            "4003 0000 0200 0009 00000005 0011 666f6f",
        ):
            self.assertRaises(WireError, self.walk, self.record(0, eid))

    def test_locators_of_every_kind(self) -> None:
        """They are stepped over, whatever is in them."""
        head = bytes.fromhex("00000001 00 08 0000 0000 0001 0a000000")
        usage = bytes.fromhex("01 64 ff 00 0005")
        addresses = [
            bytes.fromhex("0001 c0000201"),
            bytes.fromhex("0002" + "00" * 16),
            bytes.fromhex("0006 020000000001"),
            bytes.fromhex("0011 666f6f00"),
            bytes.fromhex("0000"),
            *LCAFS.values(),
        ]
        for address in addresses:
            locator = usage + address
            record = head[:4] + b"\2" + head[5:] + locator * 2
            span = self.walk(record)
            self.assertEqual(span[6:], (16, len(record)))
            for size in range(len(record)):
                self.assertRaises(WireError, walk_records, record[:size], 0, size, 1)
                self.assertRaises(WireError, walk_records, record, 0, size, 1)
        unknown = head[:4] + b"\1" + head[5:] + usage + bytes.fromhex("0063 c0000201")
        self.assertRaises(WireError, self.walk, unknown)

    @given(st.lists(strategies.mapping_records, max_size=4))
    def test_offsets_are_those_of_the_record(self, records: list[MappingRecord]) -> None:
        """Prefix Length and EID are where users of a span look for them."""
        wire = [encode_record(record) for record in records]
        data = b"".join(wire)
        spans = walk_records(data, 0, len(data), len(wire))
        for span, octets, record in zip(spans, wire, records, strict=True):
            start, locators_at, end = span[0], span[6], span[7]
            self.assertEqual(data[start:end], octets)
            self.assertEqual(whole(decode_record)(data[start:end]), record)
            self.assertEqual(data[start + 5], record.eid.length)
            eid = data[start + EID_OFFSET : locators_at]
            self.assertEqual(octets[EID_OFFSET : EID_OFFSET + len(eid)], eid)
            self.assertEqual(data[locators_at:end], encode_locators(record.locators))

    @given(strategies.ip_addresses, st.data())
    def test_prefix_keys(self, address: Address, data: st.DataObject) -> None:
        """A covering prefix's key is the front of the key; no two prefixes share one."""
        width = address.width
        length = data.draw(st.integers(0, width))
        network = int.from_bytes(address.packed, "big")
        key = prefix_key(network, width, length)
        self.assertEqual(key, _expected_key(address, length))
        for shorter in range(length):
            self.assertEqual(key >> (length - shorter), prefix_key(network, width, shorter))
            self.assertNotEqual(key, prefix_key(network, width, shorter))
