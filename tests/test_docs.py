"""The documentation says what the code says: options, tests, headings, samples."""

from __future__ import annotations

import ast
import enum
import inspect
import json
import os
import re
from importlib import import_module
from pathlib import Path
from unittest import skipIf

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from twisted.trial.unittest import SynchronousTestCase

import lispmsrt
from lispmsrt import config
from lispmsrt.transports.strings import PARSERS

try:
    from docutils.core import publish_string
except ImportError:
    publish_string = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = tuple(sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.rst")))

_SECRET_FILE = r"(?<=\")/etc/lispmsrt/[\w.-]+(?=\")"
"""A file with a token or a key: it must be there for a configuration to be valid."""

SECTIONS: dict[str, type[BaseModel]] = {
    "The file": config.Config,
    "[map-server]": config.MapServerConfig,
    "[map-server.subscriptions]": config.SubscriptionsConfig,
    "[map-server.ddt]": config.DdtConfig,
    "[[...rloc-membership]]": config.RlocMembershipConfig,
    "[map-server.tcp] and [etr.tcp]": config.TcpConfig,
    "[[site]]": config.SiteConfig,
    "[[site.eid-prefix]]": config.SitePrefixConfig,
    "[[site.xtr]]": config.SiteXtrConfig,
    "Keys": config.KeyConfig,
    "[map-resolver]": config.MapResolverConfig,
    "[[map-resolver.map-server]]": config.ResolverMapServerConfig,
    "[[map-resolver.map-server.eid-prefix]]": config.ServedPrefixConfig,
    "[etr]": config.EtrConfig,
    "[[etr.map-server]]": config.EtrMapServerConfig,
    "[[etr.mapping]]": config.MappingConfig,
    "Locators": config.LocatorConfig,
    "[management]": config.ManagementConfig,
}
"""Heading on the configuration page to the model behind it."""


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / f"{name}.rst").read_text()


def headings(text: str) -> dict[str, str]:
    """Return each heading's text, and what stands below it up to the next one."""
    found = list(re.finditer(r"^(\S.*)\n([=~-])\2{2,}\n", text, re.MULTILINE))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match[1]: text[match.end() : end] for match, end in zip(found, ends, strict=True)}


def rows(text: str) -> list[list[str]]:
    """Return the rows of the first list-table, without its header, cells as one line each."""
    _before, _directive, table = text.partition(".. list-table::")
    body = re.match(r".*\n(?:(?: {3,}.*)?\n)*", table)
    assert body is not None
    cells = re.split(r"^   (\*| ) - ?", body[0] + "\n", flags=re.MULTILINE)[1:]
    found: list[list[str]] = []
    for mark, cell in zip(cells[::2], cells[1::2], strict=True):
        if mark == "*":
            found.append([])
        found[-1].append(" ".join(cell.split()))
    return found[1:]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks in a language."""
    pattern = rf"^\.\. code-block:: {language}\n((?:(?: +.*)?\n)+)"
    return [
        re.sub(r"^ {4}", "", match[1], flags=re.MULTILINE)
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


def written(value: object) -> str:
    """Return a default as the page writes it."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, config.SocketAddress):
        value = str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value)


def options(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return each field by its name in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


class ConfigurationPageTests(SynchronousTestCase):
    """docs/configuration.rst and lispmsrt/config/."""

    def setUp(self) -> None:
        self.sections = headings(page("configuration"))

    def test_every_option_has_its_row_and_every_row_its_option(self) -> None:
        """The keys of each table are those of its model, in the same order."""
        for heading, model in SECTIONS.items():
            keys = [row[0].strip("`") for row in rows(self.sections[heading])]
            self.assertEqual(keys, list(options(model)), heading)

    def test_every_model_has_its_table(self) -> None:
        """A section that is added to the configuration is added to the page."""
        models = {
            value
            for value in vars(config).values()
            if isinstance(value, type) and issubclass(value, config.Config.__mro__[1])
        }
        models -= {config.Config.__mro__[1], config.SocketAddress}
        self.assertEqual(models, set(SECTIONS.values()))

    def test_defaults(self) -> None:
        """Each default is that of the model."""
        for heading, model in SECTIONS.items():
            for row in rows(self.sections[heading]):
                key, _type, shown, _meaning = row
                default = options(model)[key.strip("`")].default
                if default is PydanticUndefined:
                    expected = ("required",)
                elif default is None:
                    expected = ("none",)
                elif isinstance(default, config.TcpConfig | config.SubscriptionsConfig):
                    expected = ("see below", "see above")
                else:
                    expected = (f"``{written(default)}``",)
                self.assertIn(shown, expected, f"{heading} {key}")

    def test_ports(self) -> None:
        """The page names every default port of an endpoint string."""
        text = " ".join(self.sections["Endpoint strings"].split())
        for kind, port in config.DEFAULT_PORTS.items():
            self.assertRegex(text, rf"``{kind}``[^.]* {port}\b")


class TransportsPageTests(SynchronousTestCase):
    """docs/transports.rst and the endpoint strings."""

    def test_every_option_has_its_row_and_every_row_its_option(self) -> None:
        """Both roles of every prefix, in the same order."""
        sections = headings(page("transports"))
        for parser in PARSERS:
            module = import_module(parser.module)
            for role, make in (
                ("a Map-Server", module.server_endpoint),
                ("an ETR", module.client_endpoint),
            ):
                shown = rows(sections[f"Options of ``{parser.prefix}`` on {role}"])
                _reactor, *parameters = inspect.signature(make).parameters.values()
                self.assertEqual(
                    [row[0].strip("`") for row in shown],
                    [parameter.name for parameter in parameters],
                    f"{parser.prefix} on {role}",
                )
                for row, parameter in zip(shown, parameters, strict=True):
                    if parameter.default and parameter.default is not parameter.empty:
                        self.assertEqual(row[1].strip("`"), parameter.default)


class SampleTests(SynchronousTestCase):
    """Code blocks."""

    def test_toml_samples_are_complete_configurations(self) -> None:
        """Each parses; each role has one, and a Map-Server together with each of the others."""
        roles = set()
        token = Path(self.mktemp())
        token.write_text("a-token-of-many-letters")
        token.chmod(0o600)
        for name in PAGES:
            for sample in blocks(page(name), "toml"):
                parsed = config.parse(re.sub(_SECRET_FILE, str(token), sample), name)
                roles.add(tuple(role is not None for role in parsed.roles()))
        alone = {(True, False, False), (False, True, False), (False, False, True)}
        self.assertEqual(roles, alone | {(True, True, False), (True, False, True)})

    def test_python_samples_compile_and_use_public_names(self) -> None:
        """What they import from lispmsrt is public."""
        samples = blocks(page("embedding"), "python")
        self.assertTrue(samples)
        for sample in samples:
            for node in ast.walk(ast.parse(sample)):
                if isinstance(node, ast.ImportFrom) and node.module == "lispmsrt":
                    names = {alias.name for alias in node.names}
                    self.assertLessEqual(names, set(lispmsrt.__all__))

    def test_public_names_are_listed(self) -> None:
        """The embedding page's first table has all of them and no others."""
        cells = (row[0] for row in rows(page("embedding")))
        names = {name for cell in cells for name in re.findall(r"``(\w+)``", cell)}
        self.assertEqual(names, set(lispmsrt.__all__))


class RulePages:
    """A page whose first part says of each rule its state and its tests, and whose second part has
    the decisions that code refers to by their headings. Mix it into a TestCase.
    """

    name: str
    at_least: int
    "how many rules there are"

    def first_part(self) -> str:
        """Return the text of the rules."""
        first, heading, _second = page(self.name).partition("\nPart two: decisions\n")
        assert heading
        return first

    def rules(self) -> list[list[str]]:
        """Return rule, source, state and tests of all tables of the first part."""
        return [
            row
            for text in headings(self.first_part()).values()
            if ".. list-table::" in text
            for row in rows(text)
        ]

    def test_every_test_named_exists(self) -> None:
        """``module.class.method``."""
        named = _tests_named(page(self.name))
        self.assertTrue(named)
        missing = [".".join(name) for name in sorted(named) if not _exists(*name)]
        self.assertEqual(missing, [])

    def test_every_heading_that_code_names_exists(self) -> None:
        """Comments and docstrings say ``docs/PAGE.rst, "Heading"``, or a heading and a number."""
        known = headings(page(self.name))
        for heading, number in _headings_named(self.name):
            self.assertIn(heading, known)
            if number:
                self.assertRegex(known[heading], rf"(?m)^{number}\. ")

    def test_states(self) -> None:
        """Each rule has one of the three states."""
        rules = self.rules()
        self.assertGreater(len(rules), self.at_least)
        for rule in rules:
            self.assertEqual(len(rule), 4, rule)
            self.assertRegex(rule[2], r"^(done|not yet|left out)\b", rule[0])


class DraftPageTests(RulePages, SynchronousTestCase):
    """docs/draft.rst, the tests it names and the comments that name its headings."""

    name = "draft"
    at_least = 60

    def test_code_names_headings(self) -> None:
        """They are found at all."""
        self.assertIn(("Arming", "8"), _headings_named(self.name))

    def test_arming_has_nine_rules(self) -> None:
        """They are referred to by their numbers."""
        numbers = re.findall(r"(?m)^(\d+)\. ", headings(page("draft"))["Arming"])
        self.assertEqual(numbers, [str(number) for number in range(1, 10)])


class SpecificationsPageTests(RulePages, SynchronousTestCase):
    """docs/specifications.rst, likewise."""

    name = "specifications"
    at_least = 140

    def test_what_is_done_has_a_test(self) -> None:
        """At least one for each rule."""
        for rule, _source, state, tests in self.rules():
            if state.startswith("done"):
                self.assertTrue(_tests_named(tests), rule)

    def test_what_is_not_done_has_its_reason(self) -> None:
        """Whether it is to come or not."""
        for rule, _source, state, _tests in self.rules():
            if not state.startswith("done"):
                self.assertRegex(state, r"^(not yet|left out), because \w+", rule)

    def test_every_specification_has_its_section(self) -> None:
        """In the order of the page's introduction."""
        first = list(headings(self.first_part()))
        for name in ("9300", "9301", "8060", "8111", "9302", "9303", "9437", "9735"):
            self.assertTrue([one for one in first if one.startswith(f"RFC {name}: ")], name)
        self.assertIn("draft-kouvelas-lisp-rloc-membership-01", first)


class RenderTests(SynchronousTestCase):
    """docutils."""

    def test_links_between_pages(self) -> None:
        """Every page that is linked exists, with its heading."""
        for name in PAGES:
            for link, anchor in re.findall(r"<([\w/.-]+)\.rst(?:#([\w-]+))?>`__", page(name)):
                target = os.path.normpath(Path(name).parent / link)
                self.assertIn(target, PAGES)
                if anchor:
                    anchors = {
                        re.sub(r"\W+", "-", heading.lower()).strip("-")
                        for heading in headings(page(target))
                    }
                    self.assertIn(anchor, anchors, f"{name}: {target}#{anchor}")

    @skipIf(publish_string is None, "docutils is not installed")
    def test_pages_render_without_warnings(self) -> None:
        """Warnings are errors here."""
        settings = {
            "halt_level": 2,
            "report_level": 2,
            "syntax_highlight": "none",
            "embed_stylesheet": False,
            "stylesheet_path": "",
            "warning_stream": False,
        }
        for name in PAGES:
            html = publish_string(
                page(name),
                source_path=f"{name}.rst",
                writer="html5",
                settings_overrides=settings,
            )
            self.assertIn(b"<title>", html)


def _exists(module: str, class_name: str, method: str) -> bool:
    path = ROOT / "tests" / f"{module}.py"
    if not path.exists():
        return False
    return any(
        isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name == method
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
        for item in node.body
    )


def _tests_named(text: str) -> set[tuple[str, str, str]]:
    """Find (module, class, method) of every test that is named."""
    return set(re.findall(r"``(test_\w+)\.(\w+)\.(test_\w+)``", text))


def _headings_named(name: str) -> set[tuple[str, str]]:
    """Find (heading, number or nothing) in everything that refers to a page."""
    named: set[tuple[str, str]] = set()
    for folder in ("lispmsrt", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == Path(__file__).resolve():
                continue
            # A reference may go on behind the next line's comment sign.
            text = re.sub(r"\s*\n\s*#?\s*", " ", path.read_text())
            for match in re.finditer(
                rf'docs/{name}\.rst[ ,:(]*(?:"([^"]+)"|([A-Z][a-z]+) (\d+)\b)', text
            ):
                named.add((match[1] or match[2], match[3] or ""))
    return named
