"""Merge, replacement, loss and notifications against a naive model: plain dictionaries, in which
everything is worked out anew.

Three xTRs have sessions and use UDP too; two have UDP only, one of them no xTR-ID.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import merging
from lispmsrt.mapping.database import EidTable, Lease, UdpPath, Xtr
from lispmsrt.mapping.merging import parts_of
from lispmsrt.mapping.publisher import Publisher, eid_of_key, news_record
from lispmsrt.mapping.registrar import Registrar
from lispmsrt.mapping.verdicts import Identity, Verdict
from lispmsrt.wire.authentication import Coverage
from tests.builders import (
    ANY_IPV4,
    KEY,
    MERGE,
    OTHER_KEY,
    Etr,
    M,
    P,
    T,
    locator,
    record,
    site,
    sites,
    span_of,
)

_EIDS = (ANY_IPV4, "10.1.0.0/16", "10.2.0.0/16")
_WITH_SESSION = (1, 2, 3)
_UDP_ONLY, _ANONYMOUS = 4, 5
_MAX_PARTS = 3
_TIMEOUT = 180


@dataclass
class _Part:
    """What one xTR has registered."""

    rlocs: dict[int, int]
    "last octet to priority"
    ttl: int
    flags: int
    is_live: bool
    end: int | None
    "when it ends; None while a session holds it"

    def says(self) -> tuple[dict[int, int], int, int]:
        return self.rlocs, self.ttl, self.flags

    def lasts(self) -> int:
        return 60 * self.ttl if self.flags & T else _TIMEOUT


class _Model:
    """Who has registered what, newest last."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[int, _Part]] = {text: {} for text in _EIDS}

    def register(self, who: int, text: str, new: _Part) -> bool:
        """Return whether it is accepted."""
        parts = self.parts[text]
        own = parts.get(who)
        if own is not None and (own.is_live and not new.is_live):
            return True
        if own is not None and own.says() == new.says():
            own.is_live, own.end = new.is_live, new.end
            return True
        others = {other: part for other, part in parts.items() if other != who}
        if who == _ANONYMOUS and any(part.is_live for part in others.values()):
            return False
        if not new.flags & MERGE or not all(part.flags & MERGE for part in others.values()):
            others = {}
        if len(others) >= _MAX_PARTS:
            if new.is_live:
                parts.pop(who, None)
            return False
        self.parts[text] = {**others, who: new}
        return True

    def withdraw(self, who: int, text: str, *, is_live: bool) -> None:
        own = self.parts[text].get(who)
        if own is not None and (is_live or not own.is_live):
            del self.parts[text][who]

    def lose(self, who: int, now: int) -> None:
        for parts in self.parts.values():
            if who in parts and parts[who].is_live:
                parts[who].is_live = False
                parts[who].end = now + min(_TIMEOUT, parts[who].lasts())

    def expire(self, now: int) -> None:
        for parts in self.parts.values():
            for who, part in list(parts.items()):
                if part.end is not None and part.end < now:
                    del parts[who]

    def record(self, text: str) -> bytes:
        """Return what everybody is to be told, with TTL 0 when there is nothing."""
        parts = self.parts[text].values()
        if not parts:
            return record(text, ttl=0)
        rlocs: dict[int, int] = {}
        for part in parts:
            for rloc, priority in part.rlocs.items():
                rlocs[rloc] = min(priority, rlocs.get(rloc, 255))
        return _record(text, rlocs, min(part.ttl for part in parts))

    def interests(self) -> Iterator[tuple[int, str]]:
        """Yield who has asked to hear of what: at or above it; over UDP just at it."""
        for text in _EIDS:
            for who in (*_WITH_SESSION, _UDP_ONLY, _ANONYMOUS):
                above = (text, ANY_IPV4) if who in _WITH_SESSION else (text,)
                if any(self._asks(who, where) for where in above):
                    yield who, text

    def _asks(self, who: int, text: str) -> bool:
        part = self.parts[text].get(who)
        return part is not None and bool(part.flags & M)


def _record(text: str, rlocs: dict[int, int], ttl: int) -> bytes:
    locators = [
        locator(f"192.0.2.{rloc}", priority=priority) for rloc, priority in sorted(rlocs.items())
    ]
    return record(text, *locators, ttl=ttl)


class _World:
    """Registrar and publisher, the model beside them, and what each xTR believes."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.now = 0
        self.model = _Model()
        self.site = site()
        self.news = Publisher(self._tell_over_udp)
        self.registrar = Registrar(sites((self.site, ANY_IPV4)), on_changes=self.news.changed)
        self.etrs = {who: Etr(xtr_id=who) for who in (*_WITH_SESSION, _UDP_ONLY)}
        self.etrs[_ANONYMOUS] = Etr("192.0.2.99", xtr_id=None)
        self.leases = {who: self._session(who) for who in _WITH_SESSION}
        self.believes: dict[tuple[int, str], bytes] = {}
        self.must_hear: set[tuple[int, str]] = set()
        self.heard: set[tuple[int, str]] = set()
        self.interested: set[tuple[int, str]] = set()

    def xtr(self, who: int) -> Xtr:
        etr = self.etrs[who]
        return Xtr("office", etr.ids, b"" if etr.ids else etr.source[0])

    def _session(self, who: int) -> Lease:
        lease = Lease(self.xtr(who), "TCP", "there", is_live=True)
        self.news.attach(lease, lambda: None)
        return lease

    def _tell_over_udp(self, lease: Lease, table: EidTable, key: int) -> None:
        (who,) = (one for one in (_UDP_ONLY, _ANONYMOUS) if self.xtr(one) == lease.xtr)
        text = str(eid_of_key(table, key))
        self.believes[who, text] = news_record(table, key)
        self.heard.add((who, text))

    # What may happen

    def register(self, who: int, text: str, rlocs: dict[int, int], ttl: int, flags: int) -> None:
        """Register on the session of those who have one."""
        message = self.etrs[who].map_register(_record(text, rlocs, ttl), flags=flags)
        verdict = self.registrar.register(self.leases[who], *span_of(message), self.now)
        own = self.model.parts[text].get(who)
        new = _Part(rlocs, ttl, flags, True, None)
        is_repeated = own is not None and own.says() == new.says()
        self._check_verdict(verdict, self._register_in_model(who, text, new))
        if verdict is not Verdict.ACCEPTED:
            self._believes_gone(who, text, own)
        elif not is_repeated:
            self.believes[who, text] = _record(text, rlocs, ttl)

    def register_over_udp(
        self, who: int, text: str, rlocs: dict[int, int], ttl: int, flags: int
    ) -> None:
        """The Map-Notify shows what is registered now."""
        verdict = self._over_udp(who, _record(text, rlocs, ttl), flags)
        new = _Part(rlocs, ttl, flags, False, None)
        new.end = self.now + new.lasts()
        self._check_verdict(verdict, self._register_in_model(who, text, new))
        if verdict is Verdict.ACCEPTED:
            self.believes[who, text] = self.registered(text)

    def withdraw(self, who: int, text: str) -> None:
        """On the session."""
        message = self.etrs[who].map_register(record(text, ttl=0))
        verdict = self.registrar.register(self.leases[who], *span_of(message), self.now)
        self._check_verdict(verdict, True)
        own = self.model.parts[text].get(who)
        self.model.withdraw(who, text, is_live=True)
        self._believes_gone(who, text, own)

    def withdraw_over_udp(self, who: int, text: str) -> None:
        """It does nothing to what a live session holds."""
        own = self.model.parts[text].get(who)
        self._check_verdict(self._over_udp(who, record(text, ttl=0), MERGE), True)
        self.model.withdraw(who, text, is_live=False)
        self._believes_gone(who, text, own)

    def _believes_gone(self, who: int, text: str, own: _Part | None) -> None:
        """An xTR that has ended its own part thinks that nothing is left, until it hears more."""
        if own is not None and who not in self.model.parts[text]:
            self.believes[who, text] = record(text, ttl=0)

    def be_refused(self, who: int, text: str) -> None:
        """With a wrong key, on the session."""
        message = self.etrs[who].map_register(record(text), key=OTHER_KEY)
        verdict = self.registrar.register(self.leases[who], *span_of(message), self.now)
        self.case.assertIs(verdict, Verdict.AUTHENTICATION_FAILURE)
        own = self.model.parts[text].get(who)
        self.model.withdraw(who, text, is_live=True)
        self._believes_gone(who, text, own)

    def lose(self, who: int) -> None:
        """The next session is up at once, but confirms nothing."""
        self.read()
        self.news.detach(self.leases[who])
        self.registrar.lose(self.leases[who], self.now)
        self.leases[who] = self._session(who)
        self.model.lose(who, self.now)

    def renew(self, who: int) -> None:
        """A key has changed."""
        self.leases[who] = self.registrar.renew(self.leases[who], self.now)
        self.model.lose(who, self.now)

    def expire(self) -> None:
        """End what is over."""
        while self.registrar.expire(self.now):
            pass
        self.model.expire(self.now)

    def _over_udp(self, who: int, one: bytes, flags: int) -> Verdict:
        etr = self.etrs[who]
        data, start, end, register = span_of(etr.map_register(one, flags=flags))
        identity = self.registrar.identify(data, start, end, register)
        assert isinstance(identity, Identity)
        path = UdpPath(etr.source, KEY.key(), 32, Coverage.WHOLE_MESSAGE, True)
        return self.registrar.enter_over_udp(
            self.xtr(who), "here", self.site, data, register[5][0], register[0], self.now, path
        )

    def _register_in_model(self, who: int, text: str, new: _Part) -> bool:
        before = dict(self.model.parts[text])
        is_accepted = self.model.register(who, text, new)
        for other, part in before.items():
            if other != who and other not in self.model.parts[text] and part.flags & M:
                self.must_hear.add((other, text))
        return is_accepted

    def _check_verdict(self, verdict: Verdict, is_accepted: bool) -> None:
        self.case.assertEqual(verdict is Verdict.ACCEPTED, is_accepted)

    # What must hold

    def registered(self, text: str) -> bytes:
        """Return what the Map-Server has."""
        at = dict(zip(_EIDS, (8, 16, 16), strict=True))[text]
        key = 1 << at | int(text.split(".")[0]) << at - 8
        if at == 16:
            key |= int(text.split(".")[1])
        found = self.registrar.registered_record(0, 1, key)
        return found if found is not None else record(text, ttl=0)

    def after_step(self, touched: str) -> None:
        """Compare the database, and note who is interested from now on."""
        self._check_database()
        now_interested = set(self.model.interests())
        for who, text in now_interested - self.interested:
            # Who begins to ask for what is below is not told how it stands.
            if text != touched:
                self.believes[who, text] = self.model.record(text)
        self.interested = now_interested

    def _check_database(self) -> None:
        table = self.registrar.database.table(0, 1)
        assert_equal = self.case.assertEqual
        found = {str(eid_of_key(table, key)): one for key, one in table.entries.items()}
        assert_equal(set(found), {text for text in _EIDS if self.model.parts[text]})
        held = []
        for text, one in found.items():
            expected = self.model.parts[text]
            assert_equal(one.record, self.model.record(text))
            assert_equal(self.registered(text), one.record)
            assert_equal([part.lease.xtr for part in parts_of(one)], list(map(self.xtr, expected)))
            assert_equal(one.lease, parts_of(one)[-1].lease)
            for part, known in zip(parts_of(one), expected.values(), strict=True):
                assert_equal(part.lease.is_live, known.is_live)
                assert_equal(part.expires, known.end)
                assert_equal(part.record, _record(text, known.rlocs, known.ttl))
                self.case.assertIn(part, part.lease.held)
                held.append(part)
            for flag in (M, P):
                is_wanted = any(part.flags & flag for part in expected.values())
                assert_equal(bool(one.flags & flag), is_wanted)
        assert_equal(self.registrar.count, len(held))
        leases = {part.lease for part in held}
        assert_equal(sum(len(lease.held) for lease in leases), len(held))
        lengths = [key.bit_length() - 1 for key, one in table.entries.items() if one.flags & M]
        assert_equal(table.watching, {length: lengths.count(length) for length in lengths})

    def read(self) -> None:
        """Have every session read, and compare what each xTR believes with what is."""
        for who in _WITH_SESSION:
            news = self.news.take(self.leases[who], 100)
            assert news is not None
            for data in news:
                (text,) = (text for text in _EIDS if data[24:] == self.model.record(text))
                self.heard.add((who, text))
                self.believes[who, text] = data[24:]
        self.case.assertLessEqual(self.must_hear, self.heard)
        self.must_hear.clear()
        self.heard.clear()
        for who, text in self.interested:
            self.case.assertEqual(self.believes[who, text], self.model.record(text), (who, text))


_RLOCS = st.dictionaries(st.integers(1, 4), st.integers(1, 2), min_size=1, max_size=2)
_STEPS = st.tuples(
    st.sampled_from(
        ("register",) * 4
        + ("register over UDP",) * 3
        + ("withdraw", "withdraw over UDP", "refused", "lose", "renew", "expire", "expire")
    ),
    st.integers(1, 5),
    st.sampled_from(_EIDS),
    _RLOCS,
    st.sampled_from((1, 9)),
    st.sampled_from((MERGE, MERGE | M, MERGE | M, MERGE | M, MERGE | M | P, MERGE | M | T, M, 0)),
    st.sampled_from((0, 1, 30, 61, 181)),
    st.booleans(),
)
_Step = tuple[str, int, str, dict[int, int], int, int, int, bool]


class MergeModelTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @settings(max_examples=150)
    @given(st.lists(_STEPS, min_size=5, max_size=40))
    def test_everybody_agrees(self, steps: list[_Step]) -> None:
        """The database after each step; what the xTRs were told when they have read."""
        self.patch(merging, "MAX_PARTS", _MAX_PARTS)
        self.patch(merging, "_LOCATORS_READ_AGAIN", 2)  # some are carried over, some read again
        world = _World(self)
        for what, who, text, rlocs, ttl, flags, wait, is_read in steps:
            world.now += wait
            self._take(world, what, who, text, rlocs, ttl, flags)
            world.after_step(text)
            if is_read:
                world.read()
        world.read()
        for who in _WITH_SESSION:
            world.registrar.lose(world.leases[who], world.now)
        world.registrar.expire(world.now + 9 * 60 + 2)
        self.assertEqual(len(world.registrar.database), 0)
        self.assertEqual((world.registrar.count, world.registrar._over_udp), (0, {}))

    def _take(
        self,
        world: _World,
        what: str,
        who: int,
        text: str,
        rlocs: dict[int, int],
        ttl: int,
        flags: int,
    ) -> None:
        with_session = who if who in _WITH_SESSION else 1
        if what == "register":
            world.register(with_session, text, rlocs, ttl, flags)
        elif what == "register over UDP":
            world.register_over_udp(who, text, rlocs, ttl, flags)
        elif what == "withdraw":
            world.withdraw(with_session, text)
        elif what == "withdraw over UDP":
            world.withdraw_over_udp(who, text)
        elif what == "refused":
            world.be_refused(with_session, text)
        elif what == "lose":
            world.lose(with_session)
        elif what == "renew":
            world.renew(with_session)
        else:
            world.expire()
