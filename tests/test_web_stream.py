"""The live stream: what it says, who gets it, and what becomes of readers that do not read."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.views.map_server import MapServerViews
from lispmsrt.views.node import NodeViews
from lispmsrt.web.connections import ManagementRequest
from lispmsrt.web.errors import ApiError
from lispmsrt.web.stream import MAX_LINES, MAX_STREAMS, PATIENCE, Streams
from tests.management_ground import ManagementGround
from tests.rim import Network, map_server_of, mapping, outcome


class _Reader:
    """A request whose octets are kept."""

    def __init__(self) -> None:
        self.octets = b""
        self.producer: Any = None
        self.aborted = 0

    @property
    def lines(self) -> list[Any]:
        """What was written."""
        return [json.loads(line) for line in self.octets.splitlines()]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def abort(self) -> None:
        self.aborted += 1


class StreamTests(SynchronousTestCase):
    """Streams on a clock, over a Map-Server in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network()
        self.server = map_server_of(self.network)
        self.views = NodeViews(MapServerViews(self.server))
        self.looks = 0
        self.counters: Counter[str] = Counter()
        self.streams = Streams(self.views, self.clock, self.counters)
        overview = self.views.overview

        def counted() -> Any:
            self.looks += 1
            return overview()

        self.patch(self.views, "overview", counted)

    def open(self, number: int | None = None) -> tuple[_Reader, list[Any], Deferred[None]]:
        """Open a stream; return its reader, what came of it, and what ends it."""
        reader = _Reader()
        ended = self.streams.open(cast(ManagementRequest, reader), number)
        return reader, outcome(ended), ended

    def test_the_first_line_comes_at_once_and_then_one_each_second(self) -> None:
        """Each is a whole object; nothing is left behind when the reader goes."""
        reader, _result, ended = self.open()
        self.assertEqual(len(reader.lines), 1)
        self.clock.pump([0.5, 0.5, 1.0])
        self.assertEqual(len(reader.lines), 3)
        for line in reader.lines:
            self.assertEqual(sorted(line), ["history", "lost", "overview"])
            self.assertEqual((line["history"], line["lost"]), ([], False))
        ended.cancel()
        self.assertEqual((len(self.streams), self.clock.getDelayedCalls()), (0, []))

    def test_all_streams_share_one_look(self) -> None:
        """However many there are."""
        readers = [self.open()[0] for _number in range(20)]
        self.looks = 0
        self.clock.advance(1.0)
        self.assertEqual(self.looks, 1)
        self.assertEqual(len({reader.octets.splitlines()[1] for reader in readers}), 1)

    def test_there_is_a_limit(self) -> None:
        """One more is refused, until somebody goes."""
        opened = [self.open() for _number in range(MAX_STREAMS)]
        refusal = self.assertRaises(ApiError, self.open)
        self.assertEqual(refusal.status, 503)
        self.assertEqual(self.counters["streams refused: too many"], 1)
        opened[0][2].cancel()
        self.open()

    def test_nothing_is_written_to_who_does_not_read(self) -> None:
        """And after some time the connection is cut."""
        reader, _result, ended = self.open()
        other, _result, _ended = self.open()
        reader.producer.pauseProducing()
        for _second in range(int(PATIENCE) + 1):
            self.assertEqual(reader.aborted, 0)
            self.clock.advance(1.0)
        self.assertEqual((len(reader.lines), reader.aborted), (1, 1))
        self.assertEqual(self.counters["streams dropped: not read"], 1)
        self.assertEqual(len(other.lines), int(PATIENCE) + 2)
        ended.cancel()  # what a lost connection does
        self.assertEqual(len(self.streams), 1)

    def test_who_reads_again_in_time_goes_on(self) -> None:
        """The time begins anew."""
        reader, _result, _ended = self.open()
        for _time in range(3):
            reader.producer.pauseProducing()
            self.clock.pump([1.0] * int(PATIENCE))
            reader.producer.resumeProducing()
            self.clock.advance(1.0)
        self.assertEqual((len(reader.lines), reader.aborted), (4, 0))

    def test_what_can_not_be_begun_takes_no_place(self) -> None:
        """A failing look is the failure of one request."""

        def broken() -> Any:
            raise RuntimeError("a bug")

        self.patch(self.views, "overview", broken)
        self.assertRaises(RuntimeError, self.open)
        self.assertEqual((len(self.streams), self.clock.getDelayedCalls()), (0, []))

    def test_one_that_fails_does_not_end_the_others(self) -> None:
        """It is dropped, and the log says why."""
        failing, _result, ended = self.open()
        other, _result, _ended = self.open()

        def broken(octets: bytes) -> None:
            raise RuntimeError("a bug")

        self.patch(failing, "write", broken)
        self.clock.pump([1.0, 1.0])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual((failing.aborted, len(other.lines), len(self.streams)), (1, 3, 1))
        self.assertEqual(self.counters["streams dropped: failed"], 1)
        ended.cancel()  # what a lost connection does
        self.assertEqual(len(self.streams), 1)

    def test_stopping_ends_every_stream(self) -> None:
        """Each is told, and no timer stays."""
        _reader, result, _ended = self.open()
        _reader, other, _ended = self.open()
        self.streams.stop()
        self.assertEqual((result, other), ([None], [None]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_number_from_another_life_is_lost(self) -> None:
        """The reader knows lines of a process that is no more; it goes on with those of this."""
        reader, _result, _ended = self.open(1000)
        (line,) = reader.lines
        self.assertEqual((line["lost"], line["overview"]["history_number"]), (True, 0))
        self.clock.advance(1.0)
        self.assertFalse(reader.lines[1]["lost"])

    def test_a_cancelled_stream_is_forgotten(self) -> None:
        """What the connection's end does."""
        _reader, result, ended = self.open()
        ended.cancel()
        self.assertIsInstance(result[0], CancelledError)


class LiveStreamTests(ManagementGround):
    """Over a Unix socket, with an ETR."""

    eids = ("10.1.1.0/24",)

    async def begin(self) -> None:
        """Start, and wait until there is a mapping."""
        self.start()
        await self.until(lambda: len(self.map_server.database) == 1)

    async def stream(self, query: str, lines: int = 1) -> list[Any]:
        """Read some lines, then hang up."""
        answer = await self.get(f"/api/v1/stream{query}", lines=lines)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/x-ndjson")
        return [json.loads(line) for line in answer.body.splitlines()]

    async def test_what_happens_is_told_oldest_first(self) -> None:
        """From the number that the reader knows."""
        await self.begin()
        assert self.etr is not None
        for number in range(2, 5):
            await self.etr.register(mapping(f"10.1.{number}.0/24"))
        (line,) = await self.stream("?history=1")
        self.assertEqual(
            [(one["number"], one["eid_prefix"]) for one in line["history"]],
            [(2, "10.1.2.0/24"), (3, "10.1.3.0/24"), (4, "10.1.4.0/24")],
        )
        self.assertEqual((line["lost"], line["overview"]["history_number"]), (False, 4))
        (line,) = await self.stream("")
        self.assertEqual((line["history"], line["lost"]), ([], False))
        await self.until(lambda: len(self.management.streams) == 0)

    async def test_a_burst_is_cut(self) -> None:
        """The newest lines come, and the reader is told that there were more."""
        await self.begin()
        assert self.etr is not None
        count = MAX_LINES + 50
        for number in range(count):
            eid = f"10.1.{number // 256 + 2}.{number % 256}/32"
            self.etr.register(mapping(eid)).addErrback(lambda _: None)
        await self.until(lambda: len(self.map_server.database) == count + 1)
        (line,) = await self.stream("?history=1")
        numbers = [one["number"] for one in line["history"]]
        newest = self.map_server.mapping.history.number
        self.assertEqual(numbers, list(range(newest - MAX_LINES + 1, newest + 1)))
        self.assertTrue(line["lost"])

    async def test_lines_go_on(self) -> None:
        """One each second."""
        await self.begin()
        first, second = await self.stream("", lines=2)
        self.assertGreater(second["overview"]["now"], first["overview"]["now"])

    async def test_a_wrong_number_is_refused(self) -> None:
        """As of any other parameter."""
        self.start()
        answer = await self.get("/api/v1/stream?history=-1")
        self.assertEqual(answer.status, 400)
