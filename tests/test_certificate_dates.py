"""What a Map-Server says of its own certificates."""

from __future__ import annotations

from unittest import mock

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import capturedLogs, formatEvent

from lispmsrt.cli.show_overview import _listeners
from lispmsrt.services.certificate_dates import SOON
from lispmsrt.services.listeners import Listeners
from lispmsrt.services.map_server import MapServer
from lispmsrt.sockets import TcpOptions
from lispmsrt.transports.interfaces import certificate_of
from lispmsrt.transports.quic.endpoints import server_endpoint as quic_endpoint
from lispmsrt.transports.tls.endpoints import server_endpoint as tls_endpoint
from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.metrics import render
from tests.service_ground import MAP_SERVER, Ground, server_text
from tests.tls_ground import files


class CertificateTests(Ground):
    """TLS endpoints of a Map-Server in memory."""

    def server_with(self, name: str) -> MapServer:
        """Return one that shows a certificate."""
        own = files(name).own
        text = f"tls13:4343:interface={MAP_SERVER}:certificate={own['certificate']}"
        text += f":privateKey={own['privateKey']}"
        return self.server(
            server_text().replace('"tcp:4342', f'"{text}", "tcp:4342')  # the first of two
        )

    def test_one_that_has_expired_is_shown_and_said(self) -> None:
        """It listens all the same: who knows its key does not ask for the date."""
        for name, words in (("expired", "has expired at"), ("early", "is not valid before")):
            with capturedLogs() as events:
                server = self.server_with(name)
                self.network.run(5)
            said = [
                line
                for line in [str(formatEvent(event)) for event in events]
                if "certificate" in line.partition(": ")[2]
            ]
            self.assertEqual(len(said), 1, said)
            self.assertIn(f"its certificate {words} 20", said[0])
            shown = MapServerViews(server).overview().listeners[1]
            self.assertIn(f"its certificate {words} 20", shown.reason)
            self.assertEqual(shown.address, f"{MAP_SERVER}:4343")
            table = list(_listeners(MapServerViews(server).overview()))
            self.assertIn(f"up: its certificate {words}", str(table[1][-1]))
            self._stop_all()
            self.services.clear()

    def test_each_transport_tells_what_it_shows(self) -> None:
        """Others show nothing."""
        for make in (tls_endpoint, quic_endpoint):
            shown = certificate_of(make(self.network, **files("server").own))
            self.assertEqual(shown, files("server").made.certificate)
        self.assertIsNone(certificate_of(TCP4ServerEndpoint(self.network, 4342)))

    def test_its_end_is_a_metric(self) -> None:
        """For those that there are."""
        end = files("server").made.certificate.not_valid_after_utc.timestamp()
        text = render(NodeViews(MapServerViews(self.server_with("server")))).decode()
        (line,) = [
            line
            for line in text.splitlines()
            if line.startswith("lispmsrt_certificate_end_timestamp_seconds{")
        ]
        self.assertIn('transport="TLS"', line)
        self.assertEqual(float(line.rpartition(" ")[2]), end)

    def test_one_that_expires_meanwhile_is_said_once(self) -> None:
        """Two weeks before, and then; a clock that is stepped to and fro says nothing new."""
        own = files("server").own
        description = f"tls13:0:certificate={own['certificate']}:privateKey={own['privateKey']}"
        end = files("server").made.certificate.not_valid_after_utc.timestamp()
        moments = [end - SOON - 1, end - SOON + 1, end - SOON + 2, end, end + 1, end + 2]
        wall = [0.0]
        listeners = Listeners(self.network, TcpOptions(), lambda: wall[0])
        listeners.listen(description, mock.Mock())
        self.addCleanup(listeners.close)
        told = []
        for wall[0] in moments:
            with capturedLogs() as events:
                listeners.look()
            told.append([str(formatEvent(event)) for event in events])
        self.assertEqual([len(lines) for lines in told], [0, 1, 0, 0, 1, 0])
        self.assertIn("its certificate expires at", told[1][0])
        self.assertIn("its certificate has expired at", told[4][0])
        (snapshot,) = listeners.snapshot({})
        self.assertIn("has expired", snapshot.reason)
