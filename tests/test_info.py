"""Info messages, and the types of control messages."""

from __future__ import annotations

from hypothesis import given

from lispmsrt.wire.errors import WireError
from lispmsrt.wire.info import InfoMessage, decode_info, encode_info
from lispmsrt.wire.messages import ControlType, message_type
from tests import golden, strategies
from tests.codec import CodecCase

_HEADER_OCTETS = 12


class InfoTests(CodecCase):
    """InfoMessage and its codec."""

    def test_golden(self) -> None:
        """Request and reply differ in the R bit; the body is not read."""
        for data, reply in ((golden.INFO_REQUEST, False), (golden.INFO_REPLY, True)):
            message = InfoMessage(golden.NONCE, data[_HEADER_OCTETS:], reply)
            self.assert_golden(data, message, encode_info, decode_info)
            tail = len(data) - _HEADER_OCTETS
            self.assert_cuts_fail(data, decode_info, opaque_tail=tail)

    @given(strategies.info_messages)
    def test_round_trip(self, message: InfoMessage) -> None:
        """What is encoded decodes to the same."""
        self.assertEqual(decode_info(encode_info(message)), message)


class MessageTypeTests(CodecCase):
    """message_type."""

    def test_types(self) -> None:
        """The first four bits say it."""
        for data, kind in (
            (golden.MAP_REQUEST_FULL, ControlType.MAP_REQUEST),
            (golden.MAP_REPLY_NEGATIVE, ControlType.MAP_REPLY),
            (golden.MAP_REFERRAL, ControlType.MAP_REFERRAL),
            (golden.INFO_REPLY, ControlType.INFO),
            (golden.ECM_IPV6, ControlType.ENCAPSULATED),
            (b"\xff", ControlType.SHARED_EXTENSION),
            (b"\xe0", 14),
        ):
            self.assertEqual(message_type(data), kind)

    def test_empty_datagram(self) -> None:
        """It has no type."""
        self.assertRaises(WireError, message_type, b"")
