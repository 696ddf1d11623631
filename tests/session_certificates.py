"""Certificates and keys in files, made once for the tests of a run."""

from __future__ import annotations

import functools
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lispmsrt.transports.certificates import (
    CertifiedKey,
    make_authority,
    make_certificate,
    pin_of,
)

__all__ = ["Certificate", "etr_certificate", "map_server_certificate", "md5_key", "other_pin"]


@dataclass(frozen=True)
class Certificate:
    """Files in PEM, and the pin of the public key."""

    certificate: str
    key: str
    authority: str
    "who has signed it"
    pin: str


@functools.cache
def map_server_certificate() -> Certificate:
    """Return the Map-Server's, for 127.0.0.1."""
    return _file("map-server", _certified("127.0.0.1"), _authority())


@functools.cache
def etr_certificate() -> Certificate:
    """Return that of an ETR."""
    return _file("etr", _certified("etr.example"), _authority())


@functools.cache
def other_pin() -> str:
    """Return the pin of a key that nobody has."""
    return pin_of(_certified("127.0.0.1").certificate)


@functools.cache
def md5_key() -> str:
    """Return the file of a key for TCP-MD5."""
    path = _folder() / "md5.key"
    path.touch(0o600)
    path.write_text("a shared secret\n")
    return str(path)


def _certified(name: str) -> CertifiedKey:
    return make_certificate([name], **_validity(), authority=_authority())


@functools.cache
def _authority() -> CertifiedKey:
    return make_authority("tests", **_validity())


def _validity() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"valid_from": now - timedelta(days=1), "valid_until": now + timedelta(days=30)}


@functools.cache
def _folder() -> Path:
    """Return a folder in trial's own, which goes with it."""
    return Path(tempfile.mkdtemp(dir=Path.cwd()))


def _file(name: str, made: CertifiedKey, authority: CertifiedKey) -> Certificate:
    paths = []
    for kind, octets in (
        ("certificate", made.certificate_pem),
        ("key", made.key_pem),
        ("authority", authority.certificate_pem),
    ):
        path = _folder() / f"{name}-{kind}.pem"
        with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(octets)
        paths.append(str(path))
    return Certificate(*paths, pin_of(made.certificate))
