"""A full life of a session between our two services, judged by tshark.

What went over the network in memory is written into a capture as it went, and every frame must be
decoded as the type that was meant, with the EIDs and locators that were meant.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.addresses import EidPrefix
from tests.builders import messages
from tests.pcap import PcapWriter, TcpStream, run_tshark, skip_without_tshark
from tests.rim import (
    ETR_HOST,
    MAP_SERVER_HOST,
    XTR_ID,
    Listener,
    Network,
    etr_of,
    etr_text,
    map_server_of,
    map_server_text,
    mapping,
    outcome,
    site_text,
)

_FIELDS = (
    "_ws.malformed",
    "_ws.expert.severity",
    "frame.protocols",
    "ip.src",
    "lisp-tcp.invalid_length",
    "lisp-tcp.invalid_marker",
    "lisp-tcp.message.eid.ipv4",
    "lisp-tcp.message.eid.ipv6",
    "lisp-tcp.message.eid.prefix.length",
    "lisp-tcp.message.id",
    "lisp-tcp.message.iid",
    "lisp-tcp.message.registration_refresh.scope",
    "lisp-tcp.message.registration_reject.reason",
    "lisp-tcp.message.type",
    "lisp-tcp.message.xtrid",
    "lisp-tcp.undecoded",
    "lisp-tcp.unexpected_afi",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.unexpected_field",
    "lisp.undecoded",
    "lisp.lcaf.iid",
    "lisp.lcaf.iid.ipv4",
    "lisp.lcaf.iid.ipv6",
    "lisp.loc.locator",
    "lisp.loc.priority",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.mnot.res",
    "lisp.mreg.res",
    "lisp.type",
    "lisp.xtrid",
    "tcp.checksum.status",
    "udp.checksum.status",
)
_WRONG = tuple(
    name
    for name in _FIELDS
    if name.endswith(("malformed", "_field", "undecoded", "unexpected_afi"))
    or name.startswith("lisp-tcp.invalid")
)

_REGISTRATION, _ACK, _REJECT, _REFRESH, _NOTIFICATION = range(17, 22)
_V4, _V4_7 = ("10.1.1.0/24", 0), ("10.1.1.0/24", 7)
_V6, _V6_7 = ("2001:db8:1::/48", 0), ("2001:db8:1::/48", 7)
_REFUSED = ("192.0.2.0/24", 0)
_R_IN_REGISTER, _R_IN_NOTIFY = 0x10, 0x20


@functools.cache
def _life() -> tuple[Network, list[dict[str, list[str]]]]:
    """Live it once; return the network and what tshark reads, a row per packet of the capture."""
    network, listener = Network(), Listener()
    prefixes = ("10.1.0.0/16", "7 10.1.0.0/16", "2001:db8::/32", "7 2001:db8::/32")
    server = map_server_of(network, map_server_text(site_text("campus", *prefixes)))
    etr = etr_of(network, etr_text("10.1.1.0/24"), listener)
    other = etr_of(network, etr_text("10.1.1.128/25", host="127.0.0.4").replace('0f"', 'ff"'))
    server.startService()
    etr.startService()
    network.run(2)
    for text, instance_id in (_V4_7, _V6, _V6_7):
        rloc = "2001:db8:ffff::1" if ":" in text else ETR_HOST
        outcome(etr.register(mapping(text, rloc, instance_id=instance_id)))
        network.run(1)
    outcome(etr.register(mapping(_REFUSED[0])))
    network.run(1)
    outcome(etr.register(mapping(_V4[0], "127.0.0.22", priority=9)))  # a change
    network.run(1)
    other.startService()  # a more specific one of another xTR: a Mapping Notification
    network.run(2)
    outcome(etr.withdraw(EidPrefix.from_text(*_V6_7)))
    network.run(1)
    for service in (etr, other, server):
        service.stopService()
        network.run(1)
    assert network.getDelayedCalls() == []
    path = Path(tempfile.mkdtemp(dir=Path.cwd())) / "life.pcap"
    _write(network, path)
    return network, run_tshark(path, _FIELDS)


def _write(network: Network, path: Path) -> None:
    streams: dict[frozenset[tuple[str, int]], TcpStream] = {}
    with PcapWriter(path) as writer:
        for packet in network.packets:
            if packet.protocol == "udp":
                writer.udp(packet.source, packet.destination, packet.data)
                continue
            ends = frozenset((packet.source, packet.destination))
            client, server = packet.source, packet.destination
            if client[0] == MAP_SERVER_HOST:
                client, server = server, client
            stream = streams.get(ends)
            if stream is None:
                stream = streams[ends] = writer.tcp(client, server)
            send = stream.from_client if packet.source == client else stream.from_server
            send(packet.data)


class SessionInTsharkTests(SynchronousTestCase):
    """The life of one ETR, and a bit of another."""

    def setUp(self) -> None:
        """Skips where there is no tshark, but never under CI."""
        skip_without_tshark()
        self.network, self.rows = _life()

    def _rows(self, source: str, kind: int) -> list[dict[str, list[str]]]:
        return [
            row
            for row in self.rows
            if row["ip.src"] == [source] and str(kind) in row["lisp-tcp.message.type"]
        ]

    def _sent(self, source: str) -> list[tuple[int, int, bytes]]:
        """Return what an end meant to send on sessions, in order."""
        return messages(
            b"".join(
                packet.data
                for packet in self.network.packets
                if packet.protocol == "tcp" and packet.source[0] == source
            )
        )

    def test_nothing_is_malformed(self) -> None:
        """Nor invalid, nor left undecoded, in any packet; every checksum is right."""
        self.assertGreater(len(self.rows), 20)
        for row in self.rows:
            self.assertEqual([name for name in _WRONG if row[name]], [], row)
            self.assertEqual(row["tcp.checksum.status"] + row["udp.checksum.status"], ["1"])

    def test_every_frame_is_the_type_that_was_meant(self) -> None:
        """On each side, in order, with its message ID."""
        for source in (ETR_HOST, "127.0.0.4", MAP_SERVER_HOST):
            rows = [row for row in self.rows if row["ip.src"] == [source]]
            kinds = [int(kind) for row in rows for kind in row["lisp-tcp.message.type"]]
            ids = [int(number) for row in rows for number in row["lisp-tcp.message.id"]]
            sent = self._sent(source)
            self.assertEqual(kinds, [kind for kind, _id, _data in sent])
            self.assertEqual(ids, [message_id for _kind, message_id, _data in sent])

    def test_the_life_had_everything(self) -> None:
        """Every type of message that a registration knows."""
        kinds = Counter(kind for kind, _id, _data in self._sent(MAP_SERVER_HOST))
        self.assertEqual(set(kinds), {_ACK, _REJECT, _REFRESH, _NOTIFICATION})
        self.assertEqual({kind for kind, _id, _data in self._sent(ETR_HOST)}, {_REGISTRATION})

    def test_udp_comes_first_with_r_and_is_answered_with_r(self) -> None:
        """Map-Register, Map-Notify, then TCP (docs/draft.rst)."""
        first, second, third = self.rows[:3]
        self.assertEqual((first["ip.src"], first["lisp.type"]), ([ETR_HOST], ["3"]))
        self.assertEqual(int(first["lisp.mreg.res"][0], 0) & _R_IN_REGISTER, _R_IN_REGISTER)
        self.assertEqual((second["ip.src"], second["lisp.type"]), ([MAP_SERVER_HOST], ["4"]))
        self.assertEqual(int(second["lisp.mnot.res"][0], 0) & _R_IN_NOTIFY, _R_IN_NOTIFY)
        self.assertEqual(second["lisp.mapping.eid.ipv4"], ["10.1.1.0"])
        self.assertIn("tcp", third["frame.protocols"][0])

    def test_registrations_carry_the_eids_and_locators_that_were_meant(self) -> None:
        """IPv4 and IPv6, with and without an instance ID."""
        seen = set()
        for row in self._rows(ETR_HOST, _REGISTRATION):
            self.assertEqual(row["lisp.xtrid"], [XTR_ID])
            inside = row["lisp.lcaf.iid.ipv4"] + row["lisp.lcaf.iid.ipv6"]
            plain = row["lisp.mapping.eid.ipv4"] + row["lisp.mapping.eid.ipv6"]
            (address,), (length,) = inside or plain, row["lisp.mapping.eid.masklen"]
            instance_id = int(row["lisp.lcaf.iid"][0]) if inside else 0
            locators = tuple(zip(row["lisp.loc.locator"], row["lisp.loc.priority"], strict=True))
            seen.add((f"{address}/{length}", instance_id, row["lisp.mapping.ttl"][0], locators))
        v6 = (("2001:db8:ffff::1", "1"),)
        self.assertEqual(
            seen,
            {
                (*_V4, "1440", ((ETR_HOST, "1"),)),
                (*_V4, "1440", (("127.0.0.22", "9"),)),
                (*_V4_7, "1440", ((ETR_HOST, "1"),)),
                (*_V6, "1440", v6),
                (*_V6_7, "1440", v6),
                (*_V6_7, "0", ()),
                (*_REFUSED, "1440", ((ETR_HOST, "1"),)),
            },
        )

    def test_acks_name_the_eids(self) -> None:
        """Each of them, in the form it was sent in."""
        seen = set()
        for row in self._rows(MAP_SERVER_HOST, _ACK):
            plain = row["lisp-tcp.message.eid.ipv4"] + row["lisp-tcp.message.eid.ipv6"]
            inside = row["lisp.lcaf.iid.ipv4"] + row["lisp.lcaf.iid.ipv6"]
            lengths = row["lisp-tcp.message.eid.prefix.length"]
            for address in plain:
                seen.add((f"{address}/{lengths[0]}", 0))
            for address in inside:
                seen.add((f"{address}/{lengths[0]}", int(row["lisp.lcaf.iid"][0])))
        self.assertEqual(seen, {_V4, _V4_7, _V6, _V6_7, ("10.1.1.128/25", 0)})

    def test_the_rejection_names_reason_and_eid(self) -> None:
        """1: not a valid site EID-prefix."""
        (row,) = self._rows(MAP_SERVER_HOST, _REJECT)
        self.assertEqual(row["lisp-tcp.message.registration_reject.reason"], ["1"])
        self.assertIn("192.0.2.0", row["lisp-tcp.message.eid.ipv4"])

    def test_each_session_begins_with_a_refresh_of_everything(self) -> None:
        """It is what a Map-Server says first."""
        rows = self._rows(MAP_SERVER_HOST, _REFRESH)
        self.assertEqual(
            [row["lisp-tcp.message.registration_refresh.scope"] for row in rows], [["0"], ["0"]]
        )

    def test_the_mapping_notification_says_who_and_what(self) -> None:
        """xTR-ID of the other ETR, its EID and locator."""
        rows = self._rows(MAP_SERVER_HOST, _NOTIFICATION)
        found = [
            (row["lisp-tcp.message.xtrid"], row["lisp.mapping.eid.ipv4"], row["lisp.loc.locator"])
            for row in rows
        ]
        self.assertIn(([f"{XTR_ID[:-2]}ff"], ["10.1.1.128"], ["127.0.0.4"]), found)
