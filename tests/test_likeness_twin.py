"""Registrations taken by the compiled twins and by plain Python: the same octets out, the same
mapping database, the same history, whatever comes in.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import likeness, publisher, runs
from lispmsrt.mapping.database import Database, Lease, Registration, Xtr
from lispmsrt.mapping.history import History
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.verdicts import Change
from lispmsrt.wire import framing
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.record_walk import prefix_key
from tests.builders import (
    KEY,
    OTHER_KEY,
    SHA1_KEY,
    Etr,
    M,
    MapServer,
    P,
    Peer,
    R,
    Secret,
    T,
    eid,
    frame,
    locator,
    record,
    site,
    sites,
)

_FIRST = "10.0.0.0/8"
_EXAMPLES = 600 if os.environ.get("LISPMSRT_LONG") else 150


def _count_of(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


@contextmanager
def _plain() -> Iterator[None]:
    with mock.patch.object(runs, "_compiled", None), mock.patch.object(framing, "_compiled", None):
        yield


class _Server(MapServer):
    """A Map-Server with a history, and one session of an ETR."""

    def __init__(self, limit: int = 1000) -> None:
        office = site("office", KEY, SHA1_KEY)
        configured = sites(
            (office, "0.0.0.0/0"),
            (office, "::/0"),
            (office, "00:00:00:00:00:00/0"),
            (office, "172.16.0.0/12", 5),
            (office, "2001:db8::/29", 5),
            # A site inside another's: each Registration there is asked about.
            (office, "172.16.0.0/12", 6),
            (site("shop"), "172.16.128.0/17", 6),
        )
        self.history = History(lambda: 1.0)
        super().__init__(configured, max_registrations=limit)
        self.peer: Peer = self.bring_up(Etr(), record(_FIRST))

    def _changed(self, changes: Sequence[Change]) -> None:
        super()._changed(changes)
        self.history.changed(changes)

    def say(self, stream: bytes, cuts: Sequence[int]) -> list[bytes]:
        """Send a stream in chunks of these sizes, over and over; return what each was answered."""
        found, position, turn, session = [], 0, 0, self.peer.session
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            turn += 1
            session.receive_data(stream[position : position + size], 1.0 + turn)
            found.append(session.data_to_send(1.0 + turn))
            position += size
        return found

    def state(self) -> list[object]:
        """Everything that can be told of it."""
        session, registrar = self.peer.session, self.registrar
        assert session.lease is not None
        tables = [
            (
                at,
                [(key, one.record, one.flags, one.since) for key, one in table.entries.items()],
                list(table.lengths.items()),
                list(table.watching.items()),
                table.index.following(0, 20_000) if table.index is not None else None,
            )
            for at, table in registrar.database.tables.items()
        ]
        return [
            session.counters,
            session.close_reason,
            session.next_timeout(),
            tables,
            [(one.record, one.flags, one.since) for one in session.lease.held],
            (registrar.count, registrar.accepted, registrar.counters, len(registrar.leases)),
            [_told(change) for change in self.changes],
            [
                (one.number, one.at, one.event, one.key, one.record, one.source, one.remaining)
                for one in self.history.newest_first()
            ],
            list(registrar.rejections.newest_first()),
            self.news.waiting(session.lease),
        ]


def _told(change: Change) -> tuple[object, ...]:
    table, length, key, before, after, by, why = change
    records = [one.record if one is not None else None for one in (before, after)]
    return table.instance_id, table.afi, length, key, records, by and by.source, why


def _addresses(lengths: st.SearchStrategy[int], octets: int, afi: int) -> st.SearchStrategy[bytes]:
    """Return EID-prefixes in wire form, often the same ones, and with bits behind the mask."""
    return st.builds(
        lambda length, address: bytes((length,)) + afi.to_bytes(2, "big") + address,
        lengths,
        st.one_of(
            st.binary(min_size=octets, max_size=octets),
            st.sampled_from((bytes(octets), b"\x0a\1\2\3" + bytes(octets - 4), b"\xff" * octets)),
        ),
    )


_IPV4 = _addresses(st.integers(0, 33), 4, 1)
_IPV6 = _addresses(st.integers(0, 129), 16, 2)
_MAC = _addresses(st.integers(0, 49), 6, 6)
_INSTANCE = st.builds(
    lambda length, octet, instance_id: (
        bytes((length,)) + eid(f"172.16.{octet}.1/32", instance_id)[1:]
    ),
    st.integers(11, 33),
    st.sampled_from((0, 1, 128, 255)),
    st.sampled_from((5, 5, 6)),
)
_REGISTERED = st.builds(
    lambda wire, ttl, flags, rloc, key, xtr_id: Etr(xtr_id=xtr_id).registration(
        record(wire, locator(rloc), ttl=ttl), flags=flags, key=key
    ),
    st.one_of(_IPV4, _IPV4, _IPV6, _MAC, _INSTANCE),
    st.sampled_from((1440,) * 8 + (5, 0)),
    st.sampled_from((M,) * 8 + (0, M | T, M | P)),
    st.sampled_from(("192.0.2.1",) * 8 + ("198.51.100.1", "2001:db8::1")),
    st.sampled_from((KEY,) * 8 + (SHA1_KEY, SHA1_KEY, OTHER_KEY, Secret(1, 2, b"new"))),
    st.sampled_from((1,) * 15 + (2,)),
)
_OTHER = st.sampled_from(
    (
        frame(16, bytes(12)),
        frame(99, b"what"),
        frame(22, bytes(8)),
        b"\0\x63\0\x08" + frame(0, b"")[-4:],
        frame(17, b""),
    )
)
_FLIPS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), max_size=3)
_CUTS = st.lists(st.one_of(st.integers(1, 300), st.just(65_536)), min_size=1, max_size=4)


class TwinTests(SynchronousTestCase):
    """Two Map-Servers hear the same."""

    if runs._compiled is None or framing._compiled is None:
        skip = "nothing is compiled here"

    def both(
        self, stream: bytes, cuts: Sequence[int] = (65_536,), limit: int = 1000
    ) -> tuple[_Server, _Server]:
        """Have a stream said to both, compare them, and return them."""
        found: list[tuple[_Server, list[object]]] = []
        for context in (nullcontext(), _plain()):
            with context:
                server = _Server(limit)
                answers: list[object] = [server.say(stream, cuts)]
                found.append((server, answers + server.state()))
        (compiled, is_so), (plain, ought_to_be) = found
        self.assertEqual(is_so, ought_to_be)
        return compiled, plain

    @settings(max_examples=_EXAMPLES)
    @given(
        st.lists(st.one_of(*(_REGISTERED,) * 9, _OTHER), max_size=40),
        st.booleans(),
        _FLIPS,
        _CUTS,
        st.sampled_from((4, 10, 1000, 1000)),
    )
    def test_whatever_comes(
        self,
        said: list[bytes],
        is_repeated: bool,
        flips: list[tuple[int, int]],
        cuts: list[int],
        limit: int,
    ) -> None:
        """Ordinary, refused, withdrawn, damaged, among other messages, cut anywhere, too many."""
        stream = bytearray(b"".join(said) * (1 + is_repeated))
        for place, damage in flips:
            if stream:
                stream[place % len(stream)] ^= damage
        self.both(bytes(stream), cuts, limit)

    @settings(max_examples=_EXAMPLES)
    @given(st.lists(_IPV4, min_size=2, max_size=30), st.integers(0, 1 << 20), st.integers(1, 255))
    def test_damage_in_a_run(self, wires: list[bytes], place: int, damage: int) -> None:
        """One octet of one Registration among others that are like it."""
        etr = Etr()
        frames = [bytearray(etr.registration(record(wire))) for wire in wires]
        hit = frames[place % len(frames)]
        hit[8 + place // len(frames) % (len(hit) - 12)] ^= damage
        self.both(b"".join(frames))

    def test_every_prefix_length_of_every_family(self) -> None:
        """The prefix keys are the same, whatever stands behind the mask."""
        etr = Etr()
        for afi, octets in ((1, 4), (2, 16), (6, 6)):
            for address in (bytes(octets), b"\xff" * octets, bytes(range(0x5A, 0x5A + octets))):
                wires = [
                    bytes((length,)) + afi.to_bytes(2, "big") + address
                    for length in range(8 * octets, -1, -1)
                ]
                stream = b"".join(etr.registration(record(wire)) for wire in wires)
                compiled, _plain = self.both(stream)
                self.assertGreaterEqual(compiled.registrar.count, len(wires))

    def test_other_messages_in_between_end_a_run(self) -> None:
        """And what follows is a new one."""
        etr = Etr()
        ones = [etr.registration(record(f"10.2.{n}.0/24")) for n in range(20)]
        self.both(frame(99, b"what").join(ones))
        self.both(frame(16, bytes(12)).join(ones), (97,))

    def test_two_kinds_in_one_table(self) -> None:
        """With and without an instance ID of 0: one database, one index, however many."""
        etr = Etr()
        stream = b"".join(
            etr.registration(
                record(f"10.{n >> 8}.{n & 255}.0/24", instance_id=0 if n % 3 else None)
            )
            for n in range(10_000)
        )
        compiled, _plain = self.both(stream, limit=20_000)
        self.assertEqual(compiled.registrar.count, 10_001)

    def test_message_ids_wrap_around(self) -> None:
        """In the middle of a run, as they do one by one."""
        etr = Etr()
        stream = b"".join(etr.registration(record(f"10.2.{n}.0/24")) for n in range(6))
        answers = []
        for context in (nullcontext(), _plain()):
            with context:
                server = _Server()
                server.peer.session._next_id = 0xFFFFFFFE
                answers.append(server.say(stream, (65_536,)))
        self.assertEqual(*answers)
        self.assertIn(bytes.fromhex("0012001300000000"), answers[0][0])

    def test_the_whole_run_is_taken_by_the_twin(self) -> None:
        """Nothing that is ordinary goes the long way: each family, algorithm, new or repeated."""
        wires = {
            "IPv4": [eid(f"10.3.{n}.0/24") for n in range(50)],
            "IPv6": [eid(f"2001:db8:{n}::/48") for n in range(50)],
            "MAC": [eid(f"02:00:00:00:00:{n:02x}/48") for n in range(50)],
            "IPv4 in an instance": [eid(f"172.16.{n}.0/24", 5) for n in range(50)],
            "IPv6 in an instance": [eid(f"2001:db8:{n}::/48", 5) for n in range(50)],
        }
        for name, (first, *rest) in wires.items():
            for key in (KEY, SHA1_KEY):
                server, etr = _Server(), Etr(key=key)
                server.say(etr.registration(record(first)), (65_536,))
                stream = b"".join(etr.registration(record(wire)) for wire in rest)
                self.patch(server.registrar, "register", None)
                for _turn in ("new", "again"):
                    before = server.registrar.accepted
                    with mock.patch.object(likeness.Likenesses, "run", None):
                        server.say(stream, (65_536,))
                    self.assertEqual(server.registrar.accepted - before, len(rest), name)
                self.assertEqual(server.registrar.count, 1 + len(wires[name]))

    def test_nothing_is_left_to_the_garbage_collector(self) -> None:
        """What a session remembers of its Registrations goes when it is forgotten."""
        server, etr = _Server(), Etr()
        server.say(b"".join(etr.registration(record(f"10.3.{n}.0/24")) for n in range(9)), (500,))
        (likenesses,) = server.registrar._likenesses.values()
        (like,) = likenesses.by_size.values()
        pattern = type(like.pattern)
        self.assertEqual(pattern.__name__, "Pattern")
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = _count_of(likeness.Likeness), _count_of(pattern)
        del like
        likenesses.by_size.clear()
        after = _count_of(likeness.Likeness), _count_of(pattern)
        self.assertEqual(after, (before[0] - 1, before[1] - 1))

    def test_frames_that_are_no_frames_of_the_chunk(self) -> None:
        """A mistake of ours must not read beyond it."""
        server, etr = _Server(), Etr()
        message = etr.map_register(record("10.2.0.0/16"), flags=M)
        lease = server.peer.session.lease
        assert lease is not None
        likenesses = server.registrar._likenesses[lease]
        for start, end in ((1, 1 + len(message)), (-1, len(message) - 1), (1 << 40, (1 << 40) + 9)):
            run = Run(lease, message, [(17, 1, start, end)], 0, 0.0, 1)
            taken = runs.take_run(likenesses, server.registrar.sites, run, 1)
            self.assertEqual(taken, (0, b"", []))
        run = Run(lease, message, [(17, 1, 0, len(message))], 0, 0.0, 1)
        self.assertEqual(server.registrar.register_run(run)[0], 1)


class FrameTwinTests(SynchronousTestCase):
    """A byte stream cut into messages."""

    if framing._compiled is None:
        skip = "nothing is compiled here"

    def frames(self, stream: bytes, cuts: Sequence[int]) -> list[object]:
        """Return what a buffer says of each chunk."""
        buffer, found, position, turn = FrameBuffer(), [], 0, 0
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            chunk, frames = buffer.receive(stream[position : position + size])
            error = buffer.error and (str(buffer.error), buffer.error.offending)
            found.append((chunk, list(frames), error, buffer.has_partial_message))
            position, turn = position + size, turn + 1
        return [found]

    @given(
        st.lists(st.one_of(_OTHER, st.binary(max_size=40).map(lambda data: frame(17, data)))),
        _FLIPS,
        _CUTS,
    )
    def test_any_stream(
        self, said: list[bytes], flips: list[tuple[int, int]], cuts: list[int]
    ) -> None:
        """The same frames, or the same error, at the same place."""
        stream = bytearray(b"".join(said))
        for place, damage in flips:
            if stream:
                stream[place % len(stream)] ^= damage
        compiled = self.frames(bytes(stream), cuts)
        with _plain():
            self.assertEqual(compiled, self.frames(bytes(stream), cuts))

    def test_frames_are_a_sequence(self) -> None:
        """Of tuples, from either end, in slices, and no further."""
        _chunk, frames = FrameBuffer().receive(frame(17, b"abc", 1) + frame(16, b"", 2))
        listed = [(17, 1, 8, 11), (16, 2, 23, 23)]
        self.assertEqual(list(frames), listed)
        self.assertEqual(frames, listed)
        self.assertEqual((frames[0], frames[-1], frames[-2:]), (listed[0], listed[1], listed))
        self.assertEqual(repr(frames), f"Frames({listed})")
        for index in (2, -3):
            with self.assertRaises(IndexError):
                frames[index]


class NewsTwinTests(SynchronousTestCase):
    """Which new registrations lie under somebody else's."""

    if publisher._compiled is None:
        skip = "nothing is compiled here"

    @settings(max_examples=_EXAMPLES)
    @given(
        st.sampled_from(((1, 32), (2, 128), (6, 48))),
        st.lists(st.tuples(st.integers(0, 63), st.integers(0, 6), st.booleans()), max_size=60),
    )
    def test_the_same_ones(
        self, family: tuple[int, int], drawn: list[tuple[int, int, bool]]
    ) -> None:
        """Short prefixes of a few bits, of one's own and of another's, and long ones below."""
        afi, width = family
        table = Database().table(0, afi)
        own, other = (
            Lease(Xtr("office", bytes((n,)) * 24, b""), "TCP", "there", is_live=True)
            for n in (1, 2)
        )
        keys: list[int] = []
        registrations: list[Registration] = []
        for at, (bits, length, is_own) in enumerate(drawn):
            # Some of one's own are longer than anybody else's.
            length += width - 6 if is_own and at % 2 else 0
            key = prefix_key(bits << width - 6, width, length)
            if key in table.entries:
                continue
            one = Registration(record(_FIRST), own if is_own else other, M, 0.0, None)
            table.put(length, key, one)
            if is_own:
                keys.append(key)
                registrations.append(one)
        if not keys:
            return
        new = Stretch(table, keys, registrations, {})
        found = publisher._under_others(new)
        with mock.patch.object(publisher, "_compiled", None):
            self.assertEqual(found, publisher._under_others(new))


class MistakeTests(SynchronousTestCase):
    """A likeness whose numbers can't be."""

    if runs._compiled is None:
        skip = "nothing is compiled here"

    def test_is_refused(self) -> None:
        """Rather than read beyond what is there."""
        server, etr = _Server(), Etr()
        lease = server.peer.session.lease
        assert lease is not None
        likenesses = server.registrar._likenesses[lease]
        message = etr.map_register(record("10.2.0.0/16"), flags=M | R)
        ((size, like),) = likenesses.by_size.items()
        like.secret = Key(1, SHA1_KEY.key().algorithm_id, b"shorter digests")
        run = Run(lease, message, [(17, 1, 0, size)], 0, 0.0, 1)
        with self.assertRaises(ValueError):
            server.registrar.register_run(run)
