"""A swarm's EIDs, messages and answers; and that the compiled twin does the same."""

from __future__ import annotations

from random import Random
from unittest import SkipTest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.compiled import twin
from lispmsrt.swarm.eids import EidSpace, EidSpaceError
from lispmsrt.swarm.latencies import BUCKETS, Latencies, bucket_of, ticks
from lispmsrt.swarm.load import (
    GONE,
    LEAVING,
    OFFERED,
    REGISTERED,
    REJECTED,
    Load,
    is_authentic,
    map_register,
)
from lispmsrt.swarm.pacer import Pacer
from lispmsrt.swarm.templates import EtrFace, Template, make_template
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key, Purpose
from lispmsrt.wire.map_register import (
    RegisterFlag,
    decode_map_register,
    walk_map_notify,
    walk_map_register,
    write_map_notify,
)
from lispmsrt.wire.reliable_transport import (
    eid_wire_form,
    encode_registration_ack,
    encode_registration_reject,
)
from tests.builders import messages

_KEY = Key(3, AlgorithmId.HMAC_SHA_256_128, b"swarm secret")
_KEYS = (
    _KEY,
    Key(1, AlgorithmId.HMAC_SHA_1_96, b"old"),
    Key(0, AlgorithmId.HMAC_SHA_256_128, b"short", is_truncated=True),
    Key(0, AlgorithmId.HMAC_SHA_256_128, b"records", coverage=Coverage.RECORDS),
    Key(0, AlgorithmId.HMAC_SHA256_128_HKDF_SHA256, b"derived"),
    Key(0, AlgorithmId.NONE, b""),
)
_FLAGS = RegisterFlag.PROXY_REPLY
_TEXTS = (("10.0.0.0/8", 32), ("2001:db8::/32", 128), ("2001:db8::/32", 48), ("0.0.0.0/0", 24))


def _space(*texts: str, etrs: int = 3, eids: int = 5, length: int | None = None) -> EidSpace:
    prefixes = [EidPrefix.from_text(text) for text in texts or ("10.0.0.0/8",)]
    return EidSpace(prefixes, etrs=etrs, eids=eids, length=length)


def _face(number: int) -> EtrFace:
    return EtrFace(number, bytes(15) + bytes((number,)) + bytes(8), Address.from_text("192.0.2.1"))


def _template(load: Load, etr: int = 0, *, leaves: bool = False) -> Template:
    return make_template(_face(etr), load.space.blocks[0], load.key, _FLAGS, leaves=leaves)


class _PureLoad(Load):
    """The Python, whatever was compiled."""

    def __init__(self, space: EidSpace, key: Key) -> None:
        super().__init__(space, key)
        self._kernel = None


class EidSpaceTests(SynchronousTestCase):
    """Numbers of EID-prefixes."""

    def test_every_number_has_its_eid_and_the_way_back(self) -> None:
        """In both families, with lengths around half an IPv6 address, and instance IDs."""
        for text, length, instance_id in (
            ("10.0.0.0/8", 32, 0),
            ("10.0.0.0/8", 30, 7),
            ("2001:db8::/32", 128, 0),
            ("2001:db8::/32", 64, 9),
            ("2001:db8::/32", 60, 0),
            ("2001:db8::/32", 100, 0),
        ):
            prefix = EidPrefix.from_text(text, instance_id)
            space = EidSpace([prefix], etrs=7, eids=11, length=length)
            eids = [space.eid(number) for number in range(space.count)]
            self.assertEqual(len(set(map(str, eids))), 77)
            for number, eid in enumerate(eids):
                self.assertEqual((eid.length, eid.instance_id), (length, instance_id))
                self.assertEqual(space.number(eid_wire_form(eid)), number)

    def test_etrs_share_every_prefix_evenly(self) -> None:
        """And nobody has what another has."""
        space = _space("10.0.0.0/8", "2001:db8::/32", etrs=4, eids=5)
        seen = [
            number
            for etr in range(4)
            for _block, first, last in space.of_etr(etr)
            for number in range(first, last)
        ]
        self.assertEqual(sorted(seen), list(range(20)))
        self.assertEqual([block.each for block in space.blocks], [3, 2])

    def test_others_have_no_number(self) -> None:
        """Addresses behind the last, host bits, other lengths and families."""
        space = _space("10.0.0.0/8", etrs=1, eids=4, length=24)
        for text in ("10.0.4.0/24", "9.0.0.0/24", "10.0.0.0/25", "2001:db8::/24"):
            wire = eid_wire_form(EidPrefix.from_text(text)) if "db8" not in text else b"\x18\0\2"
            self.assertIsNone(space.number(wire), text)
        self.assertIsNone(space.number(bytes.fromhex("18 0001 0a000001")))
        self.assertIsNone(space.number(b""))

    def test_what_can_not_be_is_one_sentence(self) -> None:
        """Too many, too long, overlapping, none."""
        for texts, options, words in (
            (("10.0.0.0/30",), {}, "10.0.0.0/30 has 4 EID-prefixes of length 32 where 15"),
            (("10.0.0.0/8",), {"length": 4}, "10.0.0.0/8 has no EID-prefixes of length 4"),
            (("10.0.0.0/8", "10.1.0.0/16"), {}, "overlap"),
            (("10.0.0.0/8",), {"etrs": 65536, "eids": 65536}, "more than the 20,000,000"),
        ):
            failure = self.assertRaises(EidSpaceError, _space, *texts, **options)
            self.assertIn(words, str(failure))
        failure = self.assertRaises(EidSpaceError, EidSpace, [], etrs=1, eids=1)
        self.assertIn("no prefix", str(failure))


class LatencyTests(SynchronousTestCase):
    """The histogram."""

    def test_percentiles_are_within_three_percent(self) -> None:
        """From microseconds to minutes."""
        for seconds in (0.000005, 0.00007, 0.003, 0.9, 61.0, 3000.0):
            told = Latencies()
            told.observe(ticks(seconds))
            self.assertApproximates(told.percentile(0.5), seconds, 0.032 * seconds)

    def test_shares(self) -> None:
        """Half, most, all, none."""
        told = Latencies()
        self.assertIsNone(told.percentile(0.5))
        for value in range(60):
            told.observe(value)
        self.assertEqual([told.percentile(share) for share in (0.0, 0.5, 1.0)], [0.0, 29e-6, 59e-6])

    def test_the_largest_has_a_bucket(self) -> None:
        """And each bucket begins where the one before ends."""
        self.assertEqual(bucket_of(0xFFFFFFFF), BUCKETS - 1)
        self.assertEqual([bucket_of(value) for value in (63, 64, 65, 66)], [63, 64, 64, 65])


class PacerTests(SynchronousTestCase):
    """So many a second."""

    def test_parts_add_up(self) -> None:
        """Rates that no tick divides."""
        pacer = Pacer(3.0, 0.0)
        self.assertEqual(sum(pacer.due(0.1 * tick) for tick in range(1, 102)), 30)
        self.assertEqual(pacer.missed, 0.0)

    def test_what_is_late_is_counted_and_not_made_up(self) -> None:
        """But for a quarter of a second."""
        pacer = Pacer(100.0, 0.0)
        self.assertEqual(pacer.due(1.0), 25)
        self.assertEqual(pacer.missed, 75.0)


class LoadTests(SynchronousTestCase):
    """What is written and read."""

    def test_a_registration_is_what_the_wire_module_reads(self) -> None:
        """Authentic, with one record, and the EIDs in order."""
        for key in _KEYS:
            load = Load(_space(), key)
            data, after, count = load.write_registrations(
                _template(load, 1), 5, 10, -1, 77, 5, 0, 100_000
            )
            self.assertEqual((after, count), (10, 5))
            found = messages(data)
            self.assertEqual(
                [(kind, id_) for kind, id_, _ in found], [(17, 5 + n) for n in range(5)]
            )
            for number, (_kind, _id, body) in enumerate(found):
                register = decode_map_register(body)
                (record,) = register.records
                self.assertEqual(record.eid, load.space.eid(5 + number))
                self.assertEqual((register.nonce, register.proxy_reply), (77 + number, True))
                self.assertEqual(register.xtr_id, bytes(15) + b"\1")
                span = walk_map_register(body, 0, len(body))
                self.assertIsNotNone(
                    key.verify(body, 0, span[6], len(body), span[4], Purpose.MAP_REGISTER)
                )

    def test_room_is_kept_to(self) -> None:
        """As many as fit, none where not one does."""
        load = Load(_space(), _KEY)
        template = _template(load)
        one = len(load.write_registrations(template, 0, 1, -1, 1, 1, 0, 1000)[0])
        self.assertEqual(
            load.write_registrations(template, 0, 5, -1, 1, 1, 0, 3 * one - 1)[1:], (2, 2)
        )
        self.assertEqual(
            load.write_registrations(template, 0, 5, -1, 1, 1, 0, one - 1), (b"", 0, 0)
        )

    def test_what_is_others_or_withdrawn_is_left_out(self) -> None:
        """And a state may be asked for."""
        load = Load(_space(), _KEY)
        load.owners[1] = 2
        load.enter(2, GONE)
        load.enter(3, REJECTED)
        written = load.write_registrations(_template(load), 0, 5, REJECTED, 1, 1, 0, 10_000)
        self.assertEqual(written[1:], (5, 1))
        written = load.write_registrations(_template(load), 0, 5, -1, 1, 1, 0, 10_000)
        self.assertEqual(written[1:], (5, 3))
        self.assertEqual(list(load.states[:5]), [OFFERED, 0, GONE, OFFERED, OFFERED])

    def test_a_withdrawal_has_ttl_0_and_no_locator(self) -> None:
        """Of that EID only."""
        load = Load(_space(), _KEY)
        data, _after, _count = load.write_registrations(
            _template(load, leaves=True), 2, 3, -1, 1, 1, 0, 1000
        )
        ((_kind, _id, body),) = messages(data)
        (record,) = decode_map_register(body).records
        self.assertEqual((record.eid, record.ttl, record.locators), (load.space.eid(2), 0, ()))
        self.assertEqual(load.states[2], LEAVING)

    def test_answers_move_eids_and_are_timed(self) -> None:
        """Once each; those of others are strays."""
        load = Load(_space(), _KEY)
        load.write_registrations(_template(load), 0, 3, -1, 1, 1, 1000, 10_000)
        eids = [eid_wire_form(load.space.eid(number)) for number in range(6)]
        answers = (
            encode_registration_ack(1, eids[0])
            + encode_registration_ack(2, eids[0])
            + encode_registration_reject(3, 1, eids[1])
            + encode_registration_ack(4, eids[5])
            + encode_registration_ack(5, b"\x20\0\1\xc0\0\2\1")
        )
        told = load.read_answers(answers, 0, 0, 3000)
        self.assertEqual(told, (len(answers), 2, 1, 2))
        self.assertEqual(list(load.states[:3]), [REGISTERED, REJECTED, OFFERED])
        self.assertEqual((load.latencies.count, load.waiting), (1, 1))
        self.assertApproximates(load.latencies.percentile(0.5), 0.002, 0.0001)

    def test_reading_stops_at_what_is_no_whole_answer(self) -> None:
        """Cut anywhere, another type, a wrong marker."""
        load = Load(_space(), _KEY)
        ack = encode_registration_ack(1, eid_wire_form(load.space.eid(0)))
        for cut in range(len(ack)):
            self.assertEqual(load.read_answers(ack + ack[:cut], 0, 0, 0)[0], len(ack))
        self.assertEqual(load.read_answers(b"\0\x14" + ack[2:], 0, 0, 0)[0], 0)
        self.assertEqual(load.read_answers(ack[:-1] + b"\0", 0, 0, 0)[0], 0)

    def test_a_map_notify_settles_what_went_together(self) -> None:
        """And not what was sent at another time."""
        load = Load(_space(), _KEY)
        load.write_map_register(_template(load), 0, 2, -1, 1, 500, 20)
        load.write_map_register(_template(load), 2, 3, -1, 2, 600, 20)
        self.assertEqual(load.settle(0, 0, 3, 500, 900), 2)
        self.assertEqual(list(load.states[:3]), [REGISTERED, REGISTERED, OFFERED])

    def test_a_map_notify_that_leaves_some_out_refuses_them(self) -> None:
        """The others are registered."""
        load = Load(_space(), _KEY)
        load.write_map_register(_template(load), 0, 4, -1, 1, 500, 20)
        numbers = load.unsettled(0, 0, 4, 500)
        self.assertEqual(load.settle_some(numbers, {1, 3}, 900), (2, 2))
        self.assertEqual(list(load.states[:4]), [REJECTED, REGISTERED, REJECTED, REGISTERED])

    def test_a_change_can_be_told_by_the_weight(self) -> None:
        """Each is another one, for a hundred."""
        load = Load(_space(), _KEY)
        weights = set()
        for _change in range(100):
            (record,) = decode_map_register(map_register(load, _template(load), (0,), 1)).records
            weights.add(record.locators[0].weight)
            load.change(0)
        self.assertEqual(weights, set(range(1, 101)))


class ParityTests(SynchronousTestCase):
    """The compiled twin beside the Python."""

    def setUp(self) -> None:
        """Nothing to compare where it was not built."""
        if twin("lispmsrt.swarm._load") is None:
            raise SkipTest("lispmsrt.swarm._load is not built")

    def _pair(self, seed: int) -> tuple[Load, Load]:
        random = Random(seed)
        text, length = random.choice(_TEXTS)
        space = (
            _space(text, "10.0.0.0/8", length=None)
            if length == 128
            else _space(text, length=length)
        )
        key = random.choice(_KEYS)
        return Load(space, key), _PureLoad(space, key)

    def _assert_same(self, one: Load, other: Load) -> None:
        for name in ("states", "versions", "owners", "sent", "tally"):
            self.assertEqual(getattr(one, name), getattr(other, name), name)
        self.assertEqual(one.latencies.counts, other.latencies.counts)

    def test_plain_keys_are_compiled(self) -> None:
        """And derived ones are not."""
        self.assertEqual(
            [Load(_space(), key).is_compiled for key in _KEYS], [True] * 4 + [False] * 2
        )

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 1 << 32))
    def test_any_sequence_of_work_ends_alike(self, seed: int) -> None:
        """Every octet written, every number returned, every array."""
        random = Random(seed)
        pair = self._pair(seed)
        self.assertEqual([load.is_compiled for load in pair][1], False)
        for step in range(40):
            draws = random.getrandbits(64)
            results = [self._work(load, Random(draws), step) for load in pair]
            self.assertEqual(results[0], results[1])
        self._assert_same(*pair)

    def _work(self, load: Load, random: Random, now: int) -> object:
        """Do one thing, which the numbers decide."""
        etr = random.randrange(3)
        first = random.randrange(load.space.count)
        block = load.space.block_of(first)
        last = min(first + random.randrange(1, 6), block.first + block.count)
        leaves = random.random() < 0.2
        template = make_template(_face(etr), block, load.key, _FLAGS, leaves=leaves)
        nonce, message_id = random.getrandbits(60), random.getrandbits(32)
        only = random.choice((-1, -1, REJECTED, LEAVING))
        ticked = 1000 * now * random.randrange(5)
        match random.randrange(6):
            case 0 | 1:
                room = random.randrange(1000)
                return load.write_registrations(
                    template, first, last, only, nonce, message_id, ticked, room
                )
            case 2:
                return load.write_map_register(template, first, last, only, nonce, ticked, 4)
            case 3:
                return load.settle(etr, first, last, random.choice(load.sent), ticked)
            case 4:
                load.change(first)
                load.owners[first] = etr
                return None
            case _:
                return load.read_answers(_answers(load, random), 0, etr, ticked)

    def test_the_same_map_notifies_are_vouched_for(self) -> None:
        """The compiled one leaves open what it does not know, and never takes a wrong one."""
        for key in _KEYS:
            load = Load(_space(), key)
            register = map_register(load, _template(load), (0, 1), 9)
            span = walk_map_register(register, 0, len(register))
            records = [register[each[0] : each[-1]] for each in span[5]]
            coverage = key.default_coverage
            notify = write_map_notify(
                nonce=9,
                records=records,
                ids=register[span[6] :],
                reliable_transport=False,
                key=key,
                length=key.sent_length,
                coverage=coverage,
            )
            found = walk_map_notify(notify)
            self.assertTrue(is_authentic(key, notify, found[6], found[4]))
            self.assertEqual(
                load.vouches_for(notify),
                load.is_compiled and coverage is Coverage.WHOLE_MESSAGE,
            )
            for at in range(len(notify)):
                wrong = bytearray(notify)
                wrong[at] ^= 1
                self.assertFalse(load.vouches_for(bytes(wrong)) and at > 3, at)
                self.assertFalse(load.vouches_for(notify[:at]))


def _answers(load: Load, random: Random) -> bytes:
    """Return ACKs and Rejections, some about others, and perhaps damaged."""
    parts = []
    for _answer in range(random.randrange(6)):
        eid = eid_wire_form(load.space.eid(random.randrange(load.space.count)))
        if random.random() < 0.1:
            eid = eid[:-1] + bytes((random.randrange(256),))
        if random.random() < 0.2:
            parts.append(encode_registration_reject(1, 2, eid))
        else:
            parts.append(encode_registration_ack(1, eid))
    data = bytearray(b"".join(parts))
    if data and random.random() < 0.3:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data[: random.randrange(len(data) + 1)] if random.random() < 0.3 else data)
