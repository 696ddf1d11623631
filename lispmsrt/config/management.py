"""[management]: where the management endpoint listens, and who may use it."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lispmsrt.config.secret_files import read_secret_file
from lispmsrt.config.section import Section, repeated
from lispmsrt.config.values import Flag

__all__ = ["ManagementConfig", "Reach", "is_loopback", "reach_of", "read_token", "unix_path"]

_MIN_TOKEN = 16
"""Octets of a bearer token: fewer could be guessed."""

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""What may stand behind ``Bearer`` (RFC 6750 §2.1)."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


class Reach(enum.Enum):
    """Who can get at an endpoint."""

    UNIX = "who may open the Unix socket"
    LOOPBACK = "programs of this machine"
    ENCRYPTED = "anybody, over TLS"
    OPEN = "anybody, in the clear"
    INHERITED = "seen only once systemd's socket is there"


def read_token(path: Path) -> bytes:
    """Return the bearer token in a file; ValueError says what is wrong with it."""
    token = read_secret_file(path, "token-file").strip()
    if len(token) < _MIN_TOKEN or _TOKEN.fullmatch(token) is None:
        raise ValueError(
            f"token-file {path} does not have a token: one line of at least {_MIN_TOKEN} letters,"
            " digits, - . _ ~ + or /"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is that of the machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def reach_of(text: str) -> Reach:
    """Return who can get at an endpoint string, as far as it says."""
    words, options = _taken_apart(text)
    match words[0]:
        case "unix":
            return Reach.UNIX
        case "systemd":
            is_unix = options.get("domain", words[1]) == "UNIX"
            return Reach.UNIX if is_unix else Reach.INHERITED
        case "ssl" | "tls":
            return Reach.ENCRYPTED
        case "tcp" | "tcp6":
            interface = options.get("interface", words[2 if words[0] == "tcp" else 3])
            return Reach.LOOPBACK if is_loopback(interface) else Reach.OPEN
    return Reach.OPEN


def unix_path(text: str) -> str | None:
    """Return the path of a ``unix:`` endpoint string; None of any other."""
    words, options = _taken_apart(text)
    if words[0] != "unix":
        return None
    return options.get("address", words[1])


def _taken_apart(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the words of an endpoint string and its options, without the backslashes."""
    words: list[str] = []
    options: dict[str, str] = {}
    for name, value in _parts(text):
        if name is None:
            words.append(value)
        else:
            options[name] = value
    return [*words, "", "", ""], options


def _parts(text: str) -> Iterator[tuple[str | None, str]]:
    name, value = None, ""
    characters = iter(text)
    for character in characters:
        if character == ":":
            yield name, value
            name, value = None, ""
        elif character == "=" and name is None:
            name, value = value, ""
        else:
            value += next(characters, "") if character == "\\" else character
    yield name, value


def _endpoint(text: str) -> str:
    if not _taken_apart(text)[0][0]:
        raise ValueError("an endpoint is a text like unix:/run/lispmsrt/map-server.sock")
    if unix_path(text) == "":
        raise ValueError(f"{text!r} names no path")
    return text


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        if _HOST.fullmatch(text) is None:
            raise ValueError(
                f"{text!r} is neither a name nor an address; it stands without a port"
            ) from None
        return text.lower()


def _has_token(path: Path) -> Path:
    read_token(path)
    return path


class ManagementConfig(Section):
    """The management endpoint."""

    enabled: Flag = True
    listen: tuple[Annotated[str, AfterValidator(_endpoint)], ...] = ()
    "server endpoint strings; empty: the Unix socket at its usual place"
    token_file: Annotated[Path, AfterValidator(_has_token)] | None = None
    "a file with the bearer token and nothing else"
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(default=())
    "names that the endpoint is called by, beside localhost and its addresses"

    @model_validator(mode="after")
    def _lets_no_stranger_in(self) -> ManagementConfig:
        if text := repeated(self.listen):
            raise ValueError(f"listen has {text!r} twice")
        for text in self.listen:
            reach = reach_of(text)
            if reach is Reach.OPEN:
                raise ValueError(
                    f"listen {text!r} is open to other machines: it must be tls: or ssl:, with a"
                    " token-file, or a tcp: with a loopback address as its interface"
                )
            if reach is Reach.ENCRYPTED and self.token_file is None:
                raise ValueError(f"listen {text!r} is open to other machines: add a token-file")
        return self
