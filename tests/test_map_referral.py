"""Map-Referral."""

from __future__ import annotations

from hypothesis import given

from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_referral import (
    MapReferral,
    ReferralAction,
    ReferralRecord,
    decode_map_referral,
    encode_map_referral,
)
from lispmsrt.wire.records import Locator
from tests import golden, strategies
from tests.codec import CodecCase

_eid = EidPrefix.from_text("10.1.0.0/16")


class MapReferralTests(CodecCase):
    """MapReferral and its codec."""

    def test_golden_referral(self) -> None:
        """To a Map-Server, incomplete, with a map version."""
        record = ReferralRecord(
            _eid,
            1440,
            (Locator(Address.from_text("198.51.100.1"), local=False),),
            ReferralAction.MS_REFERRAL,
            authoritative=True,
            incomplete=True,
            map_version=3,
        )
        referral = MapReferral(golden.NONCE, (record,))
        self.assert_golden(golden.MAP_REFERRAL, referral, encode_map_referral, decode_map_referral)

    def test_golden_signed(self) -> None:
        """Signatures stay as they are, one by one."""
        action, signatures = ReferralAction.MS_NOT_REGISTERED, (golden.SIGNATURE,) * 2
        record = ReferralRecord(_eid, 1, (), action, signatures=signatures)
        referral = MapReferral(golden.NONCE, (record,))
        data = golden.MAP_REFERRAL_SIGNED
        self.assert_golden(data, referral, encode_map_referral, decode_map_referral)

    def test_cut_anywhere(self) -> None:
        """No prefix is a Map-Referral, nor is one octet more."""
        self.assert_cuts_fail(golden.MAP_REFERRAL, decode_map_referral)
        self.assert_cuts_fail(golden.MAP_REFERRAL_SIGNED, decode_map_referral)

    @given(strategies.map_referrals)
    def test_round_trip(self, referral: MapReferral) -> None:
        """What is encoded decodes to the same, and encodes to the same again."""
        data = encode_map_referral(referral)
        decoded = decode_map_referral(data)
        self.assertEqual(decoded, referral)
        self.assertEqual(encode_map_referral(decoded), data)

    def test_faulty_signatures(self) -> None:
        """A section is as long as it says, and there are at most 15."""
        for signatures in (
            (b"short",),
            (golden.SIGNATURE[:-1],),
            (golden.SIGNATURE + b"x",),
            (golden.SIGNATURE,) * 16,
        ):
            record = ReferralRecord(_eid, 1, (), signatures=signatures)
            self.assertRaises(ValueError, encode_map_referral, MapReferral(1, (record,)))
