"""Registered records made over for Map-Replies, in wire form."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.errors import WireError
from lispmsrt.wire.lcaf import AfiList, AsNumber
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import (
    UNUSABLE_PRIORITY,
    Locator,
    MappingRecord,
    decode_record,
    encode_record,
)
from lispmsrt.wire.served_records import (
    local_rlocs,
    locator_count,
    negative_record,
    record_ttl,
    served_record,
    with_fewer_locators,
    with_ttl,
)
from tests import strategies
from tests.builders import ip

_ip = Address.from_text
_eid = EidPrefix.from_text
_registered = st.builds(
    MappingRecord,
    strategies.plain_eids,
    st.integers(0, (1 << 32) - 1),
    st.lists(strategies.locators, max_size=5).map(tuple),
    st.integers(0, 7),
    st.booleans(),
    st.integers(0, 4095),
)


def _decode(record: bytes) -> MappingRecord:
    reader = Reader(record)
    value = decode_record(reader)
    reader.finish()
    return value


class ServedRecordTests(SynchronousTestCase):
    """What a Map-Server gives out."""

    @given(_registered, strategies.plain_eids)
    def test_it_is_the_registered_one_without_a_and_l(
        self, value: MappingRecord, eid: EidPrefix
    ) -> None:
        """And with the EID-prefix that it is to have; locators of every kind, in their order."""
        registered = _decode(encode_record(value))
        served = _decode(served_record(encode_record(value), eid))
        locators = tuple(dataclasses.replace(one, local=False) for one in registered.locators)
        expected = dataclasses.replace(registered, eid=eid, locators=locators, authoritative=False)
        self.assertEqual(served, expected)
        is_lcaf = eid.explicit_instance or bool(eid.instance_id)
        self.assertIs(served.eid.explicit_instance, is_lcaf)

    @given(strategies.plain_eids, st.integers(0, 1 << 16), st.integers(0, 7))
    def test_negative(self, eid: EidPrefix, ttl: int, action: int) -> None:
        """No locators, but an action."""
        self.assertEqual(
            _decode(negative_record(eid, ttl, action)), MappingRecord(eid, ttl, (), action)
        )

    def test_ttl(self) -> None:
        """Read, and replaced."""
        record = encode_record(
            MappingRecord(_eid("10.0.0.0/8"), 1440, (Locator(_ip("192.0.2.1")),))
        )
        self.assertEqual((record_ttl(record), locator_count(record)), (1440, 1))
        self.assertEqual(with_ttl(record, 1440), record)
        self.assertEqual(_decode(with_ttl(record, 5)).ttl, 5)

    def test_an_address_family_that_no_accepted_record_has(self) -> None:
        """Whoever enters such a record is told so here, not by nonsense."""
        record = bytes.fromhex("0000000f 00 20 0000 0000 0063 0a010101")
        self.assertRaises(WireError, served_record, record, _eid("10.1.1.1/32"))


class FewerLocatorsTests(SynchronousTestCase):
    """A mapping that has to be smaller."""

    def _record(self, *priorities: int) -> bytes:
        locators = tuple(
            Locator(_ip(f"192.0.2.{at}"), priority) for at, priority in enumerate(priorities)
        )
        return encode_record(MappingRecord(_eid("10.0.0.0/8"), 1440, locators))

    def _kept(self, record: bytes, room: int) -> list[int] | None:
        smaller = with_fewer_locators(record, room)
        if smaller is None:
            return None
        self.assertLessEqual(len(smaller), room)
        return [one.priority for one in _decode(smaller).locators]

    def test_the_best_stay_in_their_order(self) -> None:
        """12 octets each after an EID part of 16."""
        record = self._record(5, 1, 9, 1, UNUSABLE_PRIORITY)
        self.assertEqual(self._kept(record, 1000), [5, 1, 9, 1])
        self.assertEqual(self._kept(record, 16 + 3 * 12), [5, 1, 1])
        self.assertEqual(self._kept(record, 16 + 3 * 12 - 1), [1, 1])
        self.assertEqual(self._kept(record, 16 + 12), [1])

    def test_a_mapping_that_leads_nowhere_is_none(self) -> None:
        """Without locators it would mean something else."""
        self.assertIsNone(self._kept(self._record(1), 16 + 11))
        self.assertIsNone(self._kept(self._record(UNUSABLE_PRIORITY), 1000))
        self.assertIsNone(self._kept(self._record(), 1000))


class LocalRlocTests(SynchronousTestCase):
    """Where an ETR is reached."""

    def test_own_reachable_usable_ip_addresses(self) -> None:
        """Inside LCAFs too."""
        locators = (
            Locator(_ip("192.0.2.1"), 3),
            Locator(_ip("192.0.2.2"), local=False),
            Locator(_ip("192.0.2.3"), reachable=False),
            Locator(_ip("192.0.2.4"), UNUSABLE_PRIORITY),
            Locator(_ip("2001:db8::1"), 4),
            Locator(_ip("name:far")),
            Locator(AfiList((_ip("192.0.2.5"), _ip("02:00:00:00:00:01"))), 5),
            Locator(AsNumber(7, _ip("2001:db8::2")), 6),
        )
        record = encode_record(MappingRecord(_eid("10.0.0.0/8"), 1440, locators))
        expected = {
            (3, ip("192.0.2.1")),
            (4, ip("2001:db8::1")),
            (5, ip("192.0.2.5")),
            (6, ip("2001:db8::2")),
        }
        self.assertEqual(set(local_rlocs(record)), expected)

    def test_huge_lcafs_are_not_looked_into(self) -> None:
        """That is done for each Map-Request that is passed on."""
        many = AfiList((_ip("192.0.2.5"),) * 100)
        locators = (Locator(many), Locator(_ip("192.0.2.1")))
        record = encode_record(MappingRecord(_eid("10.0.0.0/8"), 1440, locators))
        self.assertEqual(local_rlocs(record), [(1, ip("192.0.2.1"))])
