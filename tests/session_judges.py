"""What tshark makes of the octets of a session, whatever carried them."""

from __future__ import annotations

from pathlib import Path

from tests.pcap import PcapWriter, run_tshark

__all__ = ["JudgeMixin"]

_WRONG = (
    "_ws.malformed",
    "lisp-tcp.invalid_length",
    "lisp-tcp.invalid_marker",
    "lisp-tcp.undecoded",
    "lisp-tcp.unexpected_afi",
)
_FIELDS = (
    *_WRONG,
    "ip.src",
    "lisp-tcp.message.type",
    "lisp.mapping.eid.ipv4",
    "lisp-tcp.message.eid.ipv4",
)
_REGISTRATION, _ACK, _REFRESH = "17", "18", "20"
_CLIENT, _SERVER = ("127.0.0.2", 50_000), ("127.0.0.1", 4342)
_EIDS = {"10.1.1.0", "10.1.2.0", "10.1.3.0"}


class JudgeMixin:
    """For tests of a session in which an ETR registers three EID-prefixes."""

    def assert_is_a_session(self, from_etr: bytes, from_server: bytes) -> None:
        """The octets of each direction, put into TCP segments, are read to the last one."""
        path = Path(self.mktemp())
        with PcapWriter(path) as writer:
            stream = writer.tcp(_CLIENT, _SERVER)
            stream.from_client(from_etr)
            stream.from_server(from_server)
        rows = run_tshark(path, _FIELDS)
        for row in rows:
            self.assertEqual([name for name in _WRONG if row[name]], [], row)

        def all_of(field: str, source: tuple[str, int]) -> list[str]:
            return [value for row in rows if row["ip.src"] == [source[0]] for value in row[field]]

        self.assertEqual(set(all_of("lisp-tcp.message.type", _CLIENT)), {_REGISTRATION})
        self.assertEqual(set(all_of("lisp-tcp.message.type", _SERVER)), {_ACK, _REFRESH})
        self.assertEqual(set(all_of("lisp.mapping.eid.ipv4", _CLIENT)), _EIDS)
        self.assertEqual(set(all_of("lisp-tcp.message.eid.ipv4", _SERVER)), _EIDS)
