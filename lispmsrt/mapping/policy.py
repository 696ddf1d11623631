"""What the configuration says of a message: whose it is, and what it may register (RFC 9301 §8.2).

Questions only: nothing is kept, nothing changes.
"""

from __future__ import annotations

from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.mapping.verdicts import Identity, Verdict
from lispmsrt.wire.authentication import Coverage, Purpose
from lispmsrt.wire.map_register import MapRegisterSpan
from lispmsrt.wire.record_walk import UNSUPPORTED_EID, RecordSpan

__all__ = ["MAX_RECORD", "identify", "judge", "site_of"]

MAX_RECORD = 8192
"""Octets of a mapping record: as much as a Registration may be, by whatever way it comes."""

# Looking a member up in its enum costs more than the comparison.
_MAP_REGISTER = Purpose.MAP_REGISTER
_WHOLE_MESSAGE = Coverage.WHOLE_MESSAGE


def identify(
    sites: Sites, data: bytes, start: int, end: int, register: MapRegisterSpan
) -> Identity | Verdict:
    """Find the site of a Map-Register and check its authentication data.

    The site is that of the first record that lies in one. Returns the reason for refusal when there
    is no such site or key, or the MAC is wrong.
    """
    _word, _nonce, key_id, algorithm_id, length, records, records_end = register
    site = site_of(sites, records)
    if site is None:
        is_unsupported = records[0][3] == UNSUPPORTED_EID
        return Verdict.OTHER if is_unsupported else Verdict.NOT_A_VALID_SITE_EID_PREFIX
    for key in site.keys:
        if key.key_id == key_id and key.algorithm_id == algorithm_id:
            coverage = key.verify(data, start, records_end, end, length, _MAP_REGISTER)
            if coverage is not None:
                ids = data[records_end:end] if coverage is _WHOLE_MESSAGE else b""
                return Identity(site, key, coverage, ids)
    return Verdict.AUTHENTICATION_FAILURE


def judge(sites: Sites, site: Site, data: bytes, span: RecordSpan) -> Verdict:
    """Tell what is to become of a record in an authentic message of ``site``."""
    start, ttl, instance_id, afi, length, key, locators, end = span
    prefix = sites.match(instance_id, afi, length, key) if afi != UNSUPPORTED_EID else None
    if prefix is None or prefix.site is not site:
        return Verdict.NOT_A_VALID_SITE_EID_PREFIX
    if end - start > MAX_RECORD:
        return Verdict.OTHER
    if ttl and not site.allows_locators(data[locators:end]):
        return Verdict.LOCATOR_SET_NOT_ALLOWED
    return Verdict.ACCEPTED


def site_of(sites: Sites, records: list[RecordSpan]) -> Site | None:
    """Return the site of the first record that lies in one."""
    for _start, _ttl, instance_id, afi, length, key, _locators, _end in records:
        if afi != UNSUPPORTED_EID:
            prefix = sites.match(instance_id, afi, length, key)
            if prefix is not None:
                return prefix.site
    return None
