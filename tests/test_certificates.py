"""Certificates of our own making, read by others, and pins."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt.transports.certificates import (
    CertifiedKey,
    has_pin,
    make_authority,
    make_certificate,
    parse_name,
    parse_pin,
    pin_of,
)

_NOW = datetime.now(UTC)
_VALID = {"valid_from": _NOW - timedelta(days=1), "valid_until": _NOW + timedelta(days=1)}


_FIXED = b"""\
-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUcr5Utui/sL3GZvZhO9YwFxGrwG4wCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKbXMuZXhhbXBsZTAgFw0yNjExMjIyMDE4MzVaGA8yMTI2MTAy
OTIwMTgzNVowFTETMBEGA1UEAwwKbXMuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABC1rDZfBuZEEMW9XNFS53MOdmLXzKxo8WiVq3FNeEshPoU2HJx/d
OZ2A3EHhbjo8fxC+CAukwpI218w64Xe+4DCjUzBRMB0GA1UdDgQWBBQqwNlccpkz
kg9yVMGXcEjMI1oaTDAfBgNVHSMEGDAWgBQqwNlccpkzkg9yVMGXcEjMI1oaTDAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEcCDYJwCCglvx1UW7GI
EvNj/RS81frnbvu+Sr9oJNBnAiEAmdDe0OiwrLMHDDwd2RPYQlslP4oukN8sn9mI
AiI3xr8=
-----END CERTIFICATE-----
"""
"""Made by `openssl req`; its pin by `openssl pkey -pubin -outform der` and `openssl dgst`."""

_FIXED_PIN = "882105081ca20200fe27375b4ac06848e2d9d52e3b1280855bd0459665a5acc5"


class PinTests(SynchronousTestCase):
    """A public key in 64 digits."""

    def test_pin_belongs_to_the_key(self) -> None:
        """And to no other."""
        one, other = (make_certificate(["ms.example"], **_VALID).certificate for _ in range(2))
        self.assertTrue(has_pin(one, pin_of(one)))
        self.assertFalse(has_pin(other, pin_of(one)))

    def test_pin_is_what_others_compute(self) -> None:
        """RFC 7469 §2.4, by a fixed certificate: the SHA-256 of its SubjectPublicKeyInfo."""
        certificate = x509.load_pem_x509_certificate(_FIXED)
        self.assertEqual(pin_of(certificate), _FIXED_PIN)

    def test_text_of_a_pin(self) -> None:
        """Upper case and blanks around it do not matter."""
        self.assertEqual(parse_pin(f" {'AB' * 32}\n"), "ab" * 32)

    def test_text_that_is_no_pin(self) -> None:
        """The sentence names the option."""
        for text in ("", "ab", "g" * 64, "a" * 63, "a" * 65, "sha256:" + "a" * 64):
            problem = self.assertRaises(ValueError, parse_pin, text, "key")
            self.assertEqual(str(problem), f"key={text}: a pin has 64 hexadecimal digits")


class NameTests(SynchronousTestCase):
    """What a certificate may be for."""

    def test_names_and_addresses(self) -> None:
        """In one way of writing."""
        for text, name in (
            ("MS.Example", "ms.example"),
            ("localhost", "localhost"),
            ("a_b.xn--nxasmq6b", "a_b.xn--nxasmq6b"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("a" * 63 + ".b", "a" * 63 + ".b"),
        ):
            self.assertEqual(parse_name(text, "--name"), name)

    def test_what_is_neither(self) -> None:
        """Among it what only looks like an address."""
        for text in (
            "", ".", "a..b", "a b", "a.b.", "-a", "a-", "*.b", "1.2.3", "256.1.1.1", "a" * 64,
            "fe80::1%lo", "ä", "a:b", "a\n", ".".join(["a" * 60] * 5),
        ):  # fmt: skip
            self.assertRaises(ValueError, parse_name, text, "--name")


class CertificateTests(SynchronousTestCase):
    """What stands in a certificate."""

    def test_for_servers_and_clients_of_all_its_names(self) -> None:
        """Names, addresses of both families, purposes, times."""
        names = ["ms.example", "192.0.2.1", "2001:db8::1"]
        made = make_certificate(names, **_VALID).certificate
        alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name.value) for name in alternatives], names)
        purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(
            list(purposes), [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        self.assertEqual(made.not_valid_after_utc, _VALID["valid_until"].replace(microsecond=0))

    def test_long_name(self) -> None:
        """The subject has room for 64 characters, the alternative name for all."""
        name = ".".join(["a" * 60] * 3)
        made = make_certificate([name], **_VALID).certificate
        alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([each.value for each in alternatives], [name])

    def test_key_is_the_one_that_is_certified(self) -> None:
        """In PKCS #8, unencrypted."""
        made = make_certificate(["ms.example"], **_VALID)
        read = load_pem_private_key(made.key_pem, None)
        self.assertEqual(read.public_key(), made.certificate.public_key())


class OpensslTests(SynchronousTestCase):
    """`openssl verify`, which shares no code with what made them."""

    def setUp(self) -> None:
        """Two certificates, and a CA above one of them."""
        if shutil.which("openssl") is None and not os.environ.get("CI"):
            raise SkipTest("openssl is not installed")
        self.ca = make_authority("a CA", **_VALID)
        self.leaf = make_certificate(["ms.example", "192.0.2.1"], authority=self.ca, **_VALID)
        self.alone = make_certificate(["ms.example", "192.0.2.1"], **_VALID)

    def _file(self, made: CertifiedKey) -> str:
        path = Path(self.mktemp())
        path.write_bytes(made.certificate_pem)
        return str(path)

    def _verify(self, made: CertifiedKey, ca: CertifiedKey, *options: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-CAfile", self._file(ca), *options]
        done = subprocess.run(
            [*command, self._file(made)], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode == 0, done.stdout.strip().endswith(": OK"), done.stderr)
        return done.returncode == 0

    def test_signed_by_a_ca(self) -> None:
        """For both purposes, by each of its names."""
        for purpose in ("sslserver", "sslclient"):
            self.assertTrue(self._verify(self.leaf, self.ca, "-purpose", purpose))
        self.assertTrue(self._verify(self.leaf, self.ca, "-verify_hostname", "ms.example"))
        self.assertTrue(self._verify(self.leaf, self.ca, "-verify_ip", "192.0.2.1"))
        self.assertFalse(self._verify(self.leaf, self.ca, "-verify_ip", "192.0.2.2"))
        self.assertFalse(self._verify(self.leaf, self.alone))

    def test_self_signed_is_its_own_ca_file(self) -> None:
        """Strictly."""
        for purpose in ("sslserver", "sslclient"):
            self.assertTrue(self._verify(self.alone, self.alone, "-purpose", purpose))
        self.assertFalse(self._verify(self.alone, self.ca))

    def test_self_signed_is_no_ca(self) -> None:
        """Its key can't make certificates that its CA file vouches for."""
        forged = make_certificate(["other.example"], authority=self.alone, **_VALID)
        self.assertFalse(self._verify(forged, self.alone))
