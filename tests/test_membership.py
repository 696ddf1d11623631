"""RLOC membership distribution, types 22 to 30."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.membership import (
    MembershipElement,
    MembershipMessage,
    MembershipReply,
    MembershipRequest,
    NackError,
    decode_membership,
    encode_membership,
    encode_membership_elements,
)
from lispmsrt.wire.reliable_transport import MessageType
from tests import strategies
from tests.codec import CodecCase

_SITE_ID = bytes.fromhex("000000000000002a")
_FIXED = "0001 00001004"  # IPv4, instance 4100
_ELEMENT = _FIXED + "000000000000002a"

_SUBSCRIBE = MessageType.MEMBERSHIP_SUBSCRIBE
_NACK = MessageType.MEMBERSHIP_SUBSCRIBE_NACK
_ADD = MessageType.MEMBERSHIP_ELEMENT_ADD

_REQUESTS = (
    _SUBSCRIBE,
    MessageType.MEMBERSHIP_UNSUBSCRIBE,
    MessageType.MEMBERSHIP_REFRESH_REQUEST,
)
_REPLIES = (
    MessageType.MEMBERSHIP_SUBSCRIBE_ACK,
    MessageType.MEMBERSHIP_REFRESH_BEGIN,
    MessageType.MEMBERSHIP_REFRESH_END,
)
_ELEMENTS = (_ADD, MessageType.MEMBERSHIP_ELEMENT_DELETE)

_V4 = Address.from_text("192.0.2.1")
_V6 = Address.from_text("2001:db8::1")

# Total length, data, value.
_GOLDEN: tuple[tuple[int, str, MembershipMessage], ...] = (
    *((18, _FIXED, MembershipRequest(kind, 1, 4100)) for kind in _REQUESTS),
    *((22, _FIXED + "0000000f", MembershipReply(kind, 1, 4100, 15)) for kind in _REPLIES),
    (23, _FIXED + "0000000f 03", MembershipReply(_NACK, 1, 4100, 15, NackError.NOT_REGISTERED)),
    (23, _FIXED + "0000000f 63", MembershipReply(_NACK, 1, 4100, 15, 99)),
    *(
        (32, _ELEMENT + "0001 c0000201", MembershipElement(kind, 1, 4100, _SITE_ID, _V4))
        for kind in _ELEMENTS
    ),
    *(
        (
            44,
            _ELEMENT + "0002 20010db8 00000000 00000000 00000001",
            MembershipElement(kind, 1, 4100, _SITE_ID, _V6),
        )
        for kind in _ELEMENTS
    ),
    (18, "0006 00ffffff", MembershipRequest(_SUBSCRIBE, Afi.MAC, 0xFFFFFF)),
)

_u8, _u16, _u32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
_messages: st.SearchStrategy[MembershipMessage] = st.one_of(
    st.builds(MembershipRequest, st.sampled_from(_REQUESTS), _u16, _u32),
    st.builds(MembershipReply, st.sampled_from(_REPLIES), _u16, _u32, _u32),
    st.builds(MembershipReply, st.just(_NACK), _u16, _u32, _u32, _u8),
    st.builds(
        MembershipElement,
        st.sampled_from(_ELEMENTS),
        _u16,
        _u32,
        st.binary(min_size=8, max_size=8),
        strategies.rlocs,
    ),
)


class MembershipTests(CodecCase):
    """Three shapes of nine types."""

    def frame(self, message: bytes) -> tuple[int, int, bytes]:
        """Return type, message ID and data of one whole message."""
        data, ((kind, ident, start, end),) = FrameBuffer().receive(message)
        return kind, ident, data[start:end]

    def test_golden_messages(self) -> None:
        """Both ways, with the lengths of the text."""
        for length, text, value in _GOLDEN:
            data = bytes.fromhex(text)
            message = encode_membership(value, 7)
            self.assertEqual(len(message), length)
            self.assertEqual(self.frame(message), (value.kind, 7, data))
            self.assertEqual(decode_membership(value.kind, data), value)

    def test_cut_at_every_octet(self) -> None:
        """And one octet too many."""
        for _length, text, value in _GOLDEN:
            kind = int(value.kind)
            self.assert_cuts_fail(
                bytes.fromhex(text), lambda data, kind=kind: decode_membership(kind, data)
            )

    @given(_messages, _u32)
    def test_round_trip(self, message: MembershipMessage, message_id: int) -> None:
        """What is encoded decodes to the same."""
        kind, ident, data = self.frame(encode_membership(message, message_id))
        self.assertEqual((kind, ident), (message.kind, message_id))
        self.assertEqual(decode_membership(kind, data), message)

    @given(st.lists(st.tuples(st.booleans(), strategies.ip_addresses)), _u32)
    def test_elements_together_are_elements_one_by_one(
        self, elements: list[tuple[bool, Address]], first_id: int
    ) -> None:
        """With consecutive message IDs."""
        wire = [(is_member, _SITE_ID + rloc.encode()) for is_member, rloc in elements]
        one_by_one = b"".join(
            encode_membership(
                MembershipElement(_ELEMENTS[not is_member], 1, 4100, _SITE_ID, rloc),
                first_id + number & 0xFFFFFFFF,
            )
            for number, (is_member, rloc) in enumerate(elements)
        )
        self.assertEqual(encode_membership_elements(4100, 1, wire, first_id), one_by_one)

    @given(st.integers(22, 30), st.binary(max_size=60))
    def test_garbage(self, kind: int, data: bytes) -> None:
        """A value or a WireError, and nothing else."""
        self.assert_survives(
            data,
            lambda message: self.frame(encode_membership(message, 1))[2],
            lambda octets: decode_membership(kind, octets),
        )

    def test_all_types_are_covered(self) -> None:
        """22 to 30, each once as type of some shape."""
        kinds = {int(value.kind) for _length, _text, value in _GOLDEN}
        self.assertEqual(kinds, set(range(22, 31)))

    def test_other_types_are_refused(self) -> None:
        """By number: whoever asks may not know them."""
        for kind in (0, 16, 21, 31, 65000):
            self.assertRaises(WireError, decode_membership, kind, bytes.fromhex(_FIXED))

    def test_nack_without_error(self) -> None:
        """0 is what Wireshark calls undefined."""
        message = encode_membership(MembershipReply(_NACK, 1, 4100, 15), 1)
        self.assertEqual(len(message), 23)
        decoded = decode_membership(_NACK, self.frame(message)[2])
        expected = MembershipReply(_NACK, 1, 4100, 15, NackError.UNDEFINED)
        self.assertEqual(decoded, expected)

    def test_what_can_not_be_encoded(self) -> None:
        """Fields out of range are a ValueError."""
        for value in (
            MembershipRequest(_SUBSCRIBE, 0x10000, 1),
            MembershipRequest(_SUBSCRIBE, 1, 1 << 32),
            MembershipReply(_NACK, 1, 1, 1, 256),
            MembershipReply(_NACK, 1, 1, -1, 0),
            MembershipElement(_ADD, 1, 1, b"short", _V4),
        ):
            self.assertRaises(ValueError, encode_membership, value, 1)
