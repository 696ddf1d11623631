"""Hypothesis strategies for the values of the wire package. Whatever they make can be encoded.

Locators come in the order of RFC 9301 and host bits are zero, so decoding returns the same value.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lispmsrt.wire.addresses import NO_ADDRESS, Address, Afi, EidPrefix
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage
from lispmsrt.wire.info import InfoMessage
from lispmsrt.wire.lcaf import (
    AfiList,
    ApplicationData,
    AsNumber,
    Encapsulation,
    ExplicitPath,
    Geo,
    Hop,
    InstanceId,
    Json,
    KeyValue,
    Lcaf,
    MulticastInfo,
    NatTraversal,
    NonceLocator,
    NullBody,
    OpaqueKey,
    ReplicationEntry,
    ReplicationList,
    SecurityKey,
    SourceDestination,
    UnknownLcaf,
    VendorSpecific,
)
from lispmsrt.wire.map_referral import MapReferral, ReferralRecord
from lispmsrt.wire.map_reply import MapReply
from lispmsrt.wire.map_request import MapRequest, RequestedEid
from lispmsrt.wire.records import Locator, MappingRecord, sorted_locators

__all__ = [
    "addresses",
    "eids",
    "encapsulated",
    "info_messages",
    "instance_ids",
    "ip_addresses",
    "ip_eids",
    "lcafs",
    "locators",
    "map_referrals",
    "map_replies",
    "map_requests",
    "mapping_records",
    "names",
    "nonces",
    "plain_eids",
    "rlocs",
]


def _uint(bits: int) -> SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


_flag = st.booleans()
_u8, _u16, _u24, _u32 = _uint(8), _uint(16), _uint(24), _uint(32)
_ports = st.tuples(_u16, _u16)
_blob = st.binary(max_size=20)

nonces = _uint(64)
instance_ids = st.one_of(st.just(0), _uint(24), _u32)

_ipv4 = st.binary(min_size=4, max_size=4).map(lambda packed: Address(Afi.IPV4, packed))
_ipv6 = st.binary(min_size=16, max_size=16).map(lambda packed: Address(Afi.IPV6, packed))
_mac = st.binary(min_size=6, max_size=6).map(lambda packed: Address(Afi.MAC, packed))

names = (
    st.binary(min_size=1, max_size=40)
    .map(lambda name: name.replace(b"\0", b"x"))
    .map(lambda name: Address(Afi.NAME, name))
)
ip_addresses = st.one_of(_ipv4, _ipv6)
addresses = st.one_of(_ipv4, _ipv6, _mac, names, st.just(NO_ADDRESS))


def _lcafs_of(inner: SearchStrategy[Address | Lcaf]) -> SearchStrategy[Lcaf]:
    """Every type, around addresses from ``inner``."""
    some = st.lists(inner, max_size=3).map(tuple)
    hops = st.lists(st.builds(Hop, inner, _u16), max_size=3).map(tuple)
    entries = st.lists(st.builds(ReplicationEntry, inner, _u8, _u24), max_size=3).map(tuple)
    angle = st.tuples(_uint(15), _u8, _u8)
    signed = st.integers(-(1 << 31), (1 << 31) - 1)
    keys = st.lists(_blob, max_size=3).map(tuple)
    header = {"reserved1": _u8, "flags": _u8, "reserved2": _u8}
    return st.one_of(
        st.builds(NullBody, **header),
        st.builds(AfiList, some, **header),
        st.builds(InstanceId, _u32, inner, **header),
        st.builds(AsNumber, _u32, inner, **header),
        st.builds(ApplicationData, _u24, _u8, _ports, _ports, inner, **header),
        st.builds(Geo, _flag, angle, _flag, angle, signed, inner, **header),
        st.builds(OpaqueKey, _u8, _u16, _blob, **header),
        st.builds(NatTraversal, _u16, _u16, inner, inner, inner, some, **header),
        st.builds(NonceLocator, _u24, inner, reserved=_u8, **header),
        st.builds(MulticastInfo, _u32, _u8, _u8, inner, inner, reserved=_u16, **header),
        st.builds(ExplicitPath, hops, **header),
        st.builds(SecurityKey, _u8, keys, inner, key_flags=_u8, reserved=_u8, **header),
        st.builds(SourceDestination, _u8, _u8, inner, inner, reserved=_u16, **header),
        st.builds(ReplicationList, entries, **header),
        st.builds(Json, _blob, inner, **header),
        st.builds(KeyValue, inner, inner, **header),
        st.builds(Encapsulation, _u32, inner, **header),
        st.builds(VendorSpecific, _u24, _blob, reserved=_u8, **header),
        st.builds(UnknownLcaf, st.integers(17, 254), _blob, **header),
    )


lcafs = _lcafs_of(st.one_of(addresses, _lcafs_of(addresses)))
rlocs = st.one_of(ip_addresses, ip_addresses, addresses, lcafs)


@st.composite
def _prefixes(draw: st.DrawFn, addresses: SearchStrategy[Address]) -> EidPrefix:
    address = draw(addresses)
    length = draw(st.integers(0, address.width))
    host_bits = address.width - length
    network = int.from_bytes(address.packed, "big") >> host_bits << host_bits
    packed = network.to_bytes(len(address.packed), "big")
    return EidPrefix(draw(instance_ids), Address(address.afi, packed), length, draw(_flag))


ip_eids = _prefixes(ip_addresses)
"""IPv4 and IPv6 prefixes of every length."""

plain_eids = st.one_of(
    ip_eids,
    _prefixes(_mac),
    st.builds(lambda iid, name: EidPrefix(iid, name, name.width), instance_ids, names),
)
"""Prefixes that hold no LCAF but perhaps an instance ID."""

eids = st.one_of(
    plain_eids,
    plain_eids,
    st.builds(
        EidPrefix, instance_ids, lcafs.filter(lambda lcaf: not isinstance(lcaf, InstanceId)), _u8
    ),
)

locators = st.builds(Locator, rlocs, _u8, _u8, _u8, _u8, _flag, _flag, _flag)
_locator_sets = st.lists(locators, max_size=3).map(tuple).map(sorted_locators)

mapping_records = st.builds(
    MappingRecord, eids, _u32, _locator_sets, st.integers(0, 7), _flag, _uint(12)
)

_identities = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "xtr_id": st.binary(min_size=16, max_size=16),
            "site_id": st.binary(min_size=8, max_size=8),
        }
    ),
)
_map_request_flags = st.fixed_dictionaries(
    dict.fromkeys(
        (
            "authoritative",
            "probe",
            "smr",
            "pitr",
            "smr_invoked",
            "local_xtr",
            "dont_map_reply",
        ),
        _flag,
    )
)


@st.composite
def _map_requests(draw: st.DrawFn) -> MapRequest:
    itr_rlocs = draw(st.one_of(st.lists(rlocs, min_size=1, max_size=3), st.just([NO_ADDRESS] * 32)))
    records = draw(st.lists(st.builds(RequestedEid, eids, _flag), min_size=1, max_size=3))
    return MapRequest(
        draw(nonces),
        tuple(itr_rlocs),
        tuple(records),
        draw(st.one_of(addresses, lcafs)),
        reply_record=draw(st.none() | mapping_records),
        **draw(_map_request_flags),
        **draw(_identities),
    )


map_requests = _map_requests()

_record_lists = st.lists(mapping_records, max_size=3).map(tuple)
map_replies = st.builds(MapReply, nonces, _record_lists, _flag, _flag, _blob)


def _signature(octets: bytes) -> bytes:
    return bytes(14) + len(octets).to_bytes(2, "big") + bytes(4) + octets


_signatures = st.lists(_blob.map(_signature), max_size=3).map(tuple)
_referral_records = st.builds(
    ReferralRecord,
    eids,
    _u32,
    _locator_sets,
    st.integers(0, 7),
    _flag,
    _flag,
    _uint(12),
    _signatures,
)
map_referrals = st.builds(MapReferral, nonces, st.lists(_referral_records, max_size=3).map(tuple))

info_messages = st.builds(InfoMessage, nonces, _blob, _flag)


def _lisp_sec(one_time_key: bytes, eid_data: bytes) -> bytes:
    key_octets, eid_octets = len(one_time_key), len(eid_data) + 4
    fixed = b"\x01\x00\x00\x02" + key_octets.to_bytes(2, "big") + b"\x00\x01"
    return fixed + one_time_key + eid_octets.to_bytes(2, "big") + b"\x00\x01" + eid_data


_address_pairs = st.one_of(st.tuples(_ipv4, _ipv4), st.tuples(_ipv6, _ipv6))
encapsulated = st.builds(
    lambda pair, *rest: EncapsulatedControlMessage(*pair, *rest),
    _address_pairs,
    _u16,
    _u16,
    st.binary(max_size=60),
    _flag,
    _flag,
    _flag,
    st.one_of(st.just(b""), st.builds(_lisp_sec, _blob, _blob)),
    _u8,
)
