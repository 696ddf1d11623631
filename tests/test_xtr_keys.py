"""Which key belongs to an xTR that is known by its IDs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.sites import Site, SitePrefix, Sites
from lispmsrt.mapping.verdicts import Change
from lispmsrt.services.xtr_keys import XtrKeys
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key

_NONE = Key(0, AlgorithmId.NONE, b"")
_FIRST = Key(1, AlgorithmId.HMAC_SHA_256_128, b"first")
_SECOND = Key(2, AlgorithmId.HMAC_SHA_256_128, b"second")


def _sites(*sites: Site) -> Sites:
    prefixes = [EidPrefix.from_text(f"10.{number}.0.0/16") for number in range(len(sites))]
    return Sites(map(SitePrefix.of, sites, prefixes))


def _ids(number: int) -> bytes:
    return number.to_bytes(16, "big") + bytes(8)


def _registered(site: str, ids: bytes) -> Change:
    lease = Lease(Xtr(site, ids, b"" if ids else b"\0\0\0\0"), "UDP", "", is_live=False)
    registration = Registration(b"", lease, 0, 0.0, None)
    lease.held[registration] = None
    return Change(EidTable(0, 1), 16, 0, None, registration)


def _lease(change: Change) -> Lease:
    assert change.after is not None
    return change.after.lease


class XtrKeysTests(SynchronousTestCase):
    """Configured or registered, or nobody."""

    def setUp(self) -> None:
        campus = Site("campus", (_NONE, _FIRST, _SECOND), certificates={_ids(9)[:16]: frozenset()})
        self.sites = _sites(campus, Site("branch", (_SECOND,)))
        self.keys = XtrKeys(lambda: self.sites, limit=2)

    def _key(self, ids: bytes) -> Key | None:
        association = self.keys.find(ids)
        return association.key() if association is not None else None

    def test_xtr_that_has_registered(self) -> None:
        """The first key of its site that signs anything."""
        self.keys.changed([_registered("campus", _ids(1)), _registered("branch", _ids(2))])
        self.assertIs(self._key(_ids(1)), _FIRST)
        self.assertIs(self._key(_ids(2)), _SECOND)

    def test_configured_xtr_needs_no_registration(self) -> None:
        """Whatever its Site-ID."""
        self.assertIs(self._key(_ids(9)[:16] + b"\1" * 8), _FIRST)

    def test_strangers_have_no_key(self) -> None:
        """Nor does the same xTR-ID with another Site-ID, nor an xTR without IDs."""
        self.keys.changed([_registered("campus", _ids(1)), _registered("branch", b"")])
        for ids in (_ids(3), _ids(1)[:16] + b"\1" * 8, b""):
            self.assertIsNone(self._key(ids))

    def test_withdrawals_teach_nothing(self) -> None:
        """What is gone has no xTR."""
        change = _registered("campus", _ids(1))
        self.keys.changed([change._replace(before=change.after, after=None)])
        self.assertIsNone(self._key(_ids(1)))

    def test_those_that_registered_longest_ago_are_forgotten(self) -> None:
        """The memory is bounded, whoever fills it."""
        self.keys.changed([_registered("campus", _ids(number)) for number in (1, 2, 1, 3)])
        self.assertIsNone(self._key(_ids(2)))
        self.assertIs(self._key(_ids(1)), _FIRST)

    def test_another_configuration_counts_at_once(self) -> None:
        """A site that is gone has no keys any more."""
        self.keys.changed([_registered("campus", _ids(1))])
        self.assertIs(self._key(_ids(1)), _FIRST)
        self.sites = _sites(Site("branch", (_SECOND,)))
        self.assertIsNone(self._key(_ids(1)))
        self.assertIsNone(self._key(_ids(9)))

    def test_another_site_can_not_take_an_xtr_id_over(self) -> None:
        """Not while anything is there that its xTR registered, over UDP or on a session."""
        mine = _registered("campus", _ids(1))
        theirs = _registered("branch", _ids(1))
        self.keys.changed([mine, theirs])
        self.assertIs(self._key(_ids(1)), _FIRST)
        _lease(mine).held.clear()
        self.keys.changed([theirs])
        self.assertIs(self._key(_ids(1)), _SECOND)

    def test_the_newest_lease_of_an_xtr_counts(self) -> None:
        """It has moved from UDP to a session."""
        over_udp, on_session = (_registered("campus", _ids(1)) for _ in range(2))
        self.keys.changed([over_udp, on_session])
        _lease(over_udp).held.clear()
        self.keys.changed([_registered("branch", _ids(1))])
        self.assertIs(self._key(_ids(1)), _FIRST)

    def test_a_site_with_many_xtrs_displaces_its_own(self) -> None:
        """Nobody uses up everyone's."""
        self.keys = XtrKeys(lambda: self.sites, limit=9)
        self.keys.changed([_registered("campus", _ids(1))])
        self.keys.changed([_registered("branch", _ids(number)) for number in range(10, 100)])
        self.assertIs(self._key(_ids(1)), _FIRST)
        self.assertIs(self._key(_ids(99)), _SECOND)
        self.assertIsNone(self._key(_ids(91)))

    def test_an_association_outlives_what_made_it(self) -> None:
        """It is with the site: its keys may rotate, and without the site it ends."""
        change = _registered("campus", _ids(1))
        self.keys.changed([change])
        association = self.keys.find(_ids(1))
        assert association is not None
        _lease(change).held.clear()
        self.keys.changed([_registered("branch", _ids(1))])
        self.assertIs(association.key(), _FIRST)
        self.sites = _sites(Site("campus", (_SECOND, _FIRST)))
        self.assertIs(association.key(), _SECOND)
        self.sites = _sites(Site("branch", (_SECOND,)))
        self.assertIsNone(association.key())
