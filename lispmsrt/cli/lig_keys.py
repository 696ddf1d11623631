"""Keys that ``lispmsrt lig`` reads from files. In an argument they would be there for every user
of the host to see.
"""

from __future__ import annotations

from pathlib import Path

from lispmsrt.wire.authentication import AlgorithmId, Key

__all__ = ["key_from_file"]


def key_from_file(name: str, key_id: int, option: str, algorithm_id: AlgorithmId) -> Key:
    """Return the key with the secret in a file, read as the configuration's ``secret-file``.

    ValueError says what is wrong; ``option`` is what the key ID was given by.
    """
    if not 0 <= key_id <= 255:
        raise ValueError(f"{option} {key_id} does not fit 8 bits")
    path = Path(name)
    try:
        secret = path.read_bytes().removesuffix(b"\n")
    except OSError as failure:
        raise ValueError(f"{path} can't be read: {failure.strerror}") from None
    if not secret:
        raise ValueError(f"{path} is empty")
    return Key(key_id, algorithm_id, secret)
