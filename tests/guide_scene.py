"""The machines of the operator's guide: a Map-Server and two ETRs on a network in memory, where it
is always about three in the morning, and the commands that are typed there.

Machines run the real services from real configurations; ``lispmsrt``, ``systemctl`` and
``journalctl`` do on them what they would do.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from lispmsrt import Etr, MapServer
from lispmsrt.config import load
from lispmsrt.logs import TextLines
from lispmsrt.services.connector import Connector
from lispmsrt.services.link import MapServerLink
from lispmsrt.services.operations import Operations
from lispmsrt.transports.certificates import make_certificate
from lispmsrt.views.etr import EtrViews
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from tests.guide_endpoint import Endpoint, in_utc, run_command
from tests.rim import Network, Pipe, mapping
from tests.toml_edit import edited

__all__ = ["Machine", "Scene"]

_ETC = "/etc/lispmsrt"
"""Where the configuration is on the pages. The directory that is there in its place has a name of
the same length, so that columns are as wide.
"""

_BEGIN = 1_773_457_020.0
"""2026-03-14T02:57:00Z."""

_NETWORK_BEGIN = 1000.0
_ROUND_TRIPS = {"198.51.100.7": 0.00084, "198.51.100.8": 0.0123}

_MS1 = """
[map-server]
control = ["192.0.2.1:4342"]
reliable-transport = ["tcp:4342:interface=192.0.2.1"]

[[site]]
name = "campus"
keys = [{ id = 1, secret = "old secret" }]
allowed-rlocs = ["198.51.100.0/24"]

  [[site.eid-prefix]]
  prefix = "10.1.0.0/16"
  accept-more-specifics = true

[[site]]
name = "branch"
keys = [{ id = 1, secret = "branch secret" }]

  [[site.eid-prefix]]
  prefix = "10.2.0.0/16"
  instance-id = 7
"""

_ETR = """
[etr]
control = "{host}:4342"
xtr-id = "{xtr_id}"
site-id = 1

[[etr.map-server]]
address = "192.0.2.1"
key = {{ id = 1, secret = "old secret" }}
merge = true
"""

_MAPPING = """
[[etr.mapping]]
eid-prefix = "{eid}"
locators = [{{ rloc = "{host}" }}]
"""

_ETRS = {
    "etr1": ("198.51.100.7", "0a" * 16, ("10.1.1.0/24", "10.1.9.0/24")),
    "etr2": ("198.51.100.8", "0b" * 16, ("10.1.2.0/24", "10.1.9.0/24")),
}


class _GuideNetwork(Network):
    """A network whose connections have a round-trip time, and whose hosts can hang."""

    def connect(self, protocol: Any, host: str, port: int, source: str) -> Pipe:
        near = super().connect(protocol, host, port, source)
        for pipe in (near, near.other):
            end: Any = pipe
            end.round_trip_time = lambda: _ROUND_TRIPS[source]
        return near

    def run(self, seconds: float = 0.0) -> None:
        super().run(seconds)
        for pipe in self.pipes:
            end: Any = pipe
            end.queued_octets = len(pipe.unsent)


class Machine:
    """One host with a daemon."""

    def __init__(self, scene: Scene, name: str, config: str) -> None:
        self.scene = scene
        self.name = name
        self.config = config
        self.etc = mkdtemp(prefix="", dir="/tmp")
        assert len(self.etc) == len(_ETC)
        self.service: Any = None
        self.endpoint: Endpoint | None = None
        self.log = StringIO()

    def start(self) -> None:
        """Start the daemon by its configuration."""
        scene, network = self.scene, self.scene.network
        config = load(self._write_config())
        map_server = etr = None
        if config.map_server is not None:
            self.service = map_server = MapServer(
                config.map_server, config.site, network, network, random=Random(3)
            )
        elif config.etr is not None:
            self.service = etr = Etr(config.etr, network, network, random=Random(7))
        self.service.startService()
        views = NodeViews(
            MapServerViews(map_server, scene.now) if map_server else None,
            EtrViews(etr, scene.now) if etr else None,
            wall_clock=scene.now,
        )
        operations = Operations(map_server, etr, self._reload if map_server else None)
        role = "map-server" if map_server else "etr"
        self.endpoint = Endpoint(
            role,
            views,
            operations,
            network,
            scene.now,
            # Here already: a table may cut a long path.
            shown=lambda answer: answer.replace(self.etc.encode(), _ETC.encode()),
        )

    def _reload(self) -> Any:
        return self.service.reload(load(self._write_config()).site)

    def _write_config(self) -> str:
        path = f"{self.etc}/lispmsrt.toml"
        Path(path).write_text(self.config.replace(_ETC, self.etc))
        return path

    def stop(self) -> None:
        """Stop the daemon."""
        if self.service is not None:
            self.service.stopService()
            self.scene.network.run(0.1)
        self.service = self.endpoint = None

    def owns(self, source: object) -> bool:
        """Whether what writes a line in the log is a part of the daemon."""
        if not isinstance(self.service, Etr):
            return not isinstance(source, (Etr, MapServerLink, Connector))
        links = self.service.links
        return source is self.service or any(source in (link, link.connector) for link in links)

    def write(self, event: LogEvent) -> None:
        """Take a line of the log."""
        with in_utc():
            TextLines(self.log)({**event, "log_time": self.scene.now()})

    # What is typed

    def type(self, command: str) -> str:
        """Do a command; return what it shows."""
        program, *arguments = shlex.split(command)
        run: Callable[[list[str]], str] = getattr(self, f"_{program}")
        return run(arguments).replace(self.etc, _ETC)

    def _lispmsrt(self, arguments: list[str]) -> str:
        endpoints = {self.endpoint.path: self.endpoint} if self.endpoint is not None else {}
        self._write_config()
        meant = [each.replace(_ETC, self.etc) for each in arguments]
        return run_command(meant, endpoints, self.scene.now)

    def _systemctl(self, arguments: list[str]) -> str:
        what, unit = arguments
        assert unit == "lispmsrt"
        if what in ("stop", "restart"):
            self.stop()
        if what in ("start", "restart"):
            self.start()
            self.scene.network.run(0.5)
        return ""

    def _journalctl(self, arguments: list[str]) -> str:
        """``journalctl -u lispmsrt -o cat [-n LINES] [-g WORD]``."""
        assert arguments[:4] == ["-u", "lispmsrt", "-o", "cat"]
        given = dict(zip(arguments[4::2], arguments[5::2], strict=True))
        lines = self.log.getvalue().splitlines(keepends=True)
        found = [line for line in lines if given.get("-g", "") in line]
        return "".join(found[-int(given.get("-n", 1000)) :])


class Scene:
    """All machines, a minute or so after they were started."""

    def __init__(self) -> None:
        self.network = _GuideNetwork()
        self.machines = {"ms1": Machine(self, "ms1", _MS1)}
        for name, (host, xtr_id, eids) in _ETRS.items():
            config = _ETR.format(host=host, xtr_id=xtr_id)
            config += "".join(_MAPPING.format(eid=eid, host=host) for eid in eids)
            self.machines[name] = Machine(self, name, config)
        self._observer = _Observer(self)
        globalLogPublisher.addObserver(self._observer)
        for machine in self.machines.values():
            machine.start()
            self.network.run(2.0)
        self.network.run(60.0)

    def now(self) -> float:
        """Return seconds since 1970."""
        return _BEGIN + self.network.seconds() - _NETWORK_BEGIN

    def close(self) -> None:
        """Stop everything."""
        for machine in reversed(self.machines.values()):
            machine.stop()
            rmtree(machine.etc)
        self.network.run(10.0)
        globalLogPublisher.removeObserver(self._observer)

    def take_line(self, event: LogEvent) -> None:
        """Give a line of the log to the machine whose daemon writes it."""
        if not event.get("log_namespace", "").startswith("lispmsrt."):
            return
        source = event.get("log_source")
        for machine in reversed(self.machines.values()):
            if machine.service is not None and machine.owns(source):
                machine.write(event)
                return

    # Acts: what happens between commands

    def act(self, text: str, above: str) -> None:
        """Do what a comment of a page says; ``above`` is the sample above it."""
        name, *arguments = shlex.split(text)
        does: Callable[..., None] = getattr(self, f"_act_{name.replace('-', '_')}")
        does(*arguments, **({"above": above} if name == "edit" else {}))

    def _act_wait(self, seconds: str) -> None:
        self.network.run(float(seconds))

    def _act_edit(self, name: str, anchor: str, *, above: str) -> None:
        """Put the sample above into a machine's configuration, in the table that has a line."""
        machine = self.machines[name]
        machine.config = edited(machine.config, anchor, above)

    def _act_edit_quietly(self, name: str, anchor: str, sample: str) -> None:
        """The same with a sample that the page does not show."""
        self._act_edit(name, anchor, above=sample.replace("\\n", "\n"))

    def _act_quietly(self, name: str, *command: str) -> None:
        """Do a command that the page does not show."""
        self.machines[name].type(shlex.join(command))

    def _act_set(self, name: str, old: str, new: str) -> None:
        """Change a machine's configuration where the page does not show it."""
        machine = self.machines[name]
        assert old in machine.config, old
        machine.config = machine.config.replace(old, new.replace("\\n", "\n"))

    def _act_cut_off(self, name: str) -> None:
        """Lose everything from and to a host; its connections break when TCP has given up."""
        host = _ETRS[name][0]
        self.network.loses = lambda packet: host in (packet.source[0], packet.destination[0])
        self.network.silent.add(4342)
        self._break(host)

    def _act_reach(self, name: str) -> None:
        """The host can be reached again."""
        self.network.loses = lambda packet: False
        self.network.silent.clear()

    def _act_break(self, name: str) -> None:
        """A host's connections break."""
        self._break(_ETRS[name][0])

    def _break(self, host: str) -> None:
        for pipe in list(self.network.pipes):
            if pipe.host.host == host:
                pipe.abortConnection()
        self.network.run(0.1)

    def _act_hang(self, name: str) -> None:
        """A host reads no longer what comes on its connections."""
        for pipe in self.network.pipes:
            if pipe.host.host == _ETRS[name][0]:
                stuck: Any = pipe
                stuck.is_reading = False
                stuck.resumeProducing = lambda: None

    def _act_register(self, name: str, count: str, *options: str) -> None:
        """Register this many host prefixes of 10.1.128.0/17 at run time, all by one machine."""
        machine = self.machines[name]
        priority = int(options[0]) if options else 1
        for number in range(int(count)):
            eid = f"10.1.{128 + number // 256}.{number % 256}/32"
            machine.service.register(mapping(eid, _ETRS[name][0], priority=priority))
        self.network.run(0.5)

    def _act_make_certificate(self, name: str, *certified: str) -> None:
        """Lay a certificate with these names, which everybody trusts, on all machines."""
        now, day = datetime.now(UTC), timedelta(days=1)
        made = make_certificate(certified, valid_from=now - day, valid_until=now + day)
        for machine in self.machines.values():
            Path(machine.etc, "ca.pem").write_bytes(made.certificate_pem)
        Path(self.machines[name].etc, "ms1.pem").write_bytes(made.certificate_pem)
        key = Path(self.machines[name].etc, "ms1.key")
        key.touch(0o600)
        key.write_bytes(made.key_pem)

    def _act_connect(self, host: str, times: str = "1") -> None:
        """Somebody connects who was never heard of."""
        for _time in range(int(times)):
            self.network.connect(Protocol(), "192.0.2.1", 4342, host)
            self.network.run(0.1)


@implementer(ILogObserver)
class _Observer:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __call__(self, event: LogEvent) -> None:
        self._scene.take_line(event)
