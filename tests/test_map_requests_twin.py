"""The compiled twin of what answers Map-Requests, beside the Python: the same questions to both,
and everything that can be seen afterwards is the same.
"""

from __future__ import annotations

import dataclasses
import struct
from random import Random
from typing import NamedTuple
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.control import ordinary_requests
from lispmsrt.control.map_requests import MapRequests
from lispmsrt.control.map_resolver import MapResolver, Target, Targets
from lispmsrt.control.plane import ControlPlane, Datagram
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import RequestLimits
from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import Lookup
from lispmsrt.mapping.merging import MergedRegistration
from lispmsrt.mapping.sites import RlocPrefix, Site, SitePrefix, Sites
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.record_walk import walk_records
from tests.asking import ITR, NONCE, OUTER, ecm, map_request
from tests.builders import MERGE, P, ip, lcaf, locator, record, site

_WIDTHS = {Afi.IPV4: 32, Afi.IPV6: 128, Afi.MAC: 48}
_RLOCS = (ITR, "192.0.2.7", "127.0.0.1", "2001:db8::7", "::1", "224.0.0.1", "fe80::1", "0.0.0.0")
_OUTERS = (ITR, "198.51.100.53", "127.0.0.1", "::ffff:192.0.2.7", "2001:db8::7")


class CompiledTestCase(SynchronousTestCase):
    """Tests of what was compiled."""

    def setUp(self) -> None:
        """Skip where it was not."""
        if twin("lispmsrt.control._map_requests") is None:
            raise SkipTest("nothing was compiled")


class Ground:
    """What is registered and configured."""

    def __init__(self) -> None:
        self.database = Database()
        self.sites = Sites()

    def register(self, octets: bytes, flags: int = int(P), *xtrs: str) -> None:
        """Register a record, or the same of several xTRs, merged."""
        _start, _ttl, instance_id, afi, length, key, *_ = walk_records(octets, 0, len(octets), 1)[0]
        leases = [
            Lease(Xtr("office", name.encode(), b""), "UDP", "here", is_live=False)
            for name in xtrs or ("one",)
        ]
        parts = [Registration(octets, lease, flags, 0.0, None) for lease in leases]
        registration: Registration = parts[0]
        if xtrs:
            registration = MergedRegistration({part.lease.xtr: part for part in parts})
        table = self.database.table(instance_id, afi)
        if key in table.entries:
            table.replace(length, key, registration)
        else:
            table.put(length, key, registration)

    def configure(self, *prefixes: SitePrefix) -> None:
        """Have these sites."""
        unique = {(one.instance_id, one.afi, one.key): one for one in prefixes}
        self.sites = Sites(unique.values())


class Options(NamedTuple):
    """How both of them are."""

    rate: float = 0.0
    burst: float = 8.0
    resolves: bool = False
    "whether there is a Map-Resolver before the Map-Server"
    reaches: tuple[int, ...] = (Afi.IPV4, Afi.IPV6)


class Part:
    """One of the two: a Map-Server, perhaps with a Map-Resolver before it."""

    def __init__(self, ground: Ground, options: Options, *, is_compiled: bool) -> None:
        random = Random(7)
        self.limits = RequestLimits(random, rate=options.rate, burst=options.burst, max_pairs=3)
        self.random = random

        def can_reach(afi: int) -> bool:
            return afi in options.reaches

        questions = Questions(self.limits, can_reach)
        self.server = MapRequests(
            Lookup(ground.database, lambda: ground.sites),
            lambda: ground.sites,
            questions,
            can_reach=can_reach,
        )
        self.part: MapRequests | MapResolver = self.server
        if options.resolves:
            elsewhere = Target((ip("192.0.2.99"), 4342), (EidPrefix.from_text("10.64.0.0/10"),))
            self.part = MapResolver(
                Targets([elsewhere]),
                Questions(self.limits, can_reach),
                can_reach=can_reach,
                map_server=self.server,
            )
        if not is_compiled:
            self.part.receive_run = None
        self.plane = ControlPlane({1: self.part, 8: self.part}, [self.part])

    def receive(self, batch: list[Datagram], now: float) -> list[Datagram]:
        """Take a batch and return the answers."""
        left = list(batch)
        while left:
            self.plane.receive_datagrams(left, now)
        return self.plane.datagrams_to_send(now)

    def state(self) -> dict[str, object]:
        """Return everything else that can be seen."""
        return {
            "plane": dict(self.plane.counters),
            "questions": dict(self.part.counters),
            "answers": dict(self.server.counters),
            "limits": list(self.limits.buckets.items()),
            "random": self.random.getstate(),
        }


class Twins:
    """Both, and what they are asked."""

    def __init__(
        self, case: SynchronousTestCase, ground: Ground, options: Options | None = None
    ) -> None:
        self._case = case
        self.compiled = Part(ground, options or Options(), is_compiled=True)
        self._python = Part(ground, options or Options(), is_compiled=False)

    def ask(self, batch: list[Datagram], now: float = 0.0) -> list[Datagram]:
        """Ask both and compare."""
        answers = self.compiled.receive(batch, now)
        self._case.assertEqual(answers, self._python.receive(batch, now))
        self._case.assertEqual(self.compiled.state(), self._python.state())
        return answers

    def takes(self, batch: list[Datagram]) -> int:
        """Return how many the compiled one takes at once; the answers are the same."""
        run = self.compiled.part.receive_run
        assert run is not None
        taken = run(batch, 0, 0.0)
        left = self.compiled.receive(batch[taken:], 0.0)
        self._case.assertEqual(left, self._python.receive(batch, 0.0))
        self._case.assertEqual(self.compiled.state(), self._python.state())
        return taken


def _eid_text(text: str, instance_id: int = 0, *, explicit: bool = False) -> EidPrefix:
    return dataclasses.replace(
        EidPrefix.from_eid_text(text, instance_id), explicit_instance=explicit
    )


def _ecm(*eids: str | EidPrefix, **options: object) -> Datagram:
    return ecm(map_request(*eids, **options)), OUTER


class OrdinaryTests(CompiledTestCase):
    """What is ordinary is taken, the rest is not."""

    def setUp(self) -> None:
        """A site with nested mappings of all families."""
        super().setUp()
        self.ground = Ground()
        office = site()
        families = ((0, "10.0.0.0/8"), (0, "2001:db8::/32"), (7, "10.0.0.0/8"))
        self.prefixes = [
            SitePrefix.of(office, EidPrefix.from_text(text, number), True)
            for number, text in families
        ]
        self.ground.configure(*self.prefixes)
        for text in ("10.1.0.0/16", "2001:db8:1::/48", "2001:db8:2::1/128"):
            self.ground.register(record(text))
        self.ground.register(record("02:00:00:00:00:07/48"))
        self.ground.register(record("10.2.0.0/16", instance_id=7))
        self.ground.register(record("10.2.0.0/16"))
        self.ground.register(record("10.2.3.0/24"))
        for number in range(40):
            self.ground.register(record(f"10.3.{number}.0/24"))
        self.ground.register(record("10.3.0.0/16"))
        self.twins = Twins(self, self.ground)

    def _takes(self, *batch: Datagram) -> int:
        return self.twins.takes(list(batch))

    def test_hits_in_all_families(self) -> None:
        """With and without an instance ID, as hosts and as prefixes."""
        batch = [
            _ecm("10.1.2.3"),
            _ecm("10.1.2.0/24"),
            _ecm("2001:db8:1::9"),
            _ecm("2001:db8:2::1"),
            _ecm(EidPrefix(0, Address(Afi.MAC, bytes.fromhex("020000000007")), 48)),
            _ecm(_eid_text("10.2.9.9", 7)),
            _ecm(_eid_text("10.1.9.9", 0, explicit=True)),
        ]
        self.assertEqual(self._takes(*batch), len(batch))

    def test_hits_with_more_specifics(self) -> None:
        """Listed where they are few, left out where they are many."""
        batch = [_ecm("10.2.9.9"), _ecm("10.2.3.4"), _ecm("10.3.200.1"), _ecm("10.3.7.1")]
        self.assertEqual(self._takes(*batch), len(batch))

    def test_holes(self) -> None:
        """In a site and outside of all, in a table and where there is none."""
        batch = [
            _ecm("10.77.0.1"),
            _ecm("11.0.0.1"),
            _ecm("2001:db8:ffff::1"),
            _ecm("3fff::1"),
            _ecm(_eid_text("10.1.2.3", 99)),
        ]
        self.assertEqual(self._takes(*batch), len(batch))

    def test_how_it_is_asked(self) -> None:
        """Plain, to a Map-Server, inside of IPv6, with flags that change nothing."""
        request = map_request("10.1.2.3")
        batch = [
            (encode_map_request(request), OUTER),
            (ecm(request, to_map_server=True), OUTER),
            (ecm(request, source="2001:db8::7"), OUTER),
            _ecm("10.1.2.3", authoritative=True, pitr=True, smr_invoked=True),
            _ecm("10.1.2.3", itr=["2001:db8::7", "192.0.2.7", ITR]),
            _ecm("10.1.2.3", source_eid=Address.from_text("2001:db8::9")),
            _ecm("10.1.2.3", source_eid=Address.from_text("02:00:00:00:00:01")),
        ]
        self.assertEqual(self._takes(*batch), len(batch))

    def test_what_is_not_ordinary(self) -> None:
        """It is left to those who judge."""
        request = map_request("10.1.2.3")
        security = struct.pack("!BBHHBB", 1, 0, 0, 0, 0, 0) + struct.pack("!HH", 4, 0)
        for one in (
            (ecm(request, ddt=True), OUTER),
            (ecm(request, to_etr=True), OUTER),
            (ecm(request, security=security), OUTER),
            (ecm(request, to_port=4341), OUTER),
            (ecm(request, port=0), OUTER),
            (ecm(ecm(request)), OUTER),
            (ecm(request)[:-1], OUTER),
            (ecm(request) + b"\0", OUTER),
            (b"\x10", OUTER),
            (encode_map_request(request) + bytes(5000), OUTER),
            _ecm("10.1.2.3", "10.1.2.4"),
            _ecm("10.1.2.3", probe=True),
            _ecm("10.1.2.3", smr=True),
            _ecm("10.1.2.3", dont_map_reply=True),
            _ecm("10.1.2.3", xtr_id=bytes(16), site_id=bytes(8)),
            _ecm("10.1.2.3", itr="224.0.0.1"),
            _ecm("name:printer"),
            _ecm("10.0.0.0/8"),
        ):
            self.assertEqual(self._takes(one), 0)

    def test_what_an_etr_has_to_answer(self) -> None:
        """And what is told to some ITRs only."""
        self.ground.register(record("10.5.0.0/16"), 0)
        self.assertEqual(self._takes(_ecm("10.5.0.1")), 0)
        closed = dataclasses.replace(
            site("closed"), allowed_itrs=(RlocPrefix.from_text("192.0.2.0/24"),)
        )
        self.ground.configure(
            *self.prefixes, SitePrefix.of(closed, EidPrefix.from_text("10.1.0.0/16"), True)
        )
        self.assertEqual(self._takes(_ecm("10.1.0.1")), 0)
        self.assertEqual(self._takes(_ecm("10.77.0.1")), 1)

    def test_a_batch_goes_on_behind_what_is_not_ordinary(self) -> None:
        """In order."""
        batch = [_ecm("10.1.2.3"), _ecm("10.1.2.3", "11.0.0.1"), _ecm("10.1.2.4")] * 3
        self.assertEqual(self._takes(*batch), 1)
        self.assertEqual(len(self.twins.ask(batch)), 9)

    def test_no_more_than_may_wait_to_be_sent(self) -> None:
        """The rest is dropped and counted, as ever."""
        for part in (self.twins.compiled, self.twins._python):
            part.server._outgoing.limit = 5
        self.assertEqual(self._takes(*[_ecm("10.1.2.3")] * 9), 5)
        self.assertEqual(self.twins.compiled.part.counters["dropped, too many to send at once"], 4)

    def test_a_large_record_has_locators_left_out(self) -> None:
        """Which is for those who know how."""
        many = [locator(f"192.0.2.{number}") for number in range(1, 120)]
        self.ground.register(record("10.6.0.0/16", *many))
        self.assertEqual(self._takes(_ecm("10.6.0.1")), 0)
        self.ground.register(record("10.6.0.0/16", *many[:30]))
        self.assertEqual(self._takes(_ecm("10.6.0.1")), 1)

    def test_a_name_is_not_compiled_away(self) -> None:
        """Locators of all kinds are gone over."""
        for kind in (
            lcaf(1, b"\0\0\0\5" + b"\0\1\xc0\0\2\1"),
            struct.pack("!H", 17) + b"here\0",
            struct.pack("!H", 0),
            struct.pack("!H", 6) + bytes(6),
        ):
            self.ground.register(record("10.6.0.0/16", locator(kind), locator("192.0.2.1")))
            self.assertEqual(self._takes(_ecm("10.6.0.1")), 1)

    def test_a_map_resolver_passes_on_what_no_site_has(self) -> None:
        """Unless a Map-Resolver sent it."""
        twins = Twins(self, self.ground, Options(resolves=True))
        mine, hole = _ecm("10.1.2.3"), _ecm("10.77.0.1")
        other = ecm(map_request("11.0.0.1"))
        sent_here = ecm(map_request("11.0.0.1"), to_map_server=True)
        self.assertEqual(twins.takes([mine, hole, (sent_here, OUTER), (other, OUTER)]), 3)

    def test_nothing_was_compiled(self) -> None:
        """Then there is nothing that takes many."""
        self.patch(ordinary_requests, "_compiled", None)
        for resolves in (False, True):
            part = Part(self.ground, Options(resolves=resolves), is_compiled=True)
            self.assertIsNone(part.part.receive_run)


class LimitTests(CompiledTestCase):
    """What comes too fast."""

    def test_a_flood(self) -> None:
        """The same are admitted, by the same chance."""
        ground = Ground()
        ground.register(record("10.1.0.0/16"))
        twins = Twins(self, ground, Options(rate=3.0))
        admitted = 0
        for step in range(60):
            batch = [_ecm("10.1.2.3"), _ecm("10.1.2.4", itr="192.0.2.7"), _ecm("10.1.2.3")] * 2
            batch.append((ecm(map_request("10.1.2.3")), (ip("192.0.2.53"), 4342)))
            batch.append((ecm(map_request("10.1.2.3")), (ip(f"192.0.2.{step % 5}"), 4342)))
            admitted += len(twins.ask(batch, step * 0.1))
        self.assertTrue(100 < admitted < 400, admitted)


# Random ones


def _prefixes(afi: Afi) -> st.SearchStrategy[EidPrefix]:
    """Nested in one corner, of two instances."""
    width = _WIDTHS[afi]

    def prefix(bits: int, length: int, instance_id: int, explicit: bool) -> EidPrefix:
        top = {Afi.IPV4: 10, Afi.IPV6: 0x20, Afi.MAC: 2}[afi] << width - 8
        network = (top | bits << width - 16) >> width - length << width - length
        address = Address(afi, network.to_bytes(width // 8, "big"))
        return EidPrefix(instance_id, address, length, explicit)

    return st.builds(
        prefix,
        st.integers(0, 255),
        st.integers(6, 20) | st.just(width) | st.integers(0, width),
        st.sampled_from((0, 0, 0, 5)),
        st.booleans(),
    )


_EIDS = st.sampled_from(sorted(_WIDTHS)).flatmap(_prefixes) | _prefixes(Afi.IPV4)


def _registered(eid: EidPrefix, locators: list[bytes], bits: int, ttl: int, version: int) -> bytes:
    request = encode_map_request(MapRequest(0, (Address.from_text(ITR),), (RequestedEid(eid),)))
    wire = request[12 + 2 + 6 + 2 :]
    head = struct.pack("!IBBHH", ttl, len(locators), eid.length, bits << 12, version)
    return head + wire + b"".join(locators)


_LOCATORS = st.lists(
    st.sampled_from(
        (
            locator(),
            locator("2001:db8::1", local=False),
            locator("192.0.2.9", priority=255),
            locator(lcaf(1, b"\0\0\0\5" + b"\0\1\xc0\0\2\1")),
            locator(struct.pack("!H", 17) + b"here\0"),
        )
    ),
    max_size=12,
)
_RECORDS = st.builds(
    _registered,
    _EIDS,
    _LOCATORS,
    st.integers(0, 15),
    st.integers(1, 1440),
    st.integers(0, 0xFFFF),
)


@st.composite
def _grounds(draw: st.DrawFn) -> Ground:
    ground = Ground()
    for octets in draw(st.lists(_RECORDS, max_size=30)):
        kind = draw(st.integers(0, 6))
        if kind == 0:
            ground.register(octets, 0)
        elif kind == 1:
            ground.register(octets, int(P | MERGE), "one", "two")
        else:
            ground.register(octets)
    open_site: Site = site()
    closed = dataclasses.replace(
        site("closed"), allowed_itrs=(RlocPrefix.from_text("192.0.2.0/24"),)
    )
    ground.configure(
        *[
            SitePrefix.of(draw(st.sampled_from((open_site, open_site, closed))), eid, True)
            for eid in draw(st.lists(_EIDS, max_size=6))
        ]
    )
    return ground


def _question(
    eid: EidPrefix,
    rlocs: list[str],
    wraps: str,
    source_eid: str,
    outer: str,
    sum_left_out: bool,
) -> Datagram:
    request = map_request(eid, itr=rlocs, nonce=NONCE, source_eid=Address.from_text(source_eid))
    source = (ip(outer), 4342)
    if wraps == "plain":
        return encode_map_request(request), source
    to_map_server = wraps == "to Map-Server"
    inner = "2001:db8::7" if wraps == "inside IPv6" else ITR
    data = ecm(request, source=inner, to_map_server=to_map_server)
    if sum_left_out and inner == ITR:
        # RFC 768: zero says that there is none.
        data = data[:30] + b"\0\0" + data[32:]
    return data, source


_QUESTIONS = st.builds(
    _question,
    _EIDS,
    st.lists(st.sampled_from(_RLOCS), min_size=1, max_size=4),
    st.sampled_from(("plain", "in an ECM", "to Map-Server", "inside IPv6")),
    st.sampled_from(("192.0.2.1", "2001:db8::1", "02:00:00:00:00:01")),
    st.sampled_from(_OUTERS),
    st.booleans(),
)


@st.composite
def _mutated(draw: st.DrawFn) -> Datagram:
    data, source = draw(_QUESTIONS)
    octets = bytearray(data)
    for at, value in draw(
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3)
    ):
        if at < len(octets):
            octets[at] = value
    cut = draw(st.sampled_from((None, None, None, 0, 1)))
    if cut is not None:
        del octets[draw(st.integers(0, len(octets))) :]
        octets += bytes(cut)
    return bytes(octets), source


class ParityTests(CompiledTestCase):
    """Nobody can tell which of the two it was."""

    @given(
        _grounds(),
        st.lists(_QUESTIONS | _mutated(), min_size=1, max_size=40),
        st.booleans(),
        st.sampled_from((0.0, 0.0, 5.0)),
        st.sampled_from(((Afi.IPV4, Afi.IPV6), (Afi.IPV4,), (Afi.IPV6,))),
    )
    def test_any_questions_to_any_map_server(
        self,
        ground: Ground,
        batch: list[Datagram],
        resolves: bool,
        rate: float,
        reaches: tuple[Afi, ...],
    ) -> None:
        """Ordinary ones and mutated ones, in batches."""
        options = Options(rate=rate, burst=4.0, resolves=resolves, reaches=reaches)
        twins = Twins(self, ground, options)
        half = len(batch) // 2
        twins.ask(batch[:half], 1.0)
        twins.ask(batch[half:], 2.5)

    @given(_grounds(), st.integers(0, 1 << 32))
    def test_every_octet_of_an_ordinary_question_changed(self, ground: Ground, seed: int) -> None:
        """One after the other, to any value."""
        ground.register(record("10.1.0.0/16"))
        chosen = Random(seed)
        twins = Twins(self, ground)
        request = encode_map_request(map_request("10.1.2.3"))
        packet = ecm(request)
        unchecked = packet[:30] + b"\0\0" + packet[32:]
        for data in (request, packet, unchecked):
            batch = []
            for at in range(len(data)):
                changed = chosen.choice((0, 1, data[at] ^ 1 << chosen.randrange(8), 255))
                batch.append((data[:at] + bytes((changed,)) + data[at + 1 :], OUTER))
            twins.ask(batch)
