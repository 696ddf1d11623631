"""UDP in memory under a fake clock, for SCTP in user space: with loss, doubles, delay, a NAT."""

from __future__ import annotations

import ctypes
import mmap
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lispmsrt.transports.interfaces import IAdmission, StreamAddress
from lispmsrt.transports.sctp.usrsctp.association import Association
from lispmsrt.transports.sctp.usrsctp.endpoints import UsrsctpClientEndpoint, UsrsctpServerEndpoint
from lispmsrt.transports.sctp.usrsctp.stack import the_stack

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
PORT = 4342
UDP_PORT = 9899

_Address = tuple[str, int]


class _TimeOfDay(ctypes.Structure):
    """struct timeval"""

    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


class ClockOfC:
    """What the stack takes for the time of day.

    Its timers go by what they are told, but it looks at gettimeofday() too: how long a chunk has
    been outstanding. Under a fake clock both must agree, so that the library's pointer to the
    function is turned to one of ours, for as long as the process lives.
    """

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.time
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_TimeOfDay), ctypes.c_void_p)
        self._function = function(self._answer)
        address, size = self._pointer(the_stack().functions._name, b"gettimeofday"), 8
        page = address & -mmap.PAGESIZE
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        assert not protect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)
        ctypes.memmove(address, ctypes.byref(self._function), size)

    def _answer(self, result: Any, _zone: object) -> int:
        seconds, rest = divmod(self.now(), 1)
        result[0].seconds, result[0].microseconds = int(seconds), int(rest * 1_000_000)
        return 0

    @staticmethod
    def _pointer(name: str, symbol: bytes) -> int:
        """Return where in memory the library has the address of another library's function."""
        with open("/proc/self/maps") as maps:
            line = next(line for line in maps if name in line)
        base, path = int(line.partition("-")[0], 16), line.split()[-1]
        file = Path(path).read_bytes()
        (headers,) = struct.unpack_from("<Q", file, 40)
        size, count = struct.unpack_from("<HH", file, 58)
        # name, type, flags, address, offset, size, link
        sections = [struct.unpack_from("<IIQQQQI", file, headers + size * n) for n in range(count)]
        for _name, kind, _flags, _address, offset, length, link in sections:
            if kind != 4:  # SHT_RELA
                continue
            symbols, names = sections[link][4], sections[sections[link][6]][4]
            for place in range(offset, offset + length, 24):
                where, info = struct.unpack_from("<QQ", file, place)
                (entry,) = struct.unpack_from("<I", file, symbols + (info >> 32) * 24)
                if file[names + entry :].startswith(symbol + b"\0"):
                    return base + where
        raise AssertionError(symbol)


_clock_of_c: list[ClockOfC] = []


def clock_of_c() -> ClockOfC:
    """Return the one of this process."""
    if not _clock_of_c:
        _clock_of_c.append(ClockOfC())
    return _clock_of_c[0]


class Port:
    """One end's UDP socket."""

    def __init__(self, network: Network, address: _Address, protocol: Any) -> None:
        self._network = network
        self.address = address
        self.protocol = protocol
        self.connected_to: _Address | None = None

    def connect(self, host: str, port: int) -> None:
        self.connected_to = (host, port)

    def write(self, data: bytes, to: _Address) -> None:
        # As Twisted's does.
        assert self.connected_to in (None, to), "connected to another address"
        self._network.send(data, self.address, to)

    def getHost(self) -> StreamAddress:
        return StreamAddress("UDP", *self.address)

    def stopListening(self) -> Deferred[None]:
        self._network.ports.pop(self.address)
        self.protocol.doStop()
        return succeed(None)


class Network:
    """Moves datagrams between hosts; a seed makes every run the same."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.ports: dict[_Address, Port] = {}
        self.sent: list[tuple[_Address, _Address, bytes]] = []
        self.loss = self.doubles = 0.0
        self.delay, self.jitter = 0.01, 0.0
        self.nat: dict[_Address, _Address] = {}
        "source address as it is to as it is seen"
        self.lost_by: Callable[[bytes], bool] = lambda data: False
        self.closed_ports: set[_Address] = set()
        "of hosts that say so when nobody listens there"
        self.is_recording = True
        self._random = random.Random(seed)
        self._free_port = 50000

    def listen(self, host: str, port: int, protocol: Any) -> Port:
        if not port:
            self._free_port += 1
            port = self._free_port
        if (host, port) in self.ports:
            raise CannotListenError(host, port, OSError("Address already in use"))
        opened = self.ports[host, port] = Port(self, (host, port), protocol)
        protocol.makeConnection(opened)
        return opened

    def send(self, data: bytes, source: _Address, to: _Address) -> None:
        source = self.nat.get(source, source)
        if self.is_recording:
            self.sent.append((source, to, data))
        copies = 1 + (self._random.random() < self.doubles)
        for _copy in range(copies):
            if self._random.random() >= self.loss and not self.lost_by(data):
                delay = self.delay + self._random.random() * self.jitter
                self.clock.callLater(delay, self.deliver, data, source, to)

    def deliver(self, data: bytes, source: _Address, to: _Address) -> None:
        for inside, outside in self.nat.items():
            if to == outside:
                to = inside
        if to in self.ports:
            if self.ports[to].connected_to in (None, source):
                self.ports[to].protocol.datagramReceived(data, source)
        elif to in self.closed_ports:
            self._refuse(source, to)

    def _refuse(self, source: _Address, to: _Address) -> None:
        port = self.ports.get(source)
        if port is not None and port.connected_to == to:
            port.protocol.connectionRefused()

    def run(self, seconds: float, until: Callable[[], object] = lambda: False) -> float:
        """Let time pass in steps of 10 ms; return how much did before ``until`` held."""
        begin = self.clock.seconds()
        while self.clock.seconds() < begin + seconds and not until():
            self.clock.advance(0.01)
        return self.clock.seconds() - begin


class Host:
    """A reactor, as far as the endpoints need one."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host

    def listenUDP(self, port: int, protocol: Any, interface: str = "", size: int = 8192) -> Port:
        return self._network.listen(self._host, port, protocol)


class Recorder(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[Failure] = []
        self.made = 0
        self.on_data: Callable[[bytes], object] = lambda data: None

    @property
    def stream(self) -> Association:
        assert isinstance(self.transport, Association)
        return self.transport

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason)

    @property
    def ending(self) -> type[BaseException] | None:
        """How it ended, which may be once only."""
        assert len(self.reasons) <= 1, self.reasons
        return self.reasons[0].type if self.reasons else None


@implementer(IAdmission)
class Server(Factory):
    """Keeps what it built; admits everybody but those it should not."""

    noisy = False

    def __init__(self) -> None:
        self.built: list[Recorder] = []
        self.refused: set[str] = set()
        self.make: Callable[[], Any] = Recorder

    def admits(self, host: str) -> bool:
        return host not in self.refused

    def buildProtocol(self, addr: Any) -> Any:
        built = self.make()
        self.built.append(built)
        return built


class UsrsctpTestCase(SynchronousTestCase):
    """A server listens; at the end nothing is left in the process's stack."""

    def setUp(self) -> None:
        self.network = Network()
        begin, clock = time.time(), self.network.clock
        self.patch(clock_of_c(), "now", lambda: begin + clock.seconds())
        self.server = Server()
        endpoint = UsrsctpServerEndpoint(
            Host(self.network, SERVER),
            self.network.clock,
            port=PORT,
            interface=SERVER,
            encapsulation=UDP_PORT,
            heartbeat=10.0,
        )
        self.port: Any = self.successResultOf(endpoint.listen(self.server))
        self.clients = Factory.forProtocol(Recorder)
        self.clients.noisy = False
        self.addCleanup(self._clean_up)

    def _clean_up(self) -> None:
        """Whatever the test left open is aborted, and forgotten by the stack."""
        stopped = self.port.stopListening()
        for _port in list(self.network.ports.values()):
            for association in list(_port.protocol._associations.values()):
                association.abortConnection()
        self.network.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(len(the_stack()), 0)
        self.assertEqual(the_stack().handles_in_use, 0)
        self.network.clock.advance(60)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
        self.assertEqual(self.network.ports, {})

    def client(self, host: str = CLIENT, **settings: Any) -> UsrsctpClientEndpoint:
        """Return an endpoint that leads to the server."""
        wanted = {"bind_address": None, "encapsulation": 0, "peer_encapsulation": UDP_PORT}
        wanted |= {"port": PORT, "heartbeat": 10.0, **settings}
        return UsrsctpClientEndpoint(
            Host(self.network, host), SERVER, clock=self.network.clock, **wanted
        )

    def connect(self, host: str = CLIENT, **settings: Any) -> tuple[Recorder, Recorder]:
        """Return both ends of an association."""
        connecting = self.client(host, **settings).connect(self.clients)
        before = len(self.server.built)
        self.network.run(60, until=lambda: connecting.called and len(self.server.built) > before)
        return self.successResultOf(connecting), self.server.built[-1]


class NetworkTests(SynchronousTestCase):
    """What the other tests rely on."""

    def test_the_same_seed_loses_the_same_datagrams(self) -> None:
        """A failure can be looked into."""
        runs = []
        for _run in range(2):
            network = Network(seed=5)
            network.loss, network.jitter = 0.5, 0.1
            heard: list[bytes] = []

            class Ear(Recorder):
                def datagramReceived(self, data: bytes, addr: Any, heard: Any = heard) -> None:
                    heard.append(data)

            port = network.listen("192.0.2.9", 9, Ear())
            for number in range(50):
                port.write(b"%d" % number, ("192.0.2.9", 9))
            network.run(1)
            runs.append(heard)
        self.assertEqual(runs[0], runs[1])
        self.assertTrue(5 < len(runs[0]) < 45)
        self.assertNotEqual(runs[0], sorted(runs[0], key=int))
