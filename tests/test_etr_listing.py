"""What an ETR registers, counted and in order."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping import etr_listing
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.reliable_transport import (
    RefreshScope,
    RegistrationRefresh,
    decode_eid_wire_form,
    eid_wire_form,
)
from tests.rim import mapping

_EIDS = [
    *(EidPrefix.from_text(f"10.1.{number}.0/24", number % 3) for number in range(12)),
    *(EidPrefix.from_text(f"2001:db8:{number}::/48") for number in range(4)),
    EidPrefix.from_text("name:printer", 7),
]


class _Deaf:
    def acknowledged(self, eid: bytes) -> None:
        """Nobody wants to know."""

    def rejected(self, eid: bytes, reason: int) -> None:
        """Nobody wants to know."""

    def taken_over(self, eid: bytes) -> None:
        """Nobody wants to know."""


class CountTests(SynchronousTestCase):
    """The counts against a walk."""

    def setUp(self) -> None:
        """Nothing is meant."""
        self.registrations = EtrRegistrations(_Deaf())
        self.random = Random(5)

    def check(self) -> None:
        registrations = self.registrations
        entries = list(registrations.entries.values())
        states = Counter(entry.state for entry in entries)
        listing = registrations.listing
        self.assertEqual(listing.states, [states[state] for state in EtrState])
        meant = [entry for entry in entries if entry.state is not EtrState.NO_STATE]
        families = Counter(eid_key(decode_eid_wire_form(entry.eid))[:2] for entry in meant)
        self.assertEqual(listing.families, families)
        self.assertEqual(len(registrations), len(meant))
        there = [one for one in listing.look(0, 10_000) if not listing.is_gone(one)]
        self.assertEqual(there, entries)

    def happen(self) -> None:
        """Let anything happen."""
        registrations, random = self.registrations, self.random
        eid = random.choice(_EIDS)
        wire = eid_wire_form(eid)
        match random.randrange(12):
            case 0 | 1 | 2:
                ttl = random.randrange(1, 4)
                text = str(EidPrefix(0, eid.address, eid.length))
                registrations.register(mapping(text, instance_id=eid.instance_id, ttl=ttl))
            case 3 if wire in registrations.entries:
                try:
                    registrations.withdraw(eid)
                except KeyError:
                    self.assertIs(registrations.entries[wire].state, EtrState.NO_STATE)
            case 4 if not registrations.session_is_up:
                registrations.session_up()
            case 5 if registrations.session_is_up and random.random() < 0.2:
                registrations.session_down()
            case 6:
                registrations.refresh(RegistrationRefresh(RefreshScope.EVERYTHING))
            case 7:
                registrations.next_due()
            case 8 | 9:
                registrations.acknowledged(wire)
            case 10:
                registrations.rejected(wire, 1)
            case 11:
                registrations.roamed(wire)
                registrations.confirmed_over_udp(wire, is_final=True)

    def test_whatever_happens(self) -> None:
        """After each of a few thousand events."""
        self.patch(etr_listing, "_FEW", 5)
        seen: Counter[EtrState] = Counter()
        for _ in range(4000):
            self.happen()
            self.check()
            seen.update(entry.state for entry in self.registrations.entries.values())
        self.assertEqual(set(seen), set(EtrState), "every state was there")
        self.assertGreater(self.registrations.listing.epoch, 2)


class OrderTests(SynchronousTestCase):
    """Positions."""

    def test_positions_stay_until_most_have_gone(self) -> None:
        """Then the gaps are closed, which the epoch tells."""
        self.patch(etr_listing, "_FEW", 3)
        registrations = EtrRegistrations(_Deaf())
        eids = [EidPrefix.from_text(f"10.1.{number}.0/24") for number in range(10)]
        for eid in eids:
            registrations.register(mapping(str(eid)))
        listing = registrations.listing

        def withdraw(eid: EidPrefix) -> None:
            registrations.withdraw(eid)
            registrations.given_up_over_udp(registrations.entries[eid_wire_form(eid)])

        for eid in eids[:5]:
            withdraw(eid)
        self.assertEqual(listing.epoch, 0)
        self.assertEqual(_texts(listing.look(5, 2)), ["10.1.5.0/24", "10.1.6.0/24"])
        self.assertTrue(all(map(listing.is_gone, listing.look(0, 5))))
        withdraw(eids[5])
        self.assertEqual(listing.epoch, 1)
        self.assertEqual(_texts(listing.look(0, 2)), ["10.1.6.0/24", "10.1.7.0/24"])


def _texts(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [str(decode_eid_wire_form(entry.eid)) for entry in entries]
