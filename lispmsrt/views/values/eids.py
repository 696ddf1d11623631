"""What is known of one EID, and what a Map-Request for it would be answered."""

from __future__ import annotations

from dataclasses import dataclass

from lispmsrt.views.values.registrations import RecordView, RegistrationView

__all__ = ["Answered", "EidView", "Explanation", "ExplanationStep"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What would become of a Map-Request for the EID now."""

    kind: str
    "mapping, negative, denied, forwarded, none"
    records: tuple[RecordView, ...]
    "what a Map-Reply would have"
    forwarded_to: tuple[str, ...]
    "the RLOCs of the ETRs one of which would get it"
    reason: str
    "one sentence"


@dataclass(frozen=True, slots=True)
class EidView:
    """One EID or EID-prefix."""

    eid: str
    "as asked for"
    instance_id: int
    found: str
    "mapped, not registered, no site"
    covered: str
    "the EID-prefix that an answer is about: what is registered, or the hole around it"
    site: str
    "whose configured EID-prefix covers it; empty for none"
    configured_prefix: str
    accept_more_specifics: bool
    registration: RegistrationView | None
    "the longest match"
    covering: tuple[str, ...]
    "other registered EID-prefixes that cover it, longest first"
    more_specifics: tuple[str, ...]
    "registered inside what the answer covers, at most 16"
    answer: Answered
    other_instances: tuple[int, ...]
    "instance IDs in which the EID is registered too"


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One thing that was looked at."""

    check: str
    "what was looked at"
    result: str
    "what was found, in one sentence"
    verdict: str
    "ok, problem, note"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an EID resolves, or does not."""

    eid: str
    instance_id: int
    resolves: bool
    summary: str
    "one sentence"
    steps: tuple[ExplanationStep, ...]
    remedies: tuple[str, ...]
    "what to do, one sentence each; empty where nothing is wrong"
