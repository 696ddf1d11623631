"""Why a registration is refused: the rule in general, by which refusals are counted together, and
the exact sentence with what the message had in it.

Refused messages come as fast as anybody likes to send them: what is kept of one is small, and its
sentence is made when somebody reads it. Nothing is decided here, see
:mod:`lispmsrt.mapping.policy`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from lispmsrt.mapping.database import EidTable, Xtr
from lispmsrt.mapping.policy import MAX_RECORD, site_of
from lispmsrt.mapping.publisher import eid_of_key
from lispmsrt.mapping.sites import Site, SitePrefix, Sites
from lispmsrt.mapping.verdicts import Identity, Verdict
from lispmsrt.wire.authentication import algorithm_name
from lispmsrt.wire.map_register import MapRegisterSpan
from lispmsrt.wire.record_walk import UNSUPPORTED_EID, RecordSpan

__all__ = [
    "Refusal",
    "another_xtr",
    "certificate_missing",
    "database_full",
    "eid_text",
    "merge_limit",
    "no_xtr_id",
    "not_armed",
    "not_enterable",
    "unidentified",
]

_KEPT_LOCATORS = 512
"""Octets of locators that are kept to name the RLOC that is not allowed; what is not among them is
not named.
"""


class Refusal(NamedTuple):
    """What refused a message or record."""

    verdict: Verdict
    rule: str
    "in general: nothing in it was chosen by a peer"
    site: str
    "name of the site that the rule is about; empty for none"
    exact: Callable[[], str]
    "makes the rule with its values, in one sentence"


_DATABASE_FULL = "database full"

_NO_SITE = "no site has an EID-prefix that covers it"
_MORE_SPECIFIC = "more specific than an EID-prefix of the site without accept-more-specifics"
_UNSUPPORTED = "the EID is of a kind that can't be registered"
_NO_KEY = "the site has no key with this ID and algorithm"
_WRONG_MAC = "the authentication data is wrong"
_OTHER_SITE = "the EID-prefix belongs to another site than the message is authentic for"
_RLOC = "an RLOC is not in the site's allowed-rlocs"
_TOO_LARGE = "the record is too large"
_ANOTHER_XTR = "the session is bound to another xTR"
_NOT_ARMED = "no Map-Register has armed the xTR for a session from this address"
_CERTIFICATE = "the certificate is not one that the site demands of the xTR"
_NO_XTR_ID = "no xTR-ID against a live session"


def eid_text(instance_id: int, afi: int, key: int) -> str:
    """Return an EID-prefix as text, without its instance ID; empty where it can't be read."""
    if afi == UNSUPPORTED_EID:
        return ""
    eid = eid_of_key(EidTable(instance_id, afi), key)
    return str(eid)[len(f"[{instance_id}] ") if instance_id else 0 :]


def unidentified(sites: Sites, register: MapRegisterSpan, verdict: Verdict) -> Refusal:
    """Say why :func:`lispmsrt.mapping.policy.identify` refused a message."""
    _word, _nonce, key_id, algorithm_id, _length, records, _end = register
    site = site_of(sites, records)
    if site is None:
        return _no_prefix(sites, records[0], verdict)
    for key in site.keys:
        if key.key_id == key_id and key.algorithm_id == algorithm_id:
            exact = partial(_wrong_mac, key_id, site.name)
            return Refusal(verdict, _WRONG_MAC, site.name, exact)
    exact = partial(_no_key, key_id, algorithm_id, site.name)
    return Refusal(verdict, _NO_KEY, site.name, exact)


def not_enterable(
    sites: Sites, site: Site, data: bytes, span: RecordSpan, verdict: Verdict
) -> Refusal:
    """Say why :func:`lispmsrt.mapping.policy.judge` refused a record of ``site``."""
    start, _ttl, instance_id, afi, length, key, locators, end = span
    if verdict is Verdict.LOCATOR_SET_NOT_ALLOWED:
        kept = data[locators : min(end, locators + _KEPT_LOCATORS)]
        return Refusal(verdict, _RLOC, site.name, partial(_rloc, site, kept))
    if verdict is Verdict.OTHER:
        return Refusal(verdict, _TOO_LARGE, site.name, partial(_too_large, end - start))
    prefix = sites.match(instance_id, afi, length, key) if afi != UNSUPPORTED_EID else None
    if prefix is None:
        return _no_prefix(sites, span, verdict)
    exact = partial(_other_site, prefix.site.name, site.name)
    return Refusal(verdict, _OTHER_SITE, site.name, exact)


def _no_prefix(sites: Sites, span: RecordSpan, verdict: Verdict) -> Refusal:
    _start, _ttl, instance_id, afi, length, key, *_ = span
    if afi == UNSUPPORTED_EID:
        return Refusal(verdict, _UNSUPPORTED, "", partial(str, _UNSUPPORTED))
    prefix = sites.covering(instance_id, afi, length, key)
    if prefix is None:
        return Refusal(verdict, _NO_SITE, "", partial(_no_site, instance_id))
    return Refusal(verdict, _MORE_SPECIFIC, prefix.site.name, partial(_more_specific, prefix))


def another_xtr(bound: Xtr, identity: Identity) -> Refusal:
    """The message is authentic, but of another xTR than its session."""
    site = identity.site.name
    exact = partial(_another_xtr, bound, Xtr(site, identity.ids, b""))
    return Refusal(Verdict.OTHER, _ANOTHER_XTR, site, exact)


def not_armed(site: str) -> Refusal:
    """The first valid Registration of a session is of an xTR that was not armed."""
    return Refusal(Verdict.OTHER, _NOT_ARMED, site, partial(str, _NOT_ARMED))


def certificate_missing(site: str) -> Refusal:
    """The session has not shown what its xTR must show."""
    exact = partial(str, _CERTIFICATE)
    return Refusal(Verdict.AUTHENTICATION_FAILURE, _CERTIFICATE, site, exact)


def no_xtr_id(site: str) -> Refusal:
    """It could be another's message, sent again, against what a session holds."""
    return Refusal(Verdict.OTHER, _NO_XTR_ID, site, partial(str, _NO_XTR_ID))


def merge_limit(site: str, text: str) -> Refusal:
    """It can't be merged with what is registered there; ``text`` says which limit forbids it."""
    return Refusal(Verdict.OTHER, text, site, partial(str, text))


def database_full(site: str, limit: int) -> Refusal:
    """The database has all the registrations that it may have."""
    exact = partial(_database_full, limit)
    return Refusal(Verdict.OTHER, _DATABASE_FULL, site, exact)


# The sentences


def _no_site(instance_id: int) -> str:
    return f"{_NO_SITE} in instance {instance_id}"


def _more_specific(prefix: SitePrefix) -> str:
    eid = eid_text(prefix.instance_id, prefix.afi, prefix.key)
    return f"site {prefix.site.name} has {eid}, but without accept-more-specifics"


def _no_key(key_id: int, algorithm_id: int, site: str) -> str:
    return f"no key with ID {key_id} and {algorithm_name(algorithm_id)} in site {site}"


def _wrong_mac(key_id: int, site: str) -> str:
    return f"the authentication data is wrong for key ID {key_id} of site {site}"


def _other_site(owner: str, site: str) -> str:
    return f"EID-prefix belongs to site {owner}, and the message is authentic for {site}"


def _rloc(site: Site, locators: bytes) -> str:
    rloc = site.refused_rloc(locators)
    what = f"RLOC {rloc}" if rloc is not None else "an RLOC"
    return f"{what} is not in allowed-rlocs of site {site.name}"


def _too_large(octets: int) -> str:
    return f"the record is too large: {octets} octets, and {MAX_RECORD} are allowed"


def _another_xtr(bound: Xtr, claimed: Xtr) -> str:
    return f"the session is that of {bound}, and the message is of {claimed}"


def _database_full(limit: int) -> str:
    return f"{_DATABASE_FULL} (max-registrations = {limit})"
