"""Keys, MACs and key derivation, against RFC test vectors and the ``cryptography`` package."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire import authentication
from lispmsrt.wire.authentication import (
    AUTHENTICATION_OFFSET,
    AlgorithmId,
    Coverage,
    Key,
    Purpose,
)
from tests.golden_registers import (
    ACKS,
    FIXED_DIGESTS,
    NOTIFIES,
    REGISTERS,
    SECRET,
    GoldenMessage,
    independent_mac,
)

_SHA1 = AlgorithmId.HMAC_SHA_1_96
_SHA256 = AlgorithmId.HMAC_SHA_256_128
_HKDF = AlgorithmId.HMAC_SHA256_128_HKDF_SHA256
_KEYED = (_SHA1, _SHA256, _HKDF)

_GOLDEN = (
    *((golden, Purpose.MAP_REGISTER) for golden in REGISTERS.values()),
    *((golden, Purpose.MAP_NOTIFY) for golden in NOTIFIES.values()),
    *((golden, Purpose.MAP_NOTIFY_ACK) for golden in ACKS.values()),
)

# Secret, message, digest.
_RFC_2202_SHA1 = (
    (b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
    (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    (b"\xaa" * 20, b"\xdd" * 50, "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
    (bytes(range(1, 26)), b"\xcd" * 50, "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
    (b"\x0c" * 20, b"Test With Truncation", "4c1a03424b55e07fe7f27be1"),
    (
        b"\xaa" * 80,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "aa4ae5e15272d00e95705637ce8a3b55ed402112",
    ),
    (
        b"\xaa" * 80,
        b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
        "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
    ),
)
_RFC_4231_SHA256 = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def _key(golden: GoldenMessage, secret: bytes = SECRET) -> Key:
    return Key(golden.key_id, AlgorithmId(golden.algorithm_id), secret)


def _records_end(golden: GoldenMessage) -> int:
    return len(golden.data) - (0 if golden.covers_ids else 24)


def _verify(golden: GoldenMessage, purpose: Purpose, data: bytes | None = None) -> Coverage | None:
    whole = golden.data if data is None else data
    return _key(golden).verify(whole, 0, _records_end(golden), len(whole), golden.length, purpose)


class DigestTests(SynchronousTestCase):
    """HMAC and HKDF."""

    def test_rfc_2202_and_4231(self) -> None:
        """The published vectors, which leave no room for authentication data."""
        self.patch(authentication, "_ZEROS", dict.fromkeys((12, 16, 20, 32), b""))
        for algorithm, vectors in ((_SHA1, _RFC_2202_SHA1), (_SHA256, _RFC_4231_SHA256)):
            for secret, message, digest in vectors:
                key = Key(1, algorithm, secret)
                for half in (0, len(message) // 2):
                    made = key.digest(
                        message[:half], message[half:], len(digest) // 2, Purpose.MAP_NOTIFY
                    )
                    self.assertEqual(made.hex(), digest)

    def test_rfc_5869_case_3(self) -> None:
        """SHA-256 with neither salt nor info: the first 32 octets of the output."""
        derived = authentication._hkdf_sha256(b"\x0b" * 22, b"")
        expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        self.assertEqual(derived.hex(), expected)

    @given(st.binary(min_size=1, max_size=100), st.binary(max_size=100))
    def test_hkdf_is_that_of_cryptography(self, input_key: bytes, salt: bytes) -> None:
        """Whatever the lengths."""
        other = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"").derive(input_key)
        self.assertEqual(authentication._hkdf_sha256(input_key, salt), other)

    @given(
        st.sampled_from(_KEYED),
        st.binary(min_size=1, max_size=150),
        st.binary(min_size=16, max_size=16),
        st.binary(max_size=60),
        st.sampled_from(Purpose),
    )
    def test_digest_is_that_of_cryptography(
        self, algorithm: AlgorithmId, secret: bytes, head: bytes, tail: bytes, purpose: Purpose
    ) -> None:
        """Of any message, by any key, at both lengths."""
        key = Key(1, algorithm, secret)
        for length in (12, 20) if algorithm is _SHA1 else (16, 32):
            covered = head + bytes(length) + tail
            other = independent_mac(algorithm, secret, covered, purpose.value)[:length]
            self.assertEqual(key.digest(head, tail, length, purpose), other)

    def test_fixed_digests(self) -> None:
        """What openssl computed once."""
        for golden, digest in FIXED_DIGESTS:
            self.assertEqual(golden.authentication_data.hex(), digest)

    def test_golden_messages_verify(self) -> None:
        """All of them, and the range of their MAC is found."""
        for golden, purpose in _GOLDEN:
            found = Coverage.WHOLE_MESSAGE if golden.covers_ids else Coverage.RECORDS
            self.assertIs(_verify(golden, purpose), found)

    def test_plain_keys(self) -> None:
        """Where nothing is derived, the digest is the front of one HMAC over the message."""
        for golden, _purpose in _GOLDEN:
            key = _key(golden)
            self.assertEqual(key.is_plain, golden.algorithm_id in (1, 2))
            self.assertEqual(key.digest_size, {0: 0, 1: 20, 2: 32, 3: 32}[golden.algorithm_id])
            if key.is_plain:
                after = golden.data[16 + golden.length : _records_end(golden)]
                mac = key.mac(golden.data[:16] + bytes(golden.length) + after)
                self.assertEqual(len(mac), key.digest_size)
                self.assertEqual(mac[: golden.length], golden.authentication_data)

    def test_a_key_can_be_used_again(self) -> None:
        """The absorbed key is copied, never spent."""
        key = _key(REGISTERS["plain"])
        made = [key.digest(bytes(16), b"x", 32, Purpose.MAP_REGISTER) for _ in range(3)]
        self.assertEqual(len(set(made)), 1)

    def test_derived_keys_differ_by_purpose_and_nonce(self) -> None:
        """A Map-Notify can't be replayed as a Map-Register, nor one nonce's key be used again."""
        key = Key(1, _HKDF, SECRET)
        heads = (bytes(16), bytes(4) + b"\1" + bytes(11))
        made = {key.digest(head, b"", 32, purpose) for head in heads for purpose in Purpose}
        self.assertEqual(len(made), 6)
        for algorithm in (_SHA1, _SHA256):
            plain = Key(1, algorithm, SECRET)
            made = {plain.digest(bytes(16), b"", plain.sent_length, purpose) for purpose in Purpose}
            self.assertEqual(len(made), 1)


class VerifyTests(SynchronousTestCase):
    """What is accepted, and what is not."""

    def test_lengths(self) -> None:
        """By algorithm: truncated as the name says, or whole."""
        accepted = {AlgorithmId.NONE: [0], _SHA1: [12, 20], _SHA256: [16, 32], _HKDF: [16, 32]}
        for algorithm, lengths in accepted.items():
            key = Key(1, algorithm, SECRET)
            found = [length for length in range(70) if key.accepts_length(length)]
            self.assertEqual(found, lengths)
            self.assertEqual(key.sent_length, lengths[-1])

    def test_wrong_lengths_fail_even_with_the_right_octets(self) -> None:
        """A MAC of one octet would be guessed, one of none accepted."""
        for algorithm in _KEYED:
            key = Key(1, algorithm, SECRET)
            for length in range(70):
                head, tail = bytes(16), b"records"
                covered = head + bytes(length) + tail
                mac = independent_mac(algorithm, SECRET, covered, Purpose.MAP_REGISTER.value)
                data = head + mac[:length].ljust(length, b"\0") + tail
                end = len(data)
                coverage = key.verify(data, 0, end, end, length, Purpose.MAP_REGISTER)
                self.assertEqual(coverage is not None, key.accepts_length(length), length)

    def test_no_authentication(self) -> None:
        """Algorithm 0 has no octets, and accepts none."""
        key = Key(0, AlgorithmId.NONE, b"")
        data = bytes(20)
        self.assertEqual(key.digest(data[:16], data[16:], 0, Purpose.MAP_REGISTER), b"")
        self.assertIs(key.verify(data, 0, 20, 20, 0, Purpose.MAP_REGISTER), Coverage.WHOLE_MESSAGE)
        self.assertIsNone(key.verify(data, 0, 20, 20, 4, Purpose.MAP_REGISTER))

    def test_both_ranges(self) -> None:
        """With IDs behind the records the MAC may cover them or not; anything else is wrong."""
        ids = bytes(range(24))
        for algorithm in _KEYED:
            key = Key(1, algorithm, SECRET)
            length = key.sent_length
            head, records = bytes(range(16)), b"some records"
            for covered, coverage in (
                (records + ids, Coverage.WHOLE_MESSAGE),
                (records, Coverage.RECORDS),
                (records[:-1], None),
                (records + ids[:-1], None),
            ):
                mac = key.digest(head, covered, length, Purpose.MAP_REGISTER)
                data = head + mac + records + ids
                found = key.verify(data, 0, len(data) - 24, len(data), length, Purpose.MAP_REGISTER)
                self.assertIs(found, coverage)

    def test_default_coverage(self) -> None:
        """RFC range where keys are derived, the habit of deployed code elsewhere."""
        for algorithm in AlgorithmId:
            rfc = algorithm is _HKDF
            expected = Coverage.RECORDS if rfc else Coverage.WHOLE_MESSAGE
            self.assertIs(Key(1, algorithm, SECRET).default_coverage, expected)

    def test_configured_length_and_coverage(self) -> None:
        """They say what is sent; what is accepted stays the same."""
        shortest = {AlgorithmId.NONE: 0, _SHA1: 12, _SHA256: 16, _HKDF: 16}
        for algorithm, length in shortest.items():
            truncated = Key(1, algorithm, SECRET, is_truncated=True)
            self.assertEqual(truncated.sent_length, length)
            whole = Key(1, algorithm, SECRET)
            for octets in range(40):
                accepted = whole.accepts_length(octets)
                self.assertEqual(truncated.accepts_length(octets), accepted)
            for coverage in Coverage:
                key = Key(1, algorithm, SECRET, coverage=coverage)
                self.assertIs(key.default_coverage, coverage)
                self.assertTrue(key.has_same_secret(whole))

    def test_message_in_the_middle_of_a_chunk(self) -> None:
        """Its neighbours are not looked at."""
        for golden, purpose in _GOLDEN:
            data = b"before" + golden.data + b"after"
            start, end = 6, 6 + len(golden.data)
            records_end = start + _records_end(golden)
            found = _key(golden).verify(data, start, records_end, end, golden.length, purpose)
            self.assertIs(found, _verify(golden, purpose))
            self.assertIsNotNone(found)

    def test_tampering_with_any_octet_fails(self) -> None:
        """Every bit of every octet, but for IDs that the MAC does not cover."""
        for golden, purpose in _GOLDEN:
            if not golden.length:
                continue
            covered = len(golden.data) if golden.covers_ids else _records_end(golden)
            for at in range(len(golden.data)):
                for bit in (0x01, 0x10, 0x80):
                    data = bytearray(golden.data)
                    data[at] ^= bit
                    found = _verify(golden, purpose, bytes(data))
                    self.assertIs(found, None if at < covered else Coverage.RECORDS)

    def test_ids_that_only_pretend_to_be_there(self) -> None:
        """Octets put behind the message can't pass for covered ones."""
        golden = REGISTERS["plain"]
        data = golden.data + bytes(24)
        found = _key(golden).verify(
            data, 0, len(golden.data), len(data), golden.length, Purpose.MAP_REGISTER
        )
        self.assertIs(found, Coverage.RECORDS)

    def test_wrong_key_fails(self) -> None:
        """Another secret, another algorithm, another purpose where keys are derived."""
        for golden, purpose in _GOLDEN:
            if not golden.length:
                continue
            end = len(golden.data)
            arguments = (golden.data, 0, _records_end(golden), end, golden.length)
            self.assertIsNone(_key(golden, SECRET + b"x").verify(*arguments, purpose))
            for algorithm in set(AlgorithmId) - {golden.algorithm_id}:
                key = Key(golden.key_id, algorithm, SECRET)
                self.assertIsNone(key.verify(*arguments, purpose))
            if golden.algorithm_id == _HKDF:
                for other in set(Purpose) - {purpose}:
                    self.assertIsNone(_key(golden).verify(*arguments, other))

    def test_comparison_takes_constant_time(self) -> None:
        """All of it goes through hmac.compare_digest, and over whole digests."""
        self.assertIs(authentication.compare_digest, hmac.compare_digest)
        compared: list[tuple[bytes, bytes]] = []

        def compare(made: bytes, received: bytes) -> bool:
            compared.append((made, received))
            return hmac.compare_digest(made, received)

        self.patch(authentication, "compare_digest", compare)
        for name, times in (("plain", 1), ("hkdf", 2)):
            compared.clear()
            golden = REGISTERS[name]
            self.assertIsNotNone(_verify(golden, Purpose.MAP_REGISTER))
            self.assertEqual(len(compared), times)
            for made, received in compared:
                self.assertEqual(received, golden.authentication_data)
                self.assertEqual(len(made), golden.length)
        compared.clear()
        plain = REGISTERS["plain"]
        self.assertIsNone(_verify(plain, Purpose.MAP_REGISTER, plain.data[:-1] + b"\xff"))
        self.assertEqual(len(compared), 1, "there is no second range to try")
        compared.clear()
        self.assertTrue(Key(1, _SHA1, b"a").has_same_secret(Key(1, _SHA1, b"a")))
        self.assertEqual(compared, [(b"a", b"a")])

    def test_the_answer_is_that_of_the_comparison(self) -> None:
        """No other comparison decides."""
        self.patch(authentication, "compare_digest", lambda *_: True)
        golden = REGISTERS["plain"]
        tampered = golden.data[:-1] + b"\xff"
        self.assertIs(_verify(golden, Purpose.MAP_REGISTER, tampered), Coverage.WHOLE_MESSAGE)
        self.patch(authentication, "compare_digest", lambda *_: False)
        self.assertIsNone(_verify(golden, Purpose.MAP_REGISTER))


class KeyTests(SynchronousTestCase):
    """The object that holds a secret."""

    def test_never_shows_its_secret(self) -> None:
        """Neither alone nor inside something else."""
        for algorithm in AlgorithmId:
            key = Key(7, algorithm, b"hunter2-secret")
            for text in (repr(key), str(key), f"{key}", f"{key!r}", repr([key]), repr({1: key})):
                self.assertNotIn("hunter2", text)
                self.assertNotIn(b"hunter2".hex(), text)
            self.assertEqual(repr(key), f"<Key 7 {algorithm.name}>")

    def test_key_ids(self) -> None:
        """One octet; 0 is what code of RFC 6830's time sends."""
        for key_id in (0, 1, 255):
            self.assertEqual(Key(key_id, _SHA1, SECRET).key_id, key_id)
        for key_id in (-1, 256):
            self.assertRaises(ValueError, Key, key_id, _SHA1, SECRET)

    def test_same_secret(self) -> None:
        """Key ID, algorithm and secret must all be the same."""
        key = Key(1, _SHA256, b"one")
        self.assertTrue(key.has_same_secret(Key(1, _SHA256, b"one")))
        for other in (Key(2, _SHA256, b"one"), Key(1, _HKDF, b"one"), Key(1, _SHA256, b"two")):
            self.assertFalse(key.has_same_secret(other))

    def test_numbers_of_the_registry(self) -> None:
        """RFC 9301 §12.5, and where the authentication data begins."""
        self.assertEqual([int(algorithm) for algorithm in AlgorithmId], [0, 1, 2, 3])
        self.assertEqual(AUTHENTICATION_OFFSET, 16)
        labels = [purpose.value for purpose in Purpose]
        self.assertEqual(
            labels,
            [
                b"Map-Register Authentication",
                b"Map-Notify Authentication",
                b"Map-Notify-Ack Authentication",
            ],
        )
