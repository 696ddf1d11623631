"""Find every line that the daemon may write to its log."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.running import CHECKOUT

__all__ = ["log_formats"]

_LEVELS = {"info", "warn", "error", "critical"}


def log_formats() -> dict[str, str]:
    """Return each format with its level. Bugs are none of them: these bring a traceback."""
    return {
        text: level
        for path in sorted((CHECKOUT / "lispmsrt").rglob("*.py"))
        for level, text in _calls(path)
    }


def _calls(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _LEVELS
            and ast.unparse(node.func.value) in ("self._log", "_log")
        ):
            # One constant, however many lines it is written in.
            text = ast.literal_eval(node.args[0])
            assert isinstance(text, str)
            yield node.func.attr, text
