"""RLOC membership on a session, the Map-Server's side (draft-kouvelas-lisp-rloc-membership-01).

Answers Subscribes and Refresh Requests, and says what of its subscriptions is news when the session
asks. Who is a member is the business of :mod:`lispmsrt.mapping.rloc_members`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.family_members import Family, Subscription
from lispmsrt.mapping.rloc_members import RlocMembers
from lispmsrt.wire.membership import (
    MembershipReply,
    MembershipRequest,
    NackError,
    decode_membership,
    encode_membership,
    encode_membership_elements,
)
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["MembershipOutput", "MembershipPublisher"]

_ACK = MessageType.MEMBERSHIP_SUBSCRIBE_ACK
_NACK = MessageType.MEMBERSHIP_SUBSCRIBE_NACK
_BEGIN = MessageType.MEMBERSHIP_REFRESH_BEGIN
_END = MessageType.MEMBERSHIP_REFRESH_END

_ELEMENTS_AT_ONCE = 64


class MembershipOutput:
    """Messages with consecutive message IDs, for so many octets as there is room."""

    def __init__(self, room: int, message_id: int) -> None:
        self.messages = 0
        self._room = room
        self._next_id = message_id
        self._parts: list[bytes] = []

    @property
    def data(self) -> bytes:
        """The messages."""
        return b"".join(self._parts)

    @property
    def has_room(self) -> bool:
        """Whether there may be more. The last thing that is added may exceed the room."""
        return self._room > 0

    def add_reply(self, reply: MembershipReply) -> None:
        """Add one message that answers a request."""
        self._add(encode_membership(reply, self._next_id), 1)

    def add_elements(self, at: Family, elements: list[tuple[bool, bytes]]) -> None:
        """Add a message for each element of a family."""
        self._add(encode_membership_elements(*at, elements, self._next_id), len(elements))

    def _add(self, data: bytes, messages: int) -> None:
        self._parts.append(data)
        self._room -= len(data)
        self._next_id = self._next_id + messages & 0xFFFFFFFF
        self.messages += messages


class _Served:
    """One subscription of the session, and the refresh that it is in."""

    __slots__ = ("refresh_id", "refresh_until", "request_id", "subscribe_id", "subscription")

    def __init__(self, subscription: Subscription, subscribe_id: int) -> None:
        self.subscription = subscription
        self.subscribe_id = subscribe_id
        "message ID of the Subscribe"
        self.request_id: int | None = None
        "message ID of the Refresh Request that waits; a newer one takes its place"
        self.refresh_id: int | None = None
        "message ID of the Refresh Request that is being answered"
        self.refresh_until = 0
        "position at which that is done"

    def begin_refresh(self) -> int | None:
        """Begin with the refresh that waits, unless one is under way; return its message ID."""
        if self.refresh_id is not None or self.request_id is None:
            return None
        self.refresh_id, self.request_id = self.request_id, None
        self.refresh_until = self.subscription.rewind()
        return self.refresh_id

    def end_refresh(self) -> int | None:
        """End the refresh that is under way, if all was read; return its message ID."""
        if self.refresh_id is None or self.subscription.position < self.refresh_until:
            return None
        ended, self.refresh_id = self.refresh_id, None
        return ended


class MembershipPublisher:
    """What the xTR of one session follows, and what of it has still to be said."""

    def __init__(
        self,
        members: RlocMembers,
        *,
        counters: Counter[str],
        limit: int,
        wake: Callable[[], None],
        is_slow: Callable[[], bool],
    ) -> None:
        """``limit`` is how many families the xTR may follow; for the others see
        :meth:`RlocMembers.subscribe`.
        """
        self.is_lost = False
        "whether the peer left so much unread that it can't be told any more"
        self._members = members
        self._counters = counters
        self._limit = limit
        self._wake = wake
        self._is_slow = is_slow
        self._served: dict[Family, _Served] = {}
        self._due: dict[Family, None] = {}
        "those with something to say, longest waiting first"

    @property
    def has_more(self) -> bool:
        """Whether :meth:`pull` has something to say."""
        return bool(self._due)

    def take(
        self, kind: int, message_id: int, data: bytes, xtr: Xtr | None
    ) -> MembershipReply | None:
        """Take a Subscribe, Unsubscribe or Refresh Request of the session's xTR, if it has one by
        now; return the answer where there is one at once.
        """
        request = decode_membership(kind, data)
        assert isinstance(request, MembershipRequest)
        at = (request.instance_id, request.afi)
        if request.kind is MessageType.MEMBERSHIP_SUBSCRIBE:
            return self._subscribe(at, message_id, xtr)
        if request.kind is MessageType.MEMBERSHIP_UNSUBSCRIBE:
            self._end(at)
            return None
        served = self._served.get(at)
        if served is None:
            # Nobody to refresh. What became of a subscription has been said, or is said here; the
            # draft has no number for a xTR that never subscribed.
            refusal = self._members.refusal(*at, xtr) or NackError.UNDEFINED
            return self._nack(at, message_id, refusal)
        served.request_id = message_id
        self._due[at] = None
        return None

    def pull(self, room: int, message_id: int) -> MembershipOutput:
        """Return what is to be said, as far as there is room for."""
        output = MembershipOutput(room, message_id)
        while self._due and output.has_room:
            at = next(iter(self._due))
            del self._due[at]
            served = self._served.get(at)
            if served is not None and self._serve(at, served, output):
                self._due[at] = None
        return output

    def end(self) -> None:
        """The session is over."""
        for at in list(self._served):
            self._end(at)

    def _subscribe(self, at: Family, message_id: int, xtr: Xtr | None) -> MembershipReply:
        served = self._served.get(at)
        if served is not None:
            refusal = served.subscription.refusal
            if refusal is not None:
                # It was going to be cancelled, and has to know that it missed something.
                self._end(at)
                return self._nack(at, message_id, refusal)
            served.subscribe_id = message_id
            return MembershipReply(_ACK, at[1], at[0], message_id)
        if len(self._served) >= self._limit:
            self._counters["subscriptions beyond the limit"] += 1
            return self._nack(at, message_id, NackError.NOT_ENABLED)
        woken = partial(self._woken, at)
        subscription = self._members.subscribe(*at, xtr, woken, self._is_slow)
        if isinstance(subscription, NackError):
            return self._nack(at, message_id, subscription)
        self._served[at] = _Served(subscription, message_id)
        return MembershipReply(_ACK, at[1], at[0], message_id)

    def _serve(self, at: Family, served: _Served, output: MembershipOutput) -> bool:
        """Say what one subscription has to say; tell whether there is more."""
        subscription = served.subscription
        if subscription.is_lost:
            self.is_lost = True
            return False
        refusal = subscription.refusal
        if refusal is not None:
            self._counters["subscriptions cancelled"] += 1
            self._end(at)
            output.add_reply(self._nack(at, served.subscribe_id, refusal))
            return False
        while output.has_room:
            begun = served.begin_refresh()
            if begun is not None:
                output.add_reply(MembershipReply(_BEGIN, at[1], at[0], begun))
            output.add_elements(at, subscription.take(_ELEMENTS_AT_ONCE))
            ended = served.end_refresh()
            if ended is not None:
                output.add_reply(MembershipReply(_END, at[1], at[0], ended))
            elif not subscription.has_more:
                return False
        return True

    def _end(self, at: Family) -> None:
        served = self._served.pop(at, None)
        if served is not None:
            served.subscription.end()

    def _nack(self, at: Family, request_id: int, error: NackError) -> MembershipReply:
        self._counters["subscriptions refused"] += 1
        return MembershipReply(_NACK, at[1], at[0], request_id, error)

    def _woken(self, at: Family) -> None:
        self._due[at] = None
        self._wake()
