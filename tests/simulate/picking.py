"""Choices that a number makes, so that schedules consist of nothing but numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["pick"]

T = TypeVar("T")


def pick(number: float, among: Sequence[T]) -> T:
    """Choose by a number between 0 and 1."""
    return among[int(number * len(among))]
