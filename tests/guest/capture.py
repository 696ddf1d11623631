"""What goes over an interface of the guest, kept for a look at it or for tshark on the host."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Capture", "SctpPacket", "sctp_packets"]

_ALL_PROTOCOLS = 0x0003
_OUTGOING = 4
_SO_RCVBUFFORCE = 33
_LINK_HEADER = 14
_IPPROTO_SCTP = 132
_RAW_IP = 101
_FILE = struct.Struct("!IHHiIII")  # magic, version, zone, accuracy, longest packet, link type
_PACKET = struct.Struct("!IIII")  # seconds, microseconds, octets captured, octets sent


@dataclass(frozen=True, slots=True)
class SctpPacket:
    """An SCTP packet in IPv4."""

    source: str
    destination: str
    chunk_types: tuple[int, ...]


class Capture:
    """Collects the IP packets of an interface while it is open, each once."""

    def __init__(self, interface: str = "lo") -> None:
        self._interface = interface
        self._packets: list[tuple[float, bytes]] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self) -> Self:
        self._socket.settimeout(0.05)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
        self._socket.bind((self._interface, _ALL_PROTOCOLS))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()

    @property
    def packets(self) -> list[bytes]:
        """What there is so far, without link headers."""
        with self._changed:
            return [data for _when, data in self._packets]

    def until(self, condition: Callable[[list[SctpPacket]], object]) -> list[SctpPacket]:
        """Wait, in a thread of the caller's, until the packets are as wanted; return them."""
        with self._changed:
            while not condition(packets := sctp_packets([data for _, data in self._packets])):
                if not self._changed.wait(20):
                    raise AssertionError(f"{len(packets)} packets captured, then: {packets[-9:]}")
        return packets

    def write(self, path: Path | str) -> None:
        """Write a pcap file of raw IP packets."""
        with open(path, "wb") as file, self._changed:
            file.write(_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, 0x40000, _RAW_IP))
            for when, data in self._packets:
                seconds, rest = divmod(when, 1)
                header = (int(seconds), int(rest * 1e6), len(data), len(data))
                file.write(_PACKET.pack(*header) + data)

    def _collect(self) -> None:
        # When it is over, what has arrived is still read.
        while True:
            try:
                data, (_name, _protocol, kind, *_rest) = self._socket.recvfrom(1 << 16)
            except TimeoutError:
                if self._is_over:
                    return
                continue
            # Loopback shows each packet twice: going out and coming in.
            if self._interface == "lo" and kind == _OUTGOING:
                continue
            with self._changed:
                self._packets.append((time.time(), data[_LINK_HEADER:]))
                self._changed.notify_all()


def sctp_packets(packets: Sequence[bytes]) -> list[SctpPacket]:
    """Return those that are SCTP in IPv4, with the types of their chunks."""
    return [
        SctpPacket(
            socket.inet_ntoa(data[12:16]),
            socket.inet_ntoa(data[16:20]),
            tuple(_chunk_types(data[(data[0] & 15) * 4 :])),
        )
        for data in packets
        if data and data[0] >> 4 == 4 and data[9] == _IPPROTO_SCTP
    ]


def _chunk_types(packet: bytes) -> list[int]:
    types = []
    at = 12
    while at + 4 <= len(packet):
        types.append(packet[at])
        at += max(4, (int.from_bytes(packet[at + 2 : at + 4]) + 3) & ~3)
    return types
