"""Our Map-Notifies and Map-Notify-Acks as tshark reads them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.map_notifies import MapNotifies
from lispmsrt.control.retransmission import Retransmissions
from lispmsrt.mapping.database import Database, EidTable, Lease, Registration, UdpPath, Xtr
from lispmsrt.mapping.sites import eid_key
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Coverage
from lispmsrt.wire.map_register import write_map_notify_ack
from tests.builders import KEY, SHA1_KEY, Secret, ip, locator, record
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_PAIR = (("192.0.2.100", 4342), ("192.0.2.1", 4342))
_IDS = bytes(range(24))
_PLAIN, _IN_AN_INSTANCE, _IPV6 = ("10.1.0.0/16", 0), ("10.2.0.0/16", 77), ("2001:db8:5::/48", 0)
_NONCE = 0x1122334455667788

_FIELDS = (
    "_ws.malformed",
    "lisp.authlen",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.keyid",
    "lisp.loc.locator",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.mnot.flags.xtrid",
    "lisp.nonce",
    "lisp.records",
    "lisp.siteid",
    "lisp.type",
    "lisp.xtrid",
)


def _map_notifies(key: Secret, ids: bytes) -> list[bytes]:
    """Return what a Map-Server says: a new RLOC, one in an instance, and one that is gone."""
    retransmissions = Retransmissions()
    notifies = MapNotifies(retransmissions, lambda: _NONCE)
    database = Database()
    path = UdpPath(
        (ip("192.0.2.1"), 4342), key.key(), key.key().sent_length, Coverage.WHOLE_MESSAGE, bool(ids)
    )
    lease = Lease(Xtr("office", ids, b""), "UDP", "", is_live=False, path=path)
    for text, instance in (_PLAIN, _IN_AN_INSTANCE, _IPV6):
        instance_id, afi, length, prefix = eid_key(EidPrefix.from_text(text, instance))
        table: EidTable = database.table(instance_id, afi)
        if text != _IPV6[0]:
            wire = record(text, locator("192.0.2.2"), instance_id=instance or None)
            table.put(length, prefix, Registration(wire, lease, 0, 0.0, None))
        notifies.tell(lease, table, prefix)
    notifies.start_due(0.0)
    return [data for data, _to in retransmissions.datagrams_to_send(0.0)]


def _ack(key: Secret, ids: bytes) -> bytes:
    """Return what an ETR answers."""
    return write_map_notify_ack(
        nonce=_NONCE,
        records=[record(_PLAIN[0], locator("192.0.2.2"))],
        ids=ids,
        key=key.key(),
        length=key.key().sent_length,
        coverage=Coverage.WHOLE_MESSAGE,
    )


@functools.cache
def _dissected() -> list[dict[str, list[str]]]:
    """One run of tshark: two Map-Notifies, two Map-Notify-Acks."""
    messages = [*_map_notifies(KEY, _IDS), *_map_notifies(SHA1_KEY, b"")]
    messages += [_ack(KEY, _IDS), _ack(SHA1_KEY, b"")]
    assert len(messages) == 4
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "map-notify.pcap"
        with PcapWriter(path) as pcap:
            for data in messages:
                pcap.udp(*_PAIR, data)
        return run_tshark(path, _FIELDS)


class MapNotifyTsharkTests(SynchronousTestCase):
    """tshark 4.0 as oracle."""

    def setUp(self) -> None:
        """Dissect, once."""
        skip_without_tshark()
        self.packets = _dissected()

    def test_nothing_is_malformed(self) -> None:
        """No complaint about a Map-Notify."""
        for packet in self.packets[:2]:
            for field in ("_ws.malformed", "lisp.expected_field", "lisp.invalid_field"):
                self.assertEqual(packet[field], [], field)

    def test_records(self) -> None:
        """EID-prefixes, TTLs, RLOCs; what is gone has TTL 0 and none."""
        for packet in self.packets[:2]:
            self.assertEqual((packet["lisp.type"], packet["lisp.records"]), (["4"], ["3"]))
            self.assertEqual(packet["lisp.mapping.ttl"], ["1440", "1440", "0"])
            self.assertEqual(packet["lisp.mapping.eid.masklen"], ["16", "16", "48"])
            self.assertEqual(packet["lisp.mapping.eid.ipv6"], ["2001:db8:5::"])
            self.assertEqual(packet["lisp.loc.locator"], ["192.0.2.2", "192.0.2.2"])

    def test_nonce_and_authentication(self) -> None:
        """A whole SHA-256 and a whole SHA-1 digest."""
        for packet, length in zip(self.packets, ("32", "20"), strict=False):
            self.assertEqual(packet["lisp.nonce"], [f"0x{_NONCE:016x}"])
            self.assertEqual(packet["lisp.authlen"], [length])

    def test_ids(self) -> None:
        """Bit 4 and 24 octets, or neither."""
        with_ids, without = self.packets[:2]
        self.assertEqual(with_ids["lisp.mnot.flags.xtrid"], ["1"])
        self.assertEqual(with_ids["lisp.xtrid"], [_IDS[:16].hex()])
        self.assertEqual(with_ids["lisp.siteid"], [_IDS[16:].hex()])
        self.assertEqual((without["lisp.mnot.flags.xtrid"], without["lisp.xtrid"]), (["0"], []))

    def test_a_map_notify_ack_is_one(self) -> None:
        """tshark knows its type and no more."""
        for packet in self.packets[2:]:
            self.assertEqual(packet["lisp.type"], ["5"])
