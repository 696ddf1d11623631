"""Mutated packets and garbage: no process dies of them, and no association but the one they name.

The fuzzing itself runs in a child, so that a crash in C is seen: ``python -m
tests.test_usrsctp_fuzz seed packets``.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.transports.sctp.usrsctp.stack import the_stack
from tests.test_usrsctp_network import (
    CLIENT,
    PORT,
    SERVER,
    UDP_PORT,
    Recorder,
    UsrsctpTestCase,
)

_CHECKOUT = Path(__file__).resolve().parent.parent
_PACKETS = 4000

_INTERESTING = (0, 1, 2, 3, 4, 5, 8, 12, 16, 20, 0x7F, 0x80, 0xC0, 0xC1, 0xFE, 0xFF)


def with_checksum(packet: bytes) -> bytes:
    """Return a packet with the checksum that it should have."""
    checksum = the_stack().checksum(packet[:8] + bytes(4) + packet[12:])
    return packet[:8] + checksum + packet[12:]


class Mutator:
    """Makes packets that are nearly right of packets that are."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def mutate(self, packet: bytes, others: list[bytes]) -> bytes:
        """Return a packet with one to four mistakes, and most times the right checksum."""
        changed = bytearray(packet)
        for _ in range(self.random.randint(1, 4)):
            self.random.choice(
                (self._set, self._flip, self._cut, self._lengthen, self._length, self._invent)
            )(changed)
            if self.random.random() < 0.2:
                changed += self.random.choice(others)[12:]
        del changed[1472:]
        result = bytes(changed)
        if len(result) < 12 or self.random.random() < 0.1:
            return result
        # The ports and the tag must be right, or nothing is looked at.
        return with_checksum(packet[:8] + result[8:])

    def _place(self, packet: bytearray) -> int:
        return self.random.randrange(12, max(13, len(packet)))

    def _set(self, packet: bytearray) -> None:
        place = self._place(packet)
        packet[place : place + 1] = bytes([self.random.choice(_INTERESTING)])

    def _flip(self, packet: bytearray) -> None:
        place = self._place(packet)
        if place < len(packet):
            packet[place] ^= 1 << self.random.randrange(8)

    def _cut(self, packet: bytearray) -> None:
        del packet[self._place(packet) :]

    def _lengthen(self, packet: bytearray) -> None:
        packet += self.random.randbytes(self.random.randint(1, 64))

    def _length(self, packet: bytearray) -> None:
        if len(packet) >= 16:
            packet[14:16] = struct.pack("!H", self.random.choice((0, 3, 4, 5, 16, 20, 1400, 65535)))

    def _invent(self, packet: bytearray) -> None:
        """Add a chunk of any type with parameters of any type."""
        body = b""
        for _ in range(self.random.randint(0, 4)):
            value = self.random.randbytes(self.random.choice((0, 1, 4, 8, 20)))
            kind = self.random.choice((1, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 0x8000, 0x8002))
            kind = self.random.choice((kind, 0x8003, 0x8004, 0x8008, 0xC000, 0xC001, 0xC006))
            size = len(value) + 4 + self.random.choice((0, 0, 0, -1, 4))
            body += struct.pack("!HH", kind, size) + value + bytes(-len(value) % 4)
        kind = self.random.choice((*range(16), 0x40, 0x80, 0x81, 0x82, 0x83, 0xC0, 0xC1, 0xC2))
        packet += struct.pack("!BBH", kind, self.random.randrange(256), 4 + len(body)) + body


class Fuzz(UsrsctpTestCase):
    """What the child does: a victim that is attacked, and a bystander that must not feel it.

    Its method has no name that trial would collect.
    """

    seed = 0
    packets = 0

    def attack(self) -> None:
        """The bystander's octets arrive, and new associations are set up."""
        self.lost = 0
        mutator = Mutator(self.seed)
        bystander, other_end = self.connect("192.0.2.50")
        bystander.stream.pauseProducing()
        seen: dict[int, list[bytes]] = {}
        pair = self._victim()
        for number in range(self.packets):
            self._collect(seen)
            self._attack(mutator, pair, seen)
            if pair[0].reasons or pair[1].reasons:
                self.lost += 1
                pair = self._victim()
            if number % 50 == 0:
                pair[0].stream.write(b"traffic" * 100)
                pair[1].stream.write(b"traffic" * 300)
                bystander.stream.write(b"%06d" % number)
                self.network.run(0.3)
        self.network.run(1)
        self.assertEqual(other_end.data, b"".join(b"%06d" % n for n in range(0, self.packets, 50)))
        self.assertEqual((bystander.reasons, other_end.reasons), ([], []))
        self.connect("192.0.2.51")
        # Or nothing was fuzzed but the checksum.
        self.assertGreater(self.lost, self.packets // 500)

    def _victim(self) -> tuple[Recorder, Recorder]:
        self.network.run(1)
        return self.connect()

    def _collect(self, seen: dict[int, list[bytes]]) -> None:
        for _source, _to, data in self.network.sent:
            kept = seen.setdefault(data[12], [])
            if len(kept) < 20:
                kept.append(data)
        del self.network.sent[:]

    def _attack(self, mutator: Mutator, pair: Any, seen: dict[int, list[bytes]]) -> None:
        samples = [data for kept in seen.values() for data in kept]
        sample = mutator.random.choice(seen[mutator.random.choice(list(seen))])
        client, server = pair[0].stream, pair[1].stream
        source = client.peer, server.peer
        way = mutator.random.randrange(4)
        if way == 0:  # a stranger's, to the listening port
            to, by = (SERVER, UDP_PORT), (CLIENT, mutator.random.randrange(20000, 20010))
            data = mutator.mutate(sample, samples)
            if mutator.random.random() < 0.3:
                data = mutator.random.randbytes(mutator.random.randrange(100))
        elif way == 1:  # to the client
            to, by = (CLIENT, source[1].udp_port), (SERVER, UDP_PORT)
            head = struct.pack("!HHI", PORT, client.local_port, client.tag)
            data = mutator.mutate(head + sample[8:], samples)
        else:  # to the server
            to, by = (SERVER, UDP_PORT), (CLIENT, source[1].udp_port)
            head = struct.pack("!HHI", client.local_port, PORT, server.tag)
            data = mutator.mutate(head + sample[8:], samples)
        self.network.deliver(data, by, to)
        if mutator.random.random() < 0.2:
            self.network.run(0.05)
        self.network.clock.advance(0)


class FuzzTests(SynchronousTestCase):
    """The child comes back."""

    def test_mutated_packets_kill_nobody(self) -> None:
        """Thousands of them, with the right tag and checksum; the seed is in the message."""
        for seed in (1, 2, int.from_bytes(os.urandom(2), "big")):
            command = [sys.executable, "-m", "tests.test_usrsctp_fuzz", str(seed), str(_PACKETS)]
            child = subprocess.run(
                command, cwd=_CHECKOUT, capture_output=True, text=True, timeout=300, check=False
            )
            self.assertEqual(child.returncode, 0, f"seed {seed}: {child.stdout}{child.stderr}")
            self.assertIn("lost", child.stdout)


def main() -> int:
    """Fuzz; tell how it went."""
    import unittest

    Fuzz.seed, Fuzz.packets = int(sys.argv[1]), int(sys.argv[2])
    test = Fuzz("attack")
    result = unittest.TextTestRunner(stream=sys.stdout).run(test)
    print("associations lost:", getattr(test, "lost", None))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
