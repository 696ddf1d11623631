"""docs/security.rst: each claim names a test, and each test that is named is there."""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.map_replies import AMPLIFICATION
from tests.test_docs import headings, page, rows

_NAME = re.compile(r"``(test_\w+)\.(\w+)\.(test_\w+)``")
_FORM = re.compile(rf"{_NAME.pattern}(, {_NAME.pattern})*")
"""What stands in the last column, and nothing else: one test, or several with commas."""

_ATTACKS = "Attacks that work"
_SECTIONS = (
    "Who attacks",
    _ATTACKS,
    "What each transport and option protects",
    "Replay",
    "Amplification",
    "Downgrade",
    "Connections and sessions",
    "Who learns what",
    "Secrets",
    "Privileges",
    "The management endpoint",
    "Denial of service",
    "Limits of floods",
    "Code that reads what strangers send",
)
_AT_LEAST = 90
"""Claims."""


def claims() -> list[list[str]]:
    """Return the rows of all tables of the page."""
    return [
        row
        for text in headings(page("security")).values()
        if ".. list-table::" in text
        for row in rows(text)
    ]


def value(name: str) -> object:
    """Return what a name within ``lispmsrt`` stands for: of a class its default."""
    module, _dot, attribute = name.rpartition(".")
    try:
        return getattr(import_module(f"lispmsrt.{module}"), attribute)
    except ModuleNotFoundError:
        module, _dot, class_name = module.rpartition(".")
        return getattr(getattr(import_module(f"lispmsrt.{module}"), class_name)(), attribute)


class ClaimTests(SynchronousTestCase):
    """The tables of the page."""

    maxDiff = None

    def test_each_claim_names_its_tests(self) -> None:
        """In the last column, and the form in which they can be found."""
        found = claims()
        self.assertGreater(len(found), _AT_LEAST)
        for claim in found:
            self.assertGreaterEqual(len(claim), 2, claim)
            self.assertTrue(claim[0])
            self.assertIsNotNone(_FORM.fullmatch(claim[-1]), claim)

    def test_each_test_that_is_named_is_there(self) -> None:
        """And is one: trial runs it."""
        named = sorted(set(_NAME.findall(page("security"))))
        self.assertGreater(len(named), _AT_LEAST)
        missing = []
        for module, class_name, method in named:
            case = getattr(import_module(f"tests.{module}"), class_name, None)
            if not callable(getattr(case, method, None)) or not issubclass(
                case, SynchronousTestCase
            ):
                missing.append(f"{module}.{class_name}.{method}")
        self.assertEqual(missing, [])

    def test_every_subject_has_its_table(self) -> None:
        """In this order; none is left empty."""
        found = headings(page("security"))
        self.assertEqual([name for name in found if name in _SECTIONS], list(_SECTIONS))
        for name in _SECTIONS:
            self.assertIn(".. list-table::", found[name], name)

    def test_what_is_possible_is_told_as_such(self) -> None:
        """Each test that shows an attack which works is named where those are, and nowhere else;
        and each of them has what helps.
        """
        attacks = rows(headings(page("security"))[_ATTACKS])
        told = {name for row in attacks for name in _NAME.findall(row[-1])}
        for module in ("test_security_replay", "test_security_trust"):
            found = {
                (module, name, method)
                for name, case in vars(import_module(f"tests.{module}")).items()
                if isinstance(case, type) and case.__module__ == f"tests.{module}"
                for method in vars(case)
                if method.startswith("test_what_is_possible")
            }
            self.assertTrue(found)
            self.assertEqual(found - told, set())
        for _attack, remedy, _tests in attacks:
            self.assertTrue(remedy)
        self.assertEqual(
            sum("test_what_is_possible" in claim[-1] for claim in claims()),
            sum("test_what_is_possible" in row[-1] for row in attacks),
        )

    def test_nothing_is_said_twice(self) -> None:
        """No test stands in two rows."""
        named = Counter(".".join(name) for claim in claims() for name in _NAME.findall(claim[-1]))
        self.assertEqual([name for name, times in named.items() if times > 1], [])

    def test_the_bound_is_that_of_the_code(self) -> None:
        """The page says it in a number."""
        self.assertEqual(AMPLIFICATION, 8)
        self.assertIn("8.0", headings(page("security"))["Amplification"])

    def test_the_limits_are_those_of_the_code(self) -> None:
        """Each is named, and its figure is right."""
        found = rows(headings(page("security"))["Limits of floods"])
        self.assertGreater(len(found), 20)
        figures, right = {}, {}
        for _what, name, figure, _tests in found:
            limit = value(name.strip("`"))
            assert isinstance(limit, int | float)
            figures[name] = figure
            right[name] = f"{int(limit) if limit == int(limit) else limit:,}"
        self.assertEqual(figures, right)
