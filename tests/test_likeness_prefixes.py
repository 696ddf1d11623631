"""Runs of Registrations under configured EID-prefixes of every length and family."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.builders import Etr, MapServer, eid, record, site, sites

_ADDRESSES = {"10.1.2.3": 32, "2001:db8:1:2:3:4:5:6": 128, "02:00:00:00:00:07": 48}


class ConfiguredLengthTests(SynchronousTestCase):
    """Numbers of C end at 32, 64 or 128 bits; addresses do not all."""

    def test_runs_under_a_site_prefix_of_every_length(self) -> None:
        """All are acknowledged and registered, new and again, and what lies outside is refused."""
        for address, width in _ADDRESSES.items():
            for length in range(width + 1):
                server = MapServer(sites((site(), f"{_network(address, length)}/{length}")))
                etr = Etr()
                host = record(f"{address}/{width}")
                peer = server.bring_up(etr, host)
                inside = record(f"{_network(address, length)}/{length}")
                said = peer.send(*[etr.registration(one) for one in (inside, host, inside, host)])
                self.assertEqual([kind for kind, *_rest in said], ["ack"] * 4, length)
                self.assertEqual(server.registrar.count, 1 if length == width else 2)
                if length:
                    other = record(f"{_network(address, length, flipped=True)}/{width}")
                    said = peer.send(*[etr.registration(one) for one in (host, other, host)])
                    self.assertEqual([kind for kind, *_ in said], ["ack", "reject", "ack"], length)


def _network(address: str, length: int, *, flipped: bool = False) -> str:
    """Return the first address of the prefix; ``flipped``: of the one that differs in its last
    bit.
    """
    wire = eid(address)[3:]
    width = 8 * len(wire)
    number = int.from_bytes(wire, "big") >> width - length
    if flipped:
        number ^= 1
    packed = (number << width - length).to_bytes(len(wire), "big")
    if width == 48:
        return ":".join(f"{octet:02x}" for octet in packed)
    if width == 32:
        return ".".join(map(str, packed))
    return ":".join(packed[at : at + 2].hex() for at in range(0, 16, 2))
