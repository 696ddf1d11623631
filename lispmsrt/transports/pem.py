"""Certificates and private keys in the files that an endpoint string names."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lispmsrt.transports.options import readable_file

__all__ = ["certificates_in", "private_key_in"]


def certificates_in(path: str, name: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one; ``name`` is the option's."""
    octets = _octets(path, name)
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError:
        raise ValueError(f"{name}={path}: has no certificates in PEM") from None


def private_key_in(path: str, name: str, certificate: x509.Certificate) -> Any:
    """Return the private key of a PEM file, which must be the certificate's."""
    octets = _octets(path, name)
    try:
        key: Any = load_pem_private_key(octets, password=None)
    except TypeError:
        raise ValueError(f"{name}={path}: the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{name}={path}: has no private key in PEM") from None
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{name}={path}: the private key is not the certificate's")
    return key


def _octets(path: str, name: str) -> bytes:
    with open(readable_file(path, name), "rb") as file:
        return file.read()
