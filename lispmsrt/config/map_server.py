"""[map-server]: every option and its default."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lispmsrt.config.endpoints import LISP_CONTROL_PORT, SocketAddress
from lispmsrt.config.keys import KeyConfig
from lispmsrt.config.map_resolver import ServedPrefixConfig
from lispmsrt.config.membership import RlocMembershipConfig
from lispmsrt.config.section import Section, repeated
from lispmsrt.config.tcp import TcpConfig
from lispmsrt.config.values import (
    Count,
    Flag,
    IpText,
    Octets,
    Rate,
    Seconds,
    ServerText,
    SocketText,
    StateText,
    Whole,
)
from lispmsrt.control.arming import ArmoryLimits
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.control.referrals import MAX_MAP_SERVERS
from lispmsrt.mapping.registrar import MAX_REGISTRATIONS, REGISTRATION_TIMEOUT
from lispmsrt.session.limits import SessionLimits
from lispmsrt.sockets import pack_address

__all__ = ["DdtConfig", "MapServerConfig", "SubscriptionsConfig"]


class SubscriptionsConfig(Section):
    """Publish/Subscribe over UDP (RFC 9437)."""

    enabled: Flag = False
    max_subscriptions: Count = 100_000
    "in all"
    max_subscriptions_per_xtr: Count = 1000
    publication_interval: Seconds = 1.0
    "seconds between two Map-Notifies to one xTR"


class DdtConfig(Section):
    """The Map-Server's place in the delegated database tree (RFC 8111)."""

    delegation: tuple[ServedPrefixConfig, ...] = Field(min_length=1)
    "what the tree delegates to this Map-Server"
    map_servers: tuple[IpText, ...] = Field(default=(), max_length=MAX_MAP_SERVERS)
    "every Map-Server of these EID-prefixes, this one too; empty: referrals are incomplete"


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
    state: StateText = "auto"
    "the file that outlives the process; auto: where daemons keep theirs; off: none"
    probation: Seconds = 30.0
    drain_timeout: Seconds = 10.0
    "a service that stops has so long to close its sessions; then they are reset"
    rloc_membership: tuple[RlocMembershipConfig, ...] = ()
    "instances and families whose RLOCs are distributed over sessions"
    subscriptions: SubscriptionsConfig = SubscriptionsConfig()
    ddt: DdtConfig | None = None
    itr_keys: tuple[KeyConfig, ...] = ()
    "shared with ITRs whose Map-Requests are secured (RFC 9303)"
    request_rate: Rate = 1000.0
    request_burst: Count = 4000
    max_registration: Whole = Field(default=8192, ge=64, le=65535)
    max_registrations: Count = MAX_REGISTRATIONS
    max_sessions: Count = 65_536
    max_sessions_per_address: Count = 1024

    @model_validator(mode="after")
    def _names_each_endpoint_once(self) -> Self:
        if text := repeated(self.reliable_transport):
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
