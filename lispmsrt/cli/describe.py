"""What a configuration means, in plain words and aligned columns. Never shows a secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lispmsrt.config import (
    Config,
    EtrConfig,
    EtrMapServerConfig,
    KeyConfig,
    ManagementConfig,
    MappingConfig,
    MapResolverConfig,
    MapServerConfig,
    RlocMembershipConfig,
    SiteConfig,
    SitePrefixConfig,
)
from lispmsrt.config.management import Reach, reach_of
from lispmsrt.control.etr import SessionMode
from lispmsrt.management_socket import default_socket, socket_role

__all__ = ["describe"]

_MODES = {
    SessionMode.OFF: "off: UDP only",
    SessionMode.AUTO: "auto: after a Map-Notify with the r bit",
    SessionMode.ALWAYS: "always: after any authentic Map-Notify",
}

_LABEL = 22
"""Columns of a label; what it names begins behind."""


def describe(config: Config) -> list[str]:
    """Return the lines that say what the configuration means."""
    roles = [
        name
        for name, section in (
            ("Map-Server", config.map_server),
            ("Map-Resolver", config.map_resolver),
            ("ETR", config.etr),
        )
        if section is not None
    ]
    lines = [_line(0, "roles", " and ".join(roles))]
    if config.map_server is not None:
        lines += ["", *_map_server(config.map_server)]
        lines += [line for site in config.site for line in ("", *_site(site))]
        if not config.site:
            lines += ["", "No site: nobody can register."]
    if config.map_resolver is not None:
        lines += ["", *_map_resolver(config.map_resolver, config.map_server is None)]
    if config.etr is not None:
        lines += ["", *_etr(config.etr)]
    role = socket_role(config.map_server, config.etr, config.map_resolver)
    lines += ["", *_management(config.management or ManagementConfig(), role)]
    return [_printable(line) for line in lines]


def _map_server(config: MapServerConfig) -> Iterator[str]:
    yield "Map-Server"
    yield from _list(2, "control", [f"UDP {address}" for address in config.control])
    yield from _list(2, "reliable transport", config.reliable_transport or ["none: UDP only"])
    yield _line(2, "receive buffer", f"{config.receive_buffer} octets asked for each UDP socket")
    yield _line(2, "registration timeout", f"{config.registration_timeout:g} s without a session")
    if config.trusted_etrs:
        yield _line(2, "trusted ETRs", f"{', '.join(config.trusted_etrs)} (may connect unasked)")
    yield _line(
        2,
        "limits",
        f"{config.max_registrations} registrations, {config.max_sessions} sessions, "
        f"{config.max_sessions_per_address} from one address",
    )
    yield _line(
        2,
        "Map-Requests",
        f"{config.request_rate:g} a second from one requester, {config.request_burst} at once",
    )
    extras = {
        "subscriptions (RFC 9437)": config.subscriptions.enabled,
        "referrals (RFC 8111)": config.ddt is not None,
        "LISP-SEC (RFC 9303)": bool(config.itr_keys),
    }
    yield from _list(2, "offers", [what for what, is_on in extras.items() if is_on])
    yield from _list(2, "RLOC membership", _membership(config.rloc_membership))


def _membership(tables: Sequence[RlocMembershipConfig]) -> list[str]:
    return [f"instance ID {table.instance_id}: {', '.join(table.families)}" for table in tables]


def _map_resolver(config: MapResolverConfig, is_alone: bool) -> Iterator[str]:
    yield "Map-Resolver"
    sockets = config.sockets() if is_alone else config.control
    yield from _list(2, "control", [f"UDP {address}" for address in sockets] or ["as above"])
    served = [
        (str(server.address), prefix.prefix, f"instance ID {prefix.instance_id}")
        for server in config.map_servers
        for prefix in server.eid_prefix
    ]
    anything = [
        (str(server.address), "anything") for server in config.map_servers if not server.eid_prefix
    ]
    rows = _columns([*served, *anything])
    yield from _list(2, "asks", rows or ["nobody: the sites above are all there is"])


def _site(site: SiteConfig) -> Iterator[str]:
    yield f"site {site.name}"
    yield from _list(2, "keys", [_key(key) for key in site.keys])
    rlocs = ", ".join(site.allowed_rlocs) or "any"
    yield _line(2, "allowed RLOCs", rlocs)
    if site.allowed_itrs:
        yield _line(2, "allowed ITRs", ", ".join(site.allowed_itrs))
    if not site.require_reliable_transport_bit:
        yield _line(2, "sessions", "any Map-Register arms, with the r bit or without")
    prefixes = _columns([_site_prefix(prefix) for prefix in site.eid_prefix])
    yield from _list(2, "EID-prefixes", prefixes or ["none: this site can register nothing"])
    ties = [f"{xtr.xtr_id.hex()} by {' or '.join(xtr.certificates)}" for xtr in site.xtr]
    yield from _list(2, "xTRs by certificate", ties)


def _site_prefix(prefix: SitePrefixConfig) -> tuple[str, ...]:
    more = "and more-specifics" if prefix.accept_more_specifics else "exactly"
    return prefix.prefix, f"instance ID {prefix.instance_id}", more


def _key(key: KeyConfig) -> str:
    source = f", secret from {key.secret_file}" if key.secret_file is not None else ""
    coverage = {
        None: "",
        "whole-message": ", signs the whole message",
        "records": ", signs the records",
    }[key.mac_coverage]
    truncated = ", truncated" if key.truncate_mac else ""
    return f"ID {key.id}, {key.algorithm}{coverage}{truncated}{source}"


def _etr(config: EtrConfig) -> Iterator[str]:
    yield "ETR"
    yield _line(2, "control", f"UDP {config.control}")
    if config.xtr_id is not None:
        xtr_id = config.xtr_id.hex()
    else:
        xtr_id = f"made once and kept in {config.state_dir}"
    yield _line(2, "xTR-ID", xtr_id)
    yield _line(2, "Site-ID", str(config.site_id))
    yield _line(
        2, "registration", f"over UDP every {config.registration_period:g} s until a session has it"
    )
    if not config.answer_map_requests:
        yield _line(2, "Map-Requests", "not answered")
    for server in config.map_servers:
        yield ""
        yield from _etr_map_server(server, config)
    yield ""
    yield "mappings"
    if not config.mappings:
        yield "  none in the file"
    for line in _columns([row for mapping in config.mappings for row in _mapping(mapping)]):
        yield f"  {line}"


def _etr_map_server(server: EtrMapServerConfig, config: EtrConfig) -> Iterator[str]:
    yield f"Map-Server {server.address} of the ETR"
    yield _line(2, "key", _key(server.key))
    yield _line(2, "session", _MODES[server.session])
    transports = server.transport_strings(config.control)
    numbered = [f"{number}. {text}" for number, text in enumerate(transports, 1)]
    yield from _list(2, "transports", numbered or ["none"])
    asked = {
        "proxy replies": server.proxy_reply,
        "merging": server.merge,
        "record TTL as timeout": server.use_ttl,
        "Mapping Notifications": server.mapping_notifications,
        "LISP-SEC": server.lisp_sec,
    }
    yield _line(2, "asks for", ", ".join(what for what, is_on in asked.items() if is_on) or "-")
    yield from _list(2, "RLOC membership", _membership(server.rloc_membership))


def _mapping(mapping: MappingConfig) -> Iterator[tuple[str, ...]]:
    first = (mapping.eid_prefix, f"instance ID {mapping.instance_id}", f"TTL {mapping.ttl} min")
    if not mapping.locators:
        yield (*first, f"no locator: {mapping.action}")
    for locator in mapping.locators:
        text = (f"RLOC {locator.rloc}", f"priority {locator.priority} weight {locator.weight}")
        yield (*first, *text)
        first = ("", "", "")


def _management(config: ManagementConfig, role: str) -> Iterator[str]:
    yield "management"
    if not config.enabled:
        yield "  switched off"
        return
    lets = "everything, with the token" if config.token_file is not None else "reading"
    listen = config.listen or (f"unix:{default_socket(role)}",)
    served = [
        f"{text}: {'everything' if reach_of(text) is Reach.UNIX else lets}" for text in listen
    ]
    yield from _list(2, "endpoints", served)
    yield from _list(2, "allowed hosts", config.allowed_hosts)


def _line(indent: int, label: str, text: str) -> str:
    return f"{' ' * indent}{label:<{_LABEL}}{text}"


def _list(indent: int, label: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield _line(indent, label, text)
        label = ""


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align rows, which may differ in length."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, text in enumerate(row):
            widths[column] = max(widths.get(column, 0), len(text))
    return [
        "  ".join(f"{text:<{widths[column]}}" for column, text in enumerate(row)).rstrip()
        for row in rows
    ]


def _printable(line: str) -> str:
    """A site's name may hold what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
