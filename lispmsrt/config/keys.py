"""Pre-shared keys as a configuration writes them. Secrets never appear in what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from lispmsrt.config.secret_files import read_secret_file
from lispmsrt.config.section import Section
from lispmsrt.wire.authentication import ALGORITHM_NAMES, Coverage, Key

__all__ = ["KeyConfig"]

ALGORITHMS = {name: algorithm for algorithm, name in ALGORITHM_NAMES.items()}


class KeyConfig(Section):
    """A pre-shared key. Several may share an ID, so that a key can be rotated without an outage."""

    id: int = Field(default=0, strict=True, ge=0, le=255)
    algorithm: Literal[
        "none", "hmac-sha-1-96", "hmac-sha-256-128", "hmac-sha256-128+hkdf-sha256"
    ] = "hmac-sha-256-128"
    secret: SecretStr | None = Field(default=None, min_length=1)
    secret_file: Annotated[Path, AfterValidator(lambda path: _readable(path))] | None = None
    "a file with the secret and nothing else; one line feed at its end does not count"
    mac_coverage: Literal["whole-message", "records"] | None = None
    "what is signed; without it, records for HKDF keys and the whole message for others"
    truncate_mac: bool = Field(default=False, strict=True)
    "send the 12 or 16 octets of the algorithm's name, not the whole digest; both are accepted"

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.algorithm != "none" and (self.secret is None) == (self.secret_file is None):
            raise ValueError("a key needs either secret or secret-file")
        return self

    def to_key(self) -> Key:
        """Return the key itself."""
        if self.secret is not None:
            secret = self.secret.get_secret_value().encode()
        else:
            secret = _read_secret(self.secret_file) if self.secret_file else b""
        coverage = {
            None: None,
            "whole-message": Coverage.WHOLE_MESSAGE,
            "records": Coverage.RECORDS,
        }[self.mac_coverage]
        return Key(
            self.id,
            ALGORITHMS[self.algorithm],
            secret,
            coverage=coverage,
            is_truncated=self.truncate_mac,
        )


def _read_secret(path: Path) -> bytes:
    secret = read_secret_file(path, "secret-file").removesuffix(b"\n")
    if not secret:
        raise ValueError(f"secret-file {path} is empty")
    return secret


def _readable(path: Path) -> Path:
    _read_secret(path)
    return path
