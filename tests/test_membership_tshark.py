"""Every membership message that our two sessions exchange, as tshark reads it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.framing import FrameBuffer
from lispmsrt.wire.membership import (
    MembershipElement,
    MembershipMessage,
    MembershipReply,
    decode_membership,
)
from tests.membership_ground import Follower, Line, Server
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_ETR, _MAP_SERVER = ("192.0.2.1", 49152), ("198.51.100.1", 4342)
_FAMILIES = ((0, 1), (7, 1), (7, 2))

_COMPLAINTS = (
    "_ws.malformed",
    "lisp-tcp.invalid_length",
    "lisp-tcp.invalid_marker",
    "lisp-tcp.undecoded",
    "lisp-tcp.unexpected_afi",
)
_FIELDS = (
    *_COMPLAINTS,
    "lisp-tcp.message.eid.afi",
    "lisp-tcp.message.err",
    "lisp-tcp.message.id",
    "lisp-tcp.message.iid",
    "lisp-tcp.message.length",
    "lisp-tcp.message.rid",
    "lisp-tcp.message.rloc.ipv4",
    "lisp-tcp.message.rloc.ipv6",
    "lisp-tcp.message.sid",
    "lisp-tcp.message.siteid",
    "lisp-tcp.message.type",
    "tcp.checksum.status",
)

_Sent = tuple[int, bytes, MembershipMessage]
"""Message ID, the whole message, its value."""


def _cut(stream: bytes) -> list[_Sent]:
    """Cut a stream into its messages about membership."""
    data, frames = FrameBuffer().receive(stream)
    return [
        (message_id, data[start - 8 : end + 4], decode_membership(kind, data[start:end]))
        for kind, message_id, start, end in frames
        if 22 <= kind <= 30
    ]


def _live() -> tuple[list[_Sent], list[_Sent]]:
    """Let two xTRs follow each other over changes and ends; return what both sides of one sent."""
    server = Server(frozenset({(0, 1), (7, 2)}))
    xtr, other = Follower(1, _FAMILIES, site_id=0x2A), Follower(2, (), site_id=0x2B)
    lines = [Line(server, xtr), Line(server, other)]
    xtr.register("10.1.0.0/16", "192.0.2.1")
    xtr.register("10.1.0.0/16", "192.0.2.1", instance_id=7)
    xtr.register("2001:db8:1::/48", "192.0.2.1", "2001:db8:ffff::1", instance_id=7)
    for text, instance_id in (("10.2.0.0/16", 0), ("2001:db8:2::/48", 7)):
        other.register(text, "192.0.2.2", "2001:db8:ffff::2", instance_id=instance_id)
        for line in lines:
            line.settle()
        other.register(text, "2001:db8:ffff::3", instance_id=instance_id)
        for line in lines[::-1]:
            line.settle()
    assert lines[0].etr.membership is not None
    lines[0].etr.membership.unsubscribe(7, 2)
    xtr.withdraw("10.1.0.0/16")
    lines[0].settle()
    return _cut(b"".join(lines[0].from_etr)), _cut(b"".join(lines[0].from_server))


@functools.cache
def _dissected() -> list[tuple[_Sent, dict[str, list[str]]]]:
    """Return every message with what tshark reads of it."""
    asked, said = _live()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "membership.pcap"
        with PcapWriter(path) as pcap:
            stream = pcap.tcp(_ETR, _MAP_SERVER)
            for _id, data, _message in asked:
                stream.from_client(data)
            for _id, data, _message in said:
                stream.from_server(data)
        packets = run_tshark(path, _FIELDS)
    return list(zip(asked + said, packets[3:], strict=True))


class MembershipInTsharkTests(SynchronousTestCase):
    """Types 22 to 30 between our sessions."""

    def setUp(self) -> None:
        """Skips where there is no tshark, but never under CI."""
        skip_without_tshark()

    def test_every_type_was_sent(self) -> None:
        """By who may send it, and with every kind of content."""
        messages = [message for (_id, _data, message), _packet in _dissected()]
        self.assertEqual({int(message.kind) for message in messages}, set(range(22, 31)))
        self.assertEqual({(one.instance_id, one.afi) for one in messages}, set(_FAMILIES))
        errors = {one.error for one in messages if isinstance(one, MembershipReply)}
        self.assertEqual(errors, {None, 2, 3})
        elements = {
            (int(one.kind), str(one.rloc)) for one in messages if isinstance(one, MembershipElement)
        }
        for kind, rloc in ((26, "192.0.2.1"), (26, "2001:db8:ffff::3"), (27, "192.0.2.2")):
            self.assertIn((kind, rloc), elements)
        self.assertIn((27, "2001:db8:ffff::2"), elements)

    def test_nothing_is_malformed(self) -> None:
        """Not a single complaint."""
        for _sent, packet in _dissected():
            self.assertEqual([name for name in _COMPLAINTS if packet[name]], [])
            self.assertEqual(packet["tcp.checksum.status"], ["1"])

    def test_every_field_is_what_was_meant(self) -> None:
        """Type, length, IDs, family, site and RLOC."""
        for (message_id, data, message), packet in _dissected():
            expected = {
                "lisp-tcp.message.type": str(int(message.kind)),
                "lisp-tcp.message.length": str(len(data)),
                "lisp-tcp.message.id": str(message_id),
                "lisp-tcp.message.eid.afi": str(message.afi),
                "lisp-tcp.message.iid": str(message.instance_id),
            }
            if isinstance(message, MembershipElement):
                rloc = str(message.rloc)
                family = "ipv6" if ":" in rloc else "ipv4"
                expected[f"lisp-tcp.message.rloc.{family}"] = rloc
                expected["lisp-tcp.message.siteid"] = message.site_id.hex()
            elif isinstance(message, MembershipReply):
                name = "sid" if message.kind in (23, 24) else "rid"
                expected[f"lisp-tcp.message.{name}"] = str(message.request_id)
                if message.error is not None:
                    expected["lisp-tcp.message.err"] = str(int(message.error))
            for field, value in expected.items():
                self.assertEqual(packet[field], [value], f"{message} {field}")
