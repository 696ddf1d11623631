"""Messages 16 to 21, against the golden file and against themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.addresses import NO_ADDRESS, Address, Afi, EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import FrameBuffer, encode_frame
from lispmsrt.wire.lcaf import MulticastInfo
from lispmsrt.wire.map_register import MapRegister, decode_map_register, encode_map_register
from lispmsrt.wire.membership import (
    MembershipElement,
    MembershipReply,
    MembershipRequest,
    decode_membership,
    encode_membership,
)
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from lispmsrt.wire.reliable_transport import (
    ErrorCode,
    ErrorNotification,
    MappingNotification,
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    RegistrationReject,
    RejectReason,
    decode_eid_wire_form,
    decode_error_notification,
    decode_mapping_notification,
    decode_registration_ack,
    decode_registration_refresh,
    decode_registration_reject,
    eid_wire_form,
    encode_error_notification,
    encode_mapping_notification,
    encode_registration_ack,
    encode_registration_acks,
    encode_registration_refresh,
    encode_registration_reject,
)
from tests import strategies
from tests.codec import CodecCase

_VECTORS = Path(__file__).parent / "vectors" / "reliable-transport.hex"

_XTR_ID = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
_SITE_ID = bytes.fromhex("000000000000002a")
_ip = Address.from_text
_eid = EidPrefix.from_text

_EID_V4 = bytes.fromhex("10 0001 0a010000")
_EID_INSTANCE = bytes.fromhex("10 4003 00 00 02 00 000a 00001004 0001 0a010000")

_LOCATORS = (Locator(_ip("192.0.2.1"), probe=True),)
_FIRST = MappingRecord(_eid("10.1.0.0/16"), 1440, _LOCATORS, authoritative=True)
_SECOND = MappingRecord(_eid("10.2.0.0/16"), 1440, _LOCATORS, authoritative=True)
_NEGATIVE = MappingRecord(_eid("10.1.0.0/16", 4100), 1440, (), authoritative=True)

_REFRESH_TYPE = MessageType.REGISTRATION_REFRESH
_ANY_FAMILY = EidPrefix(4100, NO_ADDRESS, 0)


def _register(*records: MappingRecord, **fields: Any) -> MapRegister:
    mac = b"\xaa" * 20
    nonce = 0x1122334455667788
    return MapRegister(records, nonce, algorithm_id=1, authentication_data=mac, **fields)


_REGISTER = _register(
    _FIRST, xtr_id=_XTR_ID, site_id=_SITE_ID, proxy_reply=True, want_map_notify=True
)


def _encode(kind: int, value: Any, message_id: int) -> bytes:
    """Build the whole message of a value."""
    match value:
        case ErrorNotification():
            return encode_error_notification(value, message_id)
        case MapRegister():
            return encode_frame(kind, message_id, encode_map_register(value))
        case RegistrationReject():
            return encode_registration_reject(message_id, value.reason, value.eid)
        case RegistrationRefresh():
            return encode_registration_refresh(value, message_id)
        case MappingNotification():
            data = value.xtr_id + value.site_id + encode_record(value.record)
            return encode_mapping_notification(message_id, data)
        case MembershipRequest() | MembershipReply() | MembershipElement():
            return encode_membership(value, message_id)
    if kind == MessageType.REGISTRATION_ACK:
        return encode_registration_ack(message_id, value)
    return encode_frame(kind, message_id, value)


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    MessageType.ERROR_NOTIFICATION: decode_error_notification,
    MessageType.REGISTRATION: decode_map_register,
    MessageType.REGISTRATION_ACK: decode_registration_ack,
    MessageType.REGISTRATION_REJECT: decode_registration_reject,
    MessageType.REGISTRATION_REFRESH: decode_registration_refresh,
    MessageType.MAPPING_NOTIFICATION: decode_mapping_notification,
}


def _decode(kind: int, data: bytes) -> Any:
    if kind in _DECODERS:
        return _DECODERS[kind](data)
    return decode_membership(kind, data) if kind in range(22, 31) else data


def _frame(message: bytes) -> tuple[int, int, bytes]:
    """Return type, message ID and data of one whole message."""
    data, ((kind, ident, start, end),) = FrameBuffer().receive(message)
    return kind, ident, data[start:end]


class _Vector(NamedTuple):
    kind: int
    value: Any
    again: str | None = None
    "what it encodes to, where that is something else"


def _membership(kind: int) -> Any:
    message_type = MessageType(kind)
    if kind in (22, 25, 28):
        return MembershipRequest(message_type, 1, 4100)
    if kind in (26, 27):
        return MembershipElement(message_type, 1, 4100, _SITE_ID, _ip("192.0.2.1"))
    error = 3 if kind == 24 else None
    return MembershipReply(message_type, 1, 4100, 21 if kind > 28 else 15, error)


# Values of the golden file's lines, but for the two that are no messages to their decoder.
_EXPECTED = (
    _Vector(16, ErrorNotification(ErrorCode.UNRECOGNISED_TYPE, 99, 12, 7)),
    _Vector(17, _REGISTER),
    _Vector(18, _EID_V4),
    _Vector(18, _EID_INSTANCE),
    _Vector(19, RegistrationReject(RejectReason.AUTHENTICATION_FAILURE, _EID_V4)),
    _Vector(20, RegistrationRefresh(RefreshScope.EVERYTHING)),
    _Vector(20, RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)),
    _Vector(20, RegistrationRefresh(RefreshScope.INSTANCE, eid=_ANY_FAMILY)),
    _Vector(20, RegistrationRefresh(RefreshScope.FAMILY, eid=_eid("::/0", 4100))),
    _Vector(20, RegistrationRefresh(RefreshScope.COVERED, eid=_eid("10.1.0.0/16", 4100))),
    _Vector(20, RegistrationRefresh(RefreshScope.EXACT, eid=_eid("10.1.0.0/16"))),
    # R with scope 1 and nothing else: read as scope 0 with R, and sent as that.
    _Vector(
        20,
        RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True),
        "0014000f0000000c0080009facade9",
    ),
    _Vector(21, MappingNotification(_XTR_ID, _SITE_ID, _FIRST)),
    _Vector(21, MappingNotification(_XTR_ID, _SITE_ID, _NEGATIVE)),
    *(_Vector(kind, _membership(kind)) for kind in range(22, 31)),
    _Vector(31, b"abcd"),
    # Length 8 has room for no data at all, so an Error Notification it is not.
    _Vector(16, WireError),
    _Vector(17, _register(_FIRST, _SECOND)),
    _Vector(21, MappingNotification(bytes(16), bytes(8), _FIRST)),
    _Vector(18, None),
)


def _vectors() -> list[tuple[int, int, bytes]]:
    """Return type, length and bytes of each line."""
    vectors = []
    for line in _VECTORS.read_text().splitlines():
        if line and not line.startswith("#"):
            numbers, _, text = line.partition(") ")
            kind, length = map(int, numbers.strip("(").split(", "))
            vectors.append((kind, length, bytes.fromhex(text)))
    return vectors


class GoldenFileTests(CodecCase):
    """Every line of ``vectors/reliable-transport.hex``."""

    def setUp(self) -> None:
        """Pair the lines with what they mean."""
        self.pairs = list(zip(_vectors(), _EXPECTED, strict=True))

    def test_lengths(self) -> None:
        """Each line is as long as it says, twice."""
        for kind, length, message in _vectors():
            self.assertEqual(len(message), length)
            self.assertEqual(message[:4].hex(), f"{kind:04x}{length:04x}")

    def test_every_line_decodes_and_encodes_again(self) -> None:
        """To the expected value, and to the same octets."""
        for (kind, length, message), expected in self.pairs:
            ident = 0 if length == 8 else int.from_bytes(message[4:8], "big")
            self.assertEqual(kind, expected.kind)
            buffer = FrameBuffer()
            data, frames = buffer.receive(message)
            if expected.value is None:
                assert buffer.error is not None
                self.assertEqual(frames, [])
                self.assertEqual(buffer.error.offending, (kind, length, ident))
                continue
            ((found, message_id, start, end),) = frames
            self.assertEqual((found, message_id), (kind, ident))
            if expected.value is WireError:
                self.assertRaises(WireError, _decode, kind, data[start:end])
                continue
            self.assertEqual(_decode(kind, data[start:end]), expected.value)
            again = expected.again or message.hex()
            self.assertEqual(_encode(kind, expected.value, message_id).hex(), again)

    def test_every_line_in_one_stream(self) -> None:
        """All lines but the last, in one chunk and in chunks of three octets."""
        lines = _vectors()[:-1]
        stream = b"".join(message for _kind, _length, message in lines)
        for size in (len(stream), 3):
            buffer = FrameBuffer()
            kinds: list[int] = []
            for at in range(0, len(stream), size):
                _data, frames = buffer.receive(stream[at : at + size])
                kinds += [frame[0] for frame in frames]
            self.assertEqual(kinds, [kind for kind, _length, _message in lines])
            self.assertIsNone(buffer.error)

    def test_every_line_cut_at_every_octet(self) -> None:
        """The stream waits for the rest of the message; cut data is a WireError."""
        for (kind, _length, message), expected in self.pairs:
            for size in range(len(message)):
                buffer = FrameBuffer()
                self.assertEqual(buffer.receive(message[:size])[1], [])
                self.assertIsNone(buffer.error)
                self.assertEqual(buffer.has_partial_message, bool(size))
            if expected.value in (None, WireError) or kind == 31:
                continue
            data = _frame(message)[2]
            for size in range(len(data)):
                self.assertRaises(WireError, _decode, kind, data[:size])
            if kind != MessageType.ERROR_NOTIFICATION:
                self.assertRaises(WireError, _decode, kind, data + b"\0")


class EidWireFormTests(CodecCase):
    """Prefix-Length, AFI and address, as bytes that are echoed."""

    def test_golden(self) -> None:
        """Plain and within an instance."""
        self.assertEqual(eid_wire_form(_eid("10.1.0.0/16")), _EID_V4)
        self.assertEqual(eid_wire_form(_eid("10.1.0.0/16", 4100)), _EID_INSTANCE)
        self.assertEqual(decode_eid_wire_form(_EID_V4), _eid("10.1.0.0/16"))
        self.assertEqual(decode_eid_wire_form(_EID_INSTANCE), _eid("10.1.0.0/16", 4100))

    @given(strategies.eids)
    def test_round_trip(self, eid: EidPrefix) -> None:
        """Any EID-prefix."""
        data = eid_wire_form(eid)
        self.assertEqual(decode_eid_wire_form(data), eid)
        self.assertEqual(eid_wire_form(decode_eid_wire_form(data)), data)

    def test_cuts(self) -> None:
        """It fills its bytes."""
        for data in (_EID_V4, _EID_INSTANCE):
            self.assert_cuts_fail(data, decode_eid_wire_form)


class ErrorNotificationTests(CodecCase):
    """Type 16."""

    def test_offending_data(self) -> None:
        """Any prefix of it, so everything after the fixed part is data."""
        value = ErrorNotification(ErrorCode.FORMAT_ERROR, 17, 100, 9, b"\0\x11\0\x64")
        data = bytes.fromhex("02 000000 0011 0064 00000009 00110064")
        message = encode_error_notification(value, 3)
        self.assertEqual(len(message), 24 + 4)
        self.assertEqual(_frame(message), (16, 3, data))
        self.assertEqual(decode_error_notification(data), value)
        self.assert_cuts_fail(data, decode_error_notification, opaque_tail=4)

    def test_smallest(self) -> None:
        """24 octets."""
        value = ErrorNotification(ErrorCode.UNRECOGNISED_TYPE, 99, 12, 7)
        self.assertEqual(len(encode_error_notification(value, 1)), 24)

    def test_unknown_codes_and_reserved_octets(self) -> None:
        """Codes stay numbers, as the draft gives none; reserved octets are ignored."""
        for code in (0, 3, 255):
            data = bytes([code]) + bytes.fromhex("ffffff 0011 0064 00000009")
            self.assertEqual(decode_error_notification(data), ErrorNotification(code, 17, 100, 9))

    @given(
        st.builds(
            ErrorNotification,
            st.integers(0, 255),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.binary(max_size=50),
        )
    )
    def test_round_trip(self, value: ErrorNotification) -> None:
        """What is encoded decodes to the same."""
        data = _frame(encode_error_notification(value, 1))[2]
        self.assertEqual(decode_error_notification(data), value)

    def test_fields_out_of_range(self) -> None:
        """A ValueError, before anything is sent."""
        for value in (ErrorNotification(256, 1, 1, 1), ErrorNotification(1, 1 << 16, 1, 1)):
            self.assertRaises(ValueError, encode_error_notification, value, 1)


class AnswerTests(CodecCase):
    """Types 18 and 19."""

    def test_lengths_of_acknowledgements(self) -> None:
        """19 octets for IPv4, 31 for IPv4 within an instance."""
        for eid, length in ((_EID_V4, 19), (_EID_INSTANCE, 31)):
            message = encode_registration_ack(9, eid)
            self.assertEqual(len(message), length)
            self.assertEqual(_frame(message), (18, 9, eid))
            self.assertEqual(message, encode_frame(MessageType.REGISTRATION_ACK, 9, eid))

    @given(strategies.eids, st.integers(0, 0xFFFFFFFF), st.integers(0, 255))
    def test_round_trip(self, eid: EidPrefix, message_id: int, reason: int) -> None:
        """Any EID-prefix is echoed octet by octet."""
        form = eid_wire_form(eid)
        kind, ident, data = _frame(encode_registration_ack(message_id, form))
        self.assertEqual((kind, ident, decode_registration_ack(data)), (18, message_id, form))
        kind, ident, data = _frame(encode_registration_reject(message_id, reason, form))
        expected = RegistrationReject(reason, form)
        self.assertEqual((kind, ident), (19, message_id))
        self.assertEqual(decode_registration_reject(data), expected)

    def test_many_acknowledgements(self) -> None:
        """The same messages one after the other, with consecutive message IDs that wrap."""
        eids = [_EID_V4, _EID_INSTANCE, _EID_V4]
        for first in (1, 0xFFFFFFFE, 0xFFFFFFFF):
            idents = [(first + number) % (1 << 32) for number in range(3)]
            expected = b"".join(map(encode_registration_ack, idents, eids))
            self.assertEqual(encode_registration_acks(first, eids), expected)
        self.assertEqual(encode_registration_acks(1, []), b"")

    def test_reasons(self) -> None:
        """Four have names; the others, and reserved octets, do no harm."""
        self.assertEqual([int(reason) for reason in RejectReason], [1, 2, 3, 4])
        for reason in (0, *RejectReason, 5, 255):
            data = bytes([reason]) + bytes.fromhex("ffff") + _EID_V4
            self.assertEqual(decode_registration_reject(data), RegistrationReject(reason, _EID_V4))
        self.assertRaises(ValueError, encode_registration_reject, 1, 256, _EID_V4)

    def test_cuts(self) -> None:
        """They end with the EID-prefix."""
        for eid in (_EID_V4, _EID_INSTANCE):
            self.assert_cuts_fail(eid, decode_registration_ack)
            self.assert_cuts_fail(b"\1\0\0" + eid, decode_registration_reject)

    def test_prefix_longer_than_its_address(self) -> None:
        """An echo of nothing that was ever sent."""
        eid = b"\x21" + _EID_V4[1:]
        self.assertRaises(WireError, decode_registration_ack, eid)
        self.assertRaises(WireError, decode_registration_reject, b"\1\0\0" + eid)


class RefreshTests(CodecCase):
    """Type 20: scopes, the R bit, and where they contradict each other."""

    def encode(self, scope: int, eid: EidPrefix | None = None, rejected: bool = False) -> bytes:
        """Return the whole message."""
        return encode_registration_refresh(RegistrationRefresh(scope, rejected, eid), 1)

    def decode(self, text: str) -> RegistrationRefresh:
        """Read data given as hex."""
        return decode_registration_refresh(bytes.fromhex(text))

    def test_required_lengths(self) -> None:
        """15 for everything, 30 for an instance, 34 or 46 for a family of it."""
        for scope, eid, length in (
            (RefreshScope.EVERYTHING, None, 15),
            (RefreshScope.INSTANCE, _eid("10.1.0.0/16", 4100), 30),
            (RefreshScope.INSTANCE, _eid("2001:db8::/32", 0), 30),
            (RefreshScope.FAMILY, _eid("10.1.0.0/16", 4100), 34),
            (RefreshScope.FAMILY, _eid("0.0.0.0/0", 0), 34),
            (RefreshScope.FAMILY, _eid("2001:db8::/32", 4100), 46),
            (RefreshScope.FAMILY, _eid("02:00:00:00:00:01/48", 4100), 36),
            (RefreshScope.FAMILY, _eid("name:foo", 4100), 31),
            (RefreshScope.COVERED, _eid("10.1.0.0/16", 4100), 34),
            (RefreshScope.EXACT, _eid("10.1.0.0/16", 4100), 34),
            (RefreshScope.EXACT, _eid("10.1.0.0/16"), 22),
        ):
            self.assertEqual(len(self.encode(scope, eid)), length, (scope, eid))

    def test_family_has_an_address_of_zeros(self) -> None:
        """Whichever EID-prefix the family was named by."""
        for eid, zeros in (
            (_eid("10.1.0.0/16", 4100), _eid("0.0.0.0/0", 4100)),
            (_eid("2001:db8::/32", 4100), _eid("::/0", 4100)),
            (_eid("02:00:00:00:00:01/48", 4100), _eid("00:00:00:00:00:00/0", 4100)),
            (_eid("name:foo", 4100), EidPrefix(4100, Address(Afi.NAME, b""), 0)),
            (_eid("10.1.0.0/16"), _eid("0.0.0.0/0")),
        ):
            message = self.encode(RefreshScope.FAMILY, eid)
            self.assertEqual(message, self.encode(RefreshScope.FAMILY, zeros))
            decoded = decode_registration_refresh(_frame(message)[2])
            self.assertEqual(decoded, RegistrationRefresh(RefreshScope.FAMILY, eid=zeros))
            assert decoded.eid is not None
            self.assertTrue(decoded.eid.explicit_instance)

    def test_family_that_is_an_lcaf(self) -> None:
        """No use is known, but it survives."""
        eid = EidPrefix(4100, MulticastInfo(0, 0, 0, NO_ADDRESS, NO_ADDRESS), 0)
        data = _frame(self.encode(RefreshScope.FAMILY, eid))[2]
        expected = RegistrationRefresh(RefreshScope.FAMILY, eid=eid)
        self.assertEqual(decode_registration_refresh(data), expected)

    def test_mask_length_of_instance_and_family_is_ignored(self) -> None:
        """It is not specified there; RFC 8060 would read a range of instances into it."""
        for scope, eid in (
            (1, "4003 0000 0200 0006 00001004 0000"),
            (2, "4003 0000 0200 000a 00001004 0001 00000000"),
            (2, "4003 0000 0200 000a 00001004 0001 0a010000"),
        ):
            plain = self.decode(f"{scope:02x} 0000 00 {eid}")
            for mask in (1, 24, 255):
                self.assertEqual(self.decode(f"{scope:02x} 0000 {mask:02x} {eid}"), plain)

    def test_rejected_only_with_a_scope(self) -> None:
        """Without EID fields it means everything that was rejected; with them, what they say."""
        eid = _EID_V4.hex()
        everything = RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)
        for scope in (0, 1, 2, 3, 4):
            self.assertEqual(self.decode(f"{scope:02x} 8000"), everything)
        for scope in (3, 4):
            expected = RegistrationRefresh(scope, True, _eid("10.1.0.0/16"))
            self.assertEqual(self.decode(f"{scope:02x} 8000 {eid}"), expected)
            self.assert_cuts_fail_but_for_three(bytes.fromhex(f"{scope:02x} 8000 {eid}"))
        instance = self.decode("01 8000 00 4003 0000 0200 0006 00001004 0000")
        self.assertEqual(instance, RegistrationRefresh(1, True, _ANY_FAMILY))
        message = self.encode(RefreshScope.EXACT, _eid("10.1.0.0/16"), rejected=True)
        self.assertEqual(_frame(message)[2].hex(), f"048000{eid}")

    def assert_cuts_fail_but_for_three(self, data: bytes) -> None:
        """Only scope and R alone have a meaning of their own."""
        for size in {*range(len(data))} - {3}:
            self.assertRaises(WireError, decode_registration_refresh, data[:size])
        self.assertRaises(WireError, decode_registration_refresh, data + b"\0")

    def test_scope_without_its_eid(self) -> None:
        """Without R it can't be guessed what was meant."""
        for scope in (1, 2, 3, 4):
            self.assertRaises(WireError, self.decode, f"{scope:02x} 0000")
            self.assertRaises(ValueError, self.encode, scope)

    def test_everything_with_an_eid(self) -> None:
        """Scope 0 has exactly three octets."""
        for flags in ("0000", "8000"):
            self.assertRaises(WireError, self.decode, f"00 {flags} {_EID_V4.hex()}")

    def test_unknown_scope(self) -> None:
        """Nobody knows what to send again."""
        for scope in (5, 255):
            self.assertRaises(WireError, self.decode, f"{scope:02x} 0000")
            self.assertRaises(WireError, self.decode, f"{scope:02x} 0000 {_EID_V4.hex()}")
            self.assertRaises(WireError, self.decode, f"{scope:02x} 8000 {_EID_V4.hex()}")
        self.assertRaises(ValueError, self.encode, 256, _eid("10.1.0.0/16"))

    def test_reserved_bits_are_ignored(self) -> None:
        """15 of them behind R."""
        self.assertEqual(self.decode("00 7fff"), RegistrationRefresh(RefreshScope.EVERYTHING))
        rejected = RegistrationRefresh(RefreshScope.EVERYTHING, rejected_only=True)
        self.assertEqual(self.decode("00 ffff"), rejected)

    @given(st.sampled_from((3, 4)), st.booleans(), strategies.eids)
    def test_round_trip(self, scope: int, rejected: bool, eid: EidPrefix) -> None:
        """Any EID-prefix in the scopes that have one."""
        data = _frame(self.encode(scope, eid, rejected))[2]
        expected = RegistrationRefresh(scope, rejected, eid)
        self.assertEqual(decode_registration_refresh(data), expected)


class MappingNotificationTests(CodecCase):
    """Type 21."""

    @given(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=8, max_size=8),
        strategies.mapping_records,
    )
    def test_round_trip(self, xtr_id: bytes, site_id: bytes, record: MappingRecord) -> None:
        """Whatever the record."""
        data = xtr_id + site_id + encode_record(record)
        kind, ident, received = _frame(encode_mapping_notification(5, data))
        self.assertEqual((kind, ident, received), (21, 5, data))
        expected = MappingNotification(xtr_id, site_id, record)
        self.assertEqual(decode_mapping_notification(received), expected)

    def test_one_record_exactly(self) -> None:
        """Neither none nor two."""
        record = encode_record(_FIRST)
        for records in (b"", record * 2):
            self.assertRaises(WireError, decode_mapping_notification, bytes(24) + records)


class ReliableGarbageTests(CodecCase):
    """All decoders against all bytes."""

    @given(st.sampled_from(sorted(_DECODERS)), st.binary(max_size=120))
    def test_random_bytes(self, kind: int, data: bytes) -> None:
        """Bytes out of nowhere."""
        self.survive(kind, data)

    @given(st.sampled_from([vector for vector in _vectors() if vector[1] > 12]), st.data())
    def test_damaged_messages(self, vector: tuple[int, int, bytes], data: st.DataObject) -> None:
        """Data parts of the golden file with some octets changed, removed or put in."""
        kind, _length, message = vector
        damaged = bytearray(message[8:-4])
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            removed = data.draw(st.integers(0, 2))
            damaged[at : at + removed] = data.draw(st.binary(max_size=2))
        self.survive(kind, bytes(damaged))

    def test_every_octet_replaced(self) -> None:
        """By the values most likely to hurt."""
        for kind, _length, message in _vectors():
            data = message[8:-4]
            for at in range(len(data)):
                for octet in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[at] ^ 1, data[at] ^ 0x10):
                    self.survive(kind, data[:at] + bytes([octet]) + data[at + 1 :])

    def survive(self, kind: int, data: bytes) -> None:
        """A WireError, or a value with one stable wire form."""
        self.assert_survives(
            data,
            lambda value: _frame(_encode(kind, value, 1))[2],
            lambda octets: _decode(kind, octets),
        )
