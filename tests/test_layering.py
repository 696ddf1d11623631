"""Imports point one way, and the protocol core knows neither Twisted nor time nor sockets."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CHECKOUT = Path(__file__).resolve().parent.parent
_PACKAGE = _CHECKOUT / "lispmsrt"

_LAYERS: tuple[tuple[str, ...], ...] = (
    ("lispmsrt.bucket", "lispmsrt.compiled", "lispmsrt.version"),
    ("lispmsrt.wire",),
    ("lispmsrt.mapping",),
    ("lispmsrt.session", "lispmsrt.control"),
    (
        "lispmsrt.clock",
        "lispmsrt.histogram",
        "lispmsrt.logs",
        "lispmsrt.management_socket",
        "lispmsrt.sockets",
    ),
    ("lispmsrt.config", "lispmsrt.protocols"),
    ("lispmsrt.identity",),
    ("lispmsrt.transports",),
    ("lispmsrt.storage",),
    ("lispmsrt.services",),
    ("lispmsrt.views", "lispmsrt.swarm"),
    ("lispmsrt.web",),
    ("lispmsrt", "lispmsrt.tap"),
    ("lispmsrt.cli",),
    ("lispmsrt.__main__",),
)
"""From the bottom: a module imports from lower layers, and from its own package."""

_CORE = ("lispmsrt.wire", "lispmsrt.mapping", "lispmsrt.session", "lispmsrt.control")
_NOT_IN_THE_CORE = {"logging", "select", "socket", "threading", "time", "twisted", "zope"}
_MEETS_THE_REACTOR = {"lispmsrt.tap"}


def _modules() -> Iterator[tuple[str, str]]:
    """Yield name and text of every module of the package."""
    for path in sorted(_PACKAGE.rglob("*.py")):
        parts = path.relative_to(_CHECKOUT).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path.read_text()


def _imports(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports, inside functions too, and whether for type checkers only."""
    tree = ast.parse(text)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            assert node.module is not None
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in for_types


def _layer(name: str) -> tuple[int, str]:
    """Return the number of a module's layer and the package there that it belongs to."""
    found = [
        (len(package), number, package)
        for number, layer in enumerate(_LAYERS)
        for package in layer
        if name == package or name.startswith(f"{package}.")
    ]
    # The longest name: `lispmsrt` alone is the public face of the package.
    _length, number, package = max(found)
    return number, package


def _violations(name: str, text: str) -> list[str]:
    """Say what is wrong with a module's imports."""
    found = []
    number, package = _layer(name)
    for imported, is_for_types in _imports(text):
        top = imported.partition(".")[0]
        if top == "lispmsrt":
            if is_for_types and name == "lispmsrt":
                continue
            other, other_package = _layer(imported)
            if other_package != package and other >= number:
                found.append(f"{name} imports {imported}: not a lower layer")
        elif package in _CORE and top in _NOT_IN_THE_CORE:
            found.append(f"{name} imports {imported}: the core does without")
        elif package == "lispmsrt.wire" and top not in sys.stdlib_module_names:
            found.append(f"{name} imports {imported}: wire needs the standard library only")
        if imported == "twisted.internet.reactor" and name not in _MEETS_THE_REACTOR:
            found.append(f"{name} imports the global reactor")
    return found


class LayeringTests(SynchronousTestCase):
    """The package as it is."""

    def test_imports_point_down(self) -> None:
        """Wire, mapping, session and control, protocols, services, tap and cli."""
        found = [problem for name, text in _modules() for problem in _violations(name, text)]
        self.assertEqual(found, [])

    def test_every_module_has_its_place(self) -> None:
        """None is found by the name of the package alone."""
        names = [name for name, _text in _modules() if name != "lispmsrt"]
        self.assertGreater(len(names), 50)
        self.assertEqual([name for name in names if _layer(name)[1] == "lispmsrt"], [])

    def test_session_and_control_do_not_know_each_other(self) -> None:
        """What both need is in mapping."""
        for name, text in _modules():
            for one, other in (("session", "control"), ("control", "session")):
                if name.startswith(f"lispmsrt.{one}"):
                    for imported, _is_for_types in _imports(text):
                        self.assertFalse(imported.startswith(f"lispmsrt.{other}"), name)

    def test_modules_keep_to_their_size(self) -> None:
        """At most 400 lines, in the rim."""
        for name, text in _modules():
            if _layer(name)[0] >= _layer("lispmsrt.clock")[0]:
                self.assertLessEqual(len(text.splitlines()), 400, name)


class WrongSampleTests(SynchronousTestCase):
    """The test itself sees what it is there for."""

    def _assert_wrong(self, name: str, text: str, *words: str) -> None:
        (problem,) = _violations(name, text)
        for word in words:
            self.assertIn(word, problem)

    def test_an_import_of_a_higher_layer_is_seen(self) -> None:
        """In all its forms."""
        for text in (
            "import lispmsrt.services.etr",
            "from lispmsrt.services.etr import Etr",
            "from lispmsrt.services import etr",
            "from lispmsrt import services",
            "from lispmsrt import Etr",
            "def late():\n    from lispmsrt.services.etr import Etr",
            "if TYPE_CHECKING:\n    from lispmsrt.services.etr import Etr",
        ):
            self._assert_wrong("lispmsrt.session.etr", text, "not a lower layer")

    def test_an_import_across_a_layer_is_seen(self) -> None:
        """Session and control stand side by side."""
        text = "from lispmsrt.session.etr import EtrSession"
        self._assert_wrong("lispmsrt.control.etr", text, "not a lower layer")
        self.assertEqual(_violations("lispmsrt.session.base", text), [])

    def test_twisted_time_and_sockets_in_the_core_are_seen(self) -> None:
        """And allowed in the rim."""
        for text in ("import time", "import socket", "from twisted.python import failure"):
            self._assert_wrong("lispmsrt.mapping.registrar", text, "the core does without")
            self.assertEqual(_violations("lispmsrt.protocols", text), [])

    def test_a_third_party_in_wire_is_seen(self) -> None:
        """Nobody installs anything for a codec."""
        self._assert_wrong("lispmsrt.wire.afi", "import pydantic", "standard library")

    def test_the_global_reactor_is_seen(self) -> None:
        """Wherever it is imported, but in tap."""
        for text in (
            "from twisted.internet import reactor",
            "import twisted.internet.reactor",
            "def run():\n    from twisted.internet import reactor",
        ):
            self._assert_wrong("lispmsrt.services.etr", text, "global reactor")
            self.assertEqual(_violations("lispmsrt.tap", text), [])

    def test_a_relative_import_is_seen(self) -> None:
        """It would slip through by its name."""
        self.assertRaises(AssertionError, _violations, "lispmsrt.wire.afi", "from . import errors")
