"""The demo's ITR: it asks and subscribes with the command that everybody has, and what that prints
is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from lispmsrt.cli.demo_cast import ITR_XTR_ID, DemoSite
from lispmsrt.cli.demo_director import Director
from lispmsrt.cli.demo_lig import Lig
from lispmsrt.cli.demo_stage import StepError

__all__ = ["Itr"]

ITR = "itr"
"""Who asks."""

_LIG_TIMEOUT = 60.0
"""Seconds that the command may take: where a machine is busy, to start Python is most of it."""

_MAPPING, _NEGATIVE, _UNSUBSCRIBED = 0, 1, 0  # exit codes

_CONFIRMED, _PUBLISHED = "subscribed to", "changed, of"
_RLOC = re.compile(r"^ +(127\.\S+) ", re.MULTILINE)


class Itr:
    """Runs the command. Start several at once where they can't disturb what is measured."""

    def __init__(
        self,
        director: Director,
        resolver: Callable[[], str],
        directory: Path,
        *,
        start: Callable[[Sequence[str], Path], Lig] = Lig,
    ) -> None:
        """``resolver`` returns whom to ask; ``directory`` is for the key, and must stay."""
        self._director = director
        self._resolver = resolver
        self._directory = directory
        self._start = start
        self._children: list[Lig] = []
        self._following: Lig | None = None
        self._shown = 0

    def stop(self) -> None:
        """End what still runs."""
        for child in self._children:
            child.stop()

    # Questions

    def ask(self, eid: str, instance_id: int = 0) -> Lig:
        """Ask for an EID; the answer is shown later."""
        return self._run(eid, instance_id)

    async def show_mapping(self, lig: Lig, rlocs: Collection[str]) -> None:
        """Wait for the answer and show it; StepError when it has not these RLOCs."""
        await self._show(lig, _MAPPING)
        _check_rlocs(lig.output(), rlocs)

    async def show_negative(self, lig: Lig, ttl: str) -> None:
        """Wait for the answer and show it; StepError when it does not hold for so long."""
        await self._show(lig, _NEGATIVE)
        if f"for {ttl}," not in lig.output():
            raise StepError(f"The negative answer does not hold for {ttl}.")

    async def _show(self, lig: Lig, exit_code: int) -> None:
        await self._ended(lig, exit_code)
        self._director.event(ITR, f"$ {lig.command}")
        self._director.quote(lig.output())

    # One subscription

    def follow(self, eid: str, site: DemoSite) -> None:
        """Subscribe to an EID-prefix with a key of its site."""
        key_file = self._directory / "itr.key"
        key_file.touch(mode=0o600)
        key_file.write_text(site.secret)
        self._following = self._run(
            eid,
            site.instance_id,
            *("--subscribe", "--xtr-id", ITR_XTR_ID.hex(), "--key-file", key_file.name),
        )

    async def confirmed(self) -> None:
        """Wait until the Map-Server has confirmed the subscription."""
        lig = self._subscription()
        await self._until_printed(lig, lambda: _CONFIRMED in lig.output(), "was not confirmed")

    async def published(self, rlocs: Collection[str]) -> None:
        """Wait until these RLOCs, and no others, are what was published last."""
        lig = self._subscription()

        def is_published() -> bool:
            _before, is_any, last = lig.output().rpartition(_PUBLISHED)
            return bool(is_any) and sorted(_RLOC.findall(last)) == sorted(rlocs)

        await self._until_printed(lig, is_published, "did not hear of the change")

    async def unsubscribe(self) -> None:
        """End the subscription as Ctrl-C does."""
        lig = self._subscription()
        lig.interrupt()
        await self._ended(lig, _UNSUBSCRIBED)

    def show_news(self) -> None:
        """Show what the subscription has printed since it was shown last."""
        lig = self._subscription()
        output = lig.output()
        since = "printed since then" if self._shown else "runs since the first question"
        self._director.event(ITR, f"$ {lig.command}  # {since}")
        self._director.quote(output[self._shown :])
        self._shown = len(output)

    def _subscription(self) -> Lig:
        assert self._following is not None
        return self._following

    # Children

    def _run(self, eid: str, instance_id: int, *options: str) -> Lig:
        instance = ("--instance-id", str(instance_id)) if instance_id else ()
        arguments = (eid, *instance, "--resolver", self._resolver(), *options)
        try:
            child = self._start(arguments, self._directory)
        except OSError as failure:
            raise StepError(f"lispmsrt lig can't be started: {failure}.") from None
        self._children.append(child)
        return child

    async def _ended(self, lig: Lig, exit_code: int) -> None:
        await self._director.until(
            lambda: lig.exit_code is not None, f"{lig.command} did not end", _LIG_TIMEOUT
        )
        if lig.exit_code != exit_code:
            raise StepError(
                f"{lig.command} ended with exit code {lig.exit_code}: {_last_line(lig)}"
            )

    async def _until_printed(self, lig: Lig, condition: Callable[[], bool], otherwise: str) -> None:
        await self._director.until(
            lambda: condition() or lig.exit_code is not None,
            f"The subscription {otherwise}",
            _LIG_TIMEOUT,
        )
        if not condition():
            raise StepError(f"The subscription {otherwise}: {_last_line(lig)}")


def _check_rlocs(output: str, rlocs: Collection[str]) -> None:
    found = sorted(_RLOC.findall(output))
    if found != sorted(rlocs):
        raise StepError(f"The answer has {', '.join(found)}, not {', '.join(rlocs)}.")


def _last_line(lig: Lig) -> str:
    return (lig.output().splitlines() or ["it printed nothing"])[-1]
