"""What is packaged: a wheel and a checkout both show the plugin, and it loads next to nothing.

Wheel and sdist are built from a copy of the checkout, without network: the running environment has
setuptools and all dependencies. The child Pythons run with -S, so that an editable install of the
running environment (a .pth file) cannot stand in for what is being tested.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent
PLUGIN = "twisted/plugins/lispmsrt_plugin.py"

_SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.rst", "NEWS.rst", "LICENSE")
_TREES = ("lispmsrt", "twisted")
_BUILT = shutil.ignore_patterns("_*.c", "_*.so", "__pycache__")
_COMPILED = "lispmsrt/wire/_keyed_hash"
"""One module is compiled for the wheel: all take more than a minute."""

_TWISTD = "from twisted.scripts.twistd import run; run()"
_WHERE = "import twisted.plugins.lispmsrt_plugin as plugin; print(plugin.__file__)"
_LOADED_BY_IMPORT = "import sys, twisted.plugins.lispmsrt_plugin; print(*sys.modules)"
_LOADED_BY_SCAN = """
import sys
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
assert "lispmsrt" in {plugin.tapname for plugin in getPlugins(IServiceMaker)}
print(*sys.modules)
"""


def _run(*command: str | Path, cwd: Path, path: Iterable[Path] = (), isolated: bool = True) -> str:
    """Run Python with the command's arguments; return what it printed, fail with all of it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"LISPMSRT_BUILD": f"{_COMPILED}.pyx"}
    if isolated:
        dependencies = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))
        environment["PYTHONPATH"] = os.pathsep.join(str(p) for p in (*path, *dependencies))
    done = subprocess.run(
        [sys.executable, *(["-S"] if isolated else []), *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    if done.returncode:
        raise AssertionError(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _commands(help_text: str) -> list[str]:
    """Return the first word of every line: the commands in the help of twist or twistd."""
    return [line.split()[0] for line in help_text.splitlines() if line.split()]


class _PluginListing:
    """The tests of a place where the plugin must be found."""

    place: Path
    cwd: Path

    def test_twistd_lists_the_command(self) -> None:
        """`twistd --help` shows lispmsrt."""
        listed = _commands(_run("-c", _TWISTD, "--help", cwd=self.cwd, path=[self.place]))
        self.assertIn("lispmsrt", listed)

    def test_python_m_twisted_lists_the_command(self) -> None:
        """`python -m twisted --help` shows lispmsrt."""
        listed = _commands(_run("-m", "twisted", "--help", cwd=self.cwd, path=[self.place]))
        self.assertIn("lispmsrt", listed)

    def test_the_plugin_is_the_one_of_this_place(self) -> None:
        """What was listed is not some other installation's."""
        where = _run("-c", _WHERE, cwd=self.cwd, path=[self.place]).strip()
        self.assertEqual(where, str(self.place / PLUGIN))


class CheckoutTests(_PluginListing, SynchronousTestCase):
    """A checkout on the path."""

    place = CHECKOUT
    cwd = CHECKOUT

    def test_twisted_directories_stay_namespace_packages(self) -> None:
        """An __init__.py would shadow Twisted, or hide our plugin."""
        self.assertFalse((CHECKOUT / "twisted/__init__.py").exists())
        self.assertFalse((CHECKOUT / "twisted/plugins/__init__.py").exists())

    def _assert_bare(self, loaded: str) -> None:
        modules = set(loaded.split())
        self.assertIn("twisted.plugins.lispmsrt_plugin", modules)
        for forbidden in ("twisted.internet.reactor", "lispmsrt.tap", "aioquic", "pydantic"):
            self.assertNotIn(forbidden, modules)

    def test_importing_the_plugin_loads_next_to_nothing(self) -> None:
        """Every program that lists plugins imports it: no reactor, no tap, nothing optional."""
        self._assert_bare(_run("-c", _LOADED_BY_IMPORT, cwd=CHECKOUT, path=[CHECKOUT]))

    def test_listing_plugins_loads_next_to_nothing(self) -> None:
        """The same for a scan of all service makers."""
        self._assert_bare(_run("-c", _LOADED_BY_SCAN, cwd=CHECKOUT, path=[CHECKOUT]))


class EnvironmentTests(SynchronousTestCase):
    """The environment that runs the tests, if lispmsrt is installed in it."""

    def test_an_editable_install_shows_the_command(self) -> None:
        """As `make` installs it (editable_mode=compat), seen from elsewhere."""
        elsewhere = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, elsewhere)
        try:
            _run("-c", "import lispmsrt", cwd=elsewhere, isolated=False)
        except AssertionError as not_installed:
            raise SkipTest("lispmsrt is not installed here, only on the path") from not_installed
        listed = _commands(_run("-c", _TWISTD, "--help", cwd=elsewhere, isolated=False))
        self.assertIn("lispmsrt", listed)


@dataclass(frozen=True)
class _Built:
    """What the packaging of this checkout gave."""

    sdist: Path
    wheel: Path
    site: Path
    """The wheel, installed."""


@functools.cache
def _built() -> _Built:
    """Build sdist and wheel, and install the wheel: once, since it takes some seconds."""
    scratch = Path(tempfile.mkdtemp(dir=Path.cwd()))  # trial's own directory, which it cleans
    source, built, site = scratch / "source", scratch / "built", scratch / "site"
    source.mkdir()
    for name in _SOURCES:
        shutil.copy(CHECKOUT / name, source)
    for name in _TREES:
        shutil.copytree(CHECKOUT / name, source / name, ignore=_BUILT)
    # A used checkout has a plugin cache; no package may.
    (source / "twisted/plugins/dropin.cache").touch()
    build_sdist = f"from setuptools import build_meta; build_meta.build_sdist({str(built)!r})"
    _run("-c", build_sdist, cwd=source)
    (sdist,) = built.glob("*.tar.gz")
    pip = ("-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index")
    build = ("wheel", *offline, "--no-build-isolation", "--wheel-dir", built, sdist)
    _run(*pip, *build, cwd=scratch)
    (wheel,) = built.glob("*.whl")
    _run(*pip, "install", *offline, "--no-compile", "--target", site, wheel, cwd=scratch)
    return _Built(sdist, wheel, site)


class WheelTests(_PluginListing, SynchronousTestCase):
    """A wheel, built from the sdist and installed."""

    def setUp(self) -> None:
        """Look from a directory where nothing is."""
        if int(version("setuptools").partition(".")[0]) < 77:
            raise SkipTest("setuptools 77 or newer is needed to build the wheel (extra `test`)")
        self.place = _built().site
        self.cwd = Path(self.mktemp()).resolve()
        self.cwd.mkdir(parents=True)

    def test_sdist_holds_what_is_needed_to_build(self) -> None:
        """And nothing that a run leaves behind."""
        with tarfile.open(_built().sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        compiled = (f"{_COMPILED}.pyx", f"{_COMPILED}.pxd", f"{_COMPILED}.pyi")
        for needed in ("lispmsrt/py.typed", "lispmsrt/__init__.py", PLUGIN, *_SOURCES, *compiled):
            self.assertIn(needed, names)
        self.assertNotIn("twisted/plugins/dropin.cache", names)
        self.assertNotIn(f"{_COMPILED}.c", names)

    def test_wheel_holds_package_marker_and_plugin(self) -> None:
        """And neither Twisted's own __init__.py files nor a plugin cache."""
        with zipfile.ZipFile(_built().wheel) as archive:
            names = set(archive.namelist())
        for needed in ("lispmsrt/py.typed", "lispmsrt/__init__.py", PLUGIN):
            self.assertIn(needed, names)
        others = {name for name in names if not name.startswith(("lispmsrt/", "lispmsrt-"))}
        self.assertEqual(others, {PLUGIN})

    def test_wheel_holds_every_module_of_the_checkout(self) -> None:
        """A sub-package without an __init__.py would be left out silently."""
        with zipfile.ZipFile(_built().wheel) as archive:
            names = set(archive.namelist())
        modules = {str(p.relative_to(CHECKOUT)) for p in CHECKOUT.glob("lispmsrt/**/*.py")}
        self.assertEqual(modules - names, set())

    def test_wheel_holds_compiled_modules_that_work(self) -> None:
        """Built by the ordinary `pip install`, and found by the module whose twin they are."""
        made = list(_built().site.glob(f"{_COMPILED}.*.so"))
        self.assertEqual(len(made), 1)
        where = "from lispmsrt.wire.authentication import _keyed_hash; print(_keyed_hash.__file__)"
        found = _run("-c", where, cwd=self.cwd, path=[self.place]).strip()
        self.assertEqual(found, str(made[0]))

    def test_wheel_declares_the_console_script_and_extras(self) -> None:
        """`lispmsrt` on the command line; quic and sctp by choice."""
        (info,) = _built().site.glob("lispmsrt-*.dist-info")
        self.assertIn("lispmsrt = lispmsrt.cli:main", (info / "entry_points.txt").read_text())
        metadata = (info / "METADATA").read_text()
        for extra in ("quic", "sctp"):
            self.assertIn(f"Provides-Extra: {extra}\n", metadata)
