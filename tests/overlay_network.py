"""An overlay's underlay: network namespaces joined by veths to a bridge, and a capture of it.

Neither namespaces nor interfaces have a name outside: all is gone with the last process and
descriptor in it, however that ended. Nothing outside is touched.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from twisted.trial.unittest import SkipTest

__all__ = ["Capture", "Host", "OverlayNetwork"]

_CLONE_NEWNET = 0x40000000
_MINE = "/proc/thread-self/ns/net"
_SBIN = "/usr/sbin:/sbin"
_BRIDGE = "bridge0"
_UPLINK = "eth0"

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17

_EVERY_PROTOCOL = 0x0003
_SO_RCVBUFFORCE = 33
_BUFFER = 16 * 1024 * 1024
"""Octets of frames that may wait until the capture is written."""

_LONGEST_FRAME = 65_535
_PACKET_OUTGOING = 4
_PCAP_FILE = struct.Struct("!IHHiIII")  # magic, version, zone, accuracy, longest packet, link type
_PCAP_PACKET = struct.Struct("!IIII")  # seconds, microseconds, octets captured, octets sent
_ETHERNET = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace without a name; whoever is started inside belongs to it."""

    def __init__(self) -> None:
        home = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            try:
                self._descriptor = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _check(_libc.setns(home, _CLONE_NEWNET), "setns")
        finally:
            os.close(home)

    @property
    def path(self) -> str:
        """What another process may call it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it: sockets and processes that are made here belong to it for good."""
        home = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(self._descriptor, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(home, _CLONE_NEWNET), "setns")
        finally:
            os.close(home)

    def ip(self, *lines: str) -> None:
        """Have ``ip`` obey these lines inside; RuntimeError says which one it did not."""
        program = _program("ip")
        assert program is not None
        with self.entered():
            done = subprocess.run(
                [program, "-batch", "-"],
                input="\n".join(lines) + "\n",
                text=True,
                capture_output=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"ip: {done.stderr.strip()}")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class Host:
    """One machine: a namespace with an IPv4 and an IPv6 address on its one interface."""

    def __init__(self, number: int, hub: Namespace) -> None:
        self.ipv4 = f"192.0.2.{number}"
        self.ipv6 = f"2001:db8::{number}"
        self.rlocs = {self.ipv4, self.ipv6}
        self.namespace = Namespace()
        self.port = f"port{number}"
        "its end of the veth at the bridge"
        try:
            hub.ip(
                f"link add {self.port} type veth peer name {_UPLINK} netns {self.namespace.path}",
                f"link set {self.port} master {_BRIDGE} up",
            )
            self.namespace.ip(
                "link set lo up",
                f"address add {self.ipv4}/24 dev {_UPLINK}",
                # Nobody else has it, and detection would take seconds.
                f"address add {self.ipv6}/64 dev {_UPLINK} nodad",
                f"link set {_UPLINK} up",
            )
            with self.namespace.entered():
                _compute_checksums(_UPLINK)
        except BaseException:
            self.namespace.close()
            raise


class OverlayNetwork:
    """Hosts at one bridge. SkipTest says what this machine lacks for it."""

    def __init__(self) -> None:
        if why_not := _why_not():
            raise SkipTest(why_not)
        self._hosts: list[Host] = []
        try:
            self._hub = Namespace()
        except PermissionError as failure:
            raise SkipTest(f"This root may make no network namespace: {failure}") from None
        try:
            self._hub.ip(
                f"link add {_BRIDGE} type bridge mcast_snooping 0",
                f"link set {_BRIDGE} up",
                "link add try0 type veth",
                "link delete try0",
            )
        except RuntimeError as failure:
            self._hub.close()
            raise SkipTest(f"This kernel has no bridge or no veth: {failure}") from None

    def host(self, number: int) -> Host:
        """Add a host, whose addresses end in this number."""
        host = Host(number, self._hub)
        self._hosts.append(host)
        return host

    def cut(self, host: Host) -> None:
        """Take a host off: from now on it reaches nobody, and nobody is told."""
        self._hub.ip(f"link set {host.port} down")

    def mend(self, host: Host) -> None:
        """Put it back."""
        self._hub.ip(f"link set {host.port} up")

    def capture(self) -> Capture:
        """Begin to keep every frame that hosts send."""
        with self._hub.entered():
            return Capture()

    def close(self) -> None:
        """Let go of everything; it vanishes once no process is left in it."""
        for host in self._hosts:
            host.namespace.close()
        self._hub.close()


class Capture:
    """Frames as they come from the hosts, kept in a socket's buffer until they are written."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)
        )
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)

    def write(self, path: Path) -> None:
        """Write what has come so far as a pcap file, in order but without times, and end."""
        with closing(self._socket), path.open("wb") as file:
            file.write(_PCAP_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, _LONGEST_FRAME, _ETHERNET))
            for number, frame in enumerate(self._frames()):
                file.write(_PCAP_PACKET.pack(0, number, len(frame), len(frame)) + frame)

    def close(self) -> None:
        """End without writing anything."""
        self._socket.close()

    def _frames(self) -> Iterator[bytes]:
        while True:
            try:
                frame, (interface, _protocol, direction, *_) = self._socket.recvfrom(_LONGEST_FRAME)
            except BlockingIOError:
                return
            # Each frame goes out of other ports, too, and some go to the bridge itself.
            if interface != _BRIDGE and direction != _PACKET_OUTGOING:
                yield frame


def _why_not() -> str:
    """Return a sentence that says what is missing for it here, or nothing."""
    if os.geteuid() != 0:
        return "Only root may make a network namespace: run the tests as root."
    if _program("ip") is None:
        return "ip is missing: install the Debian package iproute2."
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _compute_checksums(interface: str) -> None:
    """Have the kernel write every checksum: on a veth it leaves them out, which tshark minds."""
    off = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP24x", interface.encode(), ctypes.addressof(off))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
