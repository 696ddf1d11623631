"""Who asks for mappings, as a Twisted service: one UDP socket, any number of questions.

Give it a Map-Resolver and a reactor, start it, and :meth:`Requester.ask`.
"""

from __future__ import annotations

from collections import Counter
from random import Random, SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from lispmsrt.config import SocketAddress
from lispmsrt.control.inquiries import (
    Answer,
    Endpoint,
    Form,
    Inquiries,
    Inquiry,
    Pace,
    TooManyInquiriesError,
)
from lispmsrt.control.secured_requests import ReplyFault
from lispmsrt.services.asking import AskingService
from lispmsrt.wire.addresses import EidPrefix
from lispmsrt.wire.authentication import Key

__all__ = [
    "Answer",
    "Form",
    "NoAnswerError",
    "Pace",
    "ReplyFault",
    "Requester",
    "TooManyInquiriesError",
]


class NoAnswerError(Exception):
    """Every try was in vain. ``fault`` says why the last Map-Reply was not believed (LISP-SEC);
    None where there was none.
    """

    def __init__(self, resolver: SocketAddress, eid: EidPrefix, fault: ReplyFault | None) -> None:
        kind = "authentic answer" if fault is not None else "answer"
        why = f": {fault.value}" if fault is not None else ""
        super().__init__(f"no {kind} from {resolver} about {eid}{why}")
        self.fault = fault


class Requester(AskingService):
    """Asks a Map-Resolver, or an ETR."""

    def __init__(
        self,
        reactor: Any,
        resolver: SocketAddress,
        *,
        source: str | None = None,
        port: int = 0,
        pace: Pace | None = None,
        secured_by: Key | None = None,
        clock: IReactorTime | None = None,
        random: Random | None = None,
    ) -> None:
        """``port`` is what it asks from; 0 is any that is free. With ``secured_by``, shared with
        the Map-Resolver, LISP-SEC verifies every answer (RFC 9303).
        """
        super().__init__(reactor, resolver, source=source, port=port, clock=clock)
        self.setName("requester")
        self._pace = pace
        self._secured_by = secured_by
        self._random = random or SystemRandom()
        self._inquiries: Inquiries | None = None
        self._asking: dict[Inquiry, Deferred[Answer]] = {}

    @property
    def counters(self) -> Counter[str]:
        """What was sent and received, and what was not believed."""
        return self._inquiries.counters if self._inquiries is not None else Counter()

    def ask(self, eid: EidPrefix, form: Form = Form.ENCAPSULATED) -> Deferred[Answer]:
        """Ask for the mapping of an EID or EID-prefix.

        Fails with :class:`NoAnswerError` after the last try, TooManyInquiriesError at the limit of
        outstanding ones, ValueError for an EID that can't be looked up and for LISP-SEC without an
        ECM, CancelledError when it or the service is stopped.
        """
        if self._inquiries is None:
            return fail(RuntimeError("the requester is not running"))
        resolver: Endpoint = (self.resolver.packed, self.resolver.port)
        now = self._clock.seconds()
        try:
            inquiry = self._inquiries.ask(
                eid, resolver, now, lambda answer: self._ended(inquiry, answer), form
            )
        except (TooManyInquiriesError, ValueError) as failure:
            return fail(failure)
        answer: Deferred[Answer] = Deferred(lambda _: self._forget(inquiry))
        self._asking[inquiry] = answer
        self._udp.flush()
        return answer

    def stopService(self) -> Deferred[None]:
        """Give up what is being asked; fires when the socket is closed."""
        # First: whoever hears that it was cancelled can't ask again.
        inquiries, self._inquiries = self._inquiries, None
        if inquiries is not None:
            # It may be in the midst of telling who else has no answer.
            for inquiry in self._asking:
                inquiries.cancel(inquiry)
        for answer in list(self._asking.values()):
            answer.cancel()
        return super().stopService()

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Look for an answer in a datagram."""
        if self._inquiries is not None:
            self._inquiries.receive_datagram(data, source, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Endpoint]]:
        """Collect what is due."""
        inquiries = self._inquiries
        if inquiries is None:
            return []
        output = inquiries.datagrams_to_send(now)
        # Whoever heard that there is no answer may have stopped the service.
        if self._inquiries is not inquiries:
            return []
        self._alarm.set(inquiries.next_timeout())
        return output

    def _opened(self, source: Endpoint) -> None:
        self._inquiries = Inquiries(source, self._random, self._pace, secured_by=self._secured_by)

    def _ended(self, inquiry: Inquiry, answer: Answer | None) -> None:
        waiting = self._asking.pop(inquiry)
        if answer is not None:
            waiting.callback(answer)
        else:
            waiting.errback(NoAnswerError(self.resolver, inquiry.eid, inquiry.fault))

    def _forget(self, inquiry: Inquiry) -> None:
        del self._asking[inquiry]
        if self._inquiries is not None:
            self._inquiries.cancel(inquiry)
