"""An ETR's identity: xTR-ID, Site-ID, and a nonce that only ever grows, across restarts too (RFC
9301 §5.6).
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from lispmsrt.config import EtrConfig

__all__ = ["EtrIdentity", "StateError"]

_FILE = "etr-identity.json"

_RESERVE = 1 << 32
"""Nonces that are put aside in the file at a time: a crash loses the rest of these, never the
order.
"""

_RETRY = 1 << 10
"""Nonces after which a file that could not be written is tried again."""

_MASK = (1 << 64) - 1
_MOST = _MASK + _RESERVE

_MAX_SET_ASIDE = 3
"""Damaged files that are kept for somebody to look at."""

_log = Logger()


class StateError(Exception):
    """The state directory can't be used; the text names the file and says why."""


class EtrIdentity:
    """xTR-ID, Site-ID and nonces. Without a state directory, nonces start from the wall clock's
    nanoseconds.
    """

    def __init__(
        self,
        xtr_id: bytes,
        site_id: int,
        *,
        first_nonce: int,
        keep: Callable[[int], None] = lambda nonce: None,
    ) -> None:
        self.ids = xtr_id + site_id.to_bytes(8, "big")
        self._nonce = first_nonce
        self._keep = keep
        self._reserved = first_nonce
        self._is_behind = False
        "whether the file says less than was used"

    @classmethod
    def from_config(
        cls, config: EtrConfig, wall_clock_ns: Callable[[], int] = time.time_ns
    ) -> EtrIdentity:
        """Read the state directory if there is one; make an xTR-ID where there is none yet. What is
        made is kept from the first :meth:`save` on.

        StateError when the directory can't be read.
        """
        if config.state_dir is None:
            assert config.xtr_id is not None
            return cls(config.xtr_id, config.site_id, first_nonce=wall_clock_ns())
        # The daemon may change its directory later.
        path = Path(config.state_dir).absolute() / _FILE
        kept_id, kept_nonce = _read(path, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        xtr_id = config.xtr_id or kept_id or secrets.token_bytes(16)
        return cls(
            xtr_id,
            config.site_id,
            first_nonce=max(wall_clock_ns(), kept_nonce),
            keep=lambda nonce: _write(path, {"xtr-id": xtr_id.hex(), "nonce": nonce}),
        )

    def next_nonce(self) -> int:
        """Return a nonce greater than all before."""
        self._nonce += 1
        if self._nonce > self._reserved:
            self._reserve()
        return self._nonce & _MASK

    def _reserve(self) -> None:
        reserved = self._nonce + _RESERVE
        try:
            self._keep(reserved)
        except StateError as failure:
            # An ETR that stopped registering for a full disk would be worse off than one whose
            # order depends on the wall clock, and that only if it crashes now.
            reserved = self._nonce + _RETRY
            if not self._is_behind:
                _log.error(
                    "{reason}: nonces go on, and after a crash the wall clock decides where",
                    reason=failure,
                )
            self._is_behind = True
        else:
            self._is_behind = False
        self._reserved = reserved

    def save(self) -> None:
        """Give back what was reserved and not used; StateError when it can't be written."""
        self._keep(self._nonce)
        self._reserved = self._nonce


def _read(path: Path, timestamp: str) -> tuple[bytes | None, int]:
    """Return xTR-ID and nonce as they were kept.

    A damaged file is set aside: what it says may be wrong, and without it there are a new xTR-ID,
    which the Map-Server takes for another ETR's, and nonces from the wall clock.
    """
    try:
        kept = json.loads(path.read_text())
        xtr_id, nonce = bytes.fromhex(kept["xtr-id"]), int(kept["nonce"])
        if len(xtr_id) == 16 and 0 <= nonce <= _MOST:
            return xtr_id, nonce
    except FileNotFoundError:
        return None, 0
    except OSError as failure:
        raise StateError(f"{path} can't be read: {failure.strerror}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass
    _set_aside(path, timestamp)
    return None, 0


def _set_aside(path: Path, timestamp: str) -> None:
    aside = path.with_name(f"{path.name}.damaged-{timestamp}")
    _log.error(
        "{path} is damaged; it is kept as {aside}, and the ETR begins with a new xTR-ID unless one"
        " is configured",
        path=str(path),
        aside=aside.name,
    )
    try:
        os.replace(path, aside)
        for old in sorted(path.parent.glob(f"{path.name}.damaged-*"))[:-_MAX_SET_ASIDE]:
            old.unlink()
    except OSError as failure:
        raise StateError(f"{path} can't be set aside: {failure.strerror}") from None


def _write(path: Path, state: dict[str, object]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".new")
        # What a crash has left, or somebody has put there to have it followed.
        partial.unlink(missing_ok=True)
        with open(partial, "w", opener=_open_private) as file:
            json.dump(state, file)
            file.flush()
            # Before the name is moved: else a power cut may leave an empty file.
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as failure:
        raise StateError(f"{path} can't be written: {failure.strerror}") from None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_EXCL, 0o600)
