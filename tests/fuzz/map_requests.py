"""Map-Requests to one Map-Server, in batches, compiled and in Python: the same answers, the same
counters.
"""

from __future__ import annotations

import dataclasses

from lispmsrt.control.plane import Datagram
from lispmsrt.control.unicast import is_unicast
from lispmsrt.mapping.sites import RlocPrefix, SitePrefix
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.map_reply import decode_map_reply
from lispmsrt.wire.messages import message_type
from tests.builders import ip, lcaf, locator, record, site
from tests.fuzz.programs import read
from tests.test_map_requests_twin import Ground, Options, Part

__all__ = ["run"]

_SOURCES = (
    (ip("198.51.100.53"), 4342),
    (ip("203.0.113.9"), 61000),
    (ip("2001:db8::7"), 4342),
    (ip("127.0.0.1"), 5000),
    (ip("::ffff:192.0.2.7"), 4342),
    (ip("203.0.113.9"), 0),
)


def _ground() -> Ground:
    ground = Ground()
    office, closed = (
        site(),
        dataclasses.replace(site("closed"), allowed_itrs=(RlocPrefix.from_text("192.0.2.0/24"),)),
    )
    ground.configure(
        *(
            SitePrefix.of(owner, EidPrefix.from_text(text, number), True)
            for owner, text, number in (
                (office, "10.0.0.0/8", 0),
                (closed, "10.7.0.0/16", 0),
                (office, "10.0.0.0/8", 5),
                (office, "2001:db8::/32", 0),
                (office, "02:00:00:00:00:00/8", 0),
            )
        )
    )
    for text in ("10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "10.7.1.0/24", "2001:db8:1::/48"):
        ground.register(record(text))
    for number in range(80):
        ground.register(record(f"10.3.{number}.0/24"))
    ground.register(record("10.3.0.0/16"))
    ground.register(record("10.9.0.0/16"), 0)
    ground.register(record("2001:db8:2::1/128", *[locator("2001:db8::1")] * 3))
    ground.register(record("02:00:00:00:00:07/48"))
    ground.register(record("10.1.2.0/24", instance_id=5))
    ground.register(record("10.6.0.0/16", *[locator(f"192.0.2.{one}") for one in range(1, 60)]))
    ground.register(record("10.8.0.0/16", locator(lcaf(1, b"\0\0\0\5\0\1\xc0\0\2\1")), locator()))
    return ground


_GROUND = _ground()


def _played(data: bytes, *, is_compiled: bool) -> object:
    options = Options(
        rate=20.0 if data[:1] and data[0] & 1 else 0.0, resolves=bool(data[:1] and data[0] & 2)
    )
    part = Part(_GROUND, options, is_compiled=is_compiled)
    part.server._outgoing.limit = 20
    said: list[list[Datagram]] = []
    batch: list[Datagram] = []
    now = 0.0
    for step in read(data[1:]):
        batch += [(step.octets, _SOURCES[step.who % len(_SOURCES)])] * (1 + (step.what & 7))
        if step.what & 8:
            now += step.who / 16
            said.append(part.receive(batch, now))
            batch = []
    said.append(part.receive(batch, now))
    for answers in said:
        _check(answers)
    return said, part.state()


def _check(answers: list[Datagram]) -> None:
    """Each answer is one that can be read, to somebody who may be sent something."""
    for octets, (address, port) in answers:
        assert port, "there is no port 0"
        assert is_unicast(address, loopback=True), address
        if message_type(octets) == 2:
            decode_map_reply(octets)


def run(data: bytes) -> None:
    """Play a program on both; the first octet says what kind of server it is."""
    compiled = _played(data, is_compiled=True)
    assert _played(data, is_compiled=False) == compiled, "compiled it is otherwise"
