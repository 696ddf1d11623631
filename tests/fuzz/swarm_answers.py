"""What a Map-Server answers a swarm of ETRs, read compiled and in Python: the same of both."""

from __future__ import annotations

from lispmsrt.swarm.eids import EidSpace
from lispmsrt.swarm.load import IDLE, Load
from lispmsrt.swarm.templates import EtrFace, make_template
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from tests.fuzz.programs import read

__all__ = ["SPACES", "run"]

SPACES = tuple(
    EidSpace([EidPrefix.from_text(text, instance_id)], etrs=etrs, eids=eids, length=length)
    for text, instance_id, etrs, eids, length in (
        ("10.0.0.0/8", 0, 2, 8, 32),
        ("2001:db8::/32", 0, 2, 8, 128),
        ("2001:db8::/32", 7, 2, 8, 48),
        ("2001:db8::/32", 0, 2, 8, 64),
        ("2001:db8::/32", 0, 2, 8, 65),
        ("0.0.0.0/0", 0, 1, 1, 0),
        ("::/0", 0, 1, 1, 0),
    )
)
"""EID-prefixes of every kind that a number is made of in another way."""

_KEY = Key(0, AlgorithmId.HMAC_SHA_256_128, b"swarm")
_FACE = EtrFace(0, bytes(24), Address.from_text("192.0.2.1"))


class _PlainLoad(Load):
    def __init__(self, space: EidSpace, key: Key) -> None:
        super().__init__(space, key)
        self._kernel = None


def _played(kind: type[Load], data: bytes) -> object:
    load = kind(SPACES[data[0] % len(SPACES) if data else 0], _KEY)
    template = make_template(_FACE, load.space.blocks[0], _KEY, 0)
    last = load.space.blocks[0].each
    heard: list[object] = [load.write_registrations(template, 0, last, IDLE, 1, 1, 0, 100_000)]
    for now, step in enumerate(read(data[1:])):
        heard.append(load.read_answers(step.octets, min(step.what, len(step.octets)), 0, now))
        heard.append(load.settle(0, 0, last, step.who, now))
    assert sum(load.tally) == load.space.count

    return heard, load.states, load.tally, load.sent, load.latencies.counts


def run(data: bytes) -> None:
    """Play a program on both; the first octet chooses the EIDs."""
    plainly = _played(_PlainLoad, data)
    assert _played(Load, data) == plainly, "compiled it is otherwise"
    load = Load(SPACES[0], _KEY)
    load.vouches_for(data)
