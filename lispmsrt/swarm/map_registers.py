"""The UDP side of a swarm: Map-Registers, the Map-Notifies that answer them, leave to connect.

RFC 9301 §5.6 and §8.2; draft-kouvelas-lisp-map-server-reliable-transport-07 §4. No I/O in here.
Times are monotonic seconds but where ticks are named.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from random import Random

from lispmsrt.swarm.etr import MAP_REGISTER_FLAGS, Due, Nonces, SwarmEtr
from lispmsrt.swarm.latencies import Latencies, ticks
from lispmsrt.swarm.load import Load, is_authentic, map_register
from lispmsrt.swarm.turns import ArmingTurns
from lispmsrt.swarm.unanswered import SentMapRegister, Unanswered
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.map_register import MapRegisterSpan, NotifyFlag, RegisterFlag, walk_map_notify
from lispmsrt.wire.record_walk import EID_OFFSET

__all__ = ["PERIOD", "MapRegisters"]

PERIOD = 60.0
"""Seconds after which an ETR without a session registers everything again (RFC 9301 §8.2)."""

_MASK_AT = 5


class MapRegisters:
    """All Map-Registers of all ETRs."""

    def __init__(
        self,
        load: Load,
        nonces: Nonces,
        *,
        random: Random,
        window: int,
        records: int,
        needs_r: bool,
        on_armed: Callable[[SwarmEtr], None],
    ) -> None:
        """``window`` Map-Registers are unanswered at a time, of ``records`` records each. With
        ``needs_r`` only a Map-Notify with the r bit is leave to connect.
        """
        self.counters: Counter[str] = Counter()
        self.arming = Latencies()
        self._load = load
        self._nonces = nonces
        self._random = random
        self._window = window
        self._records = records
        self._needs_r = needs_r
        self._on_armed = on_armed
        self._unanswered = Unanswered()
        self._periods: list[tuple[float, int, SwarmEtr]] = []
        self._turns = ArmingTurns()
        self._to_register: deque[SwarmEtr] = deque()
        self._sequence = 0
        self._output: list[tuple[SwarmEtr, bytes]] = []

    # What is wanted

    def arm(self, etr: SwarmEtr, at: float) -> None:
        """Have an ETR look for leave to connect at this time."""
        self._turns.add(etr, at)

    def arming_over(self, etr: SwarmEtr) -> None:
        """It has its session, or none: another one of its address may arm itself."""
        self._turns.over(etr)

    def register(self, etr: SwarmEtr) -> None:
        """Register what the ETR has due. Queues output."""
        self._to_register.append(etr)

    def register_periodically(self, etr: SwarmEtr, now: float) -> None:
        """Register everything now and with each period. Queues output."""
        etr.offer_everything()
        self.register(etr)
        self._sequence += 1
        again = now + PERIOD * self._random.uniform(0.9, 1.0)
        heapq.heappush(self._periods, (again, self._sequence, etr))

    def stop(self) -> None:
        """Send nothing any more."""
        self._unanswered.clear()
        self._periods.clear()
        self._to_register.clear()
        self._turns.clear()

    # In and out

    def datagrams_to_send(self, now: float) -> list[tuple[SwarmEtr, bytes]]:
        """Return what is due now, and whose it is."""
        while self._periods and self._periods[0][0] <= now:
            self.register_periodically(heapq.heappop(self._periods)[2], now)
        for sent in self._unanswered.due(now):
            self._send_again(sent, now)
        self._send_arming(now)
        self._send_registering(now)
        output, self._output = self._output, []
        return output

    def next_timeout(self) -> float | None:
        """When there will be something without anything being received."""
        times = (
            self._unanswered.next_timeout(),
            self._turns.next_timeout(),
            self._periods[0][0] if self._periods else None,
        )
        return min((at for at in times if at is not None), default=None)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take what came from the Map-Server."""
        sent = self._unanswered.find(int.from_bytes(data[4:12], "big"))
        if sent is None:
            self.counters["datagrams that answer no Map-Register"] += 1
        elif not sent.arms and data[3] == sent.count and self._load.vouches_for(data):
            self._on_all_registered(sent, now)
        else:
            self._judge(sent, data, now)

    def _judge(self, sent: SentMapRegister, data: bytes, now: float) -> None:
        """Take a Map-Notify that is not the ordinary one."""
        try:
            notify = walk_map_notify(data)
        except WireError:
            self.counters["datagrams that are no Map-Notify"] += 1
            return
        word, _nonce, _key_id, _algorithm_id, length, _records, records_end = notify
        if not is_authentic(self._load.key, data, records_end, length):
            self.counters["Map-Notifies that are not authentic"] += 1
        elif sent.arms:
            self._on_leave(sent, bool(word & NotifyFlag.RELIABLE_TRANSPORT), now)
        elif word & 0xFF == sent.count:
            self._on_all_registered(sent, now)
        else:
            self._on_some_registered(sent, data, notify, now)

    # Inside

    def _on_leave(self, sent: SentMapRegister, has_r: bool, now: float) -> None:
        self._unanswered.answered(sent)
        if has_r or not self._needs_r:
            self.arming.observe(ticks(now) - sent.sent)
            self._on_armed(sent.etr)
            return
        self.counters["Map-Notifies without leave to connect"] += 1
        self.arming_over(sent.etr)
        self.arm(sent.etr, now + sent.patience)

    def _on_all_registered(self, sent: SentMapRegister, now: float) -> None:
        self._unanswered.answered(sent)
        self.counters["Map-Notifies"] += 1
        self._load.settle(sent.etr.number, sent.first, sent.last, sent.sent, ticks(now))

    def _on_some_registered(
        self, sent: SentMapRegister, data: bytes, notify: MapRegisterSpan, now: float
    ) -> None:
        self._unanswered.answered(sent)
        self.counters["Map-Notifies"] += 1
        load, etr = self._load, sent.etr
        listed = {load.space.number(_eid_at(data, at, to)) for at, *_rest, to, _end in notify[5]}
        numbers = load.unsettled(etr.number, sent.first, sent.last, sent.sent)
        _acknowledged, refused = load.settle_some(
            numbers, {number for number in listed if number is not None}, ticks(now)
        )
        self.counters["records that a Map-Notify left out"] += refused

    def _send_arming(self, now: float) -> None:
        for etr in self._turns.take(now):
            eid = etr.some_eid()
            if eid is None:
                self.counters["ETRs whose EIDs all went to others"] += 1
                self._turns.over(etr)
                continue
            flags = MAP_REGISTER_FLAGS | RegisterFlag.RELIABLE_TRANSPORT
            template = etr.template(self._load.space.block_of(eid), flags)
            sent = SentMapRegister(etr, template, eid, eid + 1, ticks(now), 1, arms=True)
            nonce = self._nonces.take(1)
            self._send(sent, map_register(self._load, template, (eid,), nonce), nonce, now)

    def _send_registering(self, now: float) -> None:
        at, queue = ticks(now), self._to_register
        while queue and len(self._unanswered) < self._window:
            etr = queue.popleft()
            if etr.due and self._send_one(etr, etr.due[0], at, now):
                # One after the other: nobody waits until the largest is done.
                queue.append(etr)

    def _send_one(self, etr: SwarmEtr, due: Due, at: int, now: float) -> bool:
        """Send one Map-Register; tell whether the ETR has more."""
        template = etr.template(due.block, MAP_REGISTER_FLAGS, leaves=due.leaves)
        first, nonce = due.first, self._nonces.next
        data, due.first, count = self._load.write_map_register(
            template, first, due.last, due.only, nonce, at, self._records
        )
        if due.first >= due.last:
            etr.due.popleft()
        if count:
            self._nonces.take(1)
            sent = SentMapRegister(etr, template, first, due.first, at, count)
            self._send(sent, data, nonce, now)
        return bool(etr.due)

    def _send_again(self, sent: SentMapRegister, now: float) -> None:
        if sent.arms:
            numbers = [sent.first]
        else:
            numbers = self._load.unsettled(sent.etr.number, sent.first, sent.last, sent.sent)
        if not numbers:  # all of it was changed or moved, and is sent otherwise
            self._unanswered.answered(sent)
            return
        sent.attempt += 1
        sent.count = len(numbers)
        self.counters["Map-Registers sent again"] += 1
        nonce = self._nonces.take(1)
        self._send(sent, map_register(self._load, sent.template, numbers, nonce), nonce, now)

    def _send(self, sent: SentMapRegister, data: bytes, nonce: int, now: float) -> None:
        self.counters["Map-Registers"] += 1
        self._output.append((sent.etr, data))
        self._unanswered.add(sent, nonce, now)


def _eid_at(data: bytes, start: int, locators_at: int) -> bytes:
    """Return the EID wire form of the record that begins at ``start``."""
    mask = start + _MASK_AT
    return data[mask : mask + 1] + data[start + EID_OFFSET : locators_at]
