"""Who is not let in costs nothing: half-open peers, refused ones, and claims of other addresses."""

from __future__ import annotations

import contextlib  # not its name alone: trial takes a module's `suppress` for its own
import errno
import socket
import struct
from collections.abc import Sequence
from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.threads import deferToThread

from tests.guest.associations import (
    IPPROTO_SCTP,
    Admitting,
    AssociationTestCase,
    associations,
    plain_socket,
)
from tests.guest.capture import Capture, sctp_packets

_SERVER = "127.0.0.1"
_ARMED = "127.0.0.9"
_STRANGER = "127.0.0.2"
_SET_PEER_PRIMARY = 5
_ADDRESS_CHANGES = ("addip_enable", "addip_noauth_enable")
_COMMON = struct.Struct("!HHII")  # ports, verification tag, checksum
_INIT = struct.Struct("!BBHIIHHI")  # type, flags, length, tag, window, streams, TSN
_POLYNOMIAL = 0x82F63B78


def _crc32c(data: bytes) -> int:
    """RFC 9260 appendix A, bit by bit."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _bit in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _init_packet(port: int, to: int, tag: int) -> bytes:
    """Return an INIT that nobody will follow up."""
    chunk = _INIT.pack(1, 0, _INIT.size, tag, 65536, 1, 1, tag)
    checksum = _crc32c(_COMMON.pack(port, to, 0, 0) + chunk)
    return _COMMON.pack(port, to, 0, int.from_bytes(checksum.to_bytes(4, "little"))) + chunk


def _knock(port: int, addresses: Sequence[str], times: int) -> list[str]:
    """Connect, send and read, again and again; say how each ended."""
    ends = []
    for _time in range(times):
        with plain_socket(*addresses) as peer:
            try:
                peer.connect((_SERVER, port))
                peer.sendall(b"let me in")
                ends.append(f"{len(peer.recv(100))} octets")
            except OSError as failure:
                ends.append(type(failure).__name__)
    return ends


class StrangerTests(AssociationTestCase):
    """A port that admits one address."""

    async def _port(self) -> Any:
        return await self.listening(f"interface={_SERVER}", Admitting(_ARMED))

    async def test_strangers_are_aborted_unread(self) -> None:
        """No protocol is built for them, and nothing of them stays."""
        port = await self._port()
        ends = await deferToThread(_knock, port.getHost().port, [_STRANGER], 100)
        self.assertLessEqual(set(ends), {"ConnectionResetError", "BrokenPipeError"})
        self.assertEqual(port.factory.made, [])
        self.assertEqual(port.counters["associations refused"], 100)
        self.assertEqual(port.factory.asked, [_STRANGER] * 100)
        await self.until(lambda: not associations())

    async def test_the_armed_one_is_served_after_them(self) -> None:
        """The port has not suffered."""
        port = await self._port()
        await deferToThread(_knock, port.getHost().port, [_STRANGER], 3)
        near = await self.connected(port, f"bindAddress={_ARMED}")
        await self.until(lambda: port.factory.made)
        port.factory.made[0].transport.write(b"welcome")
        await self.until(lambda: near.received == b"welcome")

    async def test_our_client_is_told_that_it_is_refused(self) -> None:
        """Before it is connected or right after."""
        port = await self._port()
        try:
            near = await self.connected(port, f"bindAddress={_STRANGER}")
        except ConnectError as failure:
            self.assertIn("Connection reset by peer", str(failure))
        else:
            await self.until(lambda: near.reason)
            self.assertEqual(near.reason, "ConnectionLost")

    async def test_half_open_peers_leave_no_state(self) -> None:
        """An INIT is answered with a cookie and forgotten."""
        port = await self._port()
        number = port.getHost().port
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_SCTP) as raw:
            raw.bind((_ARMED, 0))
            with Capture() as capture:
                for each in range(200):
                    raw.sendto(_init_packet(1000 + each, number, each + 1), (_SERVER, 0))
                packets = await deferToThread(capture.until, self._has_answers(200))
        answers = [each for each in packets if each.chunk_types == (2,)]
        self.assertEqual(len(answers), 200)
        self.assertEqual((associations(), port.factory.asked), ([], []))
        await self.connected(port, f"bindAddress={_ARMED}")

    @staticmethod
    def _has_answers(count: int) -> Any:
        return lambda packets: sum(each.chunk_types == (2,) for each in packets) >= count


class ClaimTests(AssociationTestCase):
    """What a peer claims besides the address that it comes from arms nothing."""

    async def test_a_claimed_address_does_not_let_in(self) -> None:
        """Whichever the peer lists first."""
        port = await self.listening(f"interface={_SERVER}", Admitting(_ARMED))
        for addresses in ((_STRANGER, _ARMED), (_ARMED, _STRANGER)):
            source = await self._source_of_init(port, addresses)
            self.assertEqual(port.factory.asked.pop(), source)
            taken = [each.host for each in port.factory.addresses]
            self.assertEqual(taken, [source] if source == _ARMED else [])
            port.factory.addresses.clear()

    async def test_the_address_is_the_source_of_the_init(self) -> None:
        """For peers with up to four addresses, in any order."""
        port = await self.listening(f"interface={_SERVER}", Admitting())
        sources = set()
        hosts = ["127.0.0.2", "127.0.0.9", "127.0.0.3", "127.0.0.7"]
        for turn in range(4):
            addresses = hosts[turn:] + hosts[:turn]
            source = await self._source_of_init(port, addresses)
            self.assertEqual(port.factory.asked[-1], source)
            sources.add(source)
        self.assertGreater(len(sources), 1)

    async def test_a_peer_can_not_have_us_move_to_another_address(self) -> None:
        """Even where the machine lets addresses be changed (RFC 5061): a plain socket obeys."""
        for switch in _ADDRESS_CHANGES:
            self._set(switch, "1")
            self.addCleanup(self._set, switch, "0")
        port = await self.listening(f"interface={_SERVER}")
        plain = self.plain(_SERVER)
        plain.listen(5)
        outcomes = []
        for number in (plain.getsockname()[1], port.getHost().port):
            peer = self.plain(_STRANGER, _ARMED)
            await deferToThread(peer.connect, (_SERVER, number))
            own_port = socket.htons(peer.getsockname()[1])
            packed = struct.pack("=HH4s", socket.AF_INET, own_port, socket.inet_aton(_ARMED))
            try:
                peer.setsockopt(IPPROTO_SCTP, _SET_PEER_PRIMARY, struct.pack("=i128s", 0, packed))
            except OSError as failure:
                outcomes.append(errno.errorcode[failure.errno or 0])
            else:
                outcomes.append("moved")
        self.assertEqual(outcomes, ["moved", "EPERM"])

    @staticmethod
    def _set(switch: str, value: str) -> None:
        with open(f"/proc/sys/net/sctp/{switch}", "w") as file:
            file.write(value)

    async def _source_of_init(self, port: Any, addresses: Sequence[str]) -> str:
        """Connect from several addresses; return the one that the INIT came from."""
        asked = len(port.factory.asked)
        with Capture() as capture:
            await deferToThread(self._connect, port.getHost().port, addresses)
            await self.until(lambda: len(port.factory.asked) > asked)
        packets = sctp_packets(capture.packets)
        (init,) = (each for each in packets if each.chunk_types == (1,))
        return init.source

    def _connect(self, port: int, addresses: Sequence[str]) -> None:
        with contextlib.suppress(
            ConnectionResetError
        ):  # refused before it knows that it is connected
            self.plain(*addresses).connect((_SERVER, port))
