"""Make a self-signed certificate, and print its pin and the endpoint strings that go with it."""

from __future__ import annotations

import argparse
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.endpoints import quoteStringArgument

from lispmsrt.config.endpoints import DEFAULT_PORTS
from lispmsrt.transports.certificates import CertifiedKey, make_certificate, parse_name, pin_of

__all__ = ["add_arguments", "run"]

_MAX_DAYS = 36_500
_CLOCK_SKEW = timedelta(days=1)
"""How far the clocks of a lab may be behind ours without finding the certificate not valid yet."""

_PRIVATE = 0o600
_PUBLIC = 0o644

_QUIC_PORT, _TLS_PORT = DEFAULT_PORTS["quic"], DEFAULT_PORTS["tls13"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the names and the files."""
    parser.add_argument(
        "--name",
        action="append",
        metavar="DNS-or-IP",
        help="whom it is for; may be given again (default: this machine's host name)",
    )
    parser.add_argument("--days", default="3650", help="how long it is valid (default: 3650)")
    parser.add_argument(
        "--certificate",
        type=Path,
        default=Path("certificate.pem"),
        metavar="FILE",
        help="where it goes (default: certificate.pem)",
    )
    parser.add_argument(
        "--private-key",
        type=Path,
        default=Path("private-key.pem"),
        metavar="FILE",
        help="where its key goes, readable for its owner only (default: private-key.pem)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(arguments: argparse.Namespace) -> int:
    """Write both files and return 0, or print what is wrong on standard error and return 1."""
    certificate, key = arguments.certificate.absolute(), arguments.private_key.absolute()
    try:
        names, days = _names(arguments.name), _days(arguments.days)
        now = datetime.now(UTC)
        made = make_certificate(
            names, valid_from=now - _CLOCK_SKEW, valid_until=now + timedelta(days=days)
        )
        # The key first: a certificate without its key is of no use to anybody.
        files = {key: (made.key_pem, _PRIVATE), certificate: (made.certificate_pem, _PUBLIC)}
        if len(files) != 2:
            raise ValueError(f"{key}: certificate and private key need a file each")
        _write(files, is_forced=arguments.force)
    except ValueError as mistake:
        print(f"lispmsrt make-certificate: {mistake}", file=sys.stderr)
        return 1
    for line in _described(made, names, certificate, key):
        print(line)
    return 0


def _names(given: list[str] | None) -> list[str]:
    if given:
        return list(dict.fromkeys(parse_name(name, "--name") for name in given))
    try:
        return [parse_name(socket.gethostname(), "host name")]
    except ValueError:
        raise ValueError("this machine's host name is no DNS name; give --name") from None


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_DAYS):
        raise ValueError(f"--days {text}: not a number from 1 to {_MAX_DAYS}")
    return int(text)


def _write(files: dict[Path, tuple[bytes, int]], *, is_forced: bool) -> None:
    """Write all of the files or none; ValueError says why not."""
    written: list[Path] = []
    path = Path()
    try:
        for path, (octets, mode) in files.items():
            if path.exists() and not is_forced:
                raise FileExistsError(errno.EEXIST, "")
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # What is to be replaced stays until all that replaces it is there.
            target = path.with_name(f".{path.name}.{os.getpid()}") if is_forced else path
            _create(target, octets, mode, written)
        for path, target in zip(files, written, strict=True):
            os.replace(target, path)
    except OSError as failure:
        for target in written:
            target.unlink(missing_ok=True)
        raise ValueError(_problem(path, failure)) from None


def _create(path: Path, octets: bytes, mode: int, written: list[Path]) -> None:
    """Create a file that is not there, with its mode from the first moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    written.append(path)
    with open(descriptor, "wb") as file:
        file.write(octets)


def _problem(path: Path, failure: OSError) -> str:
    if failure.errno == errno.EEXIST:
        return f"{path}: exists already; --force replaces it"
    if failure.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{path.parent}: there is no such directory; make it first"
    return f"{path}: can't be written: {failure.strerror}"


def _described(made: CertifiedKey, names: list[str], certificate: Path, key: Path) -> Iterator[str]:
    """Yield what an operator needs next, endpoint strings as TOML has them."""
    pin = pin_of(made.certificate)
    own = f"certificate={_quoted(certificate)}:privateKey={_quoted(key)}"
    host = _quoted(names[0])
    yield f"Certificate  {certificate}"
    yield f"Private key  {key}"
    yield f"Names        {', '.join(names)}"
    yield f"Valid until  {made.certificate.not_valid_after_utc:%Y-%m-%d}"
    yield f"Pin          {pin}"
    yield ""
    yield "The Map-Server's reliable-transport, one or both:"
    yield f"  {_toml(f'quic:{_QUIC_PORT}:{own}')}"
    yield f"  {_toml(f'tls13:{_TLS_PORT}:{own}')}"
    yield "and the transports of its ETRs (caFile= with a copy of the certificate does as well):"
    yield f"  {_toml(f'quic:{host}:{_QUIC_PORT}:pin={pin}')}"
    yield f"  {_toml(f'tls13:{host}:{_TLS_PORT}:pin={pin}')}"


def _quoted(text: object) -> str:
    quoted: str = quoteStringArgument(str(text))
    return quoted


def _toml(text: str) -> str:
    # A literal string leaves backslashes alone, but can't have a quote of its own kind.
    return f"'{text}'" if "'" not in text else json.dumps(text)
