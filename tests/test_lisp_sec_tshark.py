"""LISP-SEC and Map-Referrals as tshark reads them: it knows the S bits, not what they announce."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.lisp_sec import MapServerSecurity, SecuredQuestion
from lispmsrt.control.referrals import Referrals
from lispmsrt.control.secured_requests import SecuredRequest
from lispmsrt.mapping.lookup import FoundKind
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.encapsulated import EncapsulatedControlMessage, encode_encapsulated
from tests import golden
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark
from tests.test_referrals import NONCE, ddt_question, found, hole

_key = Key(1, AlgorithmId.HMAC_SHA_256_128, b"secret")
_address = Address.from_text
_eid = EidPrefix.from_text

_REQUEST_AD, _EID_AD, _PKT_AD = 32, 4 + 4 + 8 + 16, 20
"""Octets: up to the One-Time Key, the EID-AD with one IPv4 prefix, the PKT-AD."""

_FIELDS = (
    "_ws.malformed",
    "data.len",
    "lisp.ecm.flags.ddt",
    "lisp.ecm.flags.sec",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.loc.locator",
    "lisp.mapping.act",
    "lisp.mapping.auth",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.mrep.flags.sec",
    "lisp.nonce",
    "lisp.records",
    "lisp.referral.incomplete",
    "lisp.type",
)


def _messages() -> dict[str, bytes]:
    request = SecuredRequest(golden.NONCE, bytes(range(16)), _key)
    question = MapServerSecurity(lambda key_id: [_key]).unwrap(request.security, golden.NONCE)
    assert isinstance(question, SecuredQuestion)
    eid = _eid("10.1.0.0/16")
    outer = EncapsulatedControlMessage(
        _address("192.0.2.1"), _address("10.1.1.1"), 4342, 4342, golden.MAP_REQUEST, ddt=True
    )
    outer.security = request.security
    from_itr = encode_encapsulated(outer)
    outer.ddt, outer.security = False, question.for_etr(_key, [eid])
    referrals = Referrals([_eid("10.0.0.0/8")], [_address("198.51.100.1")])
    refer = functools.partial(referrals.refer, ddt_question("10.1.2.3/32"), now=0.0)
    outside = referrals.refer(
        ddt_question("11.1.2.3/32"), hole(FoundKind.NO_SITE, "11.0.0.0/8"), 0.0
    )
    return {
        "reply": question.sign(golden.MAP_REPLY, [eid]),
        "from-itr": from_itr,
        "to-etr": encode_encapsulated(outer),
        "ack": refer(found=found("10.1.0.0/16")),
        "not-registered": refer(found=hole(FoundKind.NOT_REGISTERED, "10.1.2.0/24")),
        "hole": refer(found=hole(FoundKind.NO_SITE, "10.1.0.0/17")),
        "not-authoritative": outside,
    }


@functools.cache
def _dissected() -> dict[str, dict[str, list[str]]]:
    """One run of tshark for all tests: starting it takes most of the time."""
    messages = _messages()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "udp.pcap"
        with PcapWriter(path) as pcap:
            for data in messages.values():
                pcap.udp(("192.0.2.1", 4342), ("192.0.2.2", 4342), data)
        packets = run_tshark(path, _FIELDS)
    return dict(zip(messages, packets, strict=True))


class TsharkTests(SynchronousTestCase):
    """tshark 4.0 as oracle."""

    def setUp(self) -> None:
        """Dissect, once."""
        skip_without_tshark()
        self.packets = _dissected()

    def assert_fields(self, name: str, **expected: str) -> None:
        """Compare fields; two underscores of the keyword stand for a dot."""
        packet = self.packets[name]
        for key, values in expected.items():
            found = packet[key.replace("__", ".")]
            self.assertEqual(found, values.split("|") if values else [], f"{name} {key}")

    def test_nothing_is_malformed(self) -> None:
        """Not a single complaint."""
        for name, packet in self.packets.items():
            for field in ("_ws.malformed", "lisp.expected_field", "lisp.invalid_field"):
                self.assertEqual(packet[field], [], name)

    def test_a_secured_map_reply(self) -> None:
        """S, the record as it is without, and behind it just our authentication data."""
        self.assert_fields(
            "reply",
            lisp__type="2",
            lisp__mrep__flags__sec="1",
            lisp__records="1",
            lisp__mapping__eid__ipv4="10.1.0.0",
            data__len=str(4 + _EID_AD + _PKT_AD),
        )

    def test_secured_encapsulated_messages(self) -> None:
        """S and D; what follows is left alone."""
        inner = len(golden.ECM_IPV4) - 4
        self.assert_fields(
            "from-itr",
            lisp__type="8",
            lisp__ecm__flags__sec="1",
            lisp__ecm__flags__ddt="1",
            data__len=str(_REQUEST_AD + 4 + inner),
        )
        self.assert_fields(
            "to-etr",
            lisp__type="8",
            lisp__ecm__flags__sec="1",
            lisp__ecm__flags__ddt="0",
            data__len=str(_REQUEST_AD + _EID_AD + inner),
        )

    def test_map_referrals(self) -> None:
        """Each action with its TTL, Map-Servers where there are any, A and Incomplete."""
        for name, action, ttl, eid, length, servers, is_ours in (
            ("ack", 2, 1440, "10.1.0.0", 16, "198.51.100.1", True),
            ("not-registered", 3, 1, "10.1.2.0", 24, "198.51.100.1", True),
            ("hole", 4, 15, "10.1.0.0", 17, "", True),
            ("not-authoritative", 5, 0, "11.1.2.3", 32, "", False),
        ):
            self.assert_fields(
                name,
                lisp__type="6",
                lisp__nonce=f"{NONCE:#018x}",
                lisp__records="1",
                lisp__mapping__act=str(action),
                lisp__mapping__ttl=str(ttl),
                lisp__mapping__eid__ipv4=eid,
                lisp__mapping__eid__masklen=str(length),
                lisp__loc__locator=servers,
                lisp__mapping__auth=str(int(is_ours)),
                lisp__referral__incomplete=str(int(not is_ours)),
            )
