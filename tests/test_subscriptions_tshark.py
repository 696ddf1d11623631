"""Subscribing Map-Requests, confirmations and publications as tshark reads them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.builders import Etr, locator
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark
from tests.subscription_ground import Ground, PublishingMapServer, Xtr, prefix

_FIELDS = (
    "_ws.malformed",
    "frame.number",
    "lisp.type",
    "lisp.nonce",
    "lisp.records",
    "lisp.mreq.res",
    "lisp.mreq.record.res",
    "lisp.mreq.record.prefix.ipv4",
    "lisp.mreq.record.prefix.length",
    "lisp.mreq.itr_rloc_ipv4",
    "lisp.mreq.itr_rloc.afi",
    "lisp.mnot.flags.xtrid",
    "lisp.keyid",
    "lisp.authlen",
    "lisp.mapping.ttl",
    "lisp.mapping.act",
    "lisp.mapping.auth",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.masklen",
    "lisp.loc.locator",
    "lisp.loc.flags.local",
    "lisp.undecoded",
    "lisp.unexpected_field",
    "lisp.invalid_field",
)


def _conversation() -> list[tuple[bytes, tuple[str, int], tuple[str, int]]]:
    """Subscribe, register, withdraw, cancel."""
    xtr = Xtr()
    ground = Ground(PublishingMapServer(), xtr)
    etr = Etr()
    ground.subscribe("10.1.0.0/16")
    ground.register(etr, "10.1.0.0/16", locator("192.0.2.1"), locator("192.0.2.9"))
    ground.register(etr, "10.1.0.0/16", ttl=0)
    xtr.subscriber.unsubscribe(prefix("10.1.0.0/16"), ground.now)
    ground.run(1.0)
    names = {xtr.endpoint: ("203.0.113.1", 4342)}
    server = ("198.51.100.1", 4342)
    return [
        (data, names.get(source, server), names.get(to, server))
        for _at, (data, source, to) in ground.seen
    ]


@functools.cache
def _read() -> list[dict[str, list[str]]]:
    skip_without_tshark()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "subscriptions.pcap"
        with PcapWriter(path) as pcap:
            for data, source, destination in _conversation():
                pcap.udp(source, destination, data)
        return run_tshark(path, _FIELDS)


class TsharkTests(SynchronousTestCase):
    """One conversation: ten messages."""

    def test_types_come_in_order_and_nothing_is_malformed(self) -> None:
        """Of Map-Notify-Acks tshark knows the type only."""
        rows = _read()
        self.assertEqual(
            [row["lisp.type"][-1] for row in rows],
            ["1", "4", "5", "4", "5", "4", "5", "1", "4", "5"],
        )
        for row in rows:
            self.assertEqual((row["_ws.malformed"], row["lisp.invalid_field"]), ([], []), row)
        self.assertEqual(
            [row["lisp.unexpected_field"] for row in rows if row is not rows[7]], 9 * [[]]
        )

    def test_map_requests_have_the_n_and_i_bits(self) -> None:
        """In what tshark takes for reserved; the xTR-ID behind it does not know."""
        first, *_others, last = [row for row in _read() if row["lisp.type"][-1] == "1"]
        for row in (first, last):
            # Bits 10 to 18 of the first word, of which I is the second.
            self.assertEqual(int(row["lisp.mreq.res"][0], 0), 0x80)
        self.assertEqual(int(first["lisp.mreq.record.res"][0], 0), 0x80)
        self.assertEqual(first["lisp.mreq.record.prefix.ipv4"], ["10.1.0.0"])
        self.assertEqual(first["lisp.mreq.record.prefix.length"], ["16"])
        self.assertEqual(first["lisp.mreq.itr_rloc_ipv4"], ["203.0.113.1"])
        # tshark stops at an ITR-RLOC without address, by which RFC 9437 cancels.
        self.assertEqual(last["lisp.mreq.itr_rloc.afi"], ["0"])
        self.assertEqual(last["lisp.unexpected_field"], ["1"])

    def test_map_notifies_confirm_publish_and_withdraw(self) -> None:
        """Each nonce one more than the last, each signed with the subscriber's key."""
        rows = _read()
        request = int(next(row["lisp.nonce"][-1] for row in rows), 0)
        notifies = [row for row in rows if row["lisp.type"] == ["4"]]
        self.assertEqual([int(row["lisp.nonce"][0], 0) - request for row in notifies], [0, 1, 2, 3])
        for row in notifies:
            self.assertEqual([int(one, 0) for one in row["lisp.keyid"]], [0x0702])
            self.assertEqual(row["lisp.authlen"], ["32"])
            self.assertEqual(row["lisp.mnot.flags.xtrid"], ["0"])
            self.assertEqual(row["lisp.mapping.eid.ipv4"], ["10.1.0.0"])
            self.assertEqual(row["lisp.mapping.eid.masklen"], ["16"])
            self.assertEqual(row["lisp.mapping.auth"], ["0"])
        self.assertEqual(
            [row["lisp.mapping.ttl"] for row in notifies], [["1"], ["1440"], ["0"], ["1"]]
        )
        self.assertEqual([int(row["lisp.mapping.act"][0], 0) for row in notifies], [1, 0, 0, 1])
        self.assertEqual(notifies[1]["lisp.loc.flags.local"], ["0", "0"])
        self.assertEqual(len(notifies[1]["lisp.loc.locator"]), 2)
