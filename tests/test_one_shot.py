"""One coroutine on a reactor of its own."""

from __future__ import annotations

import os
import signal

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.cli.one_shot import run_once


class RunOnceTests(SynchronousTestCase):
    """run_once()."""

    def test_the_code_is_what_the_coroutine_returns(self) -> None:
        """At once, or later."""
        reactor = SelectReactor()

        async def main() -> int:
            later: Deferred[int] = Deferred()
            reactor.callLater(0, later.callback, 7)
            return await later

        self.assertEqual(run_once(reactor, main), 7)

    def test_what_it_raises_is_raised(self) -> None:
        """A mistake of ours is not hidden."""

        async def main() -> int:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, run_once, SelectReactor(), main)

    def test_a_signal_cancels_it(self) -> None:
        """The code is the shell's, unless the coroutine has another; handlers are put back."""

        async def waiting() -> int:
            reactor.callLater(0, os.kill, os.getpid(), signal.SIGTERM)
            await Deferred()
            raise AssertionError("not reached")

        async def orderly() -> int:
            try:
                return await waiting()
            except CancelledError:
                return 5

        handler = signal.getsignal(signal.SIGTERM)
        for main, code in ((waiting, 128 + signal.SIGTERM), (orderly, 5)):
            reactor = SelectReactor()
            self.assertEqual(run_once(reactor, main), code)
            self.assertIs(signal.getsignal(signal.SIGTERM), handler)

    def test_a_coroutine_that_cancels_itself_has_failed(self) -> None:
        """Nobody sent a signal."""

        async def main() -> int:
            raise CancelledError

        self.assertRaises(CancelledError, run_once, SelectReactor(), main)
