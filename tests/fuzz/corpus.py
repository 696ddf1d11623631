"""Where interesting octets are kept: a file for each target, a line of hex for each input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["CORPUS", "CRASHERS", "inputs", "write"]

_HERE = Path(__file__).parent
CORPUS = _HERE / "corpus"
"""What reaches something that nothing else reaches; made of the golden messages."""

CRASHERS = _HERE / "crashers"
"""What once broke something. Only ever added to."""


def inputs(directory: Path, target: str) -> Iterator[bytes]:
    """Yield the inputs of a target; lines that begin with ``#`` are for people."""
    path = directory / f"{target}.hex"
    if path.exists():
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                yield bytes.fromhex(line)


def write(directory: Path, target: str, found: Iterable[bytes]) -> None:
    """Replace the inputs of a target."""
    lines = sorted({one.hex() for one in found}, key=lambda line: (len(line), line))
    (directory / f"{target}.hex").write_text("".join(line + "\n" for line in lines))
