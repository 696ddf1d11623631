"""[etr]: every option and its default, and the mappings that it registers."""

from __future__ import annotations

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
from lispmsrt.config.membership import RlocMembershipConfig
from lispmsrt.config.section import Section, repeated
from lispmsrt.config.tcp import TcpConfig
from lispmsrt.config.values import (
    ClientText,
    Count,
    EidPrefixText,
    Flag,
    InstanceId,
    Octet,
    Octets,
    RlocText,
    Seconds,
    SocketText,
    Whole,
    XtrId,
)
from lispmsrt.control.etr import EtrTimers, SessionMode
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action, Locator, MappingRecord

__all__ = [
    "EtrConfig",
    "EtrMapServerConfig",
    "LocatorConfig",
    "MappingConfig",
    "make_record",
]


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
    lisp_sec: Flag = False
    "sign Map-Replies to secured Map-Requests that this Map-Server forwards (RFC 9303)"
    rloc_membership: tuple[RlocMembershipConfig, ...] = ()
    "instances and families whose RLOCs this ETR wants to know"

    @model_validator(mode="after")
    def _names_each_transport_once(self) -> Self:
        if text := repeated(self.transports):
            raise ValueError(f"transports has {text!r} twice")
        return self

    def register_flags(self) -> int:
        """Return what every Map-Register's first word has set."""
        return (
            self.proxy_reply * RegisterFlag.PROXY_REPLY
            | self.lisp_sec * RegisterFlag.SECURITY
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
    answer_map_requests: Flag = True
    "answer Map-Requests and RLOC-probes for what it registers"
    yield_to_newer: Flag = True
    "leave an EID-prefix to the xTR that has taken it over, until it is registered again"
    map_servers: tuple[EtrMapServerConfig, ...] = Field(alias="map-server", min_length=1)
    mappings: tuple[MappingConfig, ...] = Field(default=(), alias="mapping")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.xtr_id is None and self.state_dir is None:
            raise ValueError("give an xtr-id, or a state-dir where one is made and kept")
        if eid := repeated(str(mapping.eid()) for mapping in self.mappings):
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
