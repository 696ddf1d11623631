"""The RLOC members of one EID family of one instance ID, and who reads of their changes.

A member is a name here: Site-ID, AFI and address. Of a subscription nothing is kept but how far it
has read, so that neither a slow peer nor a refresh of a million members costs memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.journal import Journal
from lispmsrt.wire.membership import NackError

__all__ = ["MAX_GONE", "Family", "FamilyMembers", "Subscription"]

Family = tuple[int, int]
"""Instance ID and EID address family."""

MAX_GONE = 65_536
"""Members that are gone and of which a peer that does not read has not heard; with more it is
better off starting again.
"""

_FIRST_LOOK = 1024
"""With fewer that are gone, it is not worth looking who has read of them."""

_K = TypeVar("_K")


class Subscription:
    """How far one xTR has read. Made by :class:`FamilyMembers`."""

    __slots__ = ("_family", "_told", "is_lost", "is_slow", "position", "wake", "xtr")

    def __init__(
        self,
        family: FamilyMembers,
        xtr: Xtr,
        wake: Callable[[], None],
        is_slow: Callable[[], bool],
    ) -> None:
        self.xtr = xtr
        self.wake = wake
        self.is_slow = is_slow
        self.is_lost = False
        "whether more than MAX_GONE waited for a peer that did not read"
        self._family = family
        self.position = self._told = family.journal.newest
        "serial number of the change that was read last, in this round"

    @property
    def told(self) -> int:
        """Serial number of the newest change that was read in any round, with all before it."""
        return max(self.position, self._told)

    @property
    def refusal(self) -> NackError | None:
        """Why the subscription may not go on, as things are now."""
        return self._family.refusal(self.xtr)

    @property
    def has_more(self) -> bool:
        """Whether :meth:`take` is worth calling."""
        return self.position < self._family.journal.newest

    def rewind(self) -> int:
        """Read everything anew; return the position at which all that there is now was read."""
        self._told = self.told
        self.position = 0
        return self._family.journal.newest

    def take(self, limit: int) -> list[tuple[bool, bytes]]:
        """Read on, at most ``limit`` changes: whether it is a member now, and its name.

        The list may be empty before the end.
        """
        family = self._family
        found, self.position = family.journal.read(self.position, limit)
        told, references = self._told, family.references
        elements = []
        for serial, name in found:
            is_member = references.get(name, 0) > 0
            # When it reads everything anew, it has heard already who was gone before.
            if is_member or serial > told:
                elements.append((is_member, name))
        if not self.has_more:
            family.rests(self)
        return elements

    def end(self) -> None:
        """Hear of nothing any more."""
        self._family.unsubscribe(self)


class FamilyMembers:
    """How often each member is registered, and in which order that began or ended."""

    def __init__(self, counters: Counter[str], *, is_complete: bool = True) -> None:
        self.is_complete = is_complete
        "whether everything that is registered has been counted"
        self.is_closed = False
        "whether the family is no longer distributed"
        self.references: dict[bytes, int] = {}
        "below zero while what is already gone has still to be gleaned"
        self.registered: dict[Xtr, int] = {}
        "how many EID-prefixes each xTR has registered"
        self.journal = Journal()
        self._counters = counters
        self._gone: dict[bytes, int] = {}
        "those in the journal that are no members, with their serial numbers, oldest first"
        self._look_at = _FIRST_LOOK
        self._subscriptions: dict[Subscription, None] = {}
        self._resting: dict[Subscription, None] = {}
        self._of_xtr: dict[Xtr, dict[Subscription, None]] = {}

    def members(self) -> Iterator[bytes]:
        """Yield the members."""
        return (name for name, count in self.references.items() if count > 0)

    @property
    def subscribers(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscriptions)

    def is_followed_by(self, xtr: Xtr) -> bool:
        """Whether an xTR has subscribed."""
        return xtr in self._of_xtr

    # What is registered

    def add(self, xtr: Xtr, names: Sequence[bytes]) -> None:
        """Count a registration."""
        references = self.references
        for name in names:
            count = _add(references, name, 1)
            if count == 1:
                self._gone.pop(name, None)
                self._note(name)
        _add(self.registered, xtr, 1)

    def remove(self, xtr: Xtr, names: Sequence[bytes]) -> None:
        """Count a registration no longer."""
        references = self.references
        for name in names:
            if not _add(references, name, -1):
                self._went(name)
        if not _add(self.registered, xtr, -1):
            for subscription in self._of_xtr.get(xtr, ()):
                subscription.wake()

    def _went(self, name: bytes) -> None:
        if not self._subscriptions:
            self.journal.forget(name)
            return
        self._gone[name] = self._note(name)
        if len(self._gone) >= self._look_at:
            self._look()

    def _note(self, name: bytes) -> int:
        serial = self.journal.note(name)
        if self._resting:
            resting, self._resting = self._resting, {}
            for subscription in resting:
                subscription.wake()
        return serial

    # Who reads

    def refusal(self, xtr: Xtr) -> NackError | None:
        """Say why the xTR may not subscribe, or not any longer."""
        if self.is_closed:
            return NackError.NOT_ENABLED
        if self.registered.get(xtr, 0) <= 0:
            return NackError.NOT_REGISTERED
        return None

    def subscribe(
        self, xtr: Xtr, wake: Callable[[], None], is_slow: Callable[[], bool]
    ) -> Subscription:
        """Add a reader of what changes from now on."""
        subscription = Subscription(self, xtr, wake, is_slow)
        self._subscriptions[subscription] = self._resting[subscription] = None
        self._of_xtr.setdefault(xtr, {})[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a reader, if it is there."""
        if subscription not in self._subscriptions:
            return
        del self._subscriptions[subscription]
        self._resting.pop(subscription, None)
        of_xtr = self._of_xtr[subscription.xtr]
        del of_xtr[subscription]
        if not of_xtr:
            del self._of_xtr[subscription.xtr]
        if not self._subscriptions:
            self._forget_until(self.journal.newest)

    def rests(self, subscription: Subscription) -> None:
        """Wake this reader at the next change: it has read everything."""
        if subscription in self._subscriptions:
            self._resting[subscription] = None

    def close(self) -> None:
        """The family is no longer distributed: whoever subscribed is to hear that."""
        self.is_closed = True
        for subscription in list(self._subscriptions):
            subscription.wake()

    # What nobody needs any more

    def _look(self) -> None:
        """Forget who is gone once everybody has heard of it; give up who does not read."""
        self._forget_until(min(one.told for one in self._subscriptions))
        if len(self._gone) > MAX_GONE:
            oldest_kept = next(islice(self._gone.values(), len(self._gone) - MAX_GONE, None))
            for subscription in list(self._subscriptions):
                if subscription.told < oldest_kept and subscription.is_slow():
                    self._lose(subscription)
            # Readers who do read may have any number: a lost session is news all at once.
            low = min((one.told for one in self._subscriptions), default=self.journal.newest)
            self._forget_until(low)
        count = len(self._gone)
        self._look_at = max(_FIRST_LOOK, 2 * count)
        if count <= MAX_GONE:
            self._look_at = min(self._look_at, MAX_GONE + 1)

    def _lose(self, subscription: Subscription) -> None:
        self._counters["subscriptions lost"] += 1
        subscription.is_lost = True
        self.unsubscribe(subscription)
        subscription.wake()

    def _forget_until(self, serial: int) -> None:
        """Forget who is gone since this serial number or longer."""
        kept = {}
        for name, gone_at in self._gone.items():
            if gone_at > serial:
                kept[name] = gone_at
            else:
                self.journal.forget(name)
        self._gone = kept


def _add(counts: dict[_K, int], key: _K, change: int) -> int:
    """Change a count, keeping no zeros; return what it is now."""
    count = counts.get(key, 0) + change
    if count:
        counts[key] = count
    else:
        del counts[key]
    return count
