"""Compiled twins: all are built where tests count, may be left out, and do what their Python
does.
"""

from __future__ import annotations

import gc
import hmac
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lispmsrt import compiled
from lispmsrt.compiled import PURE, is_compiled, twin
from lispmsrt.mapping.database import Lease, Registration, Xtr
from lispmsrt.wire.authentication import AlgorithmId, Key

_CHECKOUT = Path(__file__).resolve().parent.parent
_SOURCES = sorted(_CHECKOUT.glob("lispmsrt/**/*.pyx"))
_WITHOUT_PYTHON = {
    "_datagrams.pyx",  # Twisted has its own UDP port
    "_keyed_hash.pyx",  # hashlib is its Python
    "_leaves.pyx",  # where _eid_index keeps its prefixes
    "_many_entries.pyx",  # asks _eid_entries for many at once
}


def _name(source: Path) -> str:
    return ".".join(source.relative_to(_CHECKOUT).with_suffix("").parts)


class BuildTests(SynchronousTestCase):
    """What was built."""

    def test_every_twin_can_be_imported(self) -> None:
        """CI proves nothing about a module that it does not run."""
        if os.environ.get(PURE):
            raise SkipTest("pure Python is asked for")
        missing = [_name(source) for source in _SOURCES if twin(_name(source)) is None]
        if missing and not os.environ.get("CI"):
            raise SkipTest(f"not compiled here: {', '.join(missing)}")
        self.assertEqual(missing, [])
        self.assertTrue(_SOURCES)

    def test_each_stands_beside_its_python(self) -> None:
        """``_NAME.pyx`` is the twin of ``NAME.py``; type checkers are told of it by a stub where
        Python calls it.
        """
        alone = {
            source.name
            for source in _SOURCES
            if not (source.parent / f"{source.stem.removeprefix('_')}.py").exists()
        }
        self.assertEqual(alone, _WITHOUT_PYTHON)

    def test_nothing_compiled_is_used_when_pure_python_is_asked_for(self) -> None:
        """By one environment variable."""
        script = "from lispmsrt.compiled import is_compiled; print(is_compiled())"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {PURE: "1", "PYTHONPATH": str(_CHECKOUT)},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout, "False\n")

    def test_a_module_of_another_shape_is_left_alone(self) -> None:
        """Somebody has pulled and not built: Cython tells by ValueError, nothing by ImportError."""
        for failure in (ImportError("not built"), ValueError("size changed")):
            self.patch(compiled, "import_module", Mock(side_effect=failure))
            self.assertIsNone(twin("lispmsrt.wire._keyed_hash"))


class KeyedHashTests(SynchronousTestCase):
    """HMAC by OpenSSL's own functions."""

    def setUp(self) -> None:
        """Needs the module."""
        found = twin("lispmsrt.wire._keyed_hash")
        if found is None:
            raise SkipTest("nothing is compiled here")
        self.make = found.KeyedHash

    @given(st.sampled_from(["sha1", "sha256"]), st.binary(max_size=200), st.binary(max_size=300))
    def test_it_is_hmac(self, name: str, secret: bytes, covered: bytes) -> None:
        """Of keys shorter and longer than a block, and of anything, again and again."""
        keyed = self.make(name, secret)
        for _ in range(2):
            self.assertEqual(keyed.digest(covered), hmac.digest(secret, covered, name))

    def test_another_hash_is_refused(self) -> None:
        """LISP has these two."""
        self.assertRaises(ValueError, self.make, "md5", b"")

    def test_a_key_makes_the_same_authentication_data_with_and_without(self) -> None:
        """Whatever the algorithm."""
        for algorithm_id in AlgorithmId:
            key = Key(1, algorithm_id, b"secret")
            self.assertEqual(key.mac(b"covered"), key._mac(b"covered"))


class RegistrationTests(SynchronousTestCase):
    """A registration as a structure."""

    def test_it_holds_what_it_is_given(self) -> None:
        """And answers as the Python does."""
        lease = Lease(Xtr("campus", b"", b"\xc0\0\x02\x01"), "UDP", "192.0.2.1:4342", is_live=False)
        held = Registration(b"record", lease, 0x100, 12.5, None)
        self.assertEqual(
            (held.record, held.lease, held.flags, held.since, held.deadline),
            (b"record", lease, 0x100, 12.5, None),
        )
        self.assertTrue(held.wants_notification)
        self.assertIsNone(held.expires)
        lease.deadline = 20.0
        self.assertEqual(held.expires, 20.0)
        held.deadline, held.flags = 15.0, 0
        self.assertEqual(held.expires, 15.0)
        self.assertFalse(held.wants_notification)

    def test_the_garbage_collector_need_not_walk_over_millions(self) -> None:
        """It takes a tenth of a second for a million of what it knows."""
        if not is_compiled():
            raise SkipTest("nothing is compiled here")
        lease = Lease(Xtr("campus", b"", b""), "UDP", "", is_live=False)
        self.assertFalse(gc.is_tracked(Registration(b"", lease, 0, 0.0, None)))
