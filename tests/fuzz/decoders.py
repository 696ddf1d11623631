"""What every decoder must do with any octets: return a value that has one stable wire form, or
raise a WireError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lispmsrt.wire.encapsulated import decode_encapsulated, encode_encapsulated, walk_encapsulated
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.info import decode_info, encode_info
from lispmsrt.wire.lcaf import decode_address, decode_locator_address, encode_address
from lispmsrt.wire.lisp_sec import (
    decode_eid_authentication,
    decode_reply_security,
    decode_request_security,
    encode_eid_authentication,
    encode_reply_security,
    encode_request_security,
)
from lispmsrt.wire.map_referral import decode_map_referral, encode_map_referral
from lispmsrt.wire.map_register import (
    decode_map_notify,
    decode_map_notify_ack,
    decode_map_register,
    encode_map_notify,
    encode_map_notify_ack,
    encode_map_register,
    walk_map_register,
)
from lispmsrt.wire.map_reply import decode_map_reply, encode_map_reply
from lispmsrt.wire.map_request import decode_map_request, encode_map_request, walk_map_request
from lispmsrt.wire.membership import decode_membership, encode_membership
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import walk_records
from lispmsrt.wire.records import decode_record, encode_record
from lispmsrt.wire.reliable_transport import (
    MessageType,
    decode_eid_wire_form,
    decode_error_notification,
    decode_mapping_notification,
    decode_registration_ack,
    decode_registration_refresh,
    decode_registration_reject,
    eid_wire_form,
    encode_error_notification,
    encode_mapping_notification,
    encode_registration_ack,
    encode_registration_refresh,
    encode_registration_reject,
)
from lispmsrt.wire.served_records import (
    local_rlocs,
    locator_count,
    served_record,
    with_fewer_locators,
    with_ttl,
)
from tests.codec import whole
from tests.fuzz.twins import plain

__all__ = ["DECODERS"]

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


def _codec(decode: Decode, encode: Encode) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            value = decode(data)
        except WireError:
            return
        again = encode(value)
        assert encode(decode(again)) == again, f"{again.hex()} has two wire forms"

    return run


def _walk(walk: Callable[[bytes], object], decode: Decode | None = None) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            walk(data)
        except WireError:
            return
        if decode is not None:
            try:
                decode(data)
            except WireError:
                return

    return run


def _served(data: bytes) -> None:
    """What is made of a record that was registered must not fail: nobody looks at it again."""
    try:
        ((*_, end),) = walk_records(data, 0, len(data), 1)
        eid = decode_record(Reader(data)).eid
    except WireError:
        return
    if end != len(data):
        return
    served = served_record(data, eid)
    assert locator_count(served) == locator_count(data)
    local_rlocs(data)
    for octets in (0, 30, len(served)):
        fewer = with_fewer_locators(served, octets)
        assert fewer is None or len(fewer) <= max(octets, 0)
    with_ttl(served, 7)
    walk_records(served, 0, len(served), 1)


def _message(data: bytes) -> tuple[int, Any]:
    """Read a session message's data behind an octet that says its type."""
    kind, body = data[:1], data[1:]
    if not kind:
        raise WireError("no type")
    number = kind[0]
    if MessageType.MEMBERSHIP_SUBSCRIBE <= number <= MessageType.MEMBERSHIP_REFRESH_END:
        return number, decode_membership(number, body)
    decode = _MESSAGES.get(number)
    if decode is None:
        raise WireError("another type")
    return number, decode[0](body)


def _encoded_message(found: tuple[int, Any]) -> bytes:
    number, value = found
    if number in _MESSAGES:
        whole_message = _MESSAGES[number][1](value)
    else:
        whole_message = encode_membership(value, 1)
    return bytes((number,)) + whole_message[8:-4]


_MESSAGES: dict[int, tuple[Decode, Encode]] = {
    16: (decode_error_notification, lambda value: encode_error_notification(value, 1)),
    18: (decode_registration_ack, lambda value: encode_registration_ack(1, value)),
    19: (
        decode_registration_reject,
        lambda value: encode_registration_reject(1, value.reason, value.eid),
    ),
    20: (decode_registration_refresh, lambda value: encode_registration_refresh(value, 1)),
    21: (
        decode_mapping_notification,
        lambda value: encode_mapping_notification(
            1, value.xtr_id + value.site_id + encode_record(value.record)
        ),
    ),
}


def _frames(data: bytes) -> None:
    """Cut a stream where its first octets say; all chunks together read as the whole does, and
    compiled as in Python.
    """
    cuts, stream = data[:3], data[3:]
    found = [_framed(stream, size) for size in (*(1 + cut for cut in cuts), len(stream) or 1)]
    with plain():
        found.append(_framed(stream, 1 + (cuts[0] if cuts else 0)))
    for other in found[1:]:
        assert other == found[0], f"cut otherwise it reads otherwise: {other} {found[0]}"


def _framed(stream: bytes, size: int) -> object:
    buffer = FrameBuffer()
    found = []
    for at in range(0, len(stream), size):
        chunk, frames = buffer.receive(stream[at : at + size])
        for kind, message_id, start, end in frames:
            assert 0 <= start <= end <= len(chunk)
            found.append((kind, message_id, chunk[start:end]))
        assert sum(map(len, buffer._pieces)) <= 0xFFFF + size
    error = buffer.error and (str(buffer.error), buffer.error.offending)
    return found, error, buffer.has_partial_message


DECODERS: Mapping[str, Callable[[bytes], None]] = {
    "address": _codec(whole(decode_address), encode_address),
    "rloc": _codec(whole(decode_locator_address), encode_address),
    "record": _codec(whole(decode_record), encode_record),
    "records-walk": _walk(lambda data: walk_records(data, 0, len(data), 2)),
    "served-record": _served,
    "eid": _codec(decode_eid_wire_form, eid_wire_form),
    "map-register": _codec(decode_map_register, encode_map_register),
    "map-register-walk": _walk(lambda data: walk_map_register(data, 0, len(data))),
    "map-notify": _codec(decode_map_notify, encode_map_notify),
    "map-notify-ack": _codec(decode_map_notify_ack, encode_map_notify_ack),
    "map-request": _codec(decode_map_request, encode_map_request),
    "map-request-walk": _walk(walk_map_request, decode_map_request),
    "map-reply": _codec(decode_map_reply, encode_map_reply),
    "map-referral": _codec(decode_map_referral, encode_map_referral),
    "info": _codec(decode_info, encode_info),
    "encapsulated": _codec(decode_encapsulated, encode_encapsulated),
    "encapsulated-walk": _walk(walk_encapsulated, decode_encapsulated),
    "request-security": _codec(decode_request_security, encode_request_security),
    "reply-security": _codec(decode_reply_security, encode_reply_security),
    "eid-authentication": _codec(decode_eid_authentication, encode_eid_authentication),
    "session-message": _codec(_message, _encoded_message),
    "frames": _frames,
}
"""By name, what takes any octets, and raises AssertionError when something does not hold."""
