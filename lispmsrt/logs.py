"""Log observers for ``twistd --logger``: a line for people, or a JSON object, per event.

twistd -n --logger lispmsrt.logs.json_lines lispmsrt --config FILE
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

__all__ = ["JsonLines", "TextLines", "json_lines", "text_lines"]

_SCALARS = (str, int, float, bool, type(None))


def json_lines() -> JsonLines:
    """Return an observer that writes a JSON object per line to standard output."""
    return JsonLines(sys.stdout)


def text_lines() -> TextLines:
    """Return an observer that writes a line for people per event to standard output."""
    return TextLines(sys.stdout)


@implementer(ILogObserver)
class JsonLines:
    """Write ``at`` (ISO 8601, UTC), ``level``, ``system``, ``message``, and whatever the line is
    about in fields of its own: ``session``, ``peer``, ``xtr`` and so on.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __call__(self, event: LogEvent) -> None:
        line = {
            "at": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
            "level": _level(event),
            "system": event.get("log_namespace", "-"),
            "message": formatEvent(event),
            **_fields(event),
        }
        failure = event.get("log_failure")
        if failure is not None:
            line["traceback"] = failure.getTraceback()
        _write(self._output, json.dumps(line, ensure_ascii=False))


@implementer(ILogObserver)
class TextLines:
    """Write time (local, with its offset from UTC), level where it is not that of every line, and
    what has happened. Where it comes from in the program is for developers, and not said.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __call__(self, event: LogEvent) -> None:
        at = datetime.fromtimestamp(event["log_time"]).astimezone()
        level = _level(event)
        mark = "" if level == "info" else f"{level.upper()}: "
        said = formatEvent(event).translate(_CONTROLS)
        lines = [f"{at.isoformat(timespec='milliseconds')} {mark}{said}"]
        failure = event.get("log_failure")
        if failure is not None:
            said = failure.getTraceback().rstrip().splitlines()
            lines += [line.translate(_CONTROLS) for line in said]
        _write(self._output, "\n".join(lines))


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _fields(event: LogEvent) -> dict[str, object]:
    """Return what a line is about: scalars as they are, everything else as text."""
    return {
        name: value if isinstance(value, _SCALARS) else str(value)
        for name, value in event.items()
        # Twisted's older half adds these to each event.
        if not name.startswith("log_") and name not in _OF_TWISTED
    }


# A name that a peer has chosen must neither end a line nor command a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}

_OF_TWISTED = frozenset({"message", "time", "system", "format", "isError", "logLevel", "failure"})


def _write(output: TextIO, line: str) -> None:
    # One write: lines of several threads must not mix. A peer's bytes may not be text.
    output.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    output.flush()
