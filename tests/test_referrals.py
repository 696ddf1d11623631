"""Map-Referrals of a Map-Server in the delegated database tree."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.eid_nesting import common_part, covers
from lispmsrt.control.questions import Question, read_question
from lispmsrt.control.referrals import MAX_MAP_SERVERS, Referrals
from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import Found, FoundKind, Hit
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, Afi, EidPrefix
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from lispmsrt.wire.lcaf import Json
from lispmsrt.wire.map_referral import ReferralAction, ReferralRecord, decode_map_referral
from lispmsrt.wire.map_request import MapRequest, RequestedEid, encode_map_request
from lispmsrt.wire.records import Locator
from tests import builders

__all__ = ["NONCE", "ddt_question", "found", "hole"]

NONCE = 0x1122334455667788

_eid = EidPrefix.from_text
_address = Address.from_text
_servers = (_address("198.51.100.1"), _address("2001:db8::53"))
_rloc = _address("192.0.2.9")


def ddt_question(*texts: str) -> Question:
    """Return a Map-Request in an ECM with the D bit."""
    asked = tuple(RequestedEid(_eid(text)) for text in texts)
    inner = encode_map_request(MapRequest(NONCE, (_rloc,), asked))
    message = EncapsulatedControlMessage(_rloc, _address("10.1.2.3"), 4342, 4342, inner, ddt=True)
    source = (_address("198.51.100.99").packed, 40000)
    question = read_question(encode_encapsulated(message), source, lambda afi: afi == Afi.IPV4)
    assert isinstance(question, Question), question
    return question


def found(text: str) -> Found:
    """Return what a lookup finds where this is registered."""
    eid = _eid(text)
    instance_id, afi, length, key = eid_key(eid)
    lease = Lease(Xtr("campus", bytes(24), b""), "tcp", "", is_live=True)
    registration = Registration(builders.record(text), lease, 0, 0.0, None)
    hit = Hit(EidTable(instance_id, afi), length, key, registration)
    return Found(FoundKind.MAPPED, eid, hit, (), None)


def hole(kind: FoundKind, text: str) -> Found:
    """Return what a lookup finds where nothing is registered."""
    return Found(kind, _eid(text), None, (), None)


class ReferralTests(SynchronousTestCase):
    """Referrals."""

    def setUp(self) -> None:
        self.referrals = Referrals([_eid("10.0.0.0/8"), _eid("10.64.0.0/10")], _servers)

    def _referred(self, asked: str, what: Found) -> ReferralRecord:
        data = self.referrals.refer(ddt_question(asked), what, 0.0)
        assert data is not None
        referral = decode_map_referral(data)
        self.assertEqual(referral.nonce, NONCE)
        (record,) = referral.records
        return record

    def _expect(self, record: ReferralRecord, text: str, action: ReferralAction, ttl: int) -> None:
        self.assertEqual((str(record.eid), record.action, record.ttl), (text, action, ttl))

    def test_golden(self) -> None:
        """MS-ACK, octet for octet."""
        expected = bytes.fromhex(
            "60 0000 01 1122334455667788"  # Map-Referral, one record, nonce of the Map-Request
            "000005a0 02 10 5000 0000 0001 0a010000"  # 1440 min, 2 locators, /16, ACT 2, A
            "01 64 ff 00 0001 0001 c6336401"  # 198.51.100.1
            "01 64 ff 00 0001 0002 20010db8 00000000 00000000 00000053"
        )
        data = self.referrals.refer(ddt_question("10.1.2.3/32"), found("10.1.0.0/16"), 0.0)
        self.assertEqual(data, expected)

    def test_registered(self) -> None:
        """MS-ACK for a day, with every Map-Server."""
        record = self._referred("10.1.2.3/32", found("10.1.0.0/16"))
        self._expect(record, "10.1.0.0/16", ReferralAction.MS_ACK, 1440)
        locators = tuple(Locator(rloc, local=False) for rloc in _servers)
        self.assertEqual(record.locators, locators)
        self.assertEqual((record.authoritative, record.incomplete), (True, False))

    def test_not_registered(self) -> None:
        """MS-NOT-REGISTERED for a minute, with every Map-Server."""
        record = self._referred("10.1.2.3/32", hole(FoundKind.NOT_REGISTERED, "10.1.2.0/24"))
        self._expect(record, "10.1.2.0/24", ReferralAction.MS_NOT_REGISTERED, 1)
        self.assertEqual(len(record.locators), 2)
        self.assertEqual((record.authoritative, record.incomplete), (True, False))

    def test_delegation_hole(self) -> None:
        """For a quarter of an hour, with no locators."""
        record = self._referred("10.9.2.3/32", hole(FoundKind.NO_SITE, "10.8.0.0/13"))
        self._expect(record, "10.8.0.0/13", ReferralAction.DELEGATION_HOLE, 15)
        self.assertEqual(
            (record.locators, record.authoritative, record.incomplete), ((), True, False)
        )

    def test_a_hole_ends_where_the_delegation_ends(self) -> None:
        """Beyond others may have sites; the nearest delegation counts."""
        for asked, widest, expected in (
            ("10.9.2.3/32", "8.0.0.0/5", "10.0.0.0/8"),
            ("10.9.2.3/32", "10.0.0.0/8", "10.0.0.0/8"),
            ("10.65.2.3/32", "0.0.0.0/0", "10.64.0.0/10"),
            ("10.65.2.3/32", "10.65.0.0/16", "10.65.0.0/16"),
        ):
            record = self._referred(asked, hole(FoundKind.NO_SITE, widest))
            self._expect(record, expected, ReferralAction.DELEGATION_HOLE, 15)

    def test_not_authoritative(self) -> None:
        """About just what was asked, not to be kept."""
        for asked in ("11.1.2.3/32", "2001:db8::1/128", "8.0.0.0/5", "name:one"):
            record = self._referred(asked, hole(FoundKind.NO_SITE, asked))
            self._expect(record, asked, ReferralAction.NOT_AUTHORITATIVE, 0)
            self.assertEqual((record.locators, record.authoritative), ((), False))
            self.assertTrue(record.incomplete)

    def test_another_instance(self) -> None:
        """A delegation is of one instance."""
        question = ddt_question("10.1.2.3/32")
        question.eids = (EidPrefix(7, _address("10.1.2.3"), 32),)
        where = Found(FoundKind.NO_SITE, EidPrefix(7, _address("0.0.0.0"), 0), None, (), None)
        data = self.referrals.refer(question, where, 0.0)
        (record,) = decode_map_referral(data).records
        self._expect(record, "[7] 10.1.2.3/32", ReferralAction.NOT_AUTHORITATIVE, 0)

    def test_without_the_other_map_servers(self) -> None:
        """The set is said to be incomplete, so that nobody keeps it."""
        self.referrals = Referrals([_eid("10.0.0.0/8")], ())
        for what in (found("10.1.0.0/16"), hole(FoundKind.NOT_REGISTERED, "10.1.0.0/16")):
            record = self._referred("10.1.2.3/32", what)
            self.assertEqual((record.locators, record.incomplete), ((), True))

    def test_without_delegations(self) -> None:
        """Nothing but what sites are configured for is known."""
        self.referrals = Referrals((), _servers)
        record = self._referred("10.1.2.3/32", hole(FoundKind.NO_SITE, "0.0.0.0/0"))
        self._expect(record, "10.1.2.3/32", ReferralAction.NOT_AUTHORITATIVE, 0)
        record = self._referred("10.1.2.3/32", found("10.1.0.0/16"))
        self._expect(record, "10.1.0.0/16", ReferralAction.MS_ACK, 1440)

    def test_several_eids(self) -> None:
        """The finding is about the one that it covers."""
        question = ddt_question("11.1.2.3/32", "12.1.2.3/32")
        data = self.referrals.refer(question, hole(FoundKind.NO_SITE, "12.0.0.0/8"), 0.0)
        (record,) = decode_map_referral(data).records
        self._expect(record, "12.1.2.3/32", ReferralAction.NOT_AUTHORITATIVE, 0)

    def test_counters(self) -> None:
        """By action."""
        self._referred("10.1.2.3/32", found("10.1.0.0/16"))
        self._referred("10.1.2.3/32", found("10.1.0.0/16"))
        self._referred("11.1.2.3/32", hole(FoundKind.NO_SITE, "11.0.0.0/8"))
        self.assertEqual(
            self.referrals.counters,
            {"Map-Referrals MS_ACK": 2, "Map-Referrals NOT_AUTHORITATIVE": 1},
        )

    def test_too_many_map_servers(self) -> None:
        """The answer must not be much larger than the question."""
        many = [Address(Afi.IPV6, bytes(15) + bytes((n,))) for n in range(MAX_MAP_SERVERS + 1)]
        self.assertRaises(ValueError, Referrals, (), many)
        self.referrals = Referrals((), many[1:])
        question = ddt_question("10.1.2.3/32")
        data = self.referrals.refer(question, found("10.1.0.0/16"), 0.0)
        self.assertLess(len(data), 4 * question.octets)

    def test_a_delegation_that_can_not_be_looked_up(self) -> None:
        """Said at once."""
        lcaf = EidPrefix(0, Json(b"{}", _rloc), 0)
        self.assertRaises(ValueError, Referrals, [lcaf], ())


class NestingTests(SynchronousTestCase):
    """Which EID-prefix lies inside which."""

    def test_inside(self) -> None:
        """Itself and more-specifics, in the same family and instance."""
        for outer, inner in (
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.1.2.3/32"),
            ("0.0.0.0/0", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8:1::/48"),
            ("name:ab", "name:ab"),
        ):
            self.assertTrue(covers(_eid(outer), _eid(inner)))
            self.assertEqual(common_part(_eid(outer), _eid(inner)), _eid(inner))
            self.assertEqual(common_part(_eid(inner), _eid(outer)), _eid(inner))

    def test_outside(self) -> None:
        """Neighbours, other families, and names that begin alike."""
        for one, other in (
            ("10.0.0.0/9", "10.128.0.0/9"),
            ("0.0.0.0/0", "::/0"),
            ("name:ab", "name:abc"),
            ("0.0.0.0/0", "name:ab"),
        ):
            self.assertFalse(covers(_eid(one), _eid(other)))
            self.assertFalse(covers(_eid(other), _eid(one)))
            self.assertIsNone(common_part(_eid(one), _eid(other)))
        self.assertFalse(covers(_eid("10.0.0.0/8"), _eid("10.0.0.0/8", 7)))
        self.assertFalse(covers(_eid("10.1.0.0/16"), _eid("10.0.0.0/8")))

    def test_lcafs(self) -> None:
        """Each covers itself."""
        one, other = (EidPrefix(0, Json(text, _rloc), 0) for text in (b"1", b"2"))
        self.assertTrue(covers(one, one))
        self.assertFalse(covers(one, other))
        self.assertFalse(covers(_eid("0.0.0.0/0"), one))
        self.assertFalse(covers(one, _eid("0.0.0.0/0")))
