"""Every decoder against garbage: a value or a WireError, and nothing else, ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lispmsrt.wire.encapsulated import decode_encapsulated, encode_encapsulated
from lispmsrt.wire.info import decode_info, encode_info
from lispmsrt.wire.lcaf import decode_address, decode_locator_address, encode_address
from lispmsrt.wire.map_referral import decode_map_referral, encode_map_referral
from lispmsrt.wire.map_reply import decode_map_reply, encode_map_reply
from lispmsrt.wire.map_request import decode_map_request, encode_map_request
from lispmsrt.wire.records import decode_record, encode_record
from tests import golden
from tests.codec import CodecCase, whole

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]

_CODECS: dict[str, Codec] = {
    "address": (encode_address, whole(decode_address)),
    "rloc": (encode_address, whole(decode_locator_address)),
    "record": (encode_record, whole(decode_record)),
    "map-request": (encode_map_request, decode_map_request),
    "map-reply": (encode_map_reply, decode_map_reply),
    "map-referral": (encode_map_referral, decode_map_referral),
    "info": (encode_info, decode_info),
    "encapsulated": (encode_encapsulated, decode_encapsulated),
}

_SAMPLES: list[tuple[str, bytes]] = [
    *(("address", data) for data in golden.LCAFS.values()),
    *(("rloc", data) for data in golden.LCAFS.values()),
    ("record", golden.RECORD),
    ("record", golden.RECORD_INSTANCE),
    ("map-request", golden.MAP_REQUEST),
    ("map-request", golden.MAP_REQUEST_FULL),
    ("map-reply", golden.MAP_REPLY),
    ("map-reply", golden.MAP_REPLY_MAC),
    ("map-reply", golden.MAP_REPLY_SECURED),
    ("map-referral", golden.MAP_REFERRAL_SIGNED),
    ("info", golden.INFO_REPLY),
    ("encapsulated", golden.ECM_IPV4),
    ("encapsulated", golden.ECM_IPV6),
    ("encapsulated", golden.ECM_SECURED),
]

# Inputs that once raised something else than WireError, or did not re-encode. Only ever added to.
_CRASHERS: list[tuple[str, str]] = [
    # Not found by accident, but where parsers like ours break: empty, and lengths of nothing.
    ("address", ""),
    ("address", "4003000001000000"),
    ("rloc", "40030000030000000000"),
    # An empty name, which has an empty printed form and a prefix length of 0.
    ("address", "001100"),
    ("record", "000000010000000000000011 00"),
    # Nine AFI lists inside each other, each of 8 octets more.
    ("rloc", "".join(f"400300000100{8 * inside:04x}" for inside in range(8, -1, -1))),
    # An IPv4 header of no words at all.
    ("encapsulated", "80000000" + "40" + "00" * 40),
]


class GarbageTests(CodecCase):
    """All decoders of messages that are not authenticated."""

    @given(st.sampled_from(sorted(_CODECS)), st.binary(max_size=200))
    def test_random_bytes(self, name: str, data: bytes) -> None:
        """Bytes out of nowhere."""
        self.assert_survives(data, *_CODECS[name])

    @given(st.sampled_from(_SAMPLES), st.data())
    def test_damaged_messages(self, sample: tuple[str, bytes], data: st.DataObject) -> None:
        """Good messages with some octets changed, removed or put in."""
        name, damaged = sample[0], bytearray(sample[1])
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            removed = data.draw(st.integers(0, 2))
            damaged[at : at + removed] = data.draw(st.binary(max_size=2))
        self.assert_survives(bytes(damaged), *_CODECS[name])

    def test_every_octet_replaced(self) -> None:
        """Each octet of each sample, by the values most likely to hurt."""
        for name, data in _SAMPLES:
            for at in range(len(data)):
                for octet in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[at] ^ 1, data[at] ^ 0x10):
                    damaged = data[:at] + bytes([octet]) + data[at + 1 :]
                    self.assert_survives(damaged, *_CODECS[name])

    def test_crashers(self) -> None:
        """What once hurt must not hurt again."""
        for name, text in _CRASHERS:
            self.assert_survives(bytes.fromhex(text), *_CODECS[name])
