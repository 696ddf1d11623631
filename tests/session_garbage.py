"""An armed peer that says what no ETR says, or says nothing more."""

from __future__ import annotations

import struct
from random import Random

from lispmsrt.session.limits import SessionLimits
from lispmsrt.transports.handshakes import HandshakeLimits
from tests.builders import answers, frame
from tests.rim import mapping
from tests.session_ground import Hand, SessionGround

__all__ = ["GarbageTests"]

_REGISTRATION, _MARKER = 17, bytes.fromhex("9facade9")


def _unreadable(hand: Hand) -> dict[str, bytes]:
    """Return what ends a stream, with its name."""
    good = hand.one()
    return {
        "a wrong end marker": good[:-1] + b"\x00",
        "a length that is too small": struct.pack("!HHI", _REGISTRATION, 11, 7) + good[8:],
        "a length that is one too small": good[:2]
        + struct.pack("!H", len(good) - 1)
        + good[4:]
        + good,
        "a length that is one too large": good[:2]
        + struct.pack("!H", len(good) + 1)
        + good[4:]
        + good,
        "length 0": bytes(64),
        "noise": Random(1).randbytes(70_000),
    }


def _unacceptable(hand: Hand) -> dict[str, bytes]:
    """Return what is answered by an Error Notification, and no more, with its name."""
    return {
        "an unknown type": frame(999, b"whatever"),
        "a Registration without content": frame(_REGISTRATION, b""),
        "a Registration of noise": frame(_REGISTRATION, Random(2).randbytes(200)),
        "a Registration that is cut short": frame(_REGISTRATION, hand.one()[8:-20]),
        "a Map-Server's own message": frame(18, hand.one()[8:-4]),
        "the largest message": frame(999, bytes(65_523)),
    }


class GarbageTests(SessionGround):
    """Beside an ETR with a session, which must not feel any of it."""

    async def test_a_stream_that_cannot_be_read_is_closed(self) -> None:
        """After an Error Notification, and nobody else's is."""
        etr, listener = await self.start_both("10.1.1.0/24")
        for what in _unreadable(self.hand()):
            peer, hand, session = await self.session_by_hand()
            peer.stream.write(_unreadable(hand)[what])
            await self.until(lambda peer=peer: not peer.is_connected, f"closed: {what}")
            assert session.close_reason is not None
            self.assertEqual(session.close_reason.name, "UNREADABLE_STREAM", what)
            self.assertEqual(answers(bytes(peer.received))[-1][:2], ("error", 2), what)
        await etr.register(mapping("10.1.2.0/24"))
        self.assertEqual(listener.names(), ["up"])
        self.assertEqual(len(self.server.sessions), 1)

    async def test_what_cannot_be_accepted_is_answered_and_the_session_goes_on(self) -> None:
        """With one Error Notification each."""
        self.start_server()
        peer, hand, session = await self.session_by_hand()
        wrong = _unacceptable(hand)
        for what, said in wrong.items():
            peer.received.clear()
            peer.stream.write(said + hand.one())
            await self.until(lambda: peer.received.endswith(_MARKER), f"answered: {what}")
            await self.until(
                lambda: [each[0] for each in answers(bytes(peer.received))] == ["error", "ack"],
                f"an error, and the Registration behind it acknowledged: {what}",
            )
        self.assertIsNone(session.close_reason)
        self.assertEqual(session.counters["errors out"], len(wrong))

    async def test_a_peer_that_sends_a_header_and_stops_is_dropped(self) -> None:
        """It holds memory for nothing."""
        self.start_server(message_timeout=0.2)
        peer, _hand, session = await self.session_by_hand()
        peer.stream.write(frame(_REGISTRATION, bytes(8000))[:8])
        await self.until(lambda: not peer.is_connected, "the peer is dropped")
        assert session.close_reason is not None
        self.assertEqual(session.close_reason.name, "MESSAGE_TIMEOUT")
        self.assertEqual(self.server.sessions, [])

    async def test_a_peer_that_never_registers_is_dropped(self) -> None:
        """Its connection is up, and that is all that ever comes of it."""
        self.start_server(probation=0.3)
        hand = self.hand()
        await self.arm(hand)
        peer = await self.connect()
        peer.stream.write(hand.one()[:8])
        await self.until(lambda: not peer.is_connected, "the peer is dropped")
        await self.until(lambda: not self.server.sessions, "the session is gone")
        self.server._limits = SessionLimits()
        await self.session_by_hand()

    async def test_a_peer_that_never_says_anything_is_dropped(self) -> None:
        """Its connection is up, if that. Where it would have to speak first, that counts as part of
        the handshake.
        """
        self.start_server(probation=0.3)
        self.hurry_handshakes(1.0)
        await self.arm(self.hand())
        peer = await self.connect()
        await self.until(lambda: not peer.is_connected, "the peer is dropped")
        await self.until(lambda: not self.server.sessions, "the session is gone")
        self.server._limits = SessionLimits()
        self.hurry_handshakes(HandshakeLimits().timeout)
        await self.session_by_hand()

    async def test_a_session_of_somebody_else_is_refused(self) -> None:
        """Its Registrations must be of the xTR that was armed."""
        self.start_server()
        armed, other = self.hand(), self.hand()
        await self.arm(armed)
        peer = await self.connect()
        peer.stream.write(other.one())
        await self.until(
            lambda: "reject" in [each[0] for each in answers(bytes(peer.received))],
            "the Registration is refused",
        )
        self.assertEqual(self.held(), {armed.eid})
        (session,) = self.server.sessions
        self.assertIsNone(session.lease)
