"""Write captures of made-up traffic and read them with tshark, an oracle that shares no code."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import BinaryIO, Self

from twisted.trial.unittest import SkipTest

__all__ = ["Endpoint", "PcapWriter", "TcpStream", "run_tshark", "skip_without_tshark"]

Endpoint = tuple[str, int]
"""Address and port."""

_FILE = Struct("!IHHiIII")  # magic, version, zone, accuracy, longest packet, link type
_PACKET = Struct("!IIII")  # seconds, microseconds, octets captured, octets sent
_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_UDP = Struct("!HHHH")
_TCP = Struct("!HHIIBBHHH")  # ports, sequence, acknowledgement, words, flags, window, checksum
_PSEUDO = Struct("!II")

_RAW_IP = 101
_TCP_PROTOCOL, _UDP_PROTOCOL = 6, 17
_SYN, _PSH, _ACK = 0x02, 0x08, 0x10
_FIRST_SEQUENCE = 1000
_SEGMENT = 1200
_VERIFY = tuple(f"-o{layer}.check_checksum:TRUE" for layer in ("ip", "tcp", "udp"))


class PcapWriter:
    """A classic pcap file of raw IP packets, a millisecond apart."""

    def __init__(self, path: Path | str) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115
        self._file.write(_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, 0x40000, _RAW_IP))
        self._packets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def udp(self, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """Add one datagram."""
        size = _UDP.size + len(payload)
        ports = (source[1], destination[1])
        pseudo = _pseudo_header(source, destination, _UDP_PROTOCOL, size)
        checksum = _checksum(pseudo + _UDP.pack(*ports, size, 0) + payload) or 0xFFFF
        datagram = _UDP.pack(*ports, size, checksum) + payload
        self.ip(source[0], destination[0], _UDP_PROTOCOL, datagram)

    def tcp(self, client: Endpoint, server: Endpoint, *, handshake: bool = True) -> TcpStream:
        """Begin a connection."""
        return TcpStream(self, client, server, handshake=handshake)

    def ip(self, source: str, destination: str, protocol: int, payload: bytes) -> None:
        """Add one IPv4 or IPv6 packet."""
        addresses = (_packed(source), _packed(destination))
        if len(addresses[0]) == 16:
            header = _IPV6.pack(6 << 28, len(payload), protocol, 64, *addresses)
        else:
            fixed = (0x45, 0, _IPV4.size + len(payload), self._packets, 0, 64, protocol)
            checksum = _checksum(_IPV4.pack(*fixed, 0, *addresses))
            header = _IPV4.pack(*fixed, checksum, *addresses)
        size = len(header) + len(payload)
        self._file.write(_PACKET.pack(*divmod(self._packets * 1000, 10**6), size, size))
        self._file.write(header + payload)
        self._packets += 1


class TcpStream:
    """One connection: each side's bytes, cut into segments."""

    def __init__(
        self, writer: PcapWriter, client: Endpoint, server: Endpoint, *, handshake: bool
    ) -> None:
        self._writer = writer
        self._client, self._server = client, server
        self._sequence = {client: _FIRST_SEQUENCE, server: _FIRST_SEQUENCE}
        if handshake:
            self._segment(client, server, _SYN)
            self._segment(server, client, _SYN | _ACK)
            self._segment(client, server, _ACK)

    def from_client(self, data: bytes, segment: int = _SEGMENT) -> None:
        """Send ``data`` from the client in segments of at most this many octets."""
        self._send(self._client, self._server, data, segment)

    def from_server(self, data: bytes, segment: int = _SEGMENT) -> None:
        """Send ``data`` from the server in segments of at most this many octets."""
        self._send(self._server, self._client, data, segment)

    def _send(self, source: Endpoint, destination: Endpoint, data: bytes, segment: int) -> None:
        for start in range(0, len(data), segment):
            part = data[start : start + segment]
            self._segment(source, destination, _PSH | _ACK, part)

    def _segment(
        self, source: Endpoint, destination: Endpoint, flags: int, data: bytes = b""
    ) -> None:
        sequence = self._sequence[source]
        acknowledged = self._sequence[destination] if flags & _ACK else 0
        fixed = (source[1], destination[1], sequence, acknowledged, 0x50, flags, 0xFFFF)
        pseudo = _pseudo_header(source, destination, _TCP_PROTOCOL, _TCP.size + len(data))
        checksum = _checksum(pseudo + _TCP.pack(*fixed, 0, 0) + data)
        packet = _TCP.pack(*fixed, checksum, 0) + data
        self._writer.ip(source[0], destination[0], _TCP_PROTOCOL, packet)
        self._sequence[source] = sequence + len(data) + bool(flags & _SYN)


def skip_without_tshark() -> None:
    """Skip the test where tshark is missing, but never under CI."""
    if shutil.which("tshark") is None and not os.environ.get("CI"):
        raise SkipTest("tshark is not installed")


def run_tshark(path: Path | str, fields: Sequence[str]) -> list[dict[str, list[str]]]:
    """Dissect a capture; return for each packet the values of each field, in their order."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *_VERIFY]
    command += ["-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t"]
    for field in fields:
        command += ["-e", field]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    packets = []
    for line in result.stdout.splitlines():
        values = [value.split("|") if value else [] for value in line.split("\t")]
        packets.append(dict(zip(fields, values, strict=True)))
    return packets


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _pseudo_header(source: Endpoint, destination: Endpoint, protocol: int, size: int) -> bytes:
    return _packed(source[0]) + _packed(destination[0]) + _PSEUDO.pack(size, protocol)


def _checksum(data: bytes) -> int:
    """Add word by word, unlike the code under test."""
    total = 0
    for start in range(0, len(data), 2):
        total += int.from_bytes(data[start : start + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
