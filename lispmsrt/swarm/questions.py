"""Map-Requests in ECMs for the EIDs of a swarm (RFC 9301 §5.2, §5.8), and what is a right answer.

A question is a template into which nonce and address are put; the checksums inside follow by
arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from lispmsrt.control.inquiries import Endpoint, to_map_resolver
from lispmsrt.swarm.eids import Block, EidSpace
from lispmsrt.wire.addresses import Address, Afi, EidPrefix, encode_address
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.records import MappingRecord

__all__ = ["Question", "questions", "what_is_wrong"]

_ECM, _UDP, _NONCE_IN_REQUEST = 4, 8, 4
_IPV4_CHECKSUM, _IPV4_DESTINATION, _IPV4 = 10, 16, 20
_IPV6_DESTINATION, _IPV6 = 24, 40
_UDP_CHECKSUM = 6
_RECORDS_AT, _EID_AT = 12, 10
_WEIGHT, _RLOC = 1, 6
_ONE_RECORD = 0x2000_0001
_COUNT_MASK = 0xF00000FF


class Question:
    """Map-Requests for the EIDs of one block."""

    def __init__(self, block: Block, space: EidSpace, source: Endpoint, server: Endpoint) -> None:
        self.block = block
        afi = Afi.IPV4 if len(source[0]) == 4 else Afi.IPV6
        address = Address(Afi.IPV4 if block.octets == 4 else Afi.IPV6, bytes(block.octets))
        length = 8 * block.octets - block.shift
        eid = EidPrefix(block.instance_id, address, length)
        request = encode_map_request(
            MapRequest(0, (Address(afi, source[0]),), (RequestedEid(eid),))
        )
        message = bytearray(to_map_resolver(request, eid, source, server))
        is_ipv4 = afi == Afi.IPV4
        self._udp_at = _ECM + (_IPV4 if is_ipv4 else _IPV6)
        self._request_at = self._udp_at + _UDP
        self._eid_at = len(message) - block.octets
        self._inner_at = 0
        "the inner destination, where that is the EID"
        if len(source[0]) == block.octets:
            self._inner_at = _ECM + (_IPV4_DESTINATION if is_ipv4 else _IPV6_DESTINATION)
        self._ip_sum = 0
        if is_ipv4:
            checksum = slice(_ECM + _IPV4_CHECKSUM, _ECM + _IPV4_CHECKSUM + 2)
            self._ip_sum = 0xFFFF - int.from_bytes(message[checksum], "big")
        at = self._udp_at + _UDP_CHECKSUM
        self._udp_sum = 0xFFFF - int.from_bytes(message[at : at + 2], "big")
        self._message = bytes(message)
        self._is_ipv4 = is_ipv4

    def ask(self, number: int, nonce: int) -> bytes:
        """Return the datagram that asks for an EID."""
        message = bytearray(self._message)
        address = self.block.address(number)
        octets = len(address)
        nonce_at = self._request_at + _NONCE_IN_REQUEST
        message[nonce_at : nonce_at + 8] = nonce.to_bytes(8, "big")
        message[self._eid_at : self._eid_at + octets] = address
        # One's complement sums are arithmetic modulo 65535 (RFC 1071); all of these are aligned.
        words = int.from_bytes(address, "big")
        udp = self._udp_sum + nonce + words
        if self._inner_at:
            message[self._inner_at : self._inner_at + octets] = address
            udp += words
            if self._is_ipv4:
                _put_checksum(message, _ECM + _IPV4_CHECKSUM, self._ip_sum + words)
        _put_checksum(message, self._udp_at + _UDP_CHECKSUM, udp)
        return bytes(message)


def questions(space: EidSpace, source: Endpoint, server: Endpoint) -> list[Question]:
    """Return the questions of every block."""
    return [Question(block, space, source, server) for block in space.blocks]


def _put_checksum(message: bytearray, at: int, total: int) -> None:
    # RFC 768: zero would mean that there is none.
    message[at : at + 2] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")


def what_is_wrong(
    reply: bytes, eid: EidPrefix, wire_form: bytes, rloc: Address | None, weight: int
) -> str:
    """Return what is wrong with a Map-Reply, nothing if it is right: it has the mapping with this
    locator, or, where ``rloc`` is None, none for this very EID-prefix.
    """
    if rloc is not None and _is_plainly_right(reply, wire_form, encode_address(rloc), weight):
        return ""
    try:
        records = decode_map_reply(reply).records
    except WireError as failure:
        return f"the Map-Reply about {eid} is malformed: {failure}"
    found = [record for record in records if record.eid == eid]
    if rloc is None:
        if any(record.locators for record in found):
            return f"{eid} was withdrawn, and the Map-Server still says {_shown(found)}"
        return ""
    for record in found:
        if any(each.rloc == rloc and each.weight == weight for each in record.locators):
            return ""
    right = f"{rloc} with weight {weight}"
    return f"{eid} is registered at {right}, and the Map-Server says {_shown(found or records)}"


def _is_plainly_right(reply: bytes, wire_form: bytes, rloc: bytes, weight: int) -> bool:
    """Whether it is one record with one locator, the right ones; False leaves it open."""
    at = _RECORDS_AT
    word = int.from_bytes(reply[:4], "big")
    if word & _COUNT_MASK != _ONE_RECORD or reply[at + 4 : at + 6] != b"\1" + wire_form[:1]:
        return False
    locator = at + _EID_AT + len(wire_form) - 1
    return (
        reply[at + _EID_AT : locator] == wire_form[1:]
        and reply[locator + _RLOC :] == rloc
        and reply[locator + _WEIGHT] == weight
    )


def _shown(records: Sequence[MappingRecord]) -> str:
    if not records:
        return "nothing"
    return ", ".join(
        f"{record.eid} "
        + (
            "at " + ", ".join(f"{each.rloc} with weight {each.weight}" for each in record.locators)
            if record.locators
            else "without locators"
        )
        for record in records[:3]
    )
