"""Peers asked to prove their address, at the cost of no memory (RFC 9000 §8.1.2).

Whoever knows an armed address can write it into Initials and so have Retries made, and sent there:
therefore there are only so many of them.
"""

from __future__ import annotations

import os
from collections import Counter

from aioquic.quic.packet import QuicHeader, encode_quic_retry
from aioquic.quic.retry import QuicRetryTokenHandler

from lispmsrt.transports.handshakes import Rates
from lispmsrt.transports.quic.driver import Address

__all__ = ["CONNECTION_ID", "Retries"]

CONNECTION_ID = 8
"""Octets of the connection IDs that this end chooses."""

_BURST, _RATE = 256.0, 64.0
"""Retries to one address, at once and a second; an ETR asks for one each time that it connects."""

_TOTAL_BURST, _TOTAL_RATE = 1024.0, 1000.0
"""In all: 4 % of a core."""


class Retries:
    """Make Retries, and look at the tokens that come back."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._tokens = QuicRetryTokenHandler()
        self._rates = Rates(_BURST, _RATE, _TOTAL_BURST, _TOTAL_RATE)

    def packet(self, header: QuicHeader, address: Address, now: float) -> bytes | None:
        """Return what answers an Initial without a token; None where there have been too many."""
        if self._rates.refusal(address[0], now) is not None:
            self._counters["Initials refused: too many without a token"] += 1
            return None
        self._rates.spend(address[0])
        assert header.version is not None
        connection_id = os.urandom(CONNECTION_ID)
        token = self._tokens.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=connection_id,
            now=now,
        )
        self._counters["Retries sent"] += 1
        return encode_quic_retry(
            version=header.version,
            source_cid=connection_id,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )

    def original(self, header: QuicHeader, address: Address, now: float) -> bytes | None:
        """Return the connection ID that the peer began with; None for a token that is not its own,
        or too old.
        """
        try:
            return self._tokens.validate_token(
                address=address,
                destination_cid=header.destination_cid,
                token=header.token,
                now=now,
            )
        except ValueError:
            self._counters["Initials refused: bad token"] += 1
            return None
