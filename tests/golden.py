"""Control messages and LCAFs as hex, put together by hand from the layouts of RFC 9301 and 8060.

Nothing here was printed by the encoders; checksums were added up separately.
"""

from __future__ import annotations

__all__ = [
    "ECM_IPV4",
    "ECM_IPV6",
    "ECM_SECURED",
    "INFO_REPLY",
    "INFO_REQUEST",
    "LCAFS",
    "LISP_SEC",
    "MAP_REFERRAL",
    "MAP_REFERRAL_SIGNED",
    "MAP_REPLY",
    "MAP_REPLY_MAC",
    "MAP_REPLY_NEGATIVE",
    "MAP_REPLY_SECURED",
    "MAP_REQUEST",
    "MAP_REQUEST_FULL",
    "MAP_REQUEST_UNSUBSCRIBE",
    "NONCE",
    "RECORD",
    "RECORD_INSTANCE",
    "SIGNATURE",
]

NONCE = 0x0102030405060708

_NONCE = "0102030405060708"
_IPV6_RLOC = "0002 20010db8 00000000 00000000 00000001"

MAP_REQUEST = bytes.fromhex(
    "10 0000 01"  # type 1, no flags, IRC 0 (one ITR-RLOC), one record
    + _NONCE
    + "0000"  # source EID: AFI 0
    "0001 c0000201"  # ITR-RLOC 192.0.2.1
    "00 20 0001 0a010101"  # reserved, mask 32, 10.1.1.1
)

MAP_REQUEST_FULL = bytes.fromhex(
    "1f"  # type 1, A M P S
    "d0"  # p s R=0 I, reserved
    "61"  # reserved, L D, reserved... IRC 1 (two ITR-RLOCs)
    "02"  # two records
    "ffeeddccbbaa9988"  # nonce
    "0001 0a010105"  # source EID 10.1.1.5
    "0001 c0000201"  # ITR-RLOC 192.0.2.1
    + _IPV6_RLOC  # ITR-RLOC 2001:db8::1
    + "80 18"  # N, mask 24
    "4003 00 00 02 00 000a 00000005 0001 0a010200"  # LCAF type 2, 10 octets, instance 5, 10.1.2.0
    "00 40 0002 20010db8 00010002 00000000 00000000"  # mask 64, 2001:db8:1:2::
    "0000003c 01 20 1000 0007 0001 0a010105"  # 60 min, 1 locator, /32, A, version 7, 10.1.1.5
    "01 64 ff 00 0005 0001 c0000201"  # priority 1, weight 100, 255, 0, L R, 192.0.2.1
    "000102030405060708090a0b0c0d0e0f"  # xTR-ID
    "000000000000002a"  # Site-ID
)

MAP_REQUEST_UNSUBSCRIBE = bytes.fromhex(
    "10 1000 01"  # I, IRC 0, one record
    + _NONCE
    + "0000"  # source EID: AFI 0
    "0000"  # ITR-RLOC: AFI 0
    "80 10 0001 0a010000"  # N, mask 16, 10.1.0.0
    "000102030405060708090a0b0c0d0e0f"  # xTR-ID
    "000000000000002a"  # Site-ID
)

RECORD = bytes.fromhex(
    "000005a0 02 10 1000 0000 0001 0a010000"  # 1440 min, 2 locators, /16, A, version 0, 10.1.0.0
    "01 32 ff 00 0005 0001 c0000201"  # priority 1, weight 50, 255, 0, L R, 192.0.2.1
    "02 32 ff 00 0003" + _IPV6_RLOC  # priority 2, weight 50, 255, 0, p R
)

RECORD_INSTANCE = bytes.fromhex(
    "ffffffff 00 20"  # no expiry, no locators, /32
    "8000 0fff"  # ACT 4, version 4095
    "4003 00 00 02 00 0016 00ffffff 0002 20010db8 00000000 00000000 00000000"
)

MAP_REPLY = bytes.fromhex("20 0000 01" + _NONCE) + RECORD

MAP_REPLY_NEGATIVE = bytes.fromhex(
    "2c 0000 01"  # P E, one record
    + _NONCE
    + "0000000f 00 20 2000 0000"  # 15 min, no locators, /32, ACT 1, version 0
    "0002 20010db8 00000000 00000000 00000000"  # 2001:db8::
)

MAP_REPLY_MAC = bytes.fromhex(
    "20 0000 02"  # two records
    + _NONCE
    + "00000001 01 30 0000 0000"  # 1 min, 1 locator, /48
    "4003 00 00 02 00 000c 00001001 0006 020000000001"  # instance 4097, MAC 02:00:00:00:00:01
    "ff 00 ff 00 0000"  # priority 255
    "4003 00 00 03 00 000a 0000fde8 0001 c0000201"  # AS 65000, 192.0.2.1
    "00000001 01 18 0000 0000 0011 666f6f00"  # name foo, 24 bits
    "01 01 ff 00 0001 0001 c0000202"
)

MAP_REPLY_SECURED = bytes.fromhex(
    "22 0000 01"  # S
    + _NONCE
    + "0000000f 00 08 6000 0000 0001 0b000000"  # 15 min, /8, ACT 3, 11.0.0.0
    "01 00 0000 0004 0001 0018 0002 " + "5a" * 20  # AD type 1, EID-AD, PKT-AD: not read
)

SIGNATURE = bytes.fromhex(
    "000005a0 65000000 64000000"  # original TTL, expiration, inception
    "1234 0004 01 00 0000"  # key tag, 4 octets, algorithm, reserved
    "deadbeef"
)

_REFERRAL_HEADER = "60 0000 01" + _NONCE

MAP_REFERRAL = bytes.fromhex(
    _REFERRAL_HEADER + "000005a0 01 10 3800 0003"  # 1440, 1 locator, /16, ACT 1, A, incomplete
    "0001 0a010000"
    "01 64 ff 00 0001 0001 c6336401"  # 198.51.100.1
)

MAP_REFERRAL_SIGNED = (
    bytes.fromhex(
        _REFERRAL_HEADER + "00000001 00 10 6000 2000 0001 0a010000"  # ACT 3, two signatures
    )
    + SIGNATURE
    + SIGNATURE
)

INFO_REQUEST = bytes.fromhex(
    "70 000000" + _NONCE + "0000 0000"  # key ID, no authentication data
    "0000003c 00 20 0001 0a010101"  # TTL, reserved, mask 32, 10.1.1.1
    "0000"  # AFI 0
)

INFO_REPLY = bytes.fromhex(
    "78 000000"  # R
    + _NONCE
    + "0000 0000"
    "0000003c 00 20 0001 0a010101"
    "4003 00 00 07 00 0018 10f6 10f6"  # LCAF NAT traversal, 24 octets, ports 4342, 4342
    "0001 c0000201 0001 c6336401 0001 0a010101 0000"  # global, Map-Server's, private, no RTR
)

_ECM_IPV4_PACKET = (
    bytes.fromhex(
        "45 00 0038 0000 4000 40 11 6db2"  # 56 octets, DF, TTL 64, UDP, checksum
        "c0000201 0a010101"  # 192.0.2.1 to 10.1.1.1
        "10f6 10f6 0024 237c"  # 4342 to 4342, 36 octets, checksum
    )
    + MAP_REQUEST
)

ECM_IPV4 = bytes.fromhex("80 000000") + _ECM_IPV4_PACKET

ECM_IPV6 = (
    bytes.fromhex(
        "87 000000"  # type 8, D E M
        "60000000 0024 11 40"  # 36 octets, UDP, hop limit 64
        "20010db8 00000000 00000000 00000001"  # 2001:db8::1
        "20010db8 00010000 00000000 00000005"  # to 2001:db8:1::5
        "ee48 10f6 0024 b7b3"  # 61000 to 4342, 36 octets, checksum
    )
    + MAP_REQUEST
)

LISP_SEC = bytes.fromhex(
    "01 00 0002"  # AD type 1, V=0, HMAC ID 2
    "0018 00 01"  # 24 octets of one-time key, key ID 0, wrapping ID 1
    "0000000000000000 00112233445566778899aabbccddeeff"  # preamble, one-time key
    "0004 0001"  # EID-AD: 4 octets, KDF ID 1
)

ECM_SECURED = bytes.fromhex("88 000000") + LISP_SEC + _ECM_IPV4_PACKET

_V4 = "0001 c0000201"  # 192.0.2.1: 6 octets
_V6 = "0002 20010db8 00000000 00000000 00000001"  # 18 octets

LCAFS = {
    kind: bytes.fromhex("4003" + text)
    for kind, text in {
        0: "00 00 00 00 0000",
        1: "00 00 01 00 0018" + _V4 + _V6,
        2: "00 00 02 20 000a 00000005" + _V4,  # instance mask length 32
        3: "00 00 03 00 000a 0000fde8" + _V4,
        4: "00 00 04 00 0012 000010 06 0050 0051 c000 ffff" + _V4,  # TOS 16, TCP, 80-81, 49152-
        5: "00 00 05 00 0012 8030 0b 0c 000b 22 05 fffffffe" + _V4,  # N 48 11 12, W 11 34 5, -2
        6: "00 00 06 00 0007 02 0003 cafebabe",
        7: "00 00 07 00 0018 10f6 d431" + _V4 + "0001 c6336401 0001 0a010101 0000",
        8: "00 00 08 00 000a 00 abcdef" + _V4,
        9: "00 01 09 00 0014 00000005 0000 20 18 0001 0a010101 0001 e0010100",  # J
        10: "00 00 0a 00 001c 0001" + _V4 + "0006" + _V6,  # S; L P
        11: "00 00 0b 00 0012 01 00 02 01 0006 0123456789ab" + _V4,  # one key, algorithm 2, R
        12: "00 00 0c 00 0010 0000 18 10 0001 0a010100 0001 0a020000",
        13: "00 00 0d 00 0014 000000 01" + _V4 + "000000 80 0001 c0000202",
        14: "00 00 0e 00 0012 000a 7b2261223a20317d2020" + _V4,
        15: "00 00 0f 00 000c" + _V4 + "0011 666f6f00",
        16: "00 00 10 00 000a 00000012" + _V4,
        200: "07 08 c8 09 0003 010203",
        255: "00 00 ff 00 0007 00 00000c 010203",
    }.items()
}
