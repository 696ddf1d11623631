"""Map-Registers, Map-Notifies and Map-Notify-Acks, put together by hand from RFC 9301 §5.6 to 5.8.

The authentication data is put in by the ``cryptography`` package, and some of it is written down
besides; nothing here was printed by the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.golden import LCAFS, RECORD, RECORD_INSTANCE

__all__ = [
    "ACKS",
    "FIXED_DIGESTS",
    "IDS",
    "NOTIFIES",
    "REGISTERS",
    "SECRET",
    "SITE_ID",
    "XTR_ID",
    "GoldenMessage",
    "independent_mac",
]

SECRET = b"golden-psk"

XTR_ID = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SITE_ID = bytes.fromhex("000000000000002a")
IDS = XTR_ID + SITE_ID

_NONCE = "ffeeddccbbaa9988"

_RECORD_MAC = bytes.fromhex(
    "00000001 01 30 0000 0000"  # 1 min, 1 locator, /48
    "4003 00 00 02 00 000c 00001001 0006 020000000001"  # instance 4097, MAC 02:00:00:00:00:01
    "ff 00 ff 00 0000 0001 c0000202"  # priority 255, 192.0.2.2
)
_RECORD_MULTICAST = bytes.fromhex("0000000f 00 00 0000 0000") + LCAFS[9]  # an EID of LCAF type 9

_REGISTER_LABEL = b"Map-Register Authentication"
_NOTIFY_LABEL = b"Map-Notify Authentication"
_ACK_LABEL = b"Map-Notify-Ack Authentication"


@dataclass(frozen=True)
class GoldenMessage:
    """One message and what its MAC was made from."""

    data: bytes
    key_id: int
    algorithm_id: int
    length: int
    "of the authentication data"
    covers_ids: bool
    "whether the MAC covers what is behind the last record"

    @property
    def authentication_data(self) -> bytes:
        """What stands behind the fixed part."""
        return self.data[16 : 16 + self.length]


def independent_mac(algorithm_id: int, secret: bytes, covered: bytes, label: bytes) -> bytes:
    """Return a whole digest of a message whose authentication data is zero."""
    if algorithm_id == 3:
        kdf = HKDF(algorithm=SHA256(), length=32, salt=label, info=b"")
        secret = kdf.derive(covered[4:12] + secret)
    mac = HMAC(secret, SHA1() if algorithm_id == 1 else SHA256())
    mac.update(covered)
    return mac.finalize()


def _golden(
    label: bytes, head: str, records: bytes, ids: bytes = b"", covers_ids: bool = True
) -> GoldenMessage:
    """Put the authentication data between head and records."""
    fixed = bytes.fromhex(head)
    key_id, algorithm_id, length = fixed[12], fixed[13], int.from_bytes(fixed[14:], "big")
    covered = fixed + bytes(length) + records + (ids if covers_ids else b"")
    mac = independent_mac(algorithm_id, SECRET, covered, label)[:length]
    data = fixed + mac + records + ids
    return GoldenMessage(data, key_id, algorithm_id, length, covers_ids)


def _register(head: str, *rest: bytes, covers_ids: bool = True) -> GoldenMessage:
    return _golden(_REGISTER_LABEL, head, *rest, covers_ids=covers_ids)


def _notify(head: str, *rest: bytes, covers_ids: bool = True) -> GoldenMessage:
    return _golden(_NOTIFY_LABEL, head, *rest, covers_ids=covers_ids)


def _ack(head: str, *rest: bytes, covers_ids: bool = True) -> GoldenMessage:
    return _golden(_ACK_LABEL, head, *rest, covers_ids=covers_ids)


# First word: type 4, flags, record count. Then nonce, key ID, algorithm ID, octets of MAC.
REGISTERS = {
    "plain": _register("30 0000 01" + _NONCE + "01 02 0020", RECORD),
    "none": _register("30 0001 01" + _NONCE + "00 00 0000", RECORD),  # M
    "reliable": _register("30 0021 01" + _NONCE + "01 02 0020", RECORD),  # r M
    # P S I, r E T a M, two records, SHA-1.
    "full": _register("3e 003d 02" + _NONCE + "ff 01 0014", RECORD + _RECORD_MAC, IDS),
    "short-sha1": _register("30 0004 01" + _NONCE + "00 01 000c", RECORD_INSTANCE),  # a
    "short-sha256": _register("38 0000 01" + _NONCE + "07 02 0010", RECORD),  # P
    "hkdf": _register("32 0020 01" + _NONCE + "02 03 0020", RECORD, IDS, covers_ids=False),  # I r
    "short-hkdf": _register("30 0008 01" + _NONCE + "02 03 0010", RECORD_INSTANCE),  # T
    "records-only": _register("32 0000 01" + _NONCE + "01 02 0020", RECORD, IDS, covers_ids=False),
    "multicast": _register("30 0010 01" + _NONCE + "01 02 0020", _RECORD_MULTICAST),  # E
}
"""By what is special about them."""

NOTIFIES = {
    "plain": _notify("40 0000 01" + _NONCE + "01 02 0020", RECORD),
    "none": _notify("40 0000 01" + _NONCE + "00 00 0000", RECORD),
    "sha1": _notify("48 0020 02" + _NONCE + "ff 01 0014", RECORD + _RECORD_MAC, IDS),  # I r
    "hkdf": _notify("48 0020 01" + _NONCE + "02 03 0020", RECORD, IDS, covers_ids=False),  # I r
    "short-sha1": _notify("40 0020 01" + _NONCE + "00 01 000c", RECORD_INSTANCE),  # r
    "bitless": _notify("40 0000 01" + _NONCE + "01 02 0020", RECORD, IDS),
}
"""The last one has an xTR-ID but not the bit that says so: only for decoding."""

ACKS = {
    "plain": _ack("50 0000 01" + _NONCE + "01 02 0020", RECORD),
    "none": _ack("50 0000 01" + _NONCE + "00 00 0000", RECORD),
    "sha1": _ack("58 0000 01" + _NONCE + "01 01 0014", RECORD_INSTANCE, IDS),  # I
    "hkdf": _ack("50 0020 01" + _NONCE + "02 03 0020", RECORD),  # r
}

FIXED_DIGESTS = (
    (REGISTERS["plain"], "711da742d2465294dd5d076765e9733af6b6969ea520021306e315c256737bfd"),
    (REGISTERS["full"], "abc6f391872b16ffba885e9bc2fa333f56380b1c"),
    (REGISTERS["hkdf"], "b1cd4d83ee419086af72668c5b57782beeae1e142629f9edd56ce88c1c04b9f0"),
    (NOTIFIES["hkdf"], "869c894e7a26f53ae418b05985dfdf278db154d491b23c86b97fb15a1394d1de"),
    (ACKS["hkdf"], "048782d5c424377e49d7645f2b4e3a204dfd971286126a0e1331a7b0536c181b"),
)
"""Computed by the openssl command line (dgst -mac HMAC, kdf HKDF)."""
