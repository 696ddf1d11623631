"""Read a configuration file; a wrong one gives every mistake at once."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from lispmsrt.config.mistakes import sentences
from lispmsrt.config.schema import Config

__all__ = ["ConfigError", "load", "parse"]


class ConfigError(Exception):
    """A file that can't be used. ``mistakes`` has one sentence for each, with its place."""

    def __init__(self, path: str, mistakes: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in mistakes))
        self.mistakes = mistakes


def load(path: str | Path) -> Config:
    """Read a configuration file; ConfigError has every mistake."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as failure:
        reason = getattr(failure, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(str(path), [f"can't be read: {reason}"]) from None
    return parse(text, str(path))


def parse(text: str, path: str = "configuration") -> Config:
    """Read a configuration from TOML text; ConfigError has every mistake."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise ConfigError(path, [f"not valid TOML: {failure}"]) from None
    try:
        return Config.model_validate(values)
    except ValidationError as failure:
        raise ConfigError(path, sentences(failure, text)) from None
