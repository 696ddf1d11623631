"""The kinds of values in a configuration file, each with its check."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from lispmsrt.config.endpoints import SocketAddress, checked, with_default_port
from lispmsrt.mapping.sites import RlocPrefix
from lispmsrt.sockets import pack_address
from lispmsrt.wire.addresses import Address, EidPrefix

__all__ = [
    "CertificateText",
    "ClientText",
    "Count",
    "EidPrefixText",
    "Flag",
    "InstanceId",
    "IpText",
    "Octet",
    "Octets",
    "Rate",
    "RlocPrefixText",
    "RlocText",
    "Seconds",
    "ServerText",
    "SocketText",
    "StateText",
    "Whole",
    "XtrId",
]

_PIN = re.compile(r"[0-9a-f]{64}")


def _ip_address(text: str) -> str:
    if pack_address(text) is None:
        raise ValueError(f"{text!r} is no IPv4 or IPv6 address")
    return text


def _rloc(text: str) -> str:
    Address.from_text(text)
    return text


def _rloc_prefix(text: str) -> str:
    RlocPrefix.from_text(text)
    return text


def _eid_prefix(text: str) -> str:
    EidPrefix.from_text(text)
    return text


def _certificate(text: str) -> str:
    name = text.lower()
    digits = name.removeprefix("sha256:")
    if digits != name and _PIN.fullmatch(digits) is None:
        raise ValueError(f"{text!r}: a pin is sha256: and 64 hexadecimal digits")
    if pack_address(name) is not None:
        return str(ip_address(name))
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"{text!r} is neither a name nor a pin")
    return name


def _state(text: str) -> str:
    if text in ("auto", "off") or ("/" in text and not text.endswith("/")):
        return text
    raise ValueError(f'{text!r} is neither "auto" nor "off" nor the path of a file')


def _xtr_id(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != 16:
        raise ValueError("an xtr-id has 32 hexadecimal digits")
    return octets


SocketText = Annotated[SocketAddress, BeforeValidator(SocketAddress.from_text)]
ServerText = Annotated[
    str, BeforeValidator(lambda text: with_default_port(checked(text), is_server=True))
]
ClientText = Annotated[str, BeforeValidator(checked)]
IpText = Annotated[str, AfterValidator(_ip_address)]
RlocText = Annotated[str, AfterValidator(_rloc)]
RlocPrefixText = Annotated[str, AfterValidator(_rloc_prefix)]
EidPrefixText = Annotated[str, AfterValidator(_eid_prefix)]
CertificateText = Annotated[str, AfterValidator(_certificate)]
StateText = Annotated[str, AfterValidator(_state)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Rate = Seconds  # something a second: the same numbers
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[Whole, Field(gt=0)]
Octet = Annotated[Whole, Field(ge=0, le=255)]
Octets = Annotated[Whole, Field(gt=0, le=1 << 30)]  # what fits a socket option
InstanceId = Annotated[Whole, Field(ge=0, lt=1 << 32)]
XtrId = Annotated[bytes, BeforeValidator(_xtr_id)]
