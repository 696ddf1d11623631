"""What our encoders send over a session and beside it, as tshark reads it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Coverage, Key
from lispmsrt.wire.framing import encode_frame
from lispmsrt.wire.map_register import RegisterFlag, write_map_notify, write_map_register
from lispmsrt.wire.membership import (
    MembershipElement,
    MembershipReply,
    MembershipRequest,
    NackError,
    encode_membership,
)
from lispmsrt.wire.records import Locator, MappingRecord, encode_record
from lispmsrt.wire.reliable_transport import (
    ErrorCode,
    ErrorNotification,
    MessageType,
    RefreshScope,
    RegistrationRefresh,
    RejectReason,
    eid_wire_form,
    encode_error_notification,
    encode_mapping_notification,
    encode_registration_ack,
    encode_registration_refresh,
    encode_registration_reject,
)
from tests.golden_registers import IDS, NOTIFIES, REGISTERS, SITE_ID, XTR_ID
from tests.pcap import PcapWriter, run_tshark, skip_without_tshark

_PORT = 4342
_ETR, _MAP_SERVER = ("192.0.2.1", 49152), ("198.51.100.1", _PORT)
_ETR_6, _MAP_SERVER_6 = ("2001:db8::1", 49153), ("2001:db8::2", _PORT)

_ip = Address.from_text
_eid = EidPrefix.from_text
_KEY = Key(1, AlgorithmId.HMAC_SHA_256_128, b"tshark")

_LOCATORS = (Locator(_ip("192.0.2.1"), 1, 60), Locator(_ip("2001:db8::1"), 2, 40))
_EIDS = {
    "ipv4": _eid("10.1.0.0/16"),
    "ipv6": _eid("2001:db8:1::/48"),
    "instance": _eid("10.2.0.0/24", 4100),
    "instance-6": _eid("2001:db8:2::/48", 4100),
    "mac": _eid("02:00:00:00:00:01/48", 4100),
}


def _record(eid: EidPrefix) -> bytes:
    return encode_record(MappingRecord(eid, 1440, _LOCATORS))


def _registration(eid: EidPrefix, message_id: int) -> bytes:
    flags = RegisterFlag.WANT_MAP_NOTIFY | RegisterFlag.MERGE
    register = write_map_register(flags, message_id, [_record(eid)], IDS, _KEY)
    return encode_frame(MessageType.REGISTRATION, message_id, register)


def _refresh(
    scope: RefreshScope, message_id: int, eid: EidPrefix | None = None, rejected: bool = False
) -> bytes:
    return encode_registration_refresh(RegistrationRefresh(scope, rejected, eid), message_id)


def _membership(message_id: int) -> dict[str, bytes]:
    """One message of each type from 22 to 30."""
    messages = {}
    for kind in range(MessageType.MEMBERSHIP_SUBSCRIBE, MessageType.MEMBERSHIP_REFRESH_END + 1):
        message_type = MessageType(kind)
        value: MembershipRequest | MembershipReply | MembershipElement
        if kind in (22, 25, 28):
            value = MembershipRequest(message_type, 1, 4100)
        elif kind in (26, 27):
            rloc = _ip("192.0.2.1" if kind == 26 else "2001:db8::1")
            value = MembershipElement(message_type, 1, 4100, SITE_ID, rloc)
        else:
            error = NackError.NOT_ENABLED if kind == 24 else None
            value = MembershipReply(message_type, 1, 4100, 77, error)
        messages[str(kind)] = encode_membership(value, message_id + kind)
    return messages


_BY_ETR = {
    f"registration-{name}": _registration(eid, number)
    for number, (name, eid) in enumerate(_EIDS.items(), 1)
}
_BY_MAP_SERVER = {
    "error": encode_error_notification(
        ErrorNotification(ErrorCode.UNRECOGNISED_TYPE, 31, 16, 24, b"\0\x1f"), 101
    ),
    "ack": encode_registration_ack(102, eid_wire_form(_EIDS["ipv4"])),
    "ack-instance": encode_registration_ack(103, eid_wire_form(_EIDS["instance"])),
    "ack-mac": encode_registration_ack(104, eid_wire_form(_EIDS["mac"])),
    "reject": encode_registration_reject(
        105, RejectReason.LOCATOR_SET_NOT_ALLOWED, eid_wire_form(_EIDS["ipv6"])
    ),
    "refresh": _refresh(RefreshScope.EVERYTHING, 106),
    "refresh-rejected": _refresh(RefreshScope.EVERYTHING, 107, rejected=True),
    "refresh-instance": _refresh(RefreshScope.INSTANCE, 108, _EIDS["instance"]),
    "refresh-family": _refresh(RefreshScope.FAMILY, 109, _EIDS["instance"]),
    "refresh-family-6": _refresh(RefreshScope.FAMILY, 110, _EIDS["instance-6"]),
    "refresh-covered": _refresh(RefreshScope.COVERED, 111, _EIDS["instance"]),
    "refresh-exact": _refresh(RefreshScope.EXACT, 112, _EIDS["ipv6"]),
    "notification": encode_mapping_notification(113, IDS + _record(_EIDS["instance"])),
    "notification-no-ids": encode_mapping_notification(114, bytes(24) + _record(_EIDS["ipv6"])),
    **_membership(200),
}
_MESSAGES = {**_BY_ETR, **_BY_MAP_SERVER}


def _written(name: str, flags: int, reliable: bool, ids: bytes) -> dict[str, bytes]:
    """A Map-Register and the Map-Notify that answers it, for every EID."""
    messages = {}
    for family, eid in _EIDS.items():
        records = [_record(eid)]
        messages[f"register-{name}-{family}"] = write_map_register(flags, 7, records, ids, _KEY)
        messages[f"notify-{name}-{family}"] = write_map_notify(
            nonce=7,
            records=records,
            ids=ids,
            reliable_transport=reliable,
            key=_KEY,
            length=32,
            coverage=Coverage.WHOLE_MESSAGE,
        )
    return messages


_DATAGRAMS = {
    **_written("plain", RegisterFlag.WANT_MAP_NOTIFY, False, b""),
    **_written("reliable", RegisterFlag.RELIABLE_TRANSPORT, True, IDS),
    **{f"golden-register-{name}": golden.data for name, golden in REGISTERS.items()},
    **{f"golden-notify-{name}": golden.data for name, golden in NOTIFIES.items()},
}

_COMPLAINTS = (
    "_ws.malformed",
    "lisp-tcp.invalid_length",
    "lisp-tcp.invalid_marker",
    "lisp-tcp.undecoded",
    "lisp-tcp.unexpected_afi",
    "lisp.expected_field",
    "lisp.invalid_field",
    "lisp.undecoded",
    "lisp.unexpected_field",
)

_SESSION_FIELDS = (
    *_COMPLAINTS,
    "lisp-tcp.message.eid.afi",
    "lisp-tcp.message.eid.ipv4",
    "lisp-tcp.message.eid.ipv6",
    "lisp-tcp.message.eid.prefix.afi",
    "lisp-tcp.message.eid.prefix.length",
    "lisp-tcp.message.end_marker",
    "lisp-tcp.message.err",
    "lisp-tcp.message.err.code",
    "lisp-tcp.message.err.offending_msg.data",
    "lisp-tcp.message.err.offending_msg.id",
    "lisp-tcp.message.err.offending_msg.len",
    "lisp-tcp.message.err.offending_msg.type",
    "lisp-tcp.message.id",
    "lisp-tcp.message.iid",
    "lisp-tcp.message.length",
    "lisp-tcp.message.registration_refresh.flags.rejected",
    "lisp-tcp.message.registration_refresh.res",
    "lisp-tcp.message.registration_refresh.scope",
    "lisp-tcp.message.registration_reject.reason",
    "lisp-tcp.message.registration_reject.res",
    "lisp-tcp.message.rid",
    "lisp-tcp.message.rloc.ipv4",
    "lisp-tcp.message.rloc.ipv6",
    "lisp-tcp.message.sid",
    "lisp-tcp.message.siteid",
    "lisp-tcp.message.type",
    "lisp-tcp.message.xtrid",
    "lisp.lcaf.iid",
    "lisp.lcaf.iid.afi",
    "lisp.lcaf.iid.ipv4",
    "lisp.lcaf.iid.ipv6",
    "lisp.lcaf.iid.mac",
    "lisp.loc.locator",
    "lisp.loc.priority",
    "lisp.loc.weight",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.nonce",
    "lisp.xtrid",
    "tcp.checksum.status",
)

_DATAGRAM_FIELDS = (
    *_COMPLAINTS,
    "lisp.auth",
    "lisp.authlen",
    "lisp.keyid",
    "lisp.lcaf.iid",
    "lisp.lcaf.iid.ipv4",
    "lisp.lcaf.iid.ipv6",
    "lisp.lcaf.iid.mac",
    "lisp.loc.locator",
    "lisp.mapping.eid.ipv4",
    "lisp.mapping.eid.ipv6",
    "lisp.mapping.eid.masklen",
    "lisp.mapping.ttl",
    "lisp.mnot.flags.rtr",
    "lisp.mnot.flags.xtrid",
    "lisp.mnot.res",
    "lisp.mreg.flags.pmr",
    "lisp.mreg.flags.rtr",
    "lisp.mreg.flags.sec",
    "lisp.mreg.flags.wmn",
    "lisp.mreg.flags.xtrid",
    "lisp.mreg.res",
    "lisp.nonce",
    "lisp.records",
    "lisp.siteid",
    "lisp.type",
    "lisp.xtrid",
    "udp.checksum.status",
)

# tshark 4.0 knows no r bit, and shifts the reserved bits of a Map-Register right by one.
_REGISTER_R, _REGISTER_E, _REGISTER_T, _REGISTER_A = 0x10, 0x08, 0x04, 0x02
_NOTIFY_R = 0x20

Packet = dict[str, list[str]]


@functools.cache
def _session() -> tuple[dict[str, Packet], list[Packet]]:
    """Dissect one stream with a segment for each message, and one of tiny segments."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tcp.pcap"
        with PcapWriter(path) as pcap:
            stream = pcap.tcp(_ETR, _MAP_SERVER)
            for data in _BY_ETR.values():
                stream.from_client(data)
            for data in _BY_MAP_SERVER.values():
                stream.from_server(data)
            stream = pcap.tcp(_ETR_6, _MAP_SERVER_6)
            stream.from_client(b"".join(_BY_ETR.values()), 7)
            stream.from_server(b"".join(_BY_MAP_SERVER.values()), 7)
        packets = run_tshark(path, _SESSION_FIELDS)
    handshake, end = 3, 3 + len(_MESSAGES)
    return dict(zip(_MESSAGES, packets[handshake:end], strict=True)), packets[end:]


@functools.cache
def _datagrams() -> dict[str, Packet]:
    """Dissect one datagram for each message."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "udp.pcap"
        with PcapWriter(path) as pcap:
            for data in _DATAGRAMS.values():
                pcap.udp((_ETR[0], _PORT), _MAP_SERVER, data)
        packets = run_tshark(path, _DATAGRAM_FIELDS)
    return dict(zip(_DATAGRAMS, packets, strict=True))


def _eid_fields(eid: EidPrefix, plain: str) -> Packet:
    """Where tshark shows an EID: plain, or within an instance."""
    assert isinstance(eid.address, Address)
    family = {1: "ipv4", 2: "ipv6", 6: "mac"}[eid.address.afi]
    if not eid.instance_id:
        return {f"{plain}.{family}": [str(eid.address)]}
    return {
        "lisp.lcaf.iid": [str(eid.instance_id)],
        f"lisp.lcaf.iid.{family}": [str(eid.address)],
    }


class _TsharkCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Leave where there is no tshark."""
        skip_without_tshark()

    def assert_fields(self, packet: Packet, expected: Packet, name: str) -> None:
        """Compare those fields that are expected."""
        for field, values in expected.items():
            self.assertEqual(packet[field], values, f"{name} {field}")

    def assert_clean(self, packet: Packet, name: str) -> None:
        """Not a single complaint."""
        for field, values in packet.items():
            if field in _COMPLAINTS:
                self.assertEqual(values, [], f"{name} {field}")
            elif field.endswith("checksum.status"):
                self.assertEqual(values, ["1"], name)


class SessionTsharkTests(_TsharkCase):
    """TCP port 4342, types 16 to 30."""

    def test_nothing_is_malformed(self) -> None:
        """No complaint about any message, in segments large or tiny."""
        packets, segments = _session()
        for name, packet in packets.items():
            self.assert_clean(packet, name)
        for packet in segments:
            self.assert_clean(packet, "tiny segments")

    def test_headers(self) -> None:
        """Type, length, message ID and end marker of each message."""
        for name, packet in _session()[0].items():
            message = _MESSAGES[name]
            expected = {
                "lisp-tcp.message.type": [str(int.from_bytes(message[:2], "big"))],
                "lisp-tcp.message.length": [str(len(message))],
                "lisp-tcp.message.id": [str(int.from_bytes(message[4:8], "big"))],
            }
            (marker,) = packet["lisp-tcp.message.end_marker"]
            self.assertEqual(int(marker, 0), 0x9FACADE9)
            self.assert_fields(packet, expected, name)

    def test_every_type_is_there(self) -> None:
        """16 to 30; and tiny segments hold the same messages in the same order."""
        packets, segments = _session()
        types = [packet["lisp-tcp.message.type"][0] for packet in packets.values()]
        self.assertEqual({int(kind) for kind in types}, set(range(16, 31)))
        again = [kind for packet in segments for kind in packet["lisp-tcp.message.type"]]
        self.assertEqual(again, types)
        idents = [ident for packet in segments for ident in packet["lisp-tcp.message.id"]]
        self.assertEqual(idents, [p["lisp-tcp.message.id"][0] for p in packets.values()])

    def test_registrations(self) -> None:
        """EIDs of all families, locators, identity, nonce."""
        for number, (family, eid) in enumerate(_EIDS.items(), 1):
            name = f"registration-{family}"
            expected = {
                **_eid_fields(eid, "lisp.mapping.eid"),
                "lisp.mapping.eid.masklen": [str(eid.length)],
                "lisp.mapping.ttl": ["1440"],
                "lisp.loc.locator": [str(locator.rloc) for locator in _LOCATORS],
                "lisp.loc.priority": ["1", "2"],
                "lisp.loc.weight": ["60", "40"],
                "lisp.nonce": [f"0x{number:016x}"],
                "lisp.xtrid": [XTR_ID.hex()],
            }
            self.assert_fields(_session()[0][name], expected, name)

    def test_answers(self) -> None:
        """Acknowledgements and rejections name the EID of the Registration."""
        for name, eid in (
            ("ack", _EIDS["ipv4"]),
            ("ack-instance", _EIDS["instance"]),
            ("ack-mac", _EIDS["mac"]),
            ("reject", _EIDS["ipv6"]),
        ):
            expected = {
                **_eid_fields(eid, "lisp-tcp.message.eid"),
                "lisp-tcp.message.eid.prefix.length": [str(eid.length)],
            }
            self.assert_fields(_session()[0][name], expected, name)
        reject = {
            "lisp-tcp.message.registration_reject.reason": ["3"],
            "lisp-tcp.message.registration_reject.res": ["0x0000"],
        }
        self.assert_fields(_session()[0]["reject"], reject, "reject")

    def test_refreshes(self) -> None:
        """Scope, R, and what is to be registered again."""
        for name, scope, eid, mask in (
            ("refresh", 0, None, None),
            ("refresh-rejected", 0, None, None),
            ("refresh-instance", 1, None, 0),
            ("refresh-family", 2, _eid("0.0.0.0/0", 4100), 0),
            ("refresh-family-6", 2, _eid("::/0", 4100), 0),
            ("refresh-covered", 3, _EIDS["instance"], 24),
            ("refresh-exact", 4, _EIDS["ipv6"], 48),
        ):
            prefix = "lisp-tcp.message.registration_refresh"
            expected = {
                f"{prefix}.scope": [str(scope)],
                f"{prefix}.flags.rejected": [str(int(name.endswith("rejected")))],
                f"{prefix}.res": ["0x0000"],
                "lisp-tcp.message.eid.prefix.length": [] if mask is None else [str(mask)],
                **(_eid_fields(eid, "lisp-tcp.message.eid") if eid else {}),
            }
            self.assert_fields(_session()[0][name], expected, name)
        expected = {"lisp.lcaf.iid": ["4100"], "lisp.lcaf.iid.afi": ["0"]}
        self.assert_fields(_session()[0]["refresh-instance"], expected, "refresh-instance")

    def test_mapping_notifications(self) -> None:
        """Identity and record."""
        for name, eid, ids in (
            ("notification", _EIDS["instance"], IDS),
            ("notification-no-ids", _EIDS["ipv6"], bytes(24)),
        ):
            expected = {
                "lisp-tcp.message.xtrid": [ids[:16].hex()],
                "lisp-tcp.message.siteid": [ids[16:].hex()],
                **_eid_fields(eid, "lisp.mapping.eid"),
                "lisp.mapping.eid.masklen": [str(eid.length)],
                "lisp.loc.locator": [str(locator.rloc) for locator in _LOCATORS],
            }
            self.assert_fields(_session()[0][name], expected, name)

    def test_error_notification(self) -> None:
        """The offending message is quoted."""
        prefix = "lisp-tcp.message.err"
        expected = {
            f"{prefix}.code": ["1"],
            f"{prefix}.offending_msg.type": ["31"],
            f"{prefix}.offending_msg.len": ["16"],
            f"{prefix}.offending_msg.id": ["24"],
            f"{prefix}.offending_msg.data": ["001f"],
        }
        self.assert_fields(_session()[0]["error"], expected, "error")

    def test_membership(self) -> None:
        """Family, instance, and what each shape has besides."""
        for kind in range(22, 31):
            element = kind in (26, 27)
            expected = {
                "lisp-tcp.message.eid.afi": ["1"],
                "lisp-tcp.message.iid": ["4100"],
                "lisp-tcp.message.sid": ["77"] if kind in (23, 24) else [],
                "lisp-tcp.message.rid": ["77"] if kind in (29, 30) else [],
                "lisp-tcp.message.err": ["2"] if kind == 24 else [],
                "lisp-tcp.message.siteid": [SITE_ID.hex()] if element else [],
                "lisp-tcp.message.rloc.ipv4": ["192.0.2.1"] if kind == 26 else [],
                "lisp-tcp.message.rloc.ipv6": ["2001:db8::1"] if kind == 27 else [],
            }
            self.assert_fields(_session()[0][str(kind)], expected, str(kind))


class DatagramTsharkTests(_TsharkCase):
    """UDP port 4342, Map-Register and Map-Notify."""

    def test_nothing_is_malformed(self) -> None:
        """Whether written by us or by hand."""
        for name, packet in _datagrams().items():
            # tshark reads no IDs of a Map-Notify without their bit, and does not complain either.
            self.assert_clean(packet, name)
            self.assertEqual(packet["lisp.type"], ["4" if "notify" in name else "3"], name)

    def test_authentication_fields(self) -> None:
        """Key ID and algorithm ID are one number to tshark; the MAC has its length."""
        for name, packet in _datagrams().items():
            data = _DATAGRAMS[name]
            length = int.from_bytes(data[14:16], "big")
            (key_id,) = packet["lisp.keyid"]
            self.assertEqual(int(key_id, 0), int.from_bytes(data[12:14], "big"), name)
            expected = {
                "lisp.authlen": [str(length)],
                "lisp.auth": [data[16 : 16 + length].hex() or "<MISSING>"],
                "lisp.nonce": [f"0x{data[4:12].hex()}"],
                "lisp.records": [str(data[3])],
            }
            self.assert_fields(packet, expected, name)

    def test_records(self) -> None:
        """EIDs of all families, and locators."""
        for family, eid in _EIDS.items():
            for kind in ("register", "notify"):
                for variant in ("plain", "reliable"):
                    name = f"{kind}-{variant}-{family}"
                    expected = {
                        **_eid_fields(eid, "lisp.mapping.eid"),
                        "lisp.mapping.eid.masklen": [str(eid.length)],
                        "lisp.mapping.ttl": ["1440"],
                        "lisp.loc.locator": [str(locator.rloc) for locator in _LOCATORS],
                    }
                    self.assert_fields(_datagrams()[name], expected, name)

    def test_identity(self) -> None:
        """xTR-ID and Site-ID, behind the bit of their message."""
        for name, packet in _datagrams().items():
            kind = "mnot" if "notify" in name else "mreg"
            present = packet[f"lisp.{kind}.flags.xtrid"] == ["1"]
            word = int.from_bytes(_DATAGRAMS[name][:4], "big")
            self.assertEqual(present, bool(word & (1 << 27 if kind == "mnot" else 1 << 25)), name)
            self.assertEqual(packet["lisp.xtrid"], [XTR_ID.hex()] if present else [], name)
            self.assertEqual(packet["lisp.siteid"], [SITE_ID.hex()] if present else [], name)
            # Bits 7 and 5 are "for RTR" to tshark: never ours.
            self.assertEqual(packet[f"lisp.{kind}.flags.rtr"], ["0"], name)

    def test_r_bit_of_a_map_register(self) -> None:
        """In its place among the reserved bits, where E, T and a have theirs."""
        for name, bits in (
            ("register-plain-ipv4", 0),
            ("register-reliable-ipv4", _REGISTER_R),
            ("golden-register-reliable", _REGISTER_R),
            ("golden-register-full", _REGISTER_R | _REGISTER_E | _REGISTER_T | _REGISTER_A),
            ("golden-register-short-sha1", _REGISTER_A),
            ("golden-register-short-hkdf", _REGISTER_T),
            ("golden-register-multicast", _REGISTER_E),
        ):
            (reserved,) = _datagrams()[name]["lisp.mreg.res"]
            self.assertEqual(int(reserved, 0), bits, name)

    def test_other_bits_of_a_map_register(self) -> None:
        """P, S, I and M have names."""
        for name, flags in (
            ("golden-register-full", ("1", "1", "1", "1")),
            ("golden-register-short-sha256", ("1", "0", "0", "0")),
            ("golden-register-hkdf", ("0", "0", "1", "0")),
            ("golden-register-none", ("0", "0", "0", "1")),
            ("register-plain-ipv4", ("0", "0", "0", "1")),
        ):
            packet = _datagrams()[name]
            found = tuple(
                packet[f"lisp.mreg.flags.{bit}"][0] for bit in ("pmr", "sec", "xtrid", "wmn")
            )
            self.assertEqual(found, flags, name)

    def test_r_bit_of_a_map_notify(self) -> None:
        """At bit 18 of the first word, as in the Map-Register."""
        for name, bits in (
            ("notify-plain-ipv4", 0),
            ("notify-reliable-ipv4", _NOTIFY_R),
            ("golden-notify-sha1", _NOTIFY_R),
            ("golden-notify-plain", 0),
        ):
            (reserved,) = _datagrams()[name]["lisp.mnot.res"]
            self.assertEqual(int(reserved, 0), bits, name)
