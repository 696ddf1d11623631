"""Map-Request."""

from __future__ import annotations

import dataclasses

from hypothesis import given

from lispmsrt.wire.addresses import NO_ADDRESS, Address, EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_request import (
    MAX_ITR_RLOCS,
    MapRequest,
    RequestedEid,
    decode_map_request,
    encode_map_request,
)
from lispmsrt.wire.records import Locator, MappingRecord
from tests import golden, strategies
from tests.codec import CodecCase

_ip = Address.from_text
_eid = EidPrefix.from_text
_XTR_ID, _SITE_ID = bytes(range(16)), bytes([0, 0, 0, 0, 0, 0, 0, 42])

_PLAIN = MapRequest(
    golden.NONCE, (_ip("192.0.2.1"),), (RequestedEid(_eid("10.1.1.1/32")),), NO_ADDRESS
)


class MapRequestTests(CodecCase):
    """MapRequest and its codec."""

    def test_golden_plain(self) -> None:
        """As an ITR asks for one EID."""
        self.assert_golden(golden.MAP_REQUEST, _PLAIN, encode_map_request, decode_map_request)

    def test_golden_with_everything(self) -> None:
        """All flags, both families, a Map-Reply record, xTR-ID and Site-ID."""
        own = MappingRecord(
            _eid("10.1.1.5/32"),
            60,
            (Locator(_ip("192.0.2.1")),),
            authoritative=True,
            map_version=7,
        )
        request = MapRequest(
            0xFFEEDDCCBBAA9988,
            (_ip("192.0.2.1"), _ip("2001:db8::1")),
            (
                RequestedEid(_eid("10.1.2.0/24", 5), subscribe=True),
                RequestedEid(_eid("2001:db8:1:2::/64")),
            ),
            _ip("10.1.1.5"),
            authoritative=True,
            probe=True,
            smr=True,
            pitr=True,
            smr_invoked=True,
            local_xtr=True,
            dont_map_reply=True,
            reply_record=own,
            xtr_id=_XTR_ID,
            site_id=_SITE_ID,
        )
        self.assert_golden(golden.MAP_REQUEST_FULL, request, encode_map_request, decode_map_request)

    def test_golden_unsubscribe(self) -> None:
        """RFC 9437: a single ITR-RLOC of AFI 0."""
        request = MapRequest(
            golden.NONCE,
            (NO_ADDRESS,),
            (RequestedEid(_eid("10.1.0.0/16"), subscribe=True),),
            xtr_id=_XTR_ID,
            site_id=_SITE_ID,
        )
        self.assert_golden(
            golden.MAP_REQUEST_UNSUBSCRIBE, request, encode_map_request, decode_map_request
        )

    def test_flags_one_by_one(self) -> None:
        """Every flag has its own bit, as RFC 9301 §5.2 numbers them from the left."""
        for bit, name in (
            (4, "authoritative"),
            (6, "probe"),
            (7, "smr"),
            (8, "pitr"),
            (9, "smr_invoked"),
            (17, "local_xtr"),
            (18, "dont_map_reply"),
        ):
            request = dataclasses.replace(_PLAIN, **{name: True})
            data = bytearray(golden.MAP_REQUEST)
            data[bit // 8] |= 0x80 >> bit % 8
            self.assert_golden(bytes(data), request, encode_map_request, decode_map_request)

    def test_cut_anywhere(self) -> None:
        """No prefix is a Map-Request, nor is one octet more."""
        for data in (
            golden.MAP_REQUEST,
            golden.MAP_REQUEST_FULL,
            golden.MAP_REQUEST_UNSUBSCRIBE,
        ):
            self.assert_cuts_fail(data, decode_map_request)

    @given(strategies.map_requests)
    def test_round_trip(self, request: MapRequest) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        data = encode_map_request(request)
        decoded = decode_map_request(data)
        self.assertEqual(decoded, request)
        self.assertEqual(encode_map_request(decoded), data)

    def test_without_record(self) -> None:
        """A request for nothing is neither sent nor accepted."""
        data = golden.MAP_REQUEST[:3] + b"\0" + golden.MAP_REQUEST[4:20]
        self.assertRaises(WireError, decode_map_request, data)
        empty = dataclasses.replace(_PLAIN, records=())
        self.assertRaises(ValueError, encode_map_request, empty)

    def test_number_of_itr_rlocs(self) -> None:
        """IRC counts from 1 to 32."""
        most = dataclasses.replace(_PLAIN, itr_rlocs=(_ip("192.0.2.1"),) * MAX_ITR_RLOCS)
        self.assertEqual(decode_map_request(encode_map_request(most)), most)
        for count in (0, MAX_ITR_RLOCS + 1):
            request = dataclasses.replace(_PLAIN, itr_rlocs=(_ip("192.0.2.1"),) * count)
            self.assertRaises(ValueError, encode_map_request, request)

    def test_fields_out_of_range(self) -> None:
        """Encoders raise ValueError, never struct.error."""
        for change in (
            {"nonce": 1 << 64},
            {"nonce": -1},
            {"records": _PLAIN.records * 256},
            {"xtr_id": _XTR_ID},
            {"site_id": _SITE_ID},
            {"xtr_id": b"short", "site_id": _SITE_ID},
            {"xtr_id": _XTR_ID, "site_id": b"short"},
        ):
            request = dataclasses.replace(_PLAIN, **change)
            self.assertRaises(ValueError, encode_map_request, request)
