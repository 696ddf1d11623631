"""For every sample alert, what makes it fire and what does not, as ``promtool test rules`` takes
it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SAMPLES", "AlertSample", "rule_tests"]

_NODE = 'job="lispmsrt",instance="ms1:9342"'


class AlertSample(NamedTuple):
    """Series, a value each minute."""

    alert: str
    firing: dict[str, str]
    quiet: dict[str, str]
    at: str = "25m"
    "when it is looked at"


def _series(name: str, labels: str = "") -> str:
    return f"{name}{{{_NODE}{',' + labels if labels else ''}}}"


def _rejected(reason: str) -> str:
    return _series("lispmsrt_registrations_rejected_total", f'reason="{reason}"')


_UP = _series("up")
_START = _series("process_start_time_seconds")
_REGISTRATIONS = _series("lispmsrt_registrations", 'transport="TCP"')
_REGISTRATIONS_LIMIT = _series("lispmsrt_registrations_limit")
_SESSIONS = _series("lispmsrt_sessions", 'transport="TCP"')
_SESSIONS_LIMIT = _series("lispmsrt_sessions_limit")
_LISTENER = _series("lispmsrt_listener_up", 'transport="QUIC",endpoint="quic:4342"')
_GIVEN_UP = _series("lispmsrt_map_notifies_unacknowledged_total")
_NOT_MAPPED = _series("lispmsrt_eids_not_mapped_total", 'reason="no_site"')
_REQUESTS = _series("lispmsrt_map_requests_received_total")
_LIMITED = _series("lispmsrt_map_requests_dropped_total", 'reason="rate_limit"')
_STATE_UP = _series("lispmsrt_state_up")
_UNWRITTEN = _series("lispmsrt_state_unwritten")
_ETR_SESSION = _series("lispmsrt_etr_session_up", 'map_server="192.0.2.1:4342"')
_ETR_REJECTED = _series(
    "lispmsrt_etr_registrations", 'map_server="192.0.2.1:4342",state="rejected"'
)


def _latency(fast: str, slow: str) -> dict[str, str]:
    """Return the series of a histogram: those within 1 ms, and all."""
    name = "lispmsrt_registration_seconds_bucket"
    return {
        _series(name, 'le="0.001"'): fast,
        _series(name, 'le="1.0"'): slow,
        _series(name, 'le="+Inf"'): slow,
    }


SAMPLES = (
    AlertSample("LispmsrtDown", {_UP: "1x20 0x10"}, {_UP: "1x30"}),
    AlertSample("LispmsrtRestarted", {_START: "1200x30"}, {_START: "60x30"}, "24m"),
    AlertSample(
        "LispmsrtRegistrationsFell",
        {_REGISTRATIONS: "1000x20 790x10"},
        {_REGISTRATIONS: "1000x20 810x10"},
        "23m",
    ),
    AlertSample(
        "LispmsrtSessionsFell", {_SESSIONS: "100x20 79x10"}, {_SESSIONS: "100x20 81x10"}, "23m"
    ),
    AlertSample(
        "LispmsrtAuthenticationFailures",
        {_rejected("authentication_failure"): "0+1x30"},
        {_rejected("authentication_failure"): "7x30", _rejected("other"): "0+9x30"},
    ),
    AlertSample(
        "LispmsrtRegistrationsRejected",
        {_rejected("disallowed_locators"): "0+1x30"},
        {_rejected("disallowed_locators"): "9x30", _rejected("authentication_failure"): "0+9x30"},
    ),
    AlertSample(
        "LispmsrtDatabaseNearlyFull",
        {_REGISTRATIONS: "901x30", _REGISTRATIONS_LIMIT: "1000x30"},
        {_REGISTRATIONS: "899x30", _REGISTRATIONS_LIMIT: "1000x30"},
    ),
    AlertSample(
        "LispmsrtSessionsNearLimit",
        {_SESSIONS: "91x30", _SESSIONS_LIMIT: "100x30"},
        {_SESSIONS: "89x30", _SESSIONS_LIMIT: "100x30"},
    ),
    AlertSample("LispmsrtTransportNotListening", {_LISTENER: "0x30"}, {_LISTENER: "1x30"}),
    AlertSample("LispmsrtMapNotifiesUnacknowledged", {_GIVEN_UP: "0+1x30"}, {_GIVEN_UP: "100x30"}),
    AlertSample(
        "LispmsrtLookupsOfNothing",
        {_NOT_MAPPED: "0+100x30", _REQUESTS: "0+150x30"},
        {_NOT_MAPPED: "0+10x30", _REQUESTS: "0+150x30"},
    ),
    AlertSample("LispmsrtMapRequestsLimited", {_LIMITED: "0+900x30"}, {_LIMITED: "0+300x30"}),
    AlertSample(
        "LispmsrtSlowAnswers", _latency("0+10x30", "0+100x30"), _latency("0+100x30", "0+100x30")
    ),
    AlertSample("LispmsrtStateNotWritten", {_STATE_UP: "1x15 0x15"}, {_STATE_UP: "1x22 0x8"}),
    AlertSample(
        "LispmsrtStateBehind",
        {_UNWRITTEN: "0x10 11000+1000x20"},
        {_UNWRITTEN: "0x14 900000x8 0x3 900000x5"},
    ),
    AlertSample("LispmsrtEtrWithoutSession", {_ETR_SESSION: "0x30"}, {_ETR_SESSION: "1x30"}),
    AlertSample("LispmsrtEtrRejected", {_ETR_REJECTED: "3x30"}, {_ETR_REJECTED: "0x30"}),
)


def rule_tests(rules: str) -> dict[str, Any]:
    """Return the file for promtool: each alert fires on one set of series and not on the other."""
    tests = [
        _rule_test(sample, series, fires)
        for sample in SAMPLES
        for series, fires in ((sample.firing, True), (sample.quiet, False))
    ]
    return {"rule_files": [rules], "evaluation_interval": "1m", "tests": tests}


def _rule_test(sample: AlertSample, series: dict[str, str], fires: bool) -> dict[str, Any]:
    firing = f'ALERTS{{alertname="{sample.alert}",alertstate="firing"}}'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": f"{sample.alert} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": f"count({firing})", "eval_time": sample.at, "exp_samples": expected}
        ],
    }
