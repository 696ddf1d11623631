"""A bare aioquic connection on the network in memory: a peer that can be made to misbehave."""

from __future__ import annotations

import ssl
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from twisted.internet.protocol import DatagramProtocol

from tests.quic_rim import CLIENT_HOST, SERVER_HOST, Credentials, QuicNetwork

__all__ = ["RawPeer", "raw_client", "raw_server"]


class RawPeer(DatagramProtocol):
    """Drives one connection, and keeps what happened to it."""

    def __init__(
        self,
        network: QuicNetwork,
        configuration: QuicConfiguration,
        host: str,
        port: int,
        peer: tuple[str, int],
    ) -> None:
        self.network = network
        self.configuration = configuration
        self.peer = peer
        self.quic: Any = None
        self.events: list[QuicEvent] = []
        self.port: Any = None
        self._call: Any = None
        if configuration.is_client:
            self.quic = QuicConnection(configuration=configuration)
        self.port = network.listenUDP(port, self, interface=host)

    def connect(self) -> None:
        """Begin a handshake."""
        self.quic.connect(self.peer, now=self.network.seconds())
        self.flush()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self.quic is None:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=8)
            assert header.packet_type is QuicPacketType.INITIAL
            self.quic = QuicConnection(
                configuration=self.configuration,
                original_destination_connection_id=header.destination_cid,
            )
        self.quic.receive_datagram(datagram, addr, now=self.network.seconds())
        self.flush()

    def flush(self) -> None:
        """Take events, send what there is, and come back when it is time."""
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
        for data, address in self.quic.datagrams_to_send(now=self.network.seconds()):
            self.port.write(data, address)
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        timer = self.quic.get_timer()
        if timer is not None:
            self._call = self.network.callLater(
                max(0.0, timer - self.network.seconds()), self._ring
            )

    def _ring(self) -> None:
        timer = self.quic.get_timer()
        self.quic.handle_timer(now=max(timer, self.network.seconds()))
        self.flush()

    def stop(self) -> None:
        """Fall silent."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self.port in self.network.ports:
            self.port.stopListening()

    def send(self, data: bytes, *, stream: int = 0, end: bool = False) -> None:
        """Write to a stream."""
        self.quic.send_stream_data(stream, data, end)
        self.flush()

    def saw(self, kind: type) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def received(self) -> bytes:
        """The octets of stream 0."""
        return b"".join(event.data for event in self.saw(StreamDataReceived))

    @property
    def ending(self) -> Any:
        """Why the connection ends, or None."""
        return self.quic._close_event


def raw_client(network: QuicNetwork, host: str = CLIENT_HOST, **changes: Any) -> RawPeer:
    """Return a client of the server's address; it checks nothing."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["lisp-rt"], verify_mode=ssl.CERT_NONE
    )
    for name, value in changes.items():
        setattr(configuration, name, value)
    return RawPeer(network, configuration, host, 0, (SERVER_HOST, 4343))


def raw_server(network: QuicNetwork, credentials: Credentials, **changes: Any) -> RawPeer:
    """Return a server at the server's address, without Retry."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["lisp-rt"])
    configuration.load_cert_chain(credentials.certificate, credentials.key)
    for name, value in changes.items():
        setattr(configuration, name, value)
    return RawPeer(network, configuration, SERVER_HOST, 4343, ("", 0))
