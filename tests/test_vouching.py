"""What a Map-Server vouches for with LISP-SEC: nobody gets more than is theirs."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.eid_nesting import covers, first_hole, hole_beside
from lispmsrt.control.lisp_sec import EtrSecurity, MapServerSecurity
from lispmsrt.control.secured_requests import ReplyFault, SecuredRequest, VerifiedReply
from lispmsrt.control.vouching import covered_by
from lispmsrt.mapping.database import EidTable, Lease, Registration, Xtr
from lispmsrt.mapping.lookup import Hit
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import decode_encapsulated
from lispmsrt.wire.lisp_sec import decode_eid_authentication, decode_reply_security
from lispmsrt.wire.map_reply import MapReply, decode_map_reply, encode_map_reply
from lispmsrt.wire.records import Locator, MappingRecord
from tests.asking import NONCE, asker, ecm, map_request, register
from tests.builders import Etr, M, MapServer, P, Secret, locator, record, site, sites

_S = 1 << 26
_itr_key = Key(9, AlgorithmId.HMAC_SHA_256_128, b"secret of the ITR")
_LARGE, _SMALL = Secret(1, 2, b"of the large site"), Secret(1, 2, b"of the small site")
_RLOC = "192.0.2.66"
_eid = EidPrefix.from_text
_lease = Lease(Xtr("site", bytes(24), b""), "UDP", "there", is_live=False)


def _hits(*texts: str) -> list[Hit]:
    """Return registrations in the order in which a lookup lists them."""
    table = EidTable(0, 1)
    found = []
    for text in sorted(texts, key=ipaddress.ip_network):
        _, _, length, key = eid_key(_eid(text))
        found.append(Hit(table, length, key, Registration(b"", _lease, 0, 0.0, None)))
    return found


class HoleTests(SynchronousTestCase):
    """What is left beside registrations."""

    def test_around_an_eid(self) -> None:
        """Up to the nearest of them."""
        hits = _hits("10.1.0.0/16", "10.128.0.0/9")
        self.assertEqual(hole_beside(_eid("10.2.0.1/32"), hits), _eid("10.2.0.0/15"))
        self.assertIsNone(hole_beside(_eid("10.0.0.0/8"), hits))

    def test_the_first_inside(self) -> None:
        """From the network address on, behind what is there."""
        whole = _eid("10.0.0.0/8")
        self.assertEqual(first_hole(whole, _hits("10.1.0.0/16")), _eid("10.0.0.0/16"))
        self.assertEqual(first_hole(whole, _hits("10.0.0.0/9")), _eid("10.128.0.0/9"))
        nested = _hits("10.0.0.0/9", "10.0.0.0/16", "10.128.0.0/10")
        self.assertEqual(first_hole(whole, nested), _eid("10.192.0.0/10"))
        self.assertIsNone(first_hole(whole, _hits("10.0.0.0/9", "10.128.0.0/9")))

    @given(
        st.lists(st.tuples(st.integers(1, 5), st.integers(0, 31)), min_size=1, max_size=6),
        st.integers(0, 5),
        st.integers(0, 31),
    )
    def test_they_touch_nothing_and_are_wide(
        self, inside: list[tuple[int, int]], length: int, number: int
    ) -> None:
        """Against a look at every address."""
        hits = _hits(*(f"10.0.0.{n >> 5 - bits << 5 - bits}/{27 + bits}" for bits, n in inside))
        taken = {
            address
            for hit in hits
            for address in range(32)
            if (1 << 32 | 10 << 24 | address) >> 32 - hit.length == hit.key
        }
        first = number >> 5 - length << 5 - length
        asked = set(range(first, first + (1 << 5 - length)))
        eid = _eid(f"10.0.0.{first}/{27 + length}")
        if taken.isdisjoint(asked):
            hole = hole_beside(eid, hits)
            assert hole is not None
            self.assertTrue(covers(hole, eid))
            wider = _addresses(hole, 1)
            self.assertTrue(taken.isdisjoint(_addresses(hole)) and taken & wider)
        found = first_hole(eid, hits) if taken & asked else None
        if found is not None:
            self.assertIn(min(asked - taken), _addresses(found))
            self.assertTrue(taken.isdisjoint(_addresses(found)))
            self.assertTrue(covers(eid, found))
        elif taken & asked:
            self.assertEqual(asked - taken, set())


def _addresses(eid: EidPrefix, wider: int = 0) -> set[int]:
    """Return the addresses of a prefix, or of one so many bits wider, in 10.0.0.0/27."""
    assert isinstance(eid.address, Address)
    host_bits = 32 - eid.length + wider
    first = (int.from_bytes(eid.address.packed, "big") & 31) >> host_bits << host_bits
    return set(range(first, first + (1 << host_bits)))


class RecordsTests(SynchronousTestCase):
    """The Map-Server's own answers."""

    def test_the_widest_of_records(self) -> None:
        """In any order."""
        texts = ("10.1.1.0/24", "10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16")
        found = covered_by(record(text, locator()) for text in texts)
        self.assertEqual(found, [_eid("10.1.0.0/16"), _eid("10.2.0.0/16")])


class VouchingTests(SynchronousTestCase):
    """A large site, inside of whose EID-prefix a small one has a part."""

    def setUp(self) -> None:
        """The large one's ETR does not deserve trust."""
        self.server = MapServer(
            sites((site("large", _LARGE), "10.0.0.0/8"), (site("small", _SMALL), "10.2.0.0/16"))
        )
        self.large = Etr(_RLOC, key=_LARGE, xtr_id=1)
        self.small = Etr("192.0.2.2", key=_SMALL, xtr_id=2)
        self.plane = asker(self.server, security=MapServerSecurity(lambda key_id: [_itr_key]))

    def register(self, *texts: str, etr: Etr, flags: int = M | _S, rlocs: int = 1) -> None:
        """Register."""
        locators = [locator(f"192.0.2.{number}") for number in range(66, 66 + rlocs)]
        for text in texts:
            register(self.server, record(text, *locators), flags=flags, etr=etr)

    def ask(self, *eids: str) -> tuple[SecuredRequest, list[bytes]]:
        """Ask with LISP-SEC; return what is sent."""
        secured = SecuredRequest(NONCE, bytes(range(16)), _itr_key)
        sent = self.plane.send(ecm(map_request(*eids), security=secured.security))
        return secured, [data for data, _to in sent]

    def believed(self, asked: str, *claimed: str) -> list[str]:
        """Have the large one's ETR answer with all the world; return what the ITR believes."""
        secured, (data,) = self.ask(asked)
        records = tuple(
            MappingRecord(_eid(text), 60, (Locator(Address.from_text(_RLOC)),)) for text in claimed
        )
        etr = EtrSecurity(lambda key_id: [_LARGE.key()])
        security = decode_encapsulated(data).security
        signed = etr.sign(security, NONCE, encode_map_reply(MapReply(NONCE, records)))
        assert signed is not None
        verified = secured.verify(signed)
        if isinstance(verified, ReplyFault):
            self.assertIs(verified, ReplyFault.NOT_AUTHORIZED)
            return []
        return [str(one.eid) for one in verified.reply.records]

    def test_all_that_an_etr_registered(self) -> None:
        """Its own parts inside too."""
        self.register("10.0.0.0/8", "10.1.0.0/16", etr=self.large)
        self.assertEqual(self.believed("10.9.0.1", "0.0.0.0/0"), ["10.0.0.0/8"])

    def test_not_what_others_registered_inside(self) -> None:
        """Else it could draw their packets to itself."""
        self.register("10.0.0.0/8", etr=self.large)
        self.register("10.2.0.0/16", etr=self.small)
        self.assertEqual(self.believed("10.9.0.1", "10.2.0.0/16"), [])
        self.assertEqual(self.believed("10.9.0.1", "10.0.0.0/8"), ["10.8.0.0/13"])
        self.assertEqual(self.believed("10.3.0.1", "0.0.0.0/0"), ["10.3.0.0/16"])

    def test_of_a_prefix_with_others_inside_what_is_before_them(self) -> None:
        """Or behind."""
        self.register("10.0.0.0/8", etr=self.large)
        self.register("10.2.0.0/16", etr=self.small)
        self.assertEqual(self.believed("10.0.0.0/8", "10.0.0.0/8"), ["10.0.0.0/15"])
        self.assertEqual(self.believed("10.2.0.0/15", "10.0.0.0/8"), ["10.3.0.0/16"])

    def test_where_others_have_all_of_it_the_etr_is_not_asked(self) -> None:
        """It has nothing to say."""
        self.register("10.0.0.0/8", etr=self.large)
        self.register("10.2.0.0/17", "10.2.128.0/17", etr=self.small)
        _secured, sent = self.ask("10.2.0.0/16")
        self.assertEqual(sent, [])
        what = "Map-Requests dropped: LISP-SEC, and nothing of it is the ETR's"
        self.assertEqual(self.plane.counted(what), 1)

    def vouched(self, *eids: str) -> list[str]:
        """Return what the Map-Server vouches for in its own answer, which the ITR believes."""
        secured, (data,) = self.ask(*eids)
        self.assertIsInstance(secured.verify(data), VerifiedReply)
        security = decode_reply_security(decode_map_reply(data).security)
        return [str(eid) for eid in decode_eid_authentication(security.eid_data).eids]

    def test_of_its_own_answers_what_the_records_cover(self) -> None:
        """The whole, or what is left where the more-specifics are too much to list."""
        self.register("10.0.0.0/8", etr=self.large, flags=M | P)
        self.register("10.2.0.0/16", etr=self.small, flags=M | P)
        self.assertEqual(self.vouched("10.9.0.1"), ["10.0.0.0/8"])
        self.register("10.2.0.0/16", etr=self.small, flags=M | P, rlocs=120)
        self.assertEqual(self.vouched("10.9.0.1"), ["10.8.0.0/13"])
