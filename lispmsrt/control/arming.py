"""Who may connect, and whose session it is then (docs/draft.rst, "Arming").

A Map-Register with the r bit, authentic and fresh, makes a token for its xTR: good for one
accepted connection. Every transport asks :meth:`Armory.admits` before it makes any state for a
peer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from lispmsrt.mapping.database import Xtr
from lispmsrt.mapping.interfaces import Replaceable

__all__ = ["Armory", "ArmoryLimits", "Claim", "normalised"]

_V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class ArmoryLimits:
    """How many may be armed and connected."""

    token_lifetime: float = 180.0
    "seconds; as long as a registration over UDP lasts"
    max_tokens: int = 65_536
    "in all: about 50 MB at worst"
    max_tokens_per_source: int = 64
    "per site and source address: more than one host has xTRs"
    max_addresses: int = 8
    "that one token covers"
    max_sessions: int = 65_536
    "in all, bound or not"
    max_sessions_per_address: int = 1024
    "NAT and simulators put many xTRs behind one address"


@dataclass(slots=True, eq=False)
class _Token:
    xtr: Xtr
    source: bytes
    addresses: tuple[bytes, ...]
    expires: float


@dataclass(slots=True, eq=False)
class Claim:
    """What one accepted connection stands on, from accept to its end."""

    address: bytes
    token: _Token | None
    "None for a trusted address, and once the session is bound"
    xtr: Xtr | None = None
    "set once the session is bound"


class Armory:
    """Tokens, claims, and the live session of each xTR."""

    def __init__(self, limits: ArmoryLimits | None = None, trusted: Iterable[bytes] = ()) -> None:
        self.counters: Counter[str] = Counter()
        self._limits = limits or ArmoryLimits()
        self._trusted = frozenset(map(normalised, trusted))
        # OrderedDict: the oldest are asked for all the time, and a plain dict walks over all that
        # it has lost to find its first.
        self._tokens: OrderedDict[Xtr, _Token] = OrderedDict()
        self._by_site: dict[str, OrderedDict[Xtr, _Token]] = {}
        self._by_address: dict[bytes, dict[Xtr, _Token]] = {}
        self._per_source: Counter[tuple[str, bytes]] = Counter()
        self._claims: dict[bytes, dict[Claim, None]] = {}
        self._claimed = 0
        self._sessions: dict[Xtr, Replaceable] = {}

    # Over UDP

    def arm(self, xtr: Xtr, source: bytes, addresses: Iterable[bytes], now: float) -> bool:
        """Give the xTR a token in place of the one it has, if any.

        ``source`` is the packed address that its Map-Register came from, ``addresses`` what the
        token covers besides.
        """
        source = normalised(source)
        self._expire(now)
        earlier = self._tokens.get(xtr)
        if earlier is not None:
            self._discard(earlier)
        limits = self._limits
        per_source = self._per_source[xtr.site, source]
        if not limits.max_tokens or per_source >= limits.max_tokens_per_source:
            self.counters["tokens refused"] += 1
            return False
        if len(self._tokens) >= limits.max_tokens:
            # The site that has most pays, with its oldest: nobody uses up everyone's.
            fullest = max(self._by_site.values(), key=len)
            self._discard(next(iter(fullest.values())))
            self.counters["tokens displaced"] += 1
        covered = dict.fromkeys((source, *map(normalised, addresses)))
        self._keep(
            _Token(xtr, source, tuple(covered)[: limits.max_addresses], now + limits.token_lifetime)
        )
        self.counters["tokens"] += 1
        return True

    # At the socket

    def admits(self, address: bytes, now: float) -> bool:
        """Whether a connection from this packed address may be accepted now: the one question of
        all transports.
        """
        address = normalised(address)
        if not self._has_room(address):
            return False
        return address in self._trusted or self._token_for(address, now) is not None

    def accept(self, address: bytes, now: float) -> Claim | None:
        """Use up a token for a connection from this address; None refuses it."""
        address = normalised(address)
        if not self.admits(address, now):
            self.counters["connections refused"] += 1
            return None
        token = self._token_for(address, now)
        if token is not None:
            self._discard(token)
        claim = Claim(address, token)
        self._claims.setdefault(address, {})[claim] = None
        self._claimed += 1
        self.counters["connections accepted"] += 1
        return claim

    # On the session

    def session_of(self, xtr: Xtr) -> Replaceable | None:
        """Return the live session of an xTR."""
        return self._sessions.get(xtr)

    def bind(
        self, claim: object, session: Replaceable, site: str, ids: bytes, now: float
    ) -> Xtr | None:
        """Settle the xTR of a session by its first valid Registration, and close the one that it
        replaces.

        None when this xTR was not armed: nothing has happened then.
        """
        assert isinstance(claim, Claim)
        xtr = Xtr(site, ids, b"") if ids else self._xtr_without_ids(claim, site, now)
        if not self._settle(claim, xtr, now):
            self.counters["sessions of unarmed xTRs"] += 1
            return None
        claim.token = None
        claim.xtr = xtr
        earlier = self._sessions.get(xtr)
        self._sessions[xtr] = session
        if earlier is not None:
            self.counters["sessions replaced"] += 1
            earlier.replaced(now)
        return xtr

    def release(self, claim: object, session: Replaceable) -> None:
        """The session is over. A younger token of its xTR stays."""
        assert isinstance(claim, Claim)
        claims = self._claims.get(claim.address)
        if claims is not None and claim in claims:
            del claims[claim]
            self._claimed -= 1
            if not claims:
                del self._claims[claim.address]
        if claim.xtr is not None and self._sessions.get(claim.xtr) is session:
            del self._sessions[claim.xtr]

    # Inside

    def _has_room(self, address: bytes) -> bool:
        limits = self._limits
        return (
            self._claimed < limits.max_sessions
            and len(self._claims.get(address, ())) < limits.max_sessions_per_address
        )

    def _token_for(self, address: bytes, now: float) -> _Token | None:
        self._expire(now)
        tokens = self._by_address.get(address, {}).values()
        return next((token for token in tokens if token.expires > now), None)

    def _xtr_without_ids(self, claim: Claim, site: str, now: float) -> Xtr:
        """Which xTR a session without xTR-ID is: by UDP source address, which may differ from the
        session's.
        """
        if claim.token is not None and claim.token.xtr.site == site and not claim.token.xtr.ids:
            return claim.token.xtr
        for xtr, token in self._by_address.get(claim.address, {}).items():
            if xtr.site == site and not xtr.ids and token.expires > now:
                return xtr
        return Xtr(site, b"", claim.address)

    def _settle(self, claim: Claim, xtr: Xtr, now: float) -> bool:
        """Find the token that this xTR's connection stands on: several may have named the same
        address.
        """
        mine = claim.token
        if mine is None or mine.xtr == xtr:
            return True
        own = self._by_address.get(claim.address, {}).get(xtr)
        if own is not None and own.expires > now:
            self._discard(own)
            self._give_back(mine, now)
            return True
        for other in self._claims.get(claim.address, ()):
            if other.token is not None and other.token.xtr == xtr:
                claim.token, other.token = other.token, mine
                return True
        if claim.address not in self._trusted:
            return False
        self._give_back(mine, now)
        return True

    def _give_back(self, token: _Token, now: float) -> None:
        """Return what was taken for somebody else, unless that xTR has armed itself anew."""
        if token.xtr not in self._tokens and token.expires > now:
            self._keep(token)

    def _expire(self, now: float) -> None:
        # All tokens live equally long, so the oldest are first; one that was given back is checked
        # where it is used.
        while self._tokens:
            oldest = next(iter(self._tokens.values()))
            if oldest.expires > now:
                return
            self._discard(oldest)
            self.counters["tokens expired"] += 1

    def _keep(self, token: _Token) -> None:
        self._tokens[token.xtr] = token
        self._by_site.setdefault(token.xtr.site, OrderedDict())[token.xtr] = token
        self._per_source[token.xtr.site, token.source] += 1
        for address in token.addresses:
            self._by_address.setdefault(address, {})[token.xtr] = token

    def _discard(self, token: _Token) -> None:
        del self._tokens[token.xtr]
        of_site = self._by_site[token.xtr.site]
        del of_site[token.xtr]
        if not of_site:
            del self._by_site[token.xtr.site]
        source = (token.xtr.site, token.source)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        for address in token.addresses:
            tokens = self._by_address[address]
            del tokens[token.xtr]
            if not tokens:
                del self._by_address[address]


def normalised(address: bytes) -> bytes:
    """Return a packed address with IPv4 mapped into IPv6 turned back into IPv4."""
    return address[12:] if len(address) == 16 and address[:12] == _V4_MAPPED else address
