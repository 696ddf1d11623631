"""RLOC membership on a session, the ETR's side (draft-kouvelas-lisp-rloc-membership-01).

Subscribes to each family that is to be followed as soon as the Map-Server has acknowledged a
registration there, has itself told of every member once, and keeps up with what changes. The
members themselves are :class:`lispmsrt.mapping.learnt_members.LearntMembers`. Times are monotonic
seconds.
"""

from __future__ import annotations

import enum
from collections import Counter

from lispmsrt.mapping.family_members import Family
from lispmsrt.mapping.learnt_members import LearntMembers, Member
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, Afi
from lispmsrt.wire.membership import (
    MembershipElement,
    MembershipReply,
    MembershipRequest,
    NackError,
    decode_membership,
)
from lispmsrt.wire.reliable_transport import MessageType

__all__ = ["MembershipSubscriber", "Standing"]

_SUBSCRIBE = MessageType.MEMBERSHIP_SUBSCRIBE
_UNSUBSCRIBE = MessageType.MEMBERSHIP_UNSUBSCRIBE
_REFRESH = MessageType.MEMBERSHIP_REFRESH_REQUEST
_ADD = MessageType.MEMBERSHIP_ELEMENT_ADD

_LCAF = int(Afi.LCAF).to_bytes(2, "big")


class Standing(enum.Enum):
    """How far a session has come with one family."""

    UNREGISTERED = "nothing of ours there has been acknowledged"
    TO_SUBSCRIBE = "a Subscribe is to be sent"
    SUBSCRIBING = "a Subscribe was sent"
    TO_REFRESH = "subscribed; a Refresh Request is to be sent"
    REFRESHING = "subscribed; a Refresh Request was sent"
    FOLLOWING = "subscribed, and every member was told"
    WAITING = "refused for want of a registration; to be tried again after a while"
    REFUSED = "refused; to be tried again after a Refresh"
    TO_UNSUBSCRIBE = "an Unsubscribe is to be sent"
    UNSUBSCRIBED = "not to be followed any more"


_SUBSCRIBED = frozenset({Standing.TO_REFRESH, Standing.REFRESHING, Standing.FOLLOWING})

_TAKES: dict[tuple[Standing, MessageType], str] = {
    (Standing.SUBSCRIBING, MessageType.MEMBERSHIP_SUBSCRIBE_ACK): "_on_ack",
    (Standing.SUBSCRIBING, MessageType.MEMBERSHIP_SUBSCRIBE_NACK): "_on_nack",
    (Standing.REFRESHING, MessageType.MEMBERSHIP_REFRESH_BEGIN): "_on_begin",
    (Standing.REFRESHING, MessageType.MEMBERSHIP_REFRESH_END): "_on_end",
    **{(one, MessageType.MEMBERSHIP_SUBSCRIBE_NACK): "_on_cancel" for one in _SUBSCRIBED},
}
"""What answers whatever is outstanding then; anything else is counted and has no effect."""


class _Followed:
    """One family on this session."""

    __slots__ = ("delay", "request_id", "retry_at", "standing")

    def __init__(self, delay: float) -> None:
        self.standing = Standing.UNREGISTERED
        self.request_id = 0
        "message ID of the Subscribe or Refresh Request that was sent last"
        self.delay = delay
        "seconds that the next wait will be"
        self.retry_at = 0.0


class MembershipSubscriber:
    """What one session follows of a Map-Server's RLOC membership."""

    def __init__(
        self, members: LearntMembers, *, counters: Counter[str], limits: SessionLimits
    ) -> None:
        self._members = members
        self._counters = counters
        self._first_delay = limits.subscribe_delay
        self._longest_delay = limits.subscribe_delay_max
        self._followed = {at: _Followed(limits.subscribe_delay) for at in members.families}
        self._unregistered = set(self._followed)
        self._due: dict[Family, None] = {}
        "those that have a request to be sent"

    def standing(self, instance_id: int, afi: int) -> Standing:
        """Return how far it has come with a family."""
        return self._followed[instance_id, afi].standing

    # What the session says

    @property
    def awaits_registration(self) -> bool:
        """Whether :meth:`acknowledged` may have an effect."""
        return bool(self._unregistered)

    def acknowledged(self, eid: bytes) -> None:
        """The Map-Server has acknowledged a registration of this EID wire form."""
        at = _family_of(eid)
        if at in self._unregistered:
            self._unregistered.discard(at)
            self._move(at, self._followed[at], Standing.TO_SUBSCRIBE)

    def refreshed(self) -> None:
        """The Map-Server wants registrations anew: its configuration may be another one."""
        for at, followed in self._followed.items():
            if followed.standing is Standing.REFUSED:
                self._move(at, followed, Standing.TO_SUBSCRIBE)

    def not_understood(self, kind: int, message_id: int) -> None:
        """The Map-Server does not know this message type of ours, or has it switched off."""
        for at, followed in self._followed.items():
            if (
                kind == _SUBSCRIBE
                and followed.standing is Standing.SUBSCRIBING
                and followed.request_id == message_id
            ):
                self._refuse(at, followed)

    def unsubscribe(self, instance_id: int, afi: int) -> None:
        """Follow a family no longer, as long as this session lasts."""
        at = (instance_id, afi)
        followed = self._followed[at]
        self._unregistered.discard(at)
        has_asked = followed.standing is Standing.SUBSCRIBING or followed.standing in _SUBSCRIBED
        self._move(at, followed, Standing.TO_UNSUBSCRIBE if has_asked else Standing.UNSUBSCRIBED)
        self._members.outdated(at)

    def take(self, kind: int, data: bytes, now: float) -> None:
        """Take a message of types 22 to 30 that a Map-Server sends."""
        message = decode_membership(kind, data)
        at = (message.instance_id, message.afi)
        followed = self._followed.get(at)
        if followed is None:
            self._counters["membership not asked for"] += 1
        elif isinstance(message, MembershipElement):
            self._take_element(at, followed, message)
        else:
            assert isinstance(message, MembershipReply)
            take = _TAKES.get((followed.standing, message.kind))
            if take is None or not _is_answer(followed, message):
                self._counters["membership not asked for"] += 1
            else:
                getattr(self, take)(at, followed, message, now)

    def next_request(self, message_id: int) -> MembershipRequest | None:
        """Return the next request to be sent; it leaves with this message ID."""
        if not self._due:
            return None
        at = next(iter(self._due))
        followed = self._followed[at]
        kind, after = _REQUESTS[followed.standing]
        followed.request_id = message_id
        self._move(at, followed, after)
        return MembershipRequest(kind, at[1], at[0])

    def end(self) -> None:
        """The session is over."""
        for at in self._followed:
            self._members.outdated(at)
        self.tell()

    def tell(self) -> None:
        """Let whoever uses the members know what has changed."""
        self._members.tell()

    # Time

    def next_timeout(self) -> float | None:
        """When :meth:`handle_timeout` wants to be called."""
        return min(
            (one.retry_at for one in self._followed.values() if one.standing is Standing.WAITING),
            default=None,
        )

    def handle_timeout(self, now: float) -> None:
        """Subscribe again to what was refused a while ago."""
        for at, followed in self._followed.items():
            if followed.standing is Standing.WAITING and followed.retry_at <= now:
                self._move(at, followed, Standing.TO_SUBSCRIBE)

    # What the Map-Server says

    def _take_element(self, at: Family, followed: _Followed, element: MembershipElement) -> None:
        if followed.standing not in _SUBSCRIBED:
            self._counters["membership not asked for"] += 1
        elif not isinstance(element.rloc, Address):
            # A Map-Server gleans plain addresses from these; nobody's source address is an LCAF.
            self._counters["members without a plain RLOC"] += 1
        elif element.kind is _ADD:
            self._members.add(at, Member(element.site_id, element.rloc))
        else:
            self._members.discard(at, Member(element.site_id, element.rloc))

    def _on_ack(self, at: Family, followed: _Followed, reply: MembershipReply, now: float) -> None:
        # From now on members may be told at any time.
        self._members.begin_round(at)
        self._move(at, followed, Standing.TO_REFRESH)

    def _on_nack(self, at: Family, followed: _Followed, reply: MembershipReply, now: float) -> None:
        self._counters["subscriptions refused"] += 1
        if reply.error == NackError.NOT_REGISTERED:
            followed.retry_at = now + followed.delay
            followed.delay = min(2 * followed.delay, self._longest_delay)
            self._move(at, followed, Standing.WAITING)
        else:
            self._refuse(at, followed)

    def _on_cancel(
        self, at: Family, followed: _Followed, reply: MembershipReply, now: float
    ) -> None:
        self._members.outdated(at)
        self._on_nack(at, followed, reply, now)

    def _on_begin(
        self, at: Family, followed: _Followed, reply: MembershipReply, now: float
    ) -> None:
        """Nothing to do: what is told since the ACK counts as well."""

    def _on_end(self, at: Family, followed: _Followed, reply: MembershipReply, now: float) -> None:
        self._members.end_round(at)
        followed.delay = self._first_delay
        self._move(at, followed, Standing.FOLLOWING)

    def _refuse(self, at: Family, followed: _Followed) -> None:
        self._members.outdated(at)
        self._move(at, followed, Standing.REFUSED)

    def _move(self, at: Family, followed: _Followed, standing: Standing) -> None:
        followed.standing = standing
        if standing in _REQUESTS:
            self._due[at] = None
        else:
            self._due.pop(at, None)


_REQUESTS: dict[Standing, tuple[MessageType, Standing]] = {
    Standing.TO_SUBSCRIBE: (_SUBSCRIBE, Standing.SUBSCRIBING),
    Standing.TO_REFRESH: (_REFRESH, Standing.REFRESHING),
    Standing.TO_UNSUBSCRIBE: (_UNSUBSCRIBE, Standing.UNSUBSCRIBED),
}
"""What is sent, and where that leads."""


def _is_answer(followed: _Followed, reply: MembershipReply) -> bool:
    """Whether it answers what was sent last, or cancels, which may answer anything."""
    if reply.kind is MessageType.MEMBERSHIP_SUBSCRIBE_NACK and followed.standing in _SUBSCRIBED:
        return True
    return reply.request_id == followed.request_id


def _family_of(eid: bytes) -> Family:
    """Return instance ID and address family of a well-formed EID wire form."""
    if eid[1:3] == _LCAF:
        return int.from_bytes(eid[9:13], "big"), int.from_bytes(eid[13:15], "big")
    return 0, int.from_bytes(eid[1:3], "big")
