"""``lispmsrt lig`` for many EIDs: a line for each as its answer comes, and a summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lispmsrt.cli.late_bar import LateBar
from lispmsrt.cli.lig_report import (
    answer_json,
    complain,
    eid_text,
    remedy_text,
    row,
    row_header,
)
from lispmsrt.services.listening import ListenError
from lispmsrt.services.requester import Answer, Form, NoAnswerError, ReplyFault, Requester
from lispmsrt.wire.addresses import EidPrefix

__all__ = ["MAX_OUTSTANDING", "MAX_RATE", "ManyAsker"]

MAX_OUTSTANDING = 64
"""Map-Requests that wait for their answers at a time: a socket's receive buffer holds as many
Map-Replies, even if they come together.
"""

MAX_RATE = 800.0
"""EIDs a second: a Map-Resolver answers some 1000 of one asker, by default, and drops others."""

_BURST = 0.05
"""Seconds by which somebody may be ahead of the rate: it is not kept from one to the next."""

_SAMPLE = 1000
"""EIDs by which the width of the first column is chosen."""


class ManyAsker:
    """Many questions, from the first Map-Request to the summary."""

    def __init__(
        self,
        requester: Requester,
        clock: IReactorTime,
        eids: Sequence[EidPrefix],
        form: Form,
        *,
        is_json: bool,
        bar: LateBar | None = None,
    ) -> None:
        self._requester = requester
        self._clock = clock
        self._eids = eids
        self._form = form
        self._is_json = is_json
        self._bar = bar or LateBar(clock, "asked", len(eids))
        self._width = max(len(eid_text(eid)) for eid in islice(eids, _SAMPLE))
        self._next_at = clock.seconds()
        self._source = ""
        self._fault: ReplyFault | None = None
        self.mapped = self.negative = self.unanswered = 0

    async def ask(self) -> int:
        """Ask for each, and print what comes; return the exit code: 0 where all have mappings, 1
        where some answer is negative, 2 where one did not come.
        """
        began = self._clock.seconds()
        try:
            self._requester.startService()
        except ListenError as failure:
            self._bar.close()
            return complain(str(failure))
        self._source = self._requester.address.host
        try:
            self._begin()
            await self._ask_all()
        finally:
            self._bar.close()
            self._summarize(self._clock.seconds() - began)
            await self._requester.stopService()
        return 2 if self.unanswered else 1 if self.negative else 0

    def _begin(self) -> None:
        if not self._is_json:
            count = _eids_text(len(self._eids))
            print(f"Asking {self._requester.resolver} for {count} from {self._source}\n")
            print(row_header(self._width), flush=True)

    async def _ask_all(self) -> None:
        waiting = iter(self._eids)
        count = min(MAX_OUTSTANDING, len(self._eids))
        askers = [Deferred.fromCoroutine(self._ask_some(waiting)) for _ in range(count)]
        try:
            await gatherResults(askers, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
        finally:
            for asker in askers:
                asker.cancel()

    async def _ask_some(self, waiting: Iterator[EidPrefix]) -> None:
        """Ask for one after the other; others do the same."""
        for eid in waiting:
            await self._pace()
            answer: Answer | None = None
            try:
                answer = await self._requester.ask(eid, self._form)
            except NoAnswerError as failure:
                self._fault = failure.fault or self._fault
            self._count(answer)
            self._show(eid, answer)

    async def _pace(self) -> None:
        """Wait as long as the rate demands."""
        now = self._clock.seconds()
        self._next_at = max(now, self._next_at) + 1 / MAX_RATE
        ahead = self._next_at - now
        if ahead > _BURST:
            await deferLater(self._clock, ahead - _BURST)

    def _count(self, answer: Answer | None) -> None:
        self._bar.advance()
        if answer is None:
            self.unanswered += 1
        elif answer.is_negative:
            self.negative += 1
        else:
            self.mapped += 1

    def _show(self, eid: EidPrefix, answer: Answer | None) -> None:
        if self._is_json:
            resolver = self._requester.resolver
            text = json.dumps(answer_json(eid, resolver, self._source, answer))
        else:
            text = row(eid, answer, self._width)
        self._bar.say(text)

    def _summarize(self, seconds: float) -> None:
        asked = _eids_text(len(self._eids))
        if self._bar.done < len(self._eids):
            asked = f"{self._bar.done:,} of {asked}"
        print(
            f"{asked} asked for in {seconds:.1f} s: {self.mapped:,} with a mapping,"
            f" {self.negative:,} negative, {self.unanswered:,} without an answer",
            file=sys.stderr,
        )
        if self._fault is not None or (self.unanswered and self.unanswered == self._bar.done):
            requester = self._requester
            complain(remedy_text(requester.resolver, self._source, self._fault, requester.counters))


def _eids_text(count: int) -> str:
    return "1 EID" if count == 1 else f"{count:,} EIDs"
