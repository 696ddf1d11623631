"""What an HTTP request is refused with: a status and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ApiError", "Error", "missing_role"]


@dataclass(frozen=True, slots=True)
class Error:
    """Why a request was refused, or failed."""

    error: str
    "one sentence"


@dataclass(slots=True)
class ApiError(Exception):
    """A request that is refused."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def missing_role(role: str) -> ApiError:
    """Return the refusal of what needs another role."""
    return ApiError(404, f"this lispmsrt is no {role}")
