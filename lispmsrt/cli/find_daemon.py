"""Which daemon a command talks to: the options that say so, and the search where they don't."""

from __future__ import annotations

import argparse
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lispmsrt.cli.api_client import Api, ApiError, UnixConnection
from lispmsrt.management_socket import default_socket, why_distrusted

__all__ = ["ETR_FIRST", "MAP_SERVER_FIRST", "add_connection_arguments", "connect", "look_around"]

MAP_SERVER_FIRST = ("map-server", "map-resolver", "etr")
ETR_FIRST = ("etr", "map-server", "map-resolver")
"""Whose daemon is meant, where several run."""

_SYSTEM_DIRECTORY = Path("/run/lispmsrt")
"""Where root's daemon listens, which an ordinary user asks for, too."""

_SOCKET_VARIABLE = "LISPMSRT_SOCKET"

_PROBE_TIMEOUT = 2.0
"""Seconds. A Unix socket takes a connection at once, or its queue is full."""


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the daemon is."""
    group = parser.add_argument_group("the daemon")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--socket",
        metavar="PATH",
        help="its Unix socket (default: $LISPMSRT_SOCKET, or the one in the default directory)",
    )
    where.add_argument("--url", metavar="URL", help="its address: https://host:port")
    group.add_argument("--token-file", metavar="FILE", help="the bearer token, with --url")
    group.add_argument(
        "--ca-file", metavar="FILE", help="certificates to trust (PEM), with an https URL"
    )


def connect(arguments: argparse.Namespace, roles: Sequence[str] = MAP_SERVER_FIRST) -> Api:
    """Return the daemon that is meant; raise ApiError where there is none."""
    if arguments.url is not None:
        return _at_url(arguments.url, arguments.token_file, arguments.ca_file)
    for name in ("token_file", "ca_file"):
        if getattr(arguments, name) is not None:
            raise ApiError(f"--{name.replace('_', '-')} goes with --url, and there is none")
    path = arguments.socket if arguments.socket is not None else look_around(roles)
    return Api(partial(UnixConnection, path), path)


def look_around(roles: Sequence[str]) -> str:
    """Return the socket that somebody answers on, of the first of these roles; raise ApiError.

    What somebody else may have put where ours would be is passed over, unless it was named.
    """
    named = os.environ.get(_SOCKET_VARIABLE)
    candidates = [named] if named else list(dict.fromkeys(_candidates(roles)))
    forbidden, distrusted = [], []
    for path in candidates:
        try:
            if not named and (why := why_distrusted(Path(path), os.getuid())):
                distrusted.append(f"{path} is not trusted: {why}")
                continue
            _probe(path)
        except PermissionError:
            forbidden.append(path)
        except OSError:
            continue
        else:
            return path
    raise _nobody(candidates, forbidden, distrusted)


def _nobody(candidates: list[str], forbidden: list[str], distrusted: list[str]) -> ApiError:
    """Return why there is no daemon to talk to."""
    if distrusted:
        return ApiError(f"{distrusted[0]}; --socket PATH names one to be trusted all the same")
    if forbidden:
        return ApiError(
            f"{' and '.join(forbidden)} may not be opened: run as root, or as the user of the"
            " daemon, or name another one with --socket PATH"
        )
    return ApiError(
        f"no daemon answers: looked at {', '.join(candidates)}; is it running?"
        " --socket PATH or --url URL says where it is"
    )


def _candidates(roles: Sequence[str]) -> Iterator[str]:
    """Yield where daemons listen that were not told otherwise, the likeliest first."""
    for role in roles:
        yield default_socket(role)
    for role in roles:
        yield str(_SYSTEM_DIRECTORY / f"{role}.sock")


def _probe(path: str) -> None:
    """Connect and leave; raise OSError where nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_PROBE_TIMEOUT)
        link.connect(path)


def _at_url(url: str, token_file: str | None, ca_file: str | None) -> Api:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as failure:
        raise ApiError(f"--url {url!r}: {failure}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(f"--url {url!r} is not of the form https://host:port")
    if token_file is not None and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ApiError(f"--url {url!r}: everybody on the way could read the token; write https://")
    make = _https(parts.hostname, port, ca_file) if parts.scheme == "https" else None
    return Api(
        make or partial(HTTPConnection, parts.hostname, port),
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        token=_token(token_file) if token_file is not None else "",
        prefix=parts.path.rstrip("/"),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _https(host: str, port: int | None, ca_file: str | None) -> Callable[[], HTTPConnection]:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as failure:  # ssl.SSLError, too
        raise ApiError(f"--ca-file {ca_file}: {failure.strerror or failure}") from None
    return partial(HTTPSConnection, host, port, context=context)


def _token(path: str) -> str:
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as failure:
        reason = getattr(failure, "strerror", None) or "it is not text"
        raise ApiError(f"--token-file {path}: {reason}") from None
    if not token or not token.isascii() or not token.isprintable():
        raise ApiError(f"--token-file {path} does not hold a token, one line of it")
    return token
