"""What an explanation is made of, in the order in which it was found."""

from __future__ import annotations

from lispmsrt.views.values import ExplanationStep

__all__ = ["Findings"]


class Findings:
    """Steps and remedies."""

    def __init__(self) -> None:
        self._steps: list[ExplanationStep] = []
        self._remedies: dict[str, None] = {}

    @property
    def steps(self) -> tuple[ExplanationStep, ...]:
        """What was looked at."""
        return tuple(self._steps)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What to do, each once."""
        return tuple(self._remedies)

    @property
    def first_problem(self) -> str:
        """What was found wrong first; nothing where nothing was."""
        problems = (step.result for step in self._steps if step.verdict == "problem")
        return next(problems, "")

    def ok(self, check: str, result: str) -> None:
        """It is as it should be."""
        self._steps.append(ExplanationStep(check, result, "ok"))

    def note(self, check: str, result: str) -> None:
        """It is worth knowing."""
        self._steps.append(ExplanationStep(check, result, "note"))

    def problem(self, check: str, result: str) -> None:
        """It is why the EID does not resolve, or may not soon."""
        self._steps.append(ExplanationStep(check, result, "problem"))

    def remedy(self, text: str) -> None:
        """Something to do, in one sentence."""
        self._remedies[text] = None
