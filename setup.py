"""Name the packages to install, and the modules to compile; all other metadata is in
pyproject.toml.

They are listed here because the plugin directory `twisted/plugins` is part of Twisted's package and
must not have an `__init__.py`, so that no automatic discovery finds it.

Each `_NAME.pyx` is the compiled twin of what `NAME.py` says in Python (docs/performance.rst). Where
there is no compiler the Python alone is installed. Environment: LISPMSRT_PURE=1 compiles nothing;
LISPMSRT_BUILD=PATH... compiles these only.
"""

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None

_DIRECTIVES = {
    "language_level": 3,
    "wraparound": False,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": False,
}


def _extensions():
    if cythonize is None or os.environ.get("LISPMSRT_PURE"):
        return []
    named = os.environ.get("LISPMSRT_BUILD", "").split()
    sources = named or sorted(str(path) for path in Path("lispmsrt").rglob("*.pyx"))
    extensions = [
        Extension(
            source.removesuffix(".pyx").replace("/", "."),
            [source],
            libraries=["dl"],
            extra_compile_args=["-O3", "-Wno-unreachable-code"],
            optional=True,
        )
        for source in sources
    ]
    return cythonize(extensions, compiler_directives=_DIRECTIVES, quiet=True)


setup(
    packages=[*find_packages(include=["lispmsrt*"]), "twisted.plugins"],
    ext_modules=_extensions(),
    package_data={
        "": ["*.pyi", "*.pxd"],
        "lispmsrt": ["py.typed"],
        "lispmsrt.web": ["static/*", "static/*/*", "static/*/*/*"],
    },
)
