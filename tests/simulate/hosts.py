"""Machines with the real services on them, and what their operators have configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from lispmsrt import Etr, MapServer, parse_config
from lispmsrt.config import Config, SocketAddress
from lispmsrt.control.inquiries import Pace
from lispmsrt.identity import EtrIdentity
from lispmsrt.services.mapping_service import MappingService
from lispmsrt.services.requester import Requester
from lispmsrt.services.subscriber import News, SubscriberPace, SubscriberService, What
from lispmsrt.storage.memory import Memory
from lispmsrt.storage.seconds import Moment
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from tests.simulate.machine import Machine
from tests.simulate.wire_reading import locators_of

__all__ = ["EIDS", "MODES", "PREFIXES", "EtrHost", "ItrHost", "MapServerHost", "site_of"]

PREFIXES = {"red": ("10.1.0.0/16", "2001:db8:1::/48"), "blue": ("10.2.0.0/16", "10.3.0.0/16")}
"""What each site may register."""

EIDS = {
    "red": ("10.1.1.0/24", "10.1.2.0/24", "10.1.0.0/20", "2001:db8:1:1::/64"),
    "blue": ("10.2.1.0/24", "10.2.1.128/25", "10.3.3.3/32"),
}
"""What ETRs of each site register, one at a time."""

MODES = ("auto", "auto", "auto", "auto", "always", "off")
"""Whether an ETR wants a session."""


def site_of(number: int) -> str:
    """Return the site of the ETR with this number."""
    return "red" if number % 2 else "blue"


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Config:
    return parse_config(text)


class MapServerHost:
    """A Map-Server and its configuration: EID-prefixes and keys of every site."""

    def __init__(
        self, machine: Machine, seed: str, *, strict: bool, state: Path | None, all_keys: list[int]
    ) -> None:
        self.machine, self.name = machine, machine.name
        self.service: MapServer | None = None
        self.state = state
        self.is_down = False
        self.has_stopped = False
        "whether it has ended in order"
        self.prefixes = {site: list(texts) for site, texts in PREFIXES.items()}
        self.keys = {site: list(all_keys) for site in PREFIXES}
        self._seed = seed
        self._strict = strict

    def _text(self) -> str:
        address = self.machine.address
        text = f'[map-server]\ncontrol = ["{address}:4342"]\n'
        text += f'reliable-transport = ["tcp:4342:interface={address}"]\n'
        text += f'nonce-check = "{"strict" if self._strict else "lenient"}"\n'
        text += f'state = "{self.state or "off"}"\n'
        text += f"[map-server.subscriptions]\nenabled = true\n{_FOLLOWERS}"
        for site, prefixes in self.prefixes.items():
            keys = ", ".join(_key(site, number) for number in self.keys[site])
            text += f'[[site]]\nname = "{site}"\nkeys = [{keys}]\n'
            for prefix in prefixes:
                text += f'[[site.eid-prefix]]\nprefix = "{prefix}"\naccept-more-specifics = true\n'
        return text

    def start(self) -> None:
        """Start the process."""
        machine = self.machine
        machine.power_on()
        config = _parsed(self._text())
        assert config.map_server is not None
        with _clocks_of(machine):
            self.service = MapServer(
                config.map_server,
                config.site,
                machine,
                machine,
                random=Random(f"{self._seed} {self.name} {machine.life}"),
                stopwatch=machine.seconds,
            )
            self.service.startService()

    def crash(self, *, is_power_cut: bool) -> None:
        """End the process as SIGKILL does, or the whole host."""
        self.machine.vanish(is_power_cut=is_power_cut)
        service, self.service = self.service, None
        if service is not None and service.mapping.memory is not None:
            # What the kernel does when a process has died: its files are closed, and their locks
            # are gone.
            saving: Any = service.mapping.memory._saving
            if saving is not None:
                saving.file.close()

    @property
    def is_running(self) -> bool:
        """Whether there is a process that answers."""
        return self.service is not None and bool(self.service.running)

    def reload(self) -> None:
        """Read the configuration again."""
        if self.service is not None and self.is_running:
            self.service.reload(_parsed(self._text()).site)


class EtrHost:
    """An ETR, and what its operator means to register: record by EID-prefix."""

    def __init__(
        self, machine: Machine, number: int, seed: str, state: Path, *, mode: str, yields: bool
    ) -> None:
        self.machine, self.name, self.number = machine, machine.name, number
        self.is_down = False
        self.has_stopped = False
        "whether it has ended in order"
        self.site = site_of(number)
        self.service: Etr | None = None
        self.key = 1
        self.meaning: dict[str, int] = {}
        "EID-prefix to the priority of its RLOC, by which one record differs from another"
        self.asked_at: dict[str, float] = {}
        "when its operator said so last, or it was started"
        self.map_servers: list[str] = []
        self.ids = bytes((number,)) * 16 + (1).to_bytes(8, "big")
        self.mode = mode
        self._seed = seed
        self._state = state
        self.yields = yields

    def _text(self) -> str:
        address = self.machine.address
        text = f'[etr]\ncontrol = "{address}:4342"\nxtr-id = "{self.ids[:16].hex()}"\nsite-id = 1\n'
        text += f'state-dir = "{self._state}"\n'
        text += f"yield-to-newer = {str(self.yields).lower()}\n"
        for server in self.map_servers:
            text += f'[[etr.map-server]]\naddress = "{server}:4342"\n'
            text += f'key = {_key(self.site, self.key)}\nsession = "{self.mode}"\n'
        return text

    def record(self, eid: str) -> MappingRecord:
        """Return what is meant to be registered."""
        rloc = Address.from_text(self.machine.address)
        locator = Locator(rloc, self.meaning[eid], 100, local=True, reachable=True)
        return MappingRecord(EidPrefix.from_text(eid), 1440, (locator,), authoritative=True)

    def octets(self, eid: str) -> bytes:
        """Return the same as it stands in the database."""
        return encode_record(self.record(eid))

    def start(self) -> None:
        """Start the process: it registers what it is meant to."""
        machine = self.machine
        machine.power_on()
        config = _parsed(self._text())
        assert config.etr is not None
        with _clocks_of(machine):
            random = Random(f"{self._seed} {self.name} {machine.life}")
            self.service = Etr(config.etr, machine, machine, random=random)
            for eid in self.meaning:
                self.asked_at[eid] = machine.timeline.now
                self.service.register(self.record(eid)).addErrback(_ignore)
            self.service.startService()

    def crash(self, *, is_power_cut: bool) -> None:
        """End the process as SIGKILL does, or the whole host."""
        self.machine.vanish(is_power_cut=is_power_cut)
        self.service = None

    def register(self, eid: str, priority: int) -> None:
        """Mean to register it from now on."""
        self.meaning[eid] = priority
        self.asked_at[eid] = self.machine.timeline.now
        if self.is_running:
            assert self.service is not None
            self.service.register(self.record(eid)).addErrback(_ignore)

    def withdraw(self, eid: str) -> None:
        """Mean to register it no longer."""
        if self.meaning.pop(eid, None) is not None and self.is_running:
            assert self.service is not None
            self.service.withdraw(EidPrefix.from_text(eid)).addErrback(_ignore)

    @property
    def is_running(self) -> bool:
        """Whether there is a process that takes orders."""
        return self.service is not None and bool(self.service.running)


class ItrHost:
    """Somebody who asks every Map-Server, and subscribes to some EID-prefixes there."""

    FOLLOWED = ("10.1.1.0/24", "10.2.1.0/24")

    def __init__(self, machine: Machine, number: int, servers: list[str], seed: str) -> None:
        self.machine, self.name = machine, machine.name
        self.known: dict[tuple[str, str], list[bytes]] = {}
        """which RLOCs an EID-prefix has by what a Map-Server has said last; nothing where that is
        none"""
        self.subscribers = {
            server: SubscriberService(
                machine,
                SocketAddress(server, 4342),
                ids=_follower_id(number) + bytes(8),
                key=Key(1, AlgorithmId.HMAC_SHA_256_128, b"green secret 1"),
                hear=partial(self._heard, server),
                source=machine.address,
                pace=SubscriberPace(renewal=300.0),
                clock=machine,
                random=Random(f"{seed} {machine.name} follows {server}"),
            )
            for server in servers
        }
        self.requesters = [
            Requester(
                machine,
                SocketAddress(server, 4342),
                source=machine.address,
                clock=machine,
                random=Random(f"{seed} {machine.name} {server}"),
                pace=Pace(interval=1.0, tries=3),
            )
            for server in servers
        ]

    def start(self) -> None:
        """Open its sockets."""
        for requester in self.requesters:
            requester.startService()
        for subscriber in self.subscribers.values():
            subscriber.startService()
            for eid in self.FOLLOWED:
                subscriber.subscribe(EidPrefix.from_text(eid))

    def _heard(self, server: str, news: News) -> None:
        records = {str(record.eid): record for record in news.records}
        eids = [str(news.eid)] if news.what is not What.PUBLISHED else list(records)
        for eid in eids:
            record = records.get(eid)
            if record is not None and record.ttl and record.locators:
                self.known[server, eid] = locators_of(encode_record(record))
            else:
                self.known.pop((server, eid), None)

    def ask(self, server: int, eid: EidPrefix) -> None:
        """Ask one of them; what is answered is seen on the wire."""
        self.requesters[server].ask(eid).addErrback(_ignore)


def _follower_id(number: int) -> bytes:
    return bytes((0xF0 + number,)) * 16


_FOLLOWERS = (
    '[[site]]\nname = "green"\nkeys = [{ id = 1, secret = "green secret 1" }]\n'
    '[[site.eid-prefix]]\nprefix = "10.9.0.0/16"\n'
    + "".join(f'[[site.xtr]]\nxtr-id = "{_follower_id(number).hex()}"\n' for number in (1, 2))
)
"""A site whose xTRs register nothing and follow others' mappings; its key stays."""


def _key(site: str, number: int) -> str:
    return f'{{ id = {number}, secret = "{site} secret {number}" }}'


def _ignore(_failure: object) -> None:
    """Rejected, given up, or stopped: the operator sees it and does nothing."""


@contextmanager
def _clocks_of(machine: Machine) -> Iterator[None]:
    """Have services made in here read the machine's clocks where they would read the host's."""

    class Identity(EtrIdentity):
        @classmethod
        def from_config(cls, config: Any, wall_clock_ns: Any = None) -> EtrIdentity:
            return EtrIdentity.from_config(config, machine.wall_ns)

    def moment() -> Moment:
        return Moment(machine.wall_ns() / 1e9, machine.seconds(), f"boot {machine.boot}")

    with (
        patch("lispmsrt.services.etr.EtrIdentity", Identity),
        patch(
            "lispmsrt.services.map_server.MappingService",
            partial(MappingService, wall_clock_ns=machine.wall_ns),
        ),
        patch("lispmsrt.services.map_server.Memory", partial(Memory, moment=moment)),
    ):
        yield
