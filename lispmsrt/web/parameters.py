"""What may be asked with: the kinds of values in a query, each with its schema, and one sentence
for every mistake.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_args, get_type_hints

from lispmsrt.views.values import EtrMappingState, HistoryEvent
from lispmsrt.views.values.page import DEFAULT_LIMIT, MAX_LIMIT
from lispmsrt.web.descriptions import field_descriptions
from lispmsrt.web.errors import ApiError
from lispmsrt.wire.addresses import Address, Afi, EidPrefix

__all__ = [
    "EID",
    "INSTANCE_ID",
    "PAGING",
    "Kind",
    "Parameter",
    "filter_from",
    "filter_parameters",
    "read_parameters",
]

_MAX_TEXT = 300
"""Characters of a value: a name has 255."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOMENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([smhd]?)")

Reader = Callable[[str, float], object]
"""Makes a value of a text at some time in seconds since 1970; ValueError has what it must be."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be."""

    schema: Mapping[str, object]
    read: Reader


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route."""

    name: str
    kind: Kind
    meaning: str
    is_required: bool = False
    place: str = "query"
    default: object = None


def _text(text: str, now: float) -> str:
    if not 0 < len(text) <= _MAX_TEXT:
        raise ValueError(f"must have 1 to {_MAX_TEXT} characters")
    return text


def _matching(pattern: str, what: str, **schema: object) -> Kind:
    compiled = re.compile(pattern)

    def read(text: str, now: float) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(f"must be {what}")
        return text

    return Kind({"type": "string", "pattern": f"^{pattern}$", **schema}, read)


def _flag(text: str, now: float) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _whole(least: int, most: int) -> Kind:
    def read(text: str, now: float) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not is_number or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return Kind({"type": "integer", "minimum": least, "maximum": most}, read)


def _moment(text: str, now: float) -> float:
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError("must be seconds since 1970, or how long ago: 30s, 5m, 2h, 1d")
    number = float(parts[1])
    return now - number * _UNITS[parts[2]] if parts[2] else number


def _one_of(names: type[enum.StrEnum]) -> Kind:
    values = [name.value for name in names]

    def read(text: str, now: float) -> str:
        if text not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return text

    return Kind({"type": "string", "enum": values}, read)


def _eid(text: str, now: float) -> EidPrefix:
    """Read an EID-prefix; an EID is one with all bits."""
    _text(text, now)
    try:
        return EidPrefix.from_eid_text(text)
    except ValueError as failure:
        raise ValueError(f"must be an EID or an EID-prefix: {failure}") from None


def _address(text: str, now: float) -> Address:
    try:
        address = Address.from_text(_text(text, now))
    except ValueError as failure:
        raise ValueError(f"must be an address: {failure}") from None
    if address.afi not in (Afi.IPV4, Afi.IPV6):
        raise ValueError("must be an IPv4 or IPv6 address")
    return address


_WORDS: Mapping[str, object] = {"type": "string", "minLength": 1, "maxLength": _MAX_TEXT}

TEXT = Kind(_WORDS, _text)
FLAG = Kind({"type": "boolean"}, _flag)
EID = Kind({**_WORDS, "format": "eid-prefix", "examples": ["10.1.1.5", "10.1.0.0/16"]}, _eid)
ADDRESS = Kind({**_WORDS, "format": "address", "examples": ["192.0.2.1"]}, _address)
INSTANCE_ID = _whole(0, (1 << 32) - 1)
NUMBER = _whole(0, (1 << 53) - 1)  # what JavaScript counts to
MOMENT = Kind(
    {"type": "string", "pattern": f"^{_MOMENT.pattern}$", "examples": ["5m", "1767225600"]}, _moment
)
LIMIT = _whole(1, MAX_LIMIT)
CURSOR = _matching("[0-9A-Za-z._~-]{1,2000}", "the next_cursor of another page", format="cursor")
TRANSPORT = _matching("[0-9A-Za-z-]{1,16}", "the name of a transport")
XTR_ID = _matching("[0-9A-Fa-f]{32}", "32 hexadecimal digits")

_BY_NAME = {
    "after": NUMBER,
    "eid": EID,
    "event": _one_of(HistoryEvent),
    "instance_id": INSTANCE_ID,
    "since": MOMENT,
    "state": _one_of(EtrMappingState),
    "transport": TRANSPORT,
    "xtr_id": XTR_ID,
}
_BY_TYPE = {bool: FLAG, str: TEXT}

PAGING = (
    Parameter("limit", LIMIT, "items of the page at most", default=DEFAULT_LIMIT),
    Parameter("cursor", CURSOR, "next_cursor of the page before"),
)

_MEANINGS = {
    "site": "name of the site",
    "instance_id": "instance ID",
    "since": "seconds since 1970, or how long ago: 30s, 5m, 2h, 1d",
    "xtr_id": "32 hexadecimal digits",
    "transport": "UDP, TCP, TLS, TCP-MD5, QUIC, SCTP; in any case",
    "map_server": "address of the Map-Server",
    "established": "whether the session is established",
    "event": "what became of the mapping",
    "state": "state of the EID-prefix at the Map-Server",
}
"""Of filters: for those that do not say it themselves."""

_Filter = TypeVar("_Filter")


def filter_parameters(kind: type[Any], without: Sequence[str] = ()) -> tuple[Parameter, ...]:
    """Return the parameters that a filter is made from, one for each of its fields."""
    hints, said = get_type_hints(kind), field_descriptions(kind)
    found = []
    for name in (field.name for field in fields(kind)):
        if name not in without:
            value = _BY_NAME.get(name) or _BY_TYPE[get_args(hints[name])[0]]
            meaning = _MEANINGS.get(name) or said.get(name) or name
            found.append(Parameter(name, value, meaning))
    return tuple(found)


def filter_from(kind: type[_Filter], values: Mapping[str, Any]) -> _Filter:
    """Make a filter of what was read."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def read_parameters(
    parameters: Sequence[Parameter], query: Mapping[bytes, Sequence[bytes]], now: float
) -> dict[str, Any]:
    """Read a query; ApiError has one sentence about the first mistake."""
    known = {parameter.name: parameter for parameter in parameters if parameter.place == "query"}
    for asked in query:
        if asked.decode("utf-8", "replace") not in known:
            raise ApiError(400, f"there is no parameter {_shown(asked)} here")
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        given = query.get(name.encode(), ())
        if len(given) > 1:
            raise ApiError(400, f"{name} is given more than once")
        if given:
            values[name] = read_parameter(parameter, given[0], now)
        elif parameter.is_required:
            raise ApiError(400, f"{name} is missing")
        elif parameter.default is not None:
            values[name] = parameter.default
    return values


def read_parameter(parameter: Parameter, given: bytes, now: float) -> object:
    """Read one value; ApiError says what is wrong with it."""
    try:
        return parameter.kind.read(given.decode(), now)
    except UnicodeDecodeError:
        raise ApiError(400, f"{parameter.name} is not UTF-8 text") from None
    except ValueError as failure:
        raise ApiError(400, f"{parameter.name} {failure}") from None


def _shown(name: bytes) -> str:
    text = name[:40].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text) or '""'
