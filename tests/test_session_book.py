"""What a Map-Server counts of its sessions, and what it says of them in the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt import MapServer, parse_config
from lispmsrt.mapping.rejections import ANNOUNCED_EVERY, Rejection
from lispmsrt.mapping.verdicts import Verdict
from lispmsrt.services.admission import _MAX_REJECTION_LINES, RejectionLog
from lispmsrt.services.session_book import SAMPLES, SessionBook
from lispmsrt.session.base import CloseReason
from tests.builders import Etr as EtrHand
from tests.builders import Secret, eid, locator, record
from tests.rim import ETR_HOST, MAP_SERVER_HOST, Network, map_server_text

_KEY = Secret(0, 2, b"campus secret")
_RLOC = locator(ETR_HOST)


class _Ground(SynchronousTestCase):
    def setUp(self) -> None:
        """A Map-Server in memory; its stopwatch goes on by a fixed step."""
        self.network = Network()
        self.step, self.watch = 0.0, 0.0
        config = parse_config(map_server_text())
        assert config.map_server is not None
        self.server = MapServer(
            config.map_server, config.site, self.network, self.network, stopwatch=self._tick
        )
        self.server.startService()
        self.addCleanup(self._stop)
        self.hand = EtrHand(ETR_HOST, key=_KEY)

    def _tick(self) -> float:
        self.watch += self.step
        return self.watch

    def _stop(self) -> None:
        self.server.stopService()
        self.network.run(10)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def datagram(self, data: bytes) -> None:
        """Send over UDP."""
        self.network.send((ETR_HOST, 4342), (MAP_SERVER_HOST, 4342), data)
        self.network.run()

    def session(self, hand: EtrHand | None = None, *records: bytes) -> Any:
        """Arm an xTR, and connect it; return its end."""
        hand = hand or self.hand
        self.datagram(hand.map_register(record(eid("10.1.1.0/24"), _RLOC)))
        client = Protocol()
        self.network.connect(client, MAP_SERVER_HOST, 4342, ETR_HOST)
        self.network.run()
        self.send(client, hand.registration(record(eid("10.1.1.0/24"), _RLOC)))
        return client

    def send(self, client: Any, *messages: bytes) -> None:
        """Write on a session, in one chunk."""
        client.transport.write(b"".join(messages))
        self.network.run()

    def lines(self, events: Any) -> list[str]:
        """Return what the log says."""
        return [formatEvent(event) for event in events]


class CountTests(_Ground):
    """What stays when a session is gone."""

    def test_every_session_has_a_number_of_its_own(self) -> None:
        """And knows its own address."""
        first = self.session()
        first.transport.loseConnection()
        self.network.run(1)
        self.session()
        (session,) = self.server.sessions
        self.assertEqual((session.id, session.local), (2, f"{MAP_SERVER_HOST}:4342"))
        protocol = self.server.session_protocols[session]
        self.assertIs(protocol.session, session)
        # Ten thousand may be up: nobody who asks for one walks through all.
        self.assertIs(self.server.session_protocols, self.server.session_protocols)

    def test_what_a_session_counted_is_kept_when_it_ends(self) -> None:
        """The sums of all, and how often which reason was."""
        for _session in range(2):
            client = self.session()
            client.transport.loseConnection()
            self.network.run(1)
        self.assertEqual(self.server.ended["messages in"], 2)
        self.assertEqual(self.server.endings, {CloseReason.PEER_CLOSED.value: 2})
        self.assertEqual(self.server.session_protocols, {})

    def test_the_start_is_known(self) -> None:
        """In monotonic seconds."""
        self.network.run(5)
        self.assertEqual(self.network.seconds() - self.server.started, 5.0)


class LatencyTests(_Ground):
    """From arrival to answer."""

    def test_a_chunk_counts_with_its_registrations(self) -> None:
        """What takes 20 ms is counted where it belongs, for each of three Registrations."""
        client = self.session()
        before = self.server.latency.count
        self.step = 0.02
        registrations = [
            self.hand.registration(record(eid(f"10.1.{number}.0/24"), _RLOC)) for number in range(3)
        ]
        self.send(client, *registrations)
        latency = self.server.latency
        self.assertEqual(latency.count - before, 3)
        self.assertEqual(latency.counts[latency.bounds.index(0.025)], 3)

    def test_map_registers_count_too(self) -> None:
        """Per record; what is refused does not."""
        records = [record(eid(f"10.1.{number}.0/24"), _RLOC) for number in range(4)]
        self.datagram(self.hand.map_register(*records))
        self.datagram(EtrHand(ETR_HOST, key=Secret(0, 2, b"x")).map_register(records[0]))
        self.assertEqual(self.server.latency.count, 4)


class RoundTripTests(_Ground):
    """Round-trip times, a few at a time."""

    def test_established_sessions_are_asked_every_second(self) -> None:
        """What knows none is left out."""
        self.session()
        (protocol,) = self.server.session_protocols.values()
        self.network.run(2)
        self.assertEqual(self.server.round_trips.count, 0)
        protocol._stream.round_trip_time = lambda: 0.03
        self.network.run(10)
        found = self.server.round_trips
        self.assertIn(found.count, (9, 10, 11))
        self.assertEqual(found.counts[found.bounds.index(0.05)], found.count)

    def test_no_more_than_a_few_are_asked_at_once_and_all_in_turn(self) -> None:
        """However many there are, however often it is called."""
        asked: list[int] = []
        book = SessionBook()

        class _Session:
            state = None

        class _Protocol:
            def __init__(self, number: int) -> None:
                self.number = number

            @property
            def session(self) -> Any:
                asked.append(self.number)
                return None

        for number in range(SAMPLES + 10):
            book.protocols[_Protocol(number)] = "tcp"  # type: ignore[index]
        book.sample(0.0)
        book.sample(0.5)
        self.assertEqual(len(asked), SAMPLES)
        book.sample(1.0)
        self.assertEqual(sorted(asked), list(range(SAMPLES + 10)))
        book.sample(2.0)
        self.assertEqual(len(asked), 2 * SAMPLES + 10)


class LogTests(_Ground):
    """Whose line it is."""

    def test_every_line_of_a_session_says_which_one_it_is(self) -> None:
        """Up, rejected, ended: as fields too."""
        with capturedLogs() as events:
            client = self.session()
            self.send(client, self.hand.registration(record(eid("172.16.0.0/16"), _RLOC)))
            client.transport.loseConnection()
            self.network.run(1)
        port = client.transport.getHost().port
        for event in events:
            self.assertIn("session 1 with ", formatEvent(event))
            self.assertEqual(
                (event["session"], event["peer"], event["transport"], event["xtr"]),
                (1, f"{ETR_HOST}:{port}", "TCP", f"{1:032x}"),
            )
        self.assertEqual([event["site"] for event in events], ["campus", "", "campus"])
        self.assertEqual(
            self.lines(events)[1],
            f"rejected 172.16.0.0/16 in instance 0 of session 1 with {ETR_HOST}:{port} over TCP:"
            " no site has an EID-prefix that covers it in instance 0",
        )

    def test_a_flood_of_rejections_is_a_line_a_minute(self) -> None:
        """For each rule and site, with how many there were."""
        wrong = EtrHand(ETR_HOST, key=Secret(0, 2, b"wrong"))
        with capturedLogs() as events:
            for _message in range(50):
                self.datagram(wrong.map_register(record(eid("10.1.1.0/24"), _RLOC)))
            self.network.run(ANNOUNCED_EVERY)
            self.datagram(wrong.map_register(record(eid("10.1.1.0/24"), _RLOC)))
        first, second = self.lines(events)
        self.assertIn("the authentication data is wrong for key ID 0 of site campus", first)
        self.assertNotIn("more since", first)
        self.assertIn("(49 more since the last line)", second)
        self.assertEqual(self.server.registrar.rejections.count, 51)

    def test_an_eid_that_can_not_be_read_has_no_name(self) -> None:
        """It is said so."""
        with capturedLogs() as events:
            self.datagram(self.hand.map_register(record(bytes((0, 0, 0)), _RLOC)))
        self.assertIn("rejected an EID that can't be read", self.lines(events)[0])

    def test_however_many_rules_and_sites_there_are_lines_are_few(self) -> None:
        """A minute later they go on."""
        log = RejectionLog(lambda peer, transport: None)
        with capturedLogs() as events:
            for at in (0.0, 30.0, ANNOUNCED_EVERY):
                for number in range(_MAX_REJECTION_LINES):
                    log.note(_rejection(at, f"site {number}"), 0)
        said = [formatEvent(event) or "" for event in events]
        lines = [line for line in said if line.startswith("rejected ")]
        self.assertEqual(len(lines), 2 * _MAX_REJECTION_LINES)

    def test_rejections_without_a_line_are_counted(self) -> None:
        """It is said at once that there are such, and a minute later how many, but not again."""
        log = RejectionLog(lambda peer, transport: None)
        with capturedLogs() as events:
            for at, unsaid in ((0.0, 0), (30.0, 4), (ANNOUNCED_EVERY, 0), (2 * ANNOUNCED_EVERY, 0)):
                for number in range(_MAX_REJECTION_LINES):
                    log.note(_rejection(at, f"site {number}"), unsaid)
        said = [formatEvent(event) or "" for event in events]
        others = [line for line in said if not line.startswith("rejected ")]
        self.assertEqual(len(others), 2)
        self.assertEqual(said.index(others[0]), _MAX_REJECTION_LINES)
        self.assertTrue(others[0].startswith("further rejections of this minute"), others[0])
        self.assertTrue(others[1].startswith(f"{5 * _MAX_REJECTION_LINES} rejections more"))


def _rejection(at: float, site: str) -> Rejection:
    eid_prefix, source = "10.1.0.0/16", "192.0.2.1:4342"
    return Rejection(1, at, Verdict.OTHER, "no", 0, eid_prefix, site, b"", "UDP", source)
