"""[[site]]: who may register what, and who may ask for it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.section import Section, repeated
from lispmsrt.config.values import (
    CertificateText,
    EidPrefixText,
    Flag,
    InstanceId,
    RlocPrefixText,
    XtrId,
)
from lispmsrt.mapping.sites import RlocPrefix, Site, SitePrefix, Sites
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["SiteConfig", "SitePrefixConfig", "SiteXtrConfig", "make_sites"]


class SitePrefixConfig(Section):
    """An EID-prefix that a site may register."""

    prefix: EidPrefixText
    instance_id: InstanceId = 0
    accept_more_specifics: Flag = False

    @model_validator(mode="after")
    def _is_no_open_name(self) -> Self:
        if self.accept_more_specifics and self.prefix.startswith("name:"):
            raise ValueError("a name matches whole: accept-more-specifics does not go with it")
        return self

    def eid(self) -> EidPrefix:
        """Return the EID-prefix."""
        return EidPrefix.from_text(self.prefix, self.instance_id)


class SiteXtrConfig(Section):
    """An xTR that the Map-Server knows by its xTR-ID before it registers anything."""

    xtr_id: XtrId
    certificates: tuple[CertificateText, ...] = ()
    "names or pins: the session's client certificate (TLS) must have one of them; empty: none"


class SiteConfig(Section):
    """A site: its keys, EID-prefixes and RLOCs."""

    name: str = Field(min_length=1)
    keys: tuple[KeyConfig, ...] = Field(min_length=1)
    allowed_rlocs: tuple[RlocPrefixText, ...] = ()
    allowed_itrs: tuple[RlocPrefixText, ...] = ()
    "RLOCs whose Map-Requests are answered; others are told Drop/Policy-Denied. Empty: any"
    require_reliable_transport_bit: Flag = True
    eid_prefix: tuple[SitePrefixConfig, ...] = ()
    xtr: tuple[SiteXtrConfig, ...] = ()

    @model_validator(mode="after")
    def _names_each_xtr_once(self) -> Self:
        if xtr_id := repeated(xtr.xtr_id.hex() for xtr in self.xtr):
            raise ValueError(f"the xTR {xtr_id} stands twice")
        return self

    def to_site(self) -> Site:
        """Return the site as the mapping service knows it."""
        return Site(
            self.name,
            tuple(key.to_key() for key in self.keys),
            tuple(map(RlocPrefix.from_text, self.allowed_rlocs)),
            self.require_reliable_transport_bit,
            {xtr.xtr_id: frozenset(xtr.certificates) for xtr in self.xtr},
            tuple(map(RlocPrefix.from_text, self.allowed_itrs)),
        )


def make_sites(sites: tuple[SiteConfig, ...]) -> Sites:
    """Return the sites as the mapping service knows them; ValueError when two contradict each
    other.
    """
    if name := repeated(site.name for site in sites):
        raise ValueError(f"two sites have the name {name!r}")
    prefixes = [
        SitePrefix.of(made, prefix.eid(), prefix.accept_more_specifics)
        for site in sites
        for made in (site.to_site(),)
        for prefix in site.eid_prefix
    ]
    return Sites(prefixes)
