"""The endpoints of a Map-Server: opened, missing on this machine, or wrong."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lispmsrt.services import listeners
from lispmsrt.services.listeners import Listeners
from lispmsrt.services.listening import ListenError
from lispmsrt.sockets import TcpOptions
from lispmsrt.transports.interfaces import (
    IAdmission,
    StreamAddress,
    TransportUnavailable,
    admission_of,
)
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Network, map_server_of


class _Port:
    def __init__(self) -> None:
        self.is_open = True

    def getHost(self) -> StreamAddress:
        return StreamAddress("QUIC", "2001:db8::1", 4343)

    def stopListening(self) -> None:
        self.is_open = False


@implementer(IStreamServerEndpoint)
class _Endpoint:
    """Opens, or fails as its text says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.port = _Port()

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        if self.text == "sctp":
            return fail(TransportUnavailable("this kernel has no SCTP"))
        if self.text == "wrong":
            return fail(OSError(98, "Address already in use"))
        return succeed(self.port)


class ListenersTests(SynchronousTestCase):
    """Endpoints of every kind."""

    def setUp(self) -> None:
        self.made: list[_Endpoint] = []

        def parse(reactor: object, text: str) -> _Endpoint:
            self.made.append(_Endpoint(text))
            return self.made[-1]

        self.patch(listeners, "serverFromString", parse)
        self.listeners = Listeners(None, TcpOptions())

    def test_what_is_open_is_shown_and_closed(self) -> None:
        """With the sessions that came by it."""
        self.listeners.listen("quic", Factory())
        (shown,) = self.listeners.snapshot({"quic": 3})
        self.assertEqual(
            (shown.endpoint, shown.transport, shown.address, shown.reason, shown.sessions),
            ("quic", "QUIC", "[2001:db8::1]:4343", "", 3),
        )
        self.assertEqual(self.listeners.addresses, [StreamAddress("QUIC", "2001:db8::1", 4343)])
        self.successResultOf(self.listeners.close())
        self.assertFalse(self.made[0].port.is_open)
        self.assertEqual(self.listeners.addresses, [])

    def test_what_this_machine_can_not_do_is_left_out_and_said(self) -> None:
        """The others serve."""
        with capturedLogs() as events:
            self.listeners.listen("sctp", Factory())
        (line,) = [formatEvent(event) for event in events]
        self.assertEqual(line, "reliable-transport sctp: this kernel has no SCTP; going on without")
        self.listeners.listen("quic", Factory())
        self.listeners.check()
        (_quic, sctp) = self.listeners.snapshot({})
        self.assertEqual((sctp.transport, sctp.address), ("SCTP", ""))
        self.assertIn("no SCTP", sctp.reason)

    def test_a_server_deaf_on_all_transports_does_not_start(self) -> None:
        """That is no Map-Server for sessions."""
        self.listeners.listen("sctp", Factory())
        error = self.assertRaises(ListenError, self.listeners.check)
        self.assertIn("no SCTP", str(error))

    def test_any_other_failure_ends_it(self) -> None:
        """With the endpoint string and the reason."""
        error = self.assertRaises(ListenError, self.listeners.listen, "wrong", Factory())
        self.assertIn("reliable-transport wrong: ", str(error))
        self.assertIn("in use", str(error))


class AdmissionTests(SynchronousTestCase):
    """What the Map-Server's factory tells transports."""

    def setUp(self) -> None:
        self.network = Network()
        self.server = map_server_of(self.network)
        self.server.startService()
        self.addCleanup(self._stop)
        (port,) = (port for port in self.network.ports if port.kind == "tcp")
        self.admits = admission_of(port.target)

    def _stop(self) -> None:
        self.server.stopService()
        self.network.run()
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_only_who_is_armed_is_admitted(self) -> None:
        """IPv4 in IPv6 is IPv4; asking uses up nothing; what is refused is counted."""
        self.assertFalse(self.admits(ETR_HOST))
        self.assertFalse(self.admits("no address"))
        self.assertEqual(self.server.armory.counters["connections refused"], 2)
        hand = EtrHand(ETR_HOST, key=Secret(0, 2, b"campus secret"))
        register = hand.map_register(record(eid("10.1.1.0/24"), locator(ETR_HOST)))
        self.network.send((ETR_HOST, 4342), (MAP_SERVER_HOST, 4342), register)
        self.network.run()
        for _time in range(3):
            self.assertTrue(self.admits(ETR_HOST))
            self.assertTrue(self.admits(f"::ffff:{ETR_HOST}"))
        self.assertFalse(self.admits("192.0.2.99"))

    def test_other_factories_admit_everybody(self) -> None:
        """The transports serve anybody's protocol."""
        self.assertTrue(admission_of(Factory())("192.0.2.1"))
        self.assertFalse(IAdmission.providedBy(Factory()))
