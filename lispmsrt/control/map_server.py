"""The Map-Server's UDP side: Map-Registers in, Map-Notifies out, ETRs armed (RFC 9301 §5.6, §5.7,
§8.2).

Whatever can't be authenticated is met with silence and a counter. Other control messages are
counted only: asking for mappings is the Map-Resolver's business. What ETRs are told unasked is in
:mod:`lispmsrt.control.map_notifies`.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

from lispmsrt.control.arming import normalised
from lispmsrt.control.map_notifies import MapNotifies
from lispmsrt.control.map_registers import OrdinaryMapRegisters, RunsOverUdp
from lispmsrt.control.nonces import NonceCheck, NonceMemory
from lispmsrt.control.registration_proofs import RegistrationProofs
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.control.unproven import Unproven
from lispmsrt.mapping.database import Endpoint, UdpPath, Xtr
from lispmsrt.mapping.interfaces import Arms
from lispmsrt.mapping.refusals import Refusal
from lispmsrt.mapping.sites import Site
from lispmsrt.mapping.verdicts import Identity, Verdict
from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.authentication import AUTHENTICATION_OFFSET
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import (
    MapRegisterSpan,
    RegisterFlag,
    walk_map_register,
    write_map_notify,
)
from lispmsrt.wire.messages import ControlType, message_type
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.record_walk import RecordSpan
from lispmsrt.wire.records import decode_locators

__all__ = ["Endpoint", "MapServerControl"]

LISP_CONTROL_PORT = 4342

MAX_MERGED_NOTIFY = 8192
"""Octets of records up to which a Map-Notify tells merged ones: the answer to a Map-Register must
not be many times its size.
"""

_MAX_SOURCE_TEXTS = 65_536
_ACCEPTED = Verdict.ACCEPTED
_ANSWERED = RegisterFlag.WANT_MAP_NOTIFY | RegisterFlag.RELIABLE_TRANSPORT
_NOT_FOR_A_MAP_SERVER = {
    int(ControlType.MAP_REPLY): "Map-Replies dropped",
    int(ControlType.MAP_NOTIFY): "Map-Notifies dropped",
}


class MapServerControl:
    """Answer the UDP control messages of ETRs."""

    def __init__(
        self,
        registrar: RunsOverUdp,
        armory: Arms,
        *,
        nonce_check: NonceCheck = NonceCheck.LENIENT,
        notify_to_control_port: bool = False,
        offers_sessions: bool = True,
        retransmissions: Retransmissions | None = None,
        notifies: MapNotifies | None = None,
        acknowledge: Callable[[bytes, Endpoint, float], bool] | None = None,
        unproven: Unproven | None = None,
    ) -> None:
        """``retransmissions`` are those that ``notifies`` uses, and whoever else waits for
        Map-Notify-Acks; this sends what is due there. ``acknowledge`` takes the Map-Notify-Acks in
        their place, on their way there. ``unproven`` bounds what is done for wrong messages.
        """
        self.counters: Counter[str] = Counter()
        self.nonces = NonceMemory(nonce_check)
        self._proofs = RegistrationProofs(registrar, self.nonces, unproven or Unproven())
        self._registrar = registrar
        self._ordinary = OrdinaryMapRegisters(registrar, self.nonces)
        self._armory = armory
        self._notify_to_control_port = notify_to_control_port
        self._offers_sessions = offers_sessions
        self._output: list[tuple[bytes, Endpoint]] = []
        self._source_texts: dict[Endpoint, str] = {}
        self._retransmissions = Retransmissions() if retransmissions is None else retransmissions
        self._acknowledge = acknowledge or self._retransmissions.acknowledge
        self._notifies = notifies

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram. Queues output."""
        try:
            kind = message_type(data)
            if kind == ControlType.MAP_REGISTER:
                self._on_map_register(data, source, now)
            elif kind == ControlType.MAP_NOTIFY_ACK:
                self._acknowledge(data, source, now)
            else:
                # RFC 9301 §8.3: a Map-Server drops Map-Replies.
                what = _NOT_FOR_A_MAP_SERVER.get(kind, f"type {kind} not handled")
                self.counters[what] += 1
        except WireError:
            self.counters["malformed datagrams"] += 1

    def receive_run(self, batch: list[tuple[bytes, Endpoint]], first: int, now: float) -> int:
        """Take Map-Registers from ``batch[first]`` on, as long as each is ordinary; return how
        many. The next one is for :meth:`receive_datagram`. Queues output.
        """
        taken, notifies = self._ordinary.take_run(batch, first, now)
        if taken:
            self.counters["Map-Registers in"] += taken
            if notifies:
                self.counters["Map-Notifies out"] += len(notifies)
                self._output += notifies
        return taken

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent now: answers, then what nobody asked for."""
        output, self._output = self._output, []
        if self._notifies is not None:
            self._notifies.start_due(now)
        return output + self._retransmissions.datagrams_to_send(now)

    def next_timeout(self) -> float | None:
        """When :meth:`datagrams_to_send` will have something, in monotonic seconds; the past is at
        once.
        """
        if self._output:
            return float("-inf")
        waiting = self._notifies.next_timeout() if self._notifies is not None else None
        due = self._retransmissions.next_timeout()
        if waiting is None or due is None:
            return due if waiting is None else waiting
        return min(waiting, due)

    def _on_map_register(self, data: bytes, source: Endpoint, now: float) -> None:
        register = walk_map_register(data, 0, len(data))
        self.counters["Map-Registers in"] += 1
        if not register[5]:
            self.counters["Map-Registers without records"] += 1
            return
        excess = self._proofs.excess(data, register, source, now)
        if excess is not None:
            self.counters[f"Map-Registers dropped: {excess.value}"] += 1
            return
        identity = self._registrar.identify(data, 0, len(data), register)
        if isinstance(identity, Refusal):
            self._proofs.failed(data, register, source, now)
            # Silence: whoever has no key learns nothing.
            self.counters[f"Map-Registers refused: {identity.verdict.name}"] += 1
            ids = data[register[6] :]
            self._registrar.rejections.note(identity, register[5][0], ids, "UDP", source, now)
            return
        address = b"" if identity.ids else normalised(source[0])
        xtr = Xtr(identity.site.name, identity.ids, address)
        who = (xtr, identity.key.fingerprint)
        mac = data[AUTHENTICATION_OFFSET : AUTHENTICATION_OFFSET + register[4]]
        if address and not self.nonces.is_from_origin(xtr.site, mac, address):
            self.counters["Map-Registers from elsewhere"] += 1
            self._proofs.failed(data, register, source, now)
            return
        if not self.nonces.is_fresh(xtr.site, who, register[1]):
            self._proofs.failed(data, register, source, now)
            self._on_repeat(who, register[1], source, now)
            return
        self._proofs.proved(xtr, source)
        accepted = self._register(data, register, identity, xtr, source, now)
        if not accepted:
            self.counters["Map-Registers with no record accepted"] += 1
            return
        is_armed = self._arm(data, register[0], accepted, identity.site, xtr, source, now)
        notify = None
        if register[0] & _ANSWERED:
            records = self._records(data, register[0], accepted)
            notify = _map_notify(data, register, identity, records, is_armed)
            self.nonces.keep_answer(xtr.site, who, register[1], source, now, notify)
            self._send(notify, source)
        if len(accepted) == len(register[5]) and not self._arms(register[0], identity.site):
            self._ordinary.remember(data, register, identity, xtr, source, notify)

    def _register(
        self,
        data: bytes,
        register: MapRegisterSpan,
        identity: Identity,
        xtr: Xtr,
        source: Endpoint,
        now: float,
    ) -> list[RecordSpan]:
        enter = self._registrar.enter_over_udp
        site, text, word = identity.site, self._source_text(source), register[0]
        has_ids = bool(word & RegisterFlag.XTR_ID)
        path = UdpPath(
            self._notify_endpoint(source), identity.key, register[4], identity.coverage, has_ids
        )
        return [
            record
            for record in register[5]
            if enter(xtr, text, site, data, record, word, now, path) is _ACCEPTED
        ]

    def _records(self, data: bytes, word: int, accepted: list[RecordSpan]) -> list[bytes]:
        """Return what the Map-Notify tells: what was registered, or what it has become by merging.

        RFC 9301 §5.7: whoever merges hears of the RLOCs of all.
        """
        records = [data[record[0] : record[7]] for record in accepted]
        if not word & RegisterFlag.MERGE:
            return records
        size = sum(map(len, records))
        for index, (_start, ttl, instance_id, afi, _length, key, *_) in enumerate(accepted):
            merged = self._registrar.registered_record(instance_id, afi, key) if ttl else None
            if merged is not None and size - len(records[index]) + len(merged) <= MAX_MERGED_NOTIFY:
                size += len(merged) - len(records[index])
                records[index] = merged
        return records

    def _arm(
        self,
        data: bytes,
        word: int,
        accepted: list[RecordSpan],
        site: Site,
        xtr: Xtr,
        source: Endpoint,
        now: float,
    ) -> bool:
        """Arm the xTR where the Map-Register asks for it; tell whether to say so."""
        if not self._arms(word, site):
            return False
        rlocs = _local_rlocs(data, accepted, site) if site.allowed_rlocs else []
        is_armed = self._armory.arm(xtr, source[0], rlocs, now)
        return is_armed and bool(word & RegisterFlag.RELIABLE_TRANSPORT)

    def _arms(self, word: int, site: Site) -> bool:
        """Whether a Map-Register with this first word is one to be armed for."""
        asked = bool(word & RegisterFlag.RELIABLE_TRANSPORT)
        return self._offers_sessions and (asked or not site.require_reliable_transport_bit)

    def _on_repeat(self, who: tuple[Xtr, bytes], nonce: int, source: Endpoint, now: float) -> None:
        self.counters["Map-Registers repeated"] += 1
        answer = self.nonces.answer_again(who[0].site, who, nonce, source, now)
        if answer is not None:
            self._send(answer, source)

    def _send(self, notify: bytes, source: Endpoint) -> None:
        """Queues output."""
        self.counters["Map-Notifies out"] += 1
        self._output.append((notify, self._notify_endpoint(source)))

    def _notify_endpoint(self, source: Endpoint) -> Endpoint:
        # RFC 9301 contradicts itself on the port (§5, §5.7, §8.2); most ETRs expect the one they
        # sent from.
        return (source[0], LISP_CONTROL_PORT) if self._notify_to_control_port else source

    def _source_text(self, source: Endpoint) -> str:
        text = self._source_texts.get(source)
        if text is None:
            if len(self._source_texts) >= _MAX_SOURCE_TEXTS:
                self._source_texts.clear()
            address = ipaddress.ip_address(source[0])
            text = f"{address}:{source[1]}" if address.version == 4 else f"[{address}]:{source[1]}"
            self._source_texts[source] = text
        return text


def _map_notify(
    data: bytes,
    register: MapRegisterSpan,
    identity: Identity,
    records: list[bytes],
    is_armed: bool,
) -> bytes:
    word, nonce, _key_id, _algorithm_id, length, _records, records_end = register
    return write_map_notify(
        nonce=nonce,
        records=records,
        # RFC 9301 has no xTR-ID in a Map-Notify; deployed code mirrors it.
        ids=data[records_end:] if word & RegisterFlag.XTR_ID else b"",
        reliable_transport=is_armed,
        key=identity.key,
        length=length,
        coverage=identity.coverage,
    )


def _local_rlocs(data: bytes, records: list[RecordSpan], site: Site) -> list[bytes]:
    """Return the ETR's own RLOCs (L bit) that the site allows: it may well connect from one of
    these.
    """
    found: dict[bytes, None] = {}
    for record in records:
        count = data[record[0] + 4]
        for locator in decode_locators(Reader(data, record[6], record[7]), count):
            rloc = locator.rloc
            if (
                locator.local
                and isinstance(rloc, Address)
                and _is_unicast(rloc)
                and site.allows_rloc(rloc)
            ):
                found[rloc.packed] = None
    return list(found)


def _is_unicast(rloc: Address) -> bool:
    if rloc.afi not in (Afi.IPV4, Afi.IPV6):
        return False
    address = ipaddress.ip_address(rloc.packed)
    return not (address.is_multicast or address.is_unspecified)
