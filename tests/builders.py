"""A Map-Server in memory, and the hand of an ETR that shares no encoder with it.

Messages are put together from `struct` and `hmac` alone, so that a mistake in the wire package
can't hide by being made twice. EID-prefixes in wire form are prefix length, AFI and address.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lispmsrt.control.arming import Armory, ArmoryLimits, Claim
from lispmsrt.control.map_server import MapServerControl
from lispmsrt.control.nonces import NonceCheck
from lispmsrt.mapping.database import Lease, Registration
from lispmsrt.mapping.publisher import Publisher
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.sites import RlocPrefix, Site, SitePrefix, Sites, eid_key
from lispmsrt.mapping.verdicts import Change
from lispmsrt.session.limits import SessionLimits
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.map_register import MapRegisterSpan, walk_map_register

__all__ = [
    "ANY_IPV4",
    "KEY",
    "MERGE",
    "OTHER_KEY",
    "PORT",
    "SHA1_KEY",
    "Etr",
    "Heard",
    "M",
    "MapServer",
    "Notify",
    "P",
    "Peer",
    "R",
    "Secret",
    "T",
    "answers",
    "eid",
    "frame",
    "ip",
    "lcaf",
    "locator",
    "messages",
    "record",
    "site",
    "sites",
    "span_of",
]

P, T, MERGE, M, R = 1 << 27, 1 << 11, 1 << 10, 1 << 8, 1 << 13
"""Bits of a Map-Register's first word: proxy reply, TTL as timeout, merge, want Map-Notify, r."""

PORT = 4342
ANY_IPV4 = "10.0.0.0/8"
_MARKER = bytes.fromhex("9facade9")
_NAMES = {16: "error", 18: "ack", 19: "reject", 20: "refresh", 21: "notification"}
_HASH = {1: "sha1", 2: "sha256", 3: "sha256"}
_FULL = {0: 0, 1: 20, 2: 32, 3: 32}

Answer = tuple[object, ...]


def ip(text: str) -> bytes:
    """Return the packed address."""
    return ipaddress.ip_address(text).packed


def _address(text: str) -> bytes:
    """Return AFI and address of IPv4, IPv6, a MAC of six groups, or ``name:...``."""
    if text.startswith("name:"):
        return struct.pack("!H", 17) + text[5:].encode() + b"\0"
    if text.count(":") == 5 and all(len(group) == 2 for group in text.split(":")):
        return struct.pack("!H", 6) + bytes.fromhex(text.replace(":", ""))
    packed = ip(text)
    return struct.pack("!H", 1 if len(packed) == 4 else 2) + packed


def lcaf(kind: int, body: bytes) -> bytes:
    """Return AFI 16387 and an LCAF of this type."""
    return struct.pack("!HBBBBH", 16387, 0, 0, kind, 0, len(body)) + body


def eid(text: str, instance_id: int | None = None) -> bytes:
    """Return an EID-prefix in wire form; with an instance ID, 0 included, inside an LCAF."""
    address, _, length = text.partition("/")
    afi_and_address = _address(address)
    if not length:
        length = str(8 * (len(afi_and_address) - (3 if address.startswith("name:") else 2)))
    if instance_id is not None:
        afi_and_address = lcaf(2, struct.pack("!I", instance_id) + afi_and_address)
    return bytes((int(length) & 0xFF,)) + afi_and_address


def locator(rloc: str | bytes = "192.0.2.1", *, local: bool = True, priority: int = 1) -> bytes:
    """Return an RLOC-record; bytes are AFI and address, ready made."""
    flags = 5 if local else 1
    address = rloc if isinstance(rloc, bytes) else _address(rloc)
    return struct.pack("!BBBBH", priority, 100, 255, 0, flags) + address


def record(
    eid_prefix: str | bytes, *locators: bytes, ttl: int = 1440, instance_id: int | None = None
) -> bytes:
    """Return a mapping record; without locators given it has one, and none where the TTL is 0."""
    wire = eid_prefix if isinstance(eid_prefix, bytes) else eid(eid_prefix, instance_id)
    if not locators and ttl:
        locators = (locator(),)
    head = struct.pack("!IBBHH", ttl, len(locators), wire[0], 0, 0)
    return head + wire[1:] + b"".join(locators)


@dataclass(frozen=True)
class Secret:
    """A key as an ETR has it."""

    key_id: int = 1
    algorithm_id: int = 2
    secret: bytes = b"open sesame"

    def key(self) -> Key:
        """Return the same for the Map-Server."""
        return Key(self.key_id, AlgorithmId(self.algorithm_id), self.secret)

    def mac(self, message: bytes, length: int, purpose: bytes) -> bytes:
        """Return the MAC over a message whose authentication data is zero."""
        secret = self.secret
        if not length:
            return b""
        if self.algorithm_id == 3:
            extracted = hmac.new(purpose, message[4:12] + secret, "sha256").digest()
            secret = hmac.new(extracted, b"\x01", "sha256").digest()
        return hmac.new(secret, message, _HASH[self.algorithm_id]).digest()[:length]


KEY = Secret()
OTHER_KEY = Secret(secret=b"not the same")
SHA1_KEY = Secret(2, 1, b"old but alive")


def frame(kind: int, data: bytes, message_id: int = 7) -> bytes:
    """Return a message of the session."""
    return struct.pack("!HHI", kind, len(data) + 12, message_id) + data + _MARKER


class Etr:
    """The hand of an ETR: it signs, counts its nonces up, and writes what it is told."""

    def __init__(
        self,
        address: str = "192.0.2.1",
        *,
        key: Secret = KEY,
        xtr_id: int | None = 1,
        site_id: int = 0,
        port: int = PORT,
    ) -> None:
        self.source = (ip(address), port)
        self.key = key
        self.ids = b"" if xtr_id is None else struct.pack("!QQQ", 0, xtr_id, site_id)
        self.nonce = 1000

    def map_register(
        self,
        *records: bytes,
        flags: int = R | M,
        nonce: int | None = None,
        key: Secret | None = None,
        length: int | None = None,
        covers_ids: bool = True,
    ) -> bytes:
        """Return a signed Map-Register."""
        key = key or self.key
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        length = _FULL[key.algorithm_id] if length is None else length
        word = 3 << 28 | flags | (1 << 25 if self.ids else 0) | len(records)
        head = struct.pack("!IQBBH", word, nonce, key.key_id, key.algorithm_id, length)
        body = b"".join(records)
        covered = body + self.ids if covers_ids else body
        mac = key.mac(head + bytes(length) + covered, length, b"Map-Register Authentication")
        return head + mac + body + self.ids

    def registration(self, *records: bytes, flags: int = M, key: Secret | None = None) -> bytes:
        """Return a Registration."""
        return frame(17, self.map_register(*records, flags=flags, key=key))


def messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Cut a stream into types, message IDs and data."""
    found = []
    while data:
        kind, length, message_id = struct.unpack_from("!HHI", data)
        assert 12 <= length <= len(data) and data[length - 4 : length] == _MARKER, data.hex()
        found.append((kind, message_id, data[8 : length - 4]))
        data = data[length:]
    return found


def answers(data: bytes) -> list[Answer]:
    """Read what a Map-Server sent on a session.

    ``("ack", eid)``, ``("reject", reason, eid)``, ``("refresh", scope, R bit, eid)``,
    ``("notification", ids, record)``, ``("error", code, type, length, message ID)``.
    """
    found: list[Answer] = []
    for kind, _message_id, body in messages(data):
        name = _NAMES[kind]
        if kind == 18:
            found.append((name, body))
        elif kind == 19:
            assert body[1:3] == b"\0\0"
            found.append((name, body[0], body[3:]))
        elif kind == 20:
            found.append((name, body[0], bool(body[1] & 0x80), body[3:]))
        elif kind == 21:
            found.append((name, body[:24], body[24:]))
        else:
            found.append((name, *struct.unpack_from("!B3xHHI", body)))
    return found


@dataclass(frozen=True)
class Notify:
    """A Map-Notify as an ETR reads it."""

    r: bool
    nonce: int
    key_id: int
    records: bytes
    ids: bytes
    to: tuple[bytes, int]
    mac_length: int

    @classmethod
    def read(cls, data: bytes, to: tuple[bytes, int], key: Secret, covers_ids: bool) -> Notify:
        """Check the MAC and read the rest."""
        word, nonce, key_id, algorithm_id, length = struct.unpack_from("!IQBBH", data)
        assert word >> 28 == 4 and algorithm_id == key.algorithm_id
        tail = data[16 + length :]
        ids = tail[-24:] if word & 1 << 27 else b""
        records = tail[: len(tail) - len(ids)]
        covered = data[:16] + bytes(length) + (tail if covers_ids else records)
        expected = key.mac(covered, length, b"Map-Notify Authentication")
        assert data[16 : 16 + length] == expected, "the Map-Notify is not authentic"
        return cls(bool(word & R), nonce, key_id, records, ids, to, length)


def site(
    name: str = "office",
    *keys: Secret,
    allowed: Iterable[str] = (),
    require_r: bool = True,
    certificates: Mapping[bytes, frozenset[str]] | None = None,
) -> Site:
    """Return a site; without keys given it has :data:`KEY`."""
    return Site(
        name,
        tuple(key.key() for key in keys or (KEY,)),
        tuple(map(RlocPrefix.from_text, allowed)),
        require_r,
        certificates or {},
    )


def sites(*prefixes: tuple[Site, str] | tuple[Site, str, int]) -> Sites:
    """Return sites with these EID-prefixes and instance IDs; more specific ones are accepted."""
    made = []
    for owner, text, *rest in prefixes:
        made.append(SitePrefix.of(owner, EidPrefix.from_text(text, *rest), True))
    return Sites(made)


def span_of(data: bytes) -> tuple[bytes, int, int, MapRegisterSpan]:
    """Return the arguments by which the registrar takes a Map-Register."""
    return data, 0, len(data), walk_map_register(data, 0, len(data))


Heard = list[Notify]


class MapServer:
    """The Map-Server's parts put together as the services do, without a socket or a clock."""

    def __init__(
        self,
        configured: Sites | None = None,
        *,
        limits: SessionLimits | None = None,
        armory_limits: ArmoryLimits | None = None,
        trusted: Iterable[str] = (),
        nonce_check: NonceCheck = NonceCheck.LENIENT,
        max_registrations: int = 4_000_000,
        notify_to_control_port: bool = False,
        offers_sessions: bool = True,
    ) -> None:
        self.changes: list[Change] = []
        self.news = Publisher()
        self.registrar = Registrar(
            configured or sites((site(), ANY_IPV4)),
            on_changes=self._changed,
            limit=max_registrations,
        )
        self.armory = Armory(armory_limits, map(ip, trusted))
        self.control = MapServerControl(
            self.registrar,
            self.armory,
            nonce_check=nonce_check,
            notify_to_control_port=notify_to_control_port,
            offers_sessions=offers_sessions,
        )
        self.limits = limits or SessionLimits()

    def _changed(self, changes: Sequence[Change]) -> None:
        self.changes.extend(changes)
        self.news.changed(changes)

    def hear(
        self,
        etr: Etr,
        data: bytes,
        now: float = 0.0,
        *,
        source: tuple[bytes, int] | None = None,
        key: Secret | None = None,
        covers_ids: bool = True,
    ) -> Heard:
        """Take a datagram and return the Map-Notifies that it causes."""
        self.control.receive_datagram(data, source or etr.source, now)
        return [
            Notify.read(answer, to, key or etr.key, covers_ids)
            for answer, to in self.control.datagrams_to_send(now)
        ]

    def connect(self, address: str, now: float = 0.0, *proven: str) -> Peer:
        """Accept a connection from the address, which must be armed, and start the session."""
        claim = self.armory.accept(ip(address), now)
        assert claim is not None, f"{address} is not armed"
        return Peer(self, claim, address, now, frozenset(proven))

    def bring_up(self, etr: Etr, *records: bytes, now: float = 0.0, flags: int = M) -> Peer:
        """Have an ETR register its records over UDP and then on a session, and return that."""
        assert self.hear(etr, etr.map_register(*records, flags=flags | R), now)
        peer = self.connect(str(ipaddress.ip_address(etr.source[0])), now)
        assert peer.pull(now) == [("refresh", 0, False, b"")]
        for one in records:
            answer = peer.send(etr.registration(one, flags=flags), now=now)
            assert answer[0][0] == "ack", answer
        return peer

    def at(self, text: str, instance_id: int = 0) -> Registration | None:
        """Return what is registered for exactly this EID-prefix."""
        instance, afi, _length, key = eid_key(EidPrefix.from_text(text, instance_id))
        return self.registrar.database.exact(instance, afi, key)

    def holder(self, text: str, instance_id: int = 0) -> Lease:
        """Return by which way the EID-prefix is registered."""
        found = self.at(text, instance_id)
        assert found is not None, f"{text} is not registered"
        return found.lease


class Peer:
    """The Map-Server's end of one session, seen from the other end."""

    def __init__(
        self, server: MapServer, claim: Claim, address: str, now: float, proven: frozenset[str]
    ) -> None:
        self.wakes = 0
        self.session = MapServerSession(
            registrar=server.registrar,
            arming=server.armory,
            news=server.news,
            claim=claim,
            transport="TCP",
            peer=f"{address}:50000",
            limits=server.limits,
            wake=self._woken,
            now=now,
            proven=proven,
        )
        self.session.start(now)

    def _woken(self) -> None:
        self.wakes += 1

    def send(self, *frames: bytes, now: float = 0.0) -> list[Answer]:
        """Send in one chunk and return what comes back."""
        self.session.receive_data(b"".join(frames), now)
        return self.pull(now)

    def pull(self, now: float = 0.0) -> list[Answer]:
        """Return what the Map-Server has to say."""
        return answers(self.session.data_to_send(now))

    def wait(self, until: float, step: Callable[[float], None] | None = None) -> None:
        """Let the session's timers fire up to a time."""
        while (due := self.session.next_timeout()) is not None and due <= until:
            self.session.handle_timeout(due)
            if step is not None:
                step(due)
