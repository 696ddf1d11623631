"""The steps of the demo in which others have a part: an ITR asks for an EID-prefix, a second xTR
shares it, a third one takes it over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from lispmsrt.cli.demo_cast import Actor, DemoSite
from lispmsrt.cli.demo_chronicle import SERVER, Notices
from lispmsrt.cli.demo_director import Director
from lispmsrt.cli.demo_itr import Itr
from lispmsrt.cli.demo_stage import Stage, StepError

__all__ = ["Overlay"]

_SECOND, _THIRD = "127.0.0.8", "127.0.0.9"

_NOT_REGISTERED = "10.7.255.1"
"""In the site of the ETR whose EID-prefix it is all about."""

_FOREIGN = "198.51.100.1"


class Overlay:
    """One EID-prefix, its first ETR, two more xTRs of its site and an ITR."""

    def __init__(
        self,
        first: Actor,
        *,
        stage: Stage,
        director: Director,
        notices: Notices,
        itr: Itr,
        enter: Callable[[DemoSite], Actor],
    ) -> None:
        """``first`` must be up; ``enter`` lets another ETR come in beside it."""
        self._first = first
        self._eid = next(iter(first.meant))
        self._stage = stage
        self._director = director
        self._notices = notices
        self._itr = itr
        self._enter = enter

    async def play(self) -> None:
        """Do everything; StepError when a step does not happen."""
        await self._ask()
        await self._merge()
        await self._move()

    async def _ask(self) -> None:
        site, itr = self._first.site, self._itr
        self._director.step(
            "An ITR asks: for what is registered, for what its site has but nobody registered, "
            "for what no site has"
        )
        itr.follow(self._eid_text, site)
        registered = itr.ask(self._eid_text, site.instance_id)
        await itr.show_mapping(registered, [site.address])
        await itr.confirmed()
        not_registered = itr.ask(_NOT_REGISTERED, site.instance_id)
        foreign = itr.ask(_FOREIGN)
        await itr.show_negative(not_registered, "1 minute")
        await itr.show_negative(foreign, "15 minutes")
        await self._director.pause()

    async def _merge(self) -> None:
        first, eid = self._first, self._eid
        self._director.step(f"{_SECOND} registers {eid} too: the a bit of both merges their RLOCs")
        second = await self._come_up(_SECOND, "10.7.8.0/24", merge=True)
        both = [first.site.address, _SECOND]
        await self._register(second)
        await self._heard(both, first, second)
        await self._shows(both)
        await self._itr.published(both)
        del second.meant[eid]
        self._notices.restart()
        took = await self._director.time(second.etr.withdraw(eid), "The withdrawal was not ACKed")
        self._director.event(_SECOND, f"Registration for {eid} with TTL 0, ACK after {took}")
        await self._heard(both[:1], first)
        self._director.event(SERVER, f"{eid}: {self._stage.locators(eid)}")
        await self._itr.published(both[:1])
        self._itr.show_news()
        await self._director.pause()

    async def _move(self) -> None:
        first, eid = self._first, self._eid
        self._director.step(f"{eid} moves to {_THIRD}, which registers it without the a bit")
        third = await self._come_up(_THIRD, "10.7.9.0/24", merge=False)
        del first.meant[eid]
        await self._register(third)
        await self._heard([_THIRD], first)
        if not first.gave_way(eid):
            raise StepError(f"{first.site.address} does not give way.")
        self._director.event(first.site.address, f"gives way: it registers {eid} no longer")
        await self._shows([_THIRD])
        await self._itr.published([_THIRD])
        await self._itr.unsubscribe()
        self._itr.show_news()
        await self._director.pause()

    @property
    def _eid_text(self) -> str:
        return str(self._eid.address)

    async def _come_up(self, address: str, prefix: str, *, merge: bool) -> Actor:
        """Return another ETR of the site, up with an EID-prefix of its own."""
        actor = self._enter(
            replace(
                self._first.site,
                address=address,
                prefix=prefix,
                count=1,
                merge=merge,
                xtr_id=secrets.token_bytes(16),
            )
        )
        (own,) = actor.site.eids()
        actor.meant[own] = actor.site.record(own)
        acked = actor.etr.register(actor.meant[own])
        actor.etr.startService()
        took = await self._director.time(acked, f"{address} did not come up")
        self._director.event(
            address, f"has {own} registered over {actor.transport.name}: up and ACKed after {took}"
        )
        return actor

    async def _register(self, actor: Actor) -> None:
        """Let an ETR that is up register the EID-prefix, too."""
        actor.meant[self._eid] = actor.site.record(self._eid)
        self._notices.restart()
        took = await self._director.time(
            actor.etr.register(actor.meant[self._eid]), "The Registration was not ACKed"
        )
        self._director.event(actor.site.address, f"Registration for {self._eid}, ACK after {took}")

    async def _heard(self, rlocs: Sequence[str], *actors: Actor) -> None:
        """Wait until the ETRs have heard that these are the RLOCs now."""
        addresses = [actor.site.address for actor in actors]
        await self._director.until(
            lambda: all(self._notices.heard(each) == set(rlocs) for each in addresses),
            f"{' and '.join(addresses)} did not hear of it",
        )

    async def _shows(self, rlocs: Sequence[str]) -> None:
        lig = self._itr.ask(self._eid_text, self._first.site.instance_id)
        await self._itr.show_mapping(lig, rlocs)
