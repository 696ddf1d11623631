"""Octets made of other octets, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

__all__ = ["mutations"]

_HURTFUL = (0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 254, 255)


def mutations(seeds: Sequence[bytes], number: int, seed: int) -> Iterator[bytes]:
    """Yield so many inputs, each made of one or two seeds by a few changes."""
    random = Random(seed)
    for _ in range(number):
        data = bytearray(random.choice(seeds))
        for _change in range(random.choice((1, 1, 2, 4, 8))):
            _change_once(data, random, seeds)
        yield bytes(data[:16_384])


def _change_once(data: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    how = random.randrange(7)
    if how == 0 and data:
        data[at % len(data)] ^= 1 << random.randrange(8)
    elif how == 1 and data:
        data[at % len(data)] = random.choice(_HURTFUL)
    elif how == 2:
        data[at:at] = random.randbytes(random.randrange(1, 9))
    elif how == 3:
        del data[at : at + random.randrange(1, 9)]
    elif how == 4 and len(data) >= 2:
        value = random.choice((0, 1, len(data), 0xFFFF, 0x7FFF, 16387))
        place = random.randrange(len(data) - 1)
        data[place : place + 2] = value.to_bytes(2, "big")
    elif how == 5:
        end = at + random.randrange(40)
        data[at:at] = data[random.randrange(at + 1) : end]
    else:
        other = random.choice(seeds)
        begin = random.randrange(len(other) + 1)
        data[at:] = other[begin:] if random.random() < 0.5 else other[begin:] + data[at:]
