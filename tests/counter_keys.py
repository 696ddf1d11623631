"""The keys of every counter in the package, read from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lispmsrt.control.lisp_sec import Refusal
from lispmsrt.control.questions import Drop
from lispmsrt.control.secured_requests import ReplyFault

__all__ = ["CountedKey", "keys_of_package", "keys_of_text"]

_PACKAGE = Path(__file__).resolve().parent.parent / "lispmsrt"

_ENUMS = {
    "control/questions.py": [one.value for one in Drop],
    "control/lisp_sec.py": [one.value for one in Refusal],
    "control/inquiries.py": [one.value for one in ReplyFault],
}
"""Modules that count the value of an enum's member, to all of its values."""


class CountedKey(NamedTuple):
    """A key, or what all keys that are made in one place look like."""

    module: str
    "below lispmsrt"
    text: str
    "as in the source; of an f-string the values are written as {}"

    def counts(self, counter: str) -> bool:
        """Whether the counter of this name may be counted here; of a counter that is a pattern,
        all that match it.
        """
        pattern = ".+".join(map(re.escape, self.text.split("{}")))
        return re.fullmatch(pattern, counter) is not None


def keys_of_package() -> list[CountedKey]:
    """Return the keys of every module, but for the command line's, which keeps none, and the
    swarm's, whose result has them.
    """
    found: dict[CountedKey, None] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        module = path.relative_to(_PACKAGE).as_posix()
        if not module.startswith(("cli/", "swarm/")):
            found.update(dict.fromkeys(keys_of_text(module, path.read_text())))
    return list(found)


def keys_of_text(module: str, text: str) -> Iterator[CountedKey]:
    """Yield the keys of one module. AssertionError for one that can't be found out."""
    tree = ast.parse(text)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if _is_counting(node):
                    for key in _texts(node.target.slice, module, function, tree):
                        yield CountedKey(module, key)


def _is_counting(node: ast.AST) -> bool:
    if not isinstance(node, ast.AugAssign | ast.Assign | ast.AnnAssign):
        return False
    targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else (node.target,)
    for target in targets:
        if isinstance(target, ast.Subscript):
            counter = ast.unparse(target.value).rpartition(".")[2]
            if counter in ("counters", "_counters"):
                assert isinstance(node, ast.AugAssign), ast.unparse(node)
                return True
    return False


def _texts(
    key: ast.expr, module: str, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module
) -> list[str]:
    if isinstance(key, ast.Constant):
        return [str(key.value)]
    if isinstance(key, ast.JoinedStr):
        parts = (str(one.value) if isinstance(one, ast.Constant) else "{}" for one in key.values)
        return ["".join(parts)]
    if isinstance(key, ast.IfExp):
        return [
            text
            for branch in (key.body, key.orelse)
            for text in _texts(branch, module, function, tree)
        ]
    if isinstance(key, ast.Attribute) and key.attr == "value" and module in _ENUMS:
        return _ENUMS[module]
    assert isinstance(key, ast.Name), f"{module}: {ast.unparse(key)}"
    found = [*_assigned(key.id, function, tree), *_handed_over(key.id, function, tree)]
    assert found, f"{module}: where does {key.id} come from?"
    return [text for one in found for text in _texts(one, module, function, tree)]


def _assigned(name: str, function: ast.AST, tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what a local variable may be: what was assigned, or what stands in the table that it is
    taken from.
    """
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != name:
            continue
        if isinstance(node.value, ast.Call):
            table = ast.unparse(node.value.func).removesuffix(".get")
            yield from node.value.args[1:]
            for other in tree.body:
                if isinstance(other, ast.Assign) and ast.unparse(other.targets[0]) == table:
                    assert isinstance(other.value, ast.Dict)
                    yield from other.value.values
        else:
            yield node.value


def _handed_over(
    name: str, function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module
) -> Iterator[ast.expr]:
    """Yield what the module's own calls of the function have for a parameter."""
    parameters = [one.arg for one in function.args.args if one.arg != "self"]
    if name not in parameters:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            function.name,
            f"self.{function.name}",
        ):
            yield node.args[parameters.index(name)]
