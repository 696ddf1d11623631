"""Say in words why an EID resolves, or does not.

The exit code is 0 where it resolves, 1 where it does not, 2 where nobody could be asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from lispmsrt.cli.api_client import ApiError
from lispmsrt.cli.blocks import Block, Cell, Column, Line, Table, Tone
from lispmsrt.cli.complaint import complain
from lispmsrt.cli.find_daemon import add_connection_arguments, connect
from lispmsrt.cli.screens import standard_screen
from lispmsrt.cli.show_options import EID, INSTANCE_ID
from lispmsrt.cli.show_view import parsed
from lispmsrt.views.values.eids import Explanation

__all__ = ["add_arguments", "explanation_blocks", "run"]

_RESOLVES, _DOES_NOT = 0, 1

_MARKS = {
    "ok": Cell("ok", Tone.GOOD),
    "problem": Cell("PROBLEM", Tone.BAD),
    "note": Cell("note", Tone.WARNING),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the question."""
    EID.add_to(parser)
    INSTANCE_ID.add_to(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, as the API gives it")
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; return the exit code."""
    question = {"eid": arguments.eid, "instance_id": arguments.instance_id}
    try:
        body = connect(arguments).get("/explain", question)
        found = parsed(Explanation, body)
    except ApiError as failure:
        return complain(failure)
    if arguments.json:
        print(json.dumps(json.loads(body), indent=2))
    else:
        standard_screen().draw(explanation_blocks(found))
    return _RESOLVES if found.resolves else _DOES_NOT


def explanation_blocks(found: Explanation) -> Iterator[Block]:
    """Yield what was looked at, what was found, and what to do."""
    yield Line(found.summary, Tone.GOOD if found.resolves else Tone.BAD)
    yield Line()
    columns = (Column("Checked"), Column(""), Column("Found", wraps=True))
    rows = [
        (step.check, _MARKS.get(step.verdict, step.verdict), step.result) for step in found.steps
    ]
    yield Table(columns, rows)
    if found.remedies:
        yield Line()
        yield Line("What to do", Tone.HEADING)
    for remedy in found.remedies:
        yield Line(remedy, indent=2, bullet="- ")
