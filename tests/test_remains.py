"""Of a connection that has ended nothing remains: counting references frees it.

A collector of cycles comes when it wants, walks over a million registrations then, and until it
does a flood of connections is a flood of memory. Here it is switched off.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.clock import Alarm
from lispmsrt.session.base import CloseReason
from lispmsrt.session.map_server import MapServerSession
from tests.quic_raw import raw_client
from tests.quic_rim import CLIENT_HOST, Pair, make_credentials
from tests.rim import (
    MAP_SERVER_HOST,
    Network,
    Pipe,
    etr_of,
    etr_text,
    map_server_of,
    map_server_text,
)
from tests.tls_ground import files

_MEMBERSHIP = '[[map-server.rloc-membership]]\nfamilies = ["ipv4"]\n'
_FOLLOWS = 'rloc-membership = [{ families = ["ipv4"] }]\n'


class _Ground:
    maxDiff = None
    """Mixed into a test case: what is watched must be gone, and nobody collects cycles."""

    def setUp(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)  # type: ignore[attr-defined]
        self.watched: list[weakref.ref[Any]] = []

    def watch(self, *things: object) -> None:
        """Have an eye on objects."""
        self.watched += map(weakref.ref, things)

    def assert_gone(self) -> None:
        """None of them is there any more."""
        left = [thing for thing in (each() for each in self.watched) if thing is not None]
        holders = [
            f"{type(thing).__qualname__} is held by {[type(h) for h in gc.get_referrers(thing)]}"
            for thing in left
        ]
        self.assertEqual(holders, [])  # type: ignore[attr-defined]
        self.assertGreater(len(self.watched), 0)  # type: ignore[attr-defined]


class AlarmTests(_Ground, SynchronousTestCase):
    """The delayed call of an owner that is done."""

    def test_a_retired_alarm_never_rings_and_holds_nobody(self) -> None:
        """Whatever is asked of it later."""
        network = Network()
        rung = []
        owner = _Owner(network, rung)
        owner.alarm.set(network.seconds() + 1)
        owner.alarm.retire()
        owner.alarm.retire()
        owner.alarm.set(network.seconds() + 1)
        self.assertEqual(network.getDelayedCalls(), [])
        network.run(5)
        self.assertEqual(rung, [])
        self.watch(owner)
        del owner
        self.assert_gone()


class _Owner:
    def __init__(self, network: Network, rung: list[object]) -> None:
        self.rung = rung
        self.alarm = Alarm(network, self.ring)

    def ring(self) -> None:
        self.rung.append(self)


class TcpTests(_Ground, SynchronousTestCase):
    """Sessions of both roles, however they end."""

    def setUp(self) -> None:
        super().setUp()
        self.network = Network()
        self.addCleanup(self._stop)
        self.server = map_server_of(self.network, self.map_server_text())
        self.etr = etr_of(self.network, self.etr_text())
        for service in (self.server, self.etr):
            service.startService()

    def map_server_text(self) -> str:
        """Return the configuration of the Map-Server."""
        return map_server_text() + _MEMBERSHIP

    def etr_text(self) -> str:
        """Return the configuration of the ETR."""
        return etr_text("10.1.1.0/24", server_options=_FOLLOWS)

    def _stop(self) -> None:
        for service in (self.etr, self.server):
            if service.running:
                service.stopService()
        self.network.run(60)
        self.assertEqual((self.network.getDelayedCalls(), self.network.pipes), ([], []))

    def ended(self, end: Callable[[], object]) -> None:
        """Bring a session up, watch all there is of it, end it, and let time go by."""
        self.network.run(60)
        pipes = list(self.network.pipes)
        self.assertEqual(len(pipes), 2)
        self._watch_session()
        end()
        self.network.run(70)
        self.assertEqual([pipe.connected for pipe in pipes], [False, False])
        for pipe in pipes:
            # As Twisted's own transports, they let go of their protocol when they are lost.
            pipe.protocol = pipe.producer = None
        self.assert_gone()

    def _watch_session(self) -> None:
        ((session, protocol),) = self.server.session_protocols.items()
        (link,) = self.etr.links
        assert link.protocol is not None and link.session is not None
        self.assertEqual(len(session._membership._served), 1)  # type: ignore[union-attr]
        for one in (session, protocol, link.session, link.protocol):
            self.watch(one)
        self.watch_below(protocol)
        self.watch_below(link.protocol)

    def watch_below(self, protocol: Any) -> None:
        """Watch what is between the session and TCP, too."""

    def near(self) -> Pipe:
        """Return the Map-Server's end of the connection."""
        return next(pipe for pipe in self.network.pipes if pipe.host.host == MAP_SERVER_HOST)

    def test_the_etr_leaves(self) -> None:
        """In order."""
        self.ended(self.etr.stopService)

    def test_the_map_server_stops(self) -> None:
        """It lets all go."""
        self.ended(self.server.stopService)

    def test_an_operator_closes_it(self) -> None:
        """And the ETR has another one."""
        self.ended(lambda: self.only().close(CloseReason.CLEARED, self.network.seconds()))
        self.assertEqual(len(self.server.sessions), 1)

    def test_the_connection_is_lost(self) -> None:
        """Reset by somebody."""
        self.ended(lambda: self.near().abortConnection())

    def test_the_peer_does_not_read(self) -> None:
        """It is reset, by the session's own timer."""

        def stall() -> None:
            self.near().other.is_reading = False
            self.near().other.resumeProducing = lambda: None  # type: ignore[method-assign]
            self.near().write(bytes(1 << 17))

        self.ended(stall)
        self.assertEqual(self.server.endings[CloseReason.NOT_READING.value], 1)

    def test_what_can_not_be_read(self) -> None:
        """In the middle of a chunk."""
        self.ended(lambda: self.junk())
        self.assertEqual(self.server.endings[CloseReason.UNREADABLE_STREAM.value], 1)

    def junk(self) -> None:
        """Have the ETR's end write what is no message."""
        (link,) = self.etr.links
        assert link.protocol is not None
        link.protocol._stream.write(bytes(100))

    def only(self) -> MapServerSession:
        """Return the Map-Server's session."""
        (session,) = self.server.sessions
        return session


class TlsTests(TcpTests):
    """The same within TLS: its transport and its handshake are gone, too."""

    def map_server_text(self) -> str:
        own = ":".join(f"{name}={path}" for name, path in files("server").own.items())
        plain = f"tcp:4342:interface={MAP_SERVER_HOST}"
        listening = f"tls13:4342:interface={MAP_SERVER_HOST}:{own}"
        return super().map_server_text().replace(plain, listening)

    def etr_text(self) -> str:
        connecting = f"tls13:{MAP_SERVER_HOST}:4342:caFile={files('CA').certificate}"
        options = f'transports = ["{connecting}"]\n{_FOLLOWS}'
        return etr_text("10.1.1.0/24", server_options=options)

    def watch_below(self, protocol: Any) -> None:
        tls = protocol.transport
        self.watch(tls, tls.wrappedProtocol, tls.getHandle())


class QuicTests(_Ground, SynchronousTestCase):
    """Connections of QUIC, with all that aioquic has made of them."""

    def setUp(self) -> None:
        super().setUp()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.pair = Pair(make_credentials(directory))
        self.addCleanup(self.pair.close)

    def ended(self, end: Callable[[], object]) -> None:
        """Connect, watch both ends, end it, and wait until nothing more is said."""
        self.pair.establish()
        for protocol in (self.pair.client, self.pair.server):
            stream: Any = protocol.transport
            driver = stream._driver
            self.watch(protocol, stream, driver, driver._side, driver.quic, driver.quic.tls)
            del stream, driver
        del protocol
        end()
        self.pair.network.run(120)
        self.pair.results.clear()
        self.pair.attempt = None
        for factory in (self.pair.accepting, self.pair.connecting):
            self.assertEqual(len(factory.protocols), 1)
            self.assertIsNotNone(factory.protocols.pop().reason)
        self.assert_gone()

    def test_either_end_closes(self) -> None:
        """The client."""
        self.ended(lambda: self.pair.client.transport.loseConnection())  # type: ignore[union-attr]

    def test_the_server_closes(self) -> None:
        """The other way round."""
        self.ended(lambda: self.pair.server.transport.loseConnection())  # type: ignore[union-attr]

    def test_one_end_aborts(self) -> None:
        """At once."""
        self.ended(lambda: self.pair.server.transport.abortConnection())  # type: ignore[union-attr]

    def test_the_path_is_dead(self) -> None:
        """Both give up."""
        self.ended(lambda: setattr(self.pair.network, "is_dead", True))

    def test_the_port_is_closed(self) -> None:
        """With all of its connections."""
        self.ended(lambda: self.pair.port.stopListening())

    def test_a_handshake_that_comes_to_nothing(self) -> None:
        """The client falls silent after its first packets."""
        self.pair.listen()
        network = self.pair.network
        peer = raw_client(network, CLIENT_HOST)
        peer.connect()
        network.run_until(lambda: bool(self.pair.port._live))
        (accepted,) = self.pair.port._live
        self.watch(accepted, accepted.driver, accepted.driver.quic)
        del accepted
        peer.stop()
        network.run(120)
        self.assertEqual(self.pair.port._live, {})
        self.assert_gone()
