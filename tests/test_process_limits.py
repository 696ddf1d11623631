"""What a daemon asks of the kernel at its start: file descriptors, and no core dumps."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import parse_config
from lispmsrt.config.secret_files import has_secrets
from lispmsrt.services import process_limits
from lispmsrt.services.process_limits import (
    SPARE_DESCRIPTORS,
    allow_descriptors,
    descriptors_needed,
    forbid_core_dumps,
)
from tests.rim import map_server_text


class _Resource:
    """The kernel's limits of a process, in memory."""

    RLIM_INFINITY, RLIMIT_NOFILE, RLIMIT_CORE = -1, 7, 4

    def __init__(self, soft: int, hard: int, *, refuses: bool = False) -> None:
        self.limits = {self.RLIMIT_NOFILE: (soft, hard), self.RLIMIT_CORE: (soft, hard)}
        self._refuses = refuses

    def getrlimit(self, which: int) -> tuple[int, int]:
        """As the module's."""
        return self.limits[which]

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        """Likewise."""
        if self._refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.limits[which] = limits


class LimitTests(SynchronousTestCase):
    """File descriptors, core dumps, and who may read the keys."""

    def test_the_soft_limit_is_raised_as_far_as_is_needed(self) -> None:
        """To the hard one at most, and never lowered."""
        for soft, hard, needed, expected in (
            (1024, 4096, 2000, 2000),
            (1024, 4096, 9000, 4096),
            (1024, -1, 9000, 9000),
            (5000, 9000, 2000, 5000),
            (-1, -1, 2000, 2000),
        ):
            kernel = _Resource(soft, hard)
            self.patch(process_limits, "resource", kernel)
            self.assertEqual(allow_descriptors(needed), expected)
            self.assertEqual(kernel.limits[7], (soft if soft == -1 else expected, hard))

    def test_where_the_system_refuses_it_stays(self) -> None:
        """Nothing fails for it."""
        self.patch(process_limits, "resource", _Resource(1024, -1, refuses=True))
        self.assertEqual(allow_descriptors(5000), 1024)
        forbid_core_dumps()

    def test_what_sessions_need(self) -> None:
        """One each, but for QUIC, whose sessions share one."""
        for endpoints, expected in (('"tcp:4342"', 500), ('"quic:4343"', 0), ("", 0)):
            config = parse_config(
                f"[map-server]\nmax-sessions = 500\nreliable-transport = [{endpoints}]\n"
            ).map_server
            assert config is not None
            self.assertEqual(descriptors_needed(config), expected + SPARE_DESCRIPTORS)

    def test_no_core_is_dumped(self) -> None:
        """By whatever limit it was started."""
        kernel = _Resource(1 << 30, 1 << 30)
        self.patch(process_limits, "resource", kernel)
        forbid_core_dumps()
        self.assertEqual(kernel.limits[4], (0, 1 << 30))

    def test_which_files_have_secrets(self) -> None:
        """Keys of sites and of an ETR; not where they are in files of their own."""
        key = Path(self.mktemp())
        key.write_text("secret")
        key.chmod(0o600)
        text = map_server_text()
        self.assertTrue(has_secrets(parse_config(text)))
        elsewhere = text.replace('secret = "campus secret"', f'secret-file = "{key.absolute()}"')
        self.assertFalse(has_secrets(parse_config(elsewhere)))
