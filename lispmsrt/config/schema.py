"""What may stand in a configuration file: every option, its default, and what it is turned into.

Values are frozen once they are validated.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lispmsrt.config.endpoints import (
    LISP_CONTROL_PORT,
    SocketAddress,
    with_bind_address,
    with_default_port,
    with_host,
)
from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.section import Section
from lispmsrt.config.values import (
    CertificateText,
    ClientText,
    Count,
    EidPrefixText,
    Flag,
    InstanceId,
    IpText,
    Octet,
    Octets,
    RlocPrefixText,
    RlocText,
    Seconds,
    ServerText,
    SocketText,
    Whole,
    XtrId,
)
from lispmsrt.control.arming import ArmoryLimits
from lispmsrt.control.etr import EtrTimers, SessionMode
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.mapping.registrar import MAX_REGISTRATIONS, REGISTRATION_TIMEOUT
from lispmsrt.mapping.sites import RlocPrefix, Site, SitePrefix, Sites
from lispmsrt.session.limits import SessionLimits
from lispmsrt.sockets import TcpOptions, pack_address
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action, Locator, MappingRecord

__all__ = [
    "Config",
    "EtrConfig",
    "EtrMapServerConfig",
    "LocatorConfig",
    "MapServerConfig",
    "MappingConfig",
    "SiteConfig",
    "SitePrefixConfig",
    "SiteXtrConfig",
    "TcpConfig",
    "make_record",
    "make_sites",
]


class TcpConfig(Section):
    """How a dead TCP peer is noticed."""

    # Linux takes no more (MAX_TCP_KEEPIDLE and so on), and an int of milliseconds.
    keepalive_idle: Whole = Field(default=10, gt=0, le=32_767)
    keepalive_interval: Whole = Field(default=10, gt=0, le=32_767)
    keepalive_probes: Whole = Field(default=3, gt=0, le=127)
    user_timeout: Seconds = Field(default=30.0, le=2_000_000)
    minimum_ttl: Octet = 0

    def options(self) -> TcpOptions:
        """Return the socket options."""
        return TcpOptions(**self.model_dump())


class MapServerConfig(Section):
    """The Map-Server role."""

    control: tuple[SocketText, ...] = Field(
        default=(SocketAddress("0.0.0.0", LISP_CONTROL_PORT),), min_length=1
    )
    reliable_transport: tuple[ServerText, ...] = ("tcp:4342",)
    receive_buffer: Octets = 4 * 1024 * 1024
    "octets asked for each UDP socket, for bursts"
    tcp: TcpConfig = TcpConfig()
    trusted_etrs: tuple[IpText, ...] = ()
    "addresses that may connect without having authenticated over UDP"
    nonce_check: NonceCheck = NonceCheck.LENIENT
    notify_to_control_port: Flag = False
    "answer Map-Registers to port 4342 in place of the port that they came from"
    registration_timeout: Seconds = REGISTRATION_TIMEOUT
    probation: Seconds = 30.0
    max_registration: Whole = Field(default=8192, ge=64, le=65535)
    max_registrations: Count = MAX_REGISTRATIONS
    max_sessions: Count = 65_536
    max_sessions_per_address: Count = 1024

    @model_validator(mode="after")
    def _names_each_endpoint_once(self) -> Self:
        if text := _repeated(self.reliable_transport):
            raise ValueError(f"reliable-transport has {text!r} twice")
        return self

    def trusted_addresses(self) -> list[bytes]:
        """Return the trusted ETRs' packed addresses."""
        return [packed for text in self.trusted_etrs if (packed := pack_address(text))]

    def session_limits(self) -> SessionLimits:
        """Return the limits of one session."""
        return SessionLimits(probation=self.probation, max_registration=self.max_registration)

    def armory_limits(self) -> ArmoryLimits:
        """Return the limits of all sessions together."""
        return ArmoryLimits(
            max_sessions=self.max_sessions, max_sessions_per_address=self.max_sessions_per_address
        )


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
    """An xTR whose sessions must prove by a certificate that they are its own."""

    xtr_id: XtrId
    certificates: tuple[CertificateText, ...] = Field(min_length=1)
    "names or pins: the session's client certificate (TLS) must have one of them"


class SiteConfig(Section):
    """A site: its keys, EID-prefixes and RLOCs."""

    name: str = Field(min_length=1)
    keys: tuple[KeyConfig, ...] = Field(min_length=1)
    allowed_rlocs: tuple[RlocPrefixText, ...] = ()
    require_reliable_transport_bit: Flag = True
    eid_prefix: tuple[SitePrefixConfig, ...] = ()
    xtr: tuple[SiteXtrConfig, ...] = ()

    @model_validator(mode="after")
    def _names_each_xtr_once(self) -> Self:
        if xtr_id := _repeated(xtr.xtr_id.hex() for xtr in self.xtr):
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
        )


class LocatorConfig(Section):
    """One RLOC of a mapping."""

    rloc: RlocText
    priority: Octet = 1
    weight: Octet = 100
    multicast_priority: Octet = 255
    multicast_weight: Octet = 0
    local: Flag = True
    reachable: Flag = True

    def to_locator(self) -> Locator:
        """Return the locator."""
        fields = self.model_dump(exclude={"rloc"})
        return Locator(Address.from_text(self.rloc), **fields)


class MappingConfig(Section):
    """A mapping that the ETR registers."""

    eid_prefix: EidPrefixText
    instance_id: InstanceId = 0
    ttl: Whole = Field(default=1440, gt=0, lt=1 << 32)
    "minutes"
    locators: tuple[LocatorConfig, ...] = Field(default=(), max_length=255)
    action: Literal["no-action", "natively-forward", "send-map-request", "drop"] = "no-action"
    "what to do with packets where there are no locators"

    def eid(self) -> EidPrefix:
        """Return the EID-prefix."""
        return EidPrefix.from_text(self.eid_prefix, self.instance_id)


class EtrMapServerConfig(Section):
    """A Map-Server that the ETR registers at."""

    address: SocketText
    key: KeyConfig
    session: SessionMode = SessionMode.AUTO
    transports: tuple[ClientText, ...] = Field(default=("tcp",), min_length=1)
    "endpoint strings in the order in which they are tried; without a host, to the address"
    proxy_reply: Flag = True
    merge: Flag = False
    use_ttl: Flag = False
    mapping_notifications: Flag = True
    "ask for Mapping Notifications on the session"

    @model_validator(mode="after")
    def _names_each_transport_once(self) -> Self:
        if text := _repeated(self.transports):
            raise ValueError(f"transports has {text!r} twice")
        return self

    def register_flags(self) -> int:
        """Return what every Map-Register's first word has set."""
        return (
            self.proxy_reply * RegisterFlag.PROXY_REPLY
            | self.merge * RegisterFlag.MERGE
            | self.use_ttl * RegisterFlag.USE_TTL
            | self.mapping_notifications * RegisterFlag.WANT_MAP_NOTIFY
        )

    def transport_strings(self, control: SocketAddress) -> list[str]:
        """Return the client endpoint strings, complete with host, port and address to bind."""
        if self.session is SessionMode.OFF:
            return []
        named = (with_host(text, self.address.host) for text in self.transports)
        complete = (with_default_port(text, is_server=False) for text in named)
        return [with_bind_address(text, control.host) for text in complete]


class EtrConfig(Section):
    """The ETR role."""

    control: SocketText = SocketAddress("0.0.0.0", LISP_CONTROL_PORT)
    xtr_id: XtrId | None = None
    site_id: Whole = Field(default=0, ge=0, lt=1 << 64)
    state_dir: Path | None = None
    receive_buffer: Octets = 4 * 1024 * 1024
    tcp: TcpConfig = TcpConfig()
    registration_period: Seconds = 60.0
    rearm_delay: Seconds = 5.0
    "a lost session is followed by a new Map-Register within so long, at random"
    transport_timeout: Seconds = 5.0
    "how long one transport may take to come up before the next is tried"
    backoff_initial: Seconds = 1.0
    backoff_maximum: Seconds = 60.0
    window: Count = 4096
    "Registrations on a session that may be unanswered at a time"
    answer_timeout: Seconds = 15.0
    refresh_timeout: Seconds = 10.0
    map_servers: tuple[EtrMapServerConfig, ...] = Field(alias="map-server", min_length=1)
    mappings: tuple[MappingConfig, ...] = Field(default=(), alias="mapping")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.xtr_id is None and self.state_dir is None:
            raise ValueError("give an xtr-id, or a state-dir where one is made and kept")
        if eid := _repeated(str(mapping.eid()) for mapping in self.mappings):
            raise ValueError(f"two mappings have the EID-prefix {eid}")
        return self

    def session_limits(self) -> SessionLimits:
        """Return the limits of one session."""
        return SessionLimits(
            window=self.window,
            answer_timeout=self.answer_timeout,
            refresh_timeout=self.refresh_timeout,
        )

    def timers(self) -> EtrTimers:
        """Return the periods of the UDP side."""
        return EtrTimers(registration_period=self.registration_period, rearm_delay=self.rearm_delay)


class Config(Section):
    """A whole file: one role or both."""

    map_server: MapServerConfig | None = None
    site: tuple[SiteConfig, ...] = ()
    etr: EtrConfig | None = None

    @model_validator(mode="after")
    def _has_role(self) -> Self:
        if self.map_server is None and self.etr is None:
            raise ValueError("the file configures no role: it needs [map-server] or [etr]")
        if self.site and self.map_server is None:
            raise ValueError("[[site]] is for a Map-Server: add [map-server]")
        make_sites(self.site)
        return self


def make_sites(sites: tuple[SiteConfig, ...]) -> Sites:
    """Return the sites as the mapping service knows them; ValueError when two contradict each
    other.
    """
    if name := _repeated(site.name for site in sites):
        raise ValueError(f"two sites have the name {name!r}")
    prefixes = [
        SitePrefix.of(made, prefix.eid(), prefix.accept_more_specifics)
        for site in sites
        for made in (site.to_site(),)
        for prefix in site.eid_prefix
    ]
    return Sites(prefixes)


def _repeated(texts: Iterable[str]) -> str | None:
    """Return the first that stands twice."""
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None


def make_record(mapping: MappingConfig) -> MappingRecord:
    """Return a configured mapping as the record that is registered."""
    actions = {"drop": Action.DROP}
    action = actions.get(mapping.action) or Action[mapping.action.replace("-", "_").upper()]
    return MappingRecord(
        mapping.eid(),
        mapping.ttl,
        tuple(locator.to_locator() for locator in mapping.locators),
        action=action,
        authoritative=True,
    )
