"""Which counters are metrics of their own, by which name and labels.

All of them, these too, are in ``lispmsrt_events_total`` besides; a metric of its own is for what is
drawn and alerted on. Every label has few values, and they are all here.
"""

from __future__ import annotations

from typing import NamedTuple

from lispmsrt.session.base import CloseReason

__all__ = ["COUNTED", "CountedMetric", "Source"]


class Source(NamedTuple):
    """A counter, and the label values that it goes by."""

    group: str
    counter: str
    labels: tuple[str, ...] = ()


class CountedMetric(NamedTuple):
    """A metric, which is there if a role with the first source's group is."""

    name: str
    "without _total"
    help: str
    labels: tuple[str, ...]
    sources: tuple[Source, ...]


def _one(name: str, text: str, group: str, counter: str) -> CountedMetric:
    return CountedMetric(name, text, (), (Source(group, counter),))


def _by(name: str, text: str, label: str, group: str, **counters: str) -> CountedMetric:
    """Return a metric with one label; each value of it has a counter of the group."""
    sources = tuple(Source(group, counter, (value,)) for value, counter in counters.items())
    return CountedMetric(name, text, (label,), sources)


COUNTED = (
    # Registering at a Map-Server
    _one(
        "lispmsrt_registrations_accepted",
        "Registrations on sessions and records of Map-Registers that were taken.",
        "verdicts",
        "accepted",
    ),
    _by(
        "lispmsrt_registrations_rejected",
        "Registrations and records of Map-Registers that were refused.",
        "reason",
        "verdicts",
        invalid_eid_prefix="not a valid site EID-prefix",
        authentication_failure="authentication failure",
        disallowed_locators="locator set not allowed",
        other="other",
    ),
    _by(
        "lispmsrt_registrations_ended",
        "Registrations that ended other than by another one in their place.",
        "reason",
        "registrations",
        withdrawn="withdrawn",
        expired="expired",
        configuration="withdrawn by configuration",
    ),
    _one(
        "lispmsrt_registrations_database_full",
        "Registrations and records refused because max-registrations were there.",
        "registrations",
        "refused, database full",
    ),
    _one(
        "lispmsrt_map_registers_received",
        "Map-Registers over UDP.",
        "map-registers",
        "Map-Registers in",
    ),
    # Sessions of a Map-Server
    _by(
        "lispmsrt_session_messages",
        "Messages on sessions.",
        "direction",
        "sessions",
        received="messages in",
        sent="messages out",
    ),
    _by(
        "lispmsrt_session_bytes",
        "Octets on sessions.",
        "direction",
        "sessions",
        received="octets in",
        sent="octets out",
    ),
    _by(
        "lispmsrt_session_errors",
        "What went wrong on sessions.",
        "kind",
        "sessions",
        error_received="errors in",
        error_sent="errors out",
        malformed="malformed in",
        framing="framing errors in",
        unsupported="unsupported in",
    ),
    _by(
        "lispmsrt_connections",
        "Connections of reliable transports that asked for a session.",
        "result",
        "arming",
        accepted="connections accepted",
        refused="connections refused",
    ),
    _by(
        "lispmsrt_sessions_ended",
        "Sessions that are over.",
        "reason",
        "session-endings",
        **{reason.name.lower(): reason.value for reason in CloseReason},
    ),
    # Unasked Map-Notifies
    _by(
        "lispmsrt_map_notifies_sent",
        "Map-Notifies over UDP, repetitions too.",
        "kind",
        "map-registers",
        answer="Map-Notifies out",
    )._replace(
        sources=(
            Source("map-registers", "Map-Notifies out", ("answer",)),
            Source("retransmissions", "Map-Notifies out", ("unsolicited",)),
        )
    ),
    _one(
        "lispmsrt_map_notify_retransmissions",
        "Map-Notifies sent again, because no Map-Notify-Ack came.",
        "retransmissions",
        "retransmissions",
    ),
    _one(
        "lispmsrt_map_notifies_unacknowledged",
        "Map-Notifies given up after seven tries.",
        "retransmissions",
        "given up",
    ),
    _one(
        "lispmsrt_publications",
        "Map-Notifies to subscribers, repetitions not counted.",
        "subscriptions",
        "publications",
    ),
    # Asking a Map-Server or Map-Resolver
    _one(
        "lispmsrt_map_requests_received",
        "Map-Requests that were taken.",
        "map-requests",
        "Map-Requests in",
    ),
    _one(
        "lispmsrt_map_replies_sent",
        "Map-Requests answered by this node itself.",
        "map-requests",
        "Map-Replies out",
    ),
    _by(
        "lispmsrt_eids_not_mapped",
        "EIDs of Map-Requests for which there is no mapping.",
        "reason",
        "map-requests",
        not_registered="EIDs not registered",
        no_site="EIDs of no site",
    ),
    _by(
        "lispmsrt_map_requests_forwarded",
        "Map-Requests passed on.",
        "to",
        "map-requests",
        etr="Map-Requests forwarded to ETRs",
        map_server="Map-Requests forwarded to Map-Servers",
    ),
    _by(
        "lispmsrt_map_requests_dropped",
        "Map-Requests that were not answered.",
        "reason",
        "map-requests",
        too_large="Map-Requests dropped: too large",
        malformed="Map-Requests dropped: malformed",
        no_map_request="dropped: no Map-Request",
        nested="dropped: ECM in ECM",
        inner_port="dropped: ECM not to port 4342",
        loop="Map-Requests dropped: loop",
        probe="Map-Requests dropped: RLOC-probe",
        smr="Map-Requests dropped: SMR",
        no_map_reply="Map-Requests dropped: no Map-Reply wanted",
        no_eid="Map-Requests dropped: no EID that can be looked up",
        no_itr_rloc="Map-Requests dropped: no ITR-RLOC to send to",
        rate_limit="Map-Requests dropped: rate limit",
        no_etr="Map-Requests dropped: no ETR to send to",
        no_map_server="Map-Requests dropped: no Map-Server to send to",
        no_lisp_sec_key="Map-Requests dropped: no key for LISP-SEC with the ETR",
        too_many="dropped, too many to send at once",
    ),
    # The ETR
    _one(
        "lispmsrt_etr_map_registers_sent",
        "Map-Registers over UDP, repetitions too.",
        "registering",
        "Map-Registers out",
    ),
    _one(
        "lispmsrt_etr_map_register_retransmissions",
        "Map-Registers sent again, because no Map-Notify came.",
        "registering",
        "retransmissions",
    ),
    _one(
        "lispmsrt_etr_authentication_failures",
        "Map-Notifies with another key than ours, or wrong data.",
        "registering",
        "Map-Notifies with authentication failures",
    ),
    _by(
        "lispmsrt_etr_session_messages",
        "Messages on sessions with Map-Servers.",
        "direction",
        "etr-sessions",
        received="messages in",
        sent="messages out",
    ),
    _one(
        "lispmsrt_etr_registrations_rejected",
        "Registrations that a Map-Server refused or ended on a session.",
        "etr-sessions",
        "rejections in",
    ),
    _by(
        "lispmsrt_etr_questions_received",
        "Map-Requests and RLOC-probes for our mappings.",
        "kind",
        "answers",
        map_request="Map-Requests in",
        rloc_probe="RLOC-probes in",
    ),
    _one(
        "lispmsrt_etr_map_replies_sent",
        "Map-Requests and RLOC-probes that were answered.",
        "answers",
        "Map-Replies out",
    ),
)
