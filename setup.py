"""Name the packages to install; all other metadata is in pyproject.toml.

They are listed here because the plugin directory `twisted/plugins` is part of Twisted's package and
must not have an `__init__.py`, so that no automatic discovery finds it.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["lispmsrt*"]), "twisted.plugins"],
    package_data={
        "lispmsrt": ["py.typed"],
        "lispmsrt.web": ["static/*", "static/*/*", "static/*/*/*"],
    },
)
