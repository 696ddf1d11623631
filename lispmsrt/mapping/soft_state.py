"""The clocks of registrations that no live session holds (RFC 9301 §8.2;
draft-kouvelas-lisp-map-server-reliable-transport-07 §6).

It says what is over; ending it is the registrar's business. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from lispmsrt.mapping.database import Lease, Registration
from lispmsrt.mapping.expiry import ExpiryWheel
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import NO_EXPIRY
from lispmsrt.wire.served_records import record_ttl

__all__ = ["EXPIRY_BATCH", "SoftState"]

EXPIRY_BATCH = 5_000
"""Registrations that are ended at one go, and items looked at: some 30 ms."""

_USE_TTL = int(RegisterFlag.USE_TTL)


class SoftState:
    """What ends unless somebody confirms it, and when."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        "seconds that a registration lasts unless its Map-Register says otherwise"
        self._wheel: ExpiryWheel[Registration | Lease] = ExpiryWheel()

    def lasts(self, flags: int, ttl: int) -> float:
        """Return for how long a Map-Register holds; ``ttl`` is the record's, in minutes."""
        # RFC 9301 §5.6, T bit: the record TTL is the timeout.
        return 60.0 * ttl if flags & _USE_TTL and ttl != NO_EXPIRY else self.timeout

    def add(self, registration: Registration, deadline: float, now: float) -> None:
        """Watch a registration that has a deadline of its own from now on."""
        # What forget() did not find stays in the wheel until it turns up there: with a record TTL
        # as its timeout that would be for years.
        self._wheel.add(registration, min(deadline, now + self.timeout))

    def bucket(self, now: float) -> dict[Registration | Lease, None]:
        """Return where registrations that begin now are watched: what :meth:`add` writes into."""
        return self._wheel.bucket(now + self.timeout)

    def forget(self, registration: Registration) -> None:
        """Watch no longer what is replaced, withdrawn or held by a session."""
        # Whoever changes one EID-prefix thousands of times a second would else fill the memory
        # with what nobody has any more. It is in the bucket of its deadline or, where that was
        # moved, in the one that it was put into at first. Only what has been there for longer than
        # the timeout may be elsewhere, and that is once for each registration and timeout.
        if registration.deadline is None:
            return
        self._wheel.discard(registration, registration.deadline)
        lasts = self.lasts(registration.flags, record_ttl(registration.record))
        self._wheel.discard(registration, registration.since + min(lasts, self.timeout))

    def lose(self, lease: Lease, now: float) -> None:
        """Start the clock of everything that a session registered."""
        lease.is_live = False
        if not lease.held:
            return
        lease.deadline = now + self.timeout
        self._wheel.add(lease, lease.deadline)
        if not lease.uses_ttl:
            return
        for registration in lease.held:
            if not registration.flags & _USE_TTL:
                continue
            ttl = record_ttl(registration.record)
            if 60.0 * ttl < self.timeout:
                registration.deadline = now + 60.0 * ttl
                self.add(registration, registration.deadline, now)

    def next_due(self) -> float | None:
        """When :meth:`end` may have something to do."""
        return self._wheel.next_due()

    def end(self, now: float, end: Callable[[Registration], int]) -> bool:
        """Have ``end`` end what is over, a portion of it, and tell whether there is more at once.

        ``end`` says how much work it was, in registrations. A lost session may have held a million:
        nobody else is to wait for these.
        """
        left = EXPIRY_BATCH
        for item in self._wheel.due(now, EXPIRY_BATCH):
            if left <= 0:
                self._wheel.add(item, now - 1.0)
            elif isinstance(item, Lease):
                for registration in list(islice(item.held, left)):
                    left -= end(registration)
                    if left <= 0:
                        break
                if item.held:
                    self._wheel.add(item, now - 1.0)
            elif item in item.lease.held and item.deadline is not None:
                if item.deadline > now:
                    self.add(item, item.deadline, now)
                else:
                    left -= end(item)
        due = self._wheel.next_due()
        return due is not None and due <= now
