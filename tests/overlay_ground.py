"""A Map-Server, two ETRs and an ITR: processes as an operator starts them, on machines of their
own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.overlay_network import Capture, Host, OverlayNetwork
from tests.pcap import run_tshark, skip_without_tshark
from tests.running import CHECKOUT, Child

__all__ = [
    "LATEST",
    "REGISTRATION_TIMEOUT",
    "OverlayGround",
    "Shown",
    "ends",
    "etr_text",
    "map_server_text",
]

REGISTRATION_TIMEOUT = 4.0
"""Seconds that a registration outlives its session."""

LATEST = 20.0
"""Seconds after a loss from when on the answers must be others. It is noticed
within 3 (``_TCP``), then the timeout begins: the rest is for slow machines.
"""

_PATIENCE = 90.0
"""Seconds after which something will never come about, however slow the machine is."""

_AS_LONG = ("--timeout", "10")
"""An ITR on a slow machine must not ask twice where an answer is on its way."""

_DIES_WITH_US = 1  # PR_SET_PDEATHSIG
_TWISTD = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({_DIES_WITH_US}, 9)
if os.getppid() != {{parent}}:
    sys.exit("nobody waits for this test any more")
from twisted.scripts.twistd import run
run()
"""

_WRONG = (
    "_ws.malformed",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.undecoded",
    "lisp.unexpected_field",
    "lisp-tcp.invalid_length",
    "lisp-tcp.invalid_marker",
    "lisp-tcp.undecoded",
    "lisp-tcp.unexpected_afi",
    "tcp.checksum_bad.expert",
    "udp.checksum.bad",
)
_ADDRESSES = ("eth.type", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
_IPV6 = "0x86dd"

_TCP = "keepalive-idle = 1\nkeepalive-interval = 1\nkeepalive-probes = 2\nuser-timeout = 3.0\n"
_CAMPUS = """
[[site.eid-prefix]]
prefix = "{prefix}"
accept-more-specifics = true
"""


def map_server_text(
    host: Host,
    secrets: Sequence[str] = ("campus secret",),
    prefixes: Sequence[str] = ("10.1.0.0/16", "2001:db8:e1d::/48"),
) -> str:
    """Return the configuration of a Map-Server and Map-Resolver with one site."""
    keys = ", ".join(f'{{ id = 1, secret = "{secret}" }}' for secret in secrets)
    ipv6 = host.ipv6.replace(":", r"\:")
    return f"""
[map-server]
control = ["{host.ipv4}:4342", "[{host.ipv6}]:4342"]
reliable-transport = ["tcp:4342:interface={host.ipv4}", 'tcp6:4342:interface={ipv6}']
registration-timeout = {REGISTRATION_TIMEOUT}

[map-server.tcp]
{_TCP}
[map-resolver]

[[site]]
name = "campus"
keys = [{keys}]
allowed-rlocs = ["192.0.2.0/24", "2001:db8::/64"]
""" + "".join(_CAMPUS.format(prefix=prefix) for prefix in prefixes)


def etr_text(
    host: Host,
    map_server: str,
    mappings: Sequence[str],
    *,
    control: str = "[::]:4342",
    options: str = "",
) -> str:
    """Return the configuration of an ETR, whose RLOCs are both addresses of its host.

    It is reached at the IPv6 one first, unless its socket is bound to another.
    """
    rlocs = (host.ipv6, host.ipv4) if control.startswith("[") else (host.ipv4, host.ipv6)
    locators = ", ".join(
        f'{{ rloc = "{rloc}", priority = {priority} }}' for priority, rloc in enumerate(rlocs, 1)
    )
    number = host.ipv4.rpartition(".")[2]
    text = f"""
[etr]
control = "{control}"
xtr-id = "{int(number):032x}"
site-id = 1
registration-period = 2.0
rearm-delay = 1.0
backoff-maximum = 2.0

[etr.tcp]
{_TCP}
[[etr.map-server]]
address = "{map_server}"
key = {{ id = 1, secret = "campus secret" }}
{options}
"""
    return text + "".join(
        f'[[etr.mapping]]\neid-prefix = "{eid}"\nlocators = [{locators}]\n' for eid in mappings
    )


class _Lig(Child):
    """What it prints for people is kept apart."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = ""

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the ITR was told."""

    asked: float
    "monotonic seconds: before anything was sent"
    shown: float
    "monotonic seconds: after it was shown"
    code: int
    said: dict[str, Any]

    @property
    def rlocs(self) -> list[str]:
        """The locators of the first record, in its order."""
        return [each["rloc"] for each in self.record.get("locators", ())]

    @property
    def record(self) -> dict[str, Any]:
        """The first record; empty without an answer."""
        record: dict[str, Any] = next(iter(self.said.get("records", ())), {})
        return record

    @property
    def who(self) -> str:
        """Who answered: its address, empty for nobody."""
        said: str = self.said.get("answered_by", "")
        return said.rpartition(":")[0].strip("[]")


class OverlayGround:
    """Mix it into a TestCase."""

    timeout = 300

    def setUp(self) -> None:
        """Four machines, with nothing on them."""
        skip_without_tshark()
        network = OverlayNetwork()
        self.addCleanup(network.close)
        self.network = network
        self.server, self.first, self.second, self.itr = map(network.host, (1, 11, 12, 21))
        self._configurations: dict[Child, Path] = {}
        self._spawned = 0
        self._capture: Capture = network.capture()
        self.addCleanup(self._capture.close)

    # Processes

    def _spawn(self, child: Child, host: Host, *arguments: str) -> None:
        self._spawned += 1
        management = f"/tmp/lispmsrt-overlay-{os.getpid()}-{self._spawned}.sock"
        with host.namespace.entered():
            reactor.spawnProcess(
                child,
                sys.executable,
                [sys.executable, *arguments],
                env={
                    **os.environ,
                    "PYTHONPATH": str(CHECKOUT),
                    "PYTHONUNBUFFERED": "1",
                    # Hosts share their files, and each has a daemon.
                    "LISPMSRT_SOCKET": management,
                },
                path=str(CHECKOUT),
            )

        def finish() -> Any:
            child.kill()
            return child.ended if not child.ended.called else None

        self.addCleanup(Path(management).unlink, missing_ok=True)
        self.addCleanup(finish)

    def start(self, host: Host, text: str) -> Child:
        """Start a daemon; it is killed after the test, and whenever this process ends."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        child = Child()
        script = _TWISTD.format(parent=os.getpid())
        options = ("-n", "--pidfile=", "lispmsrt", "--config", str(path))
        self._spawn(child, host, "-c", script, *options)
        self._configurations[child] = path
        return child

    def reload(self, child: Child, text: str) -> None:
        """Give a daemon another configuration."""
        self._configurations[child].write_text(text)
        child.signal("HUP")

    async def are_up(self, *etrs: Child) -> None:
        """Wait for their sessions."""
        for etr in etrs:
            await etr.says("is up over TCP")

    async def kill(self, child: Child) -> float:
        """End a process without a farewell; return the monotonic time before that."""
        before = time.monotonic()
        child.kill()
        await child.ended
        return before

    # The ITR

    async def ask(self, eid: str, *options: str) -> Shown:
        """Ask the Map-Resolver by ``lispmsrt lig``."""
        lig = _Lig()
        asked = time.monotonic()
        arguments = ("-m", "lispmsrt", "lig", "--resolver", self.server.ipv4, "--json", *_AS_LONG)
        self._spawn(lig, self.itr, *arguments, eid, *options)
        code = await lig.ended
        assert lig.output.startswith("{"), f"lig ended with {code}: {lig.output}{lig.errors}"
        return Shown(asked, time.monotonic(), code, json.loads(lig.output))

    async def ask_until(
        self,
        condition: Callable[..., object],
        *eids: str,
        options: Sequence[str] = (),
        end: float | None = None,
    ) -> list[list[Shown]]:
        """Ask for these EIDs at a time, again and again until the answers are as they should be;
        return all that were shown.

        From ``end`` on (monotonic seconds) they must be.
        """
        end = time.monotonic() + _PATIENCE if end is None else end
        shown: list[list[Shown]] = []
        while not shown or not condition(*shown[-1]):
            assert not shown or shown[-1][0].asked < end, f"it stayed like this: {shown[-1]}"
            shown.append(await self.ask_together(*((eid, *options) for eid in eids)))
        return shown

    async def ask_together(self, *questions: Sequence[str]) -> list[Shown]:
        """Ask all of these at a time, each an EID with options."""
        answers: list[Shown] = await gatherResults(
            [Deferred.fromCoroutine(self.ask(*question)) for question in questions]
        )
        return answers

    def assert_negative(self, shown: Shown, said: tuple[int, str], eid_prefix: str) -> None:
        """Nothing is registered, neither there nor in all of this EID-prefix."""
        found = (shown.record["ttl"], shown.record["action"], shown.said["eid_prefix"])
        self.assertEqual((shown.code, shown.rlocs, *found), (1, [], *said, eid_prefix))

    # What has crossed the bridge

    def dissected(self, *fields: str) -> list[dict[str, list[str]]]:
        """Return what tshark reads in each frame since the start, if it finds nothing wrong."""
        path = Path(self.mktemp())
        self._capture.write(path)
        rows = run_tshark(path, (*_WRONG, *_ADDRESSES, *fields))
        for row in rows:
            self.assertEqual([name for name in _WRONG if row[name]], [], row)
        return rows

    def messages(self) -> Counter[tuple[str, str, str]]:
        """Return how many messages of the control plane there were: source, destination, type."""
        return Counter(
            (*ends(row), row["lisp.type"][0])
            for row in self.dissected("lisp.type", "udp.port")
            if row["lisp.type"] and row["udp.port"]
        )


def ends(row: dict[str, list[str]]) -> tuple[str, str]:
    """Return the outer source and destination of a frame."""
    family = "ipv6" if row["eth.type"] == [_IPV6] else "ip"
    return row[f"{family}.src"][0], row[f"{family}.dst"][0]
