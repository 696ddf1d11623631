"""What operators do in a world: mappings, configurations, restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulate.hosts import EtrHost, MapServerHost, site_of
from tests.simulate.picking import pick

if TYPE_CHECKING:
    from tests.simulate.world import World

__all__ = ["Operators"]

_STOPPED_WITHIN = 10.0 + 1.0 + 1.0
"""Seconds in which a service that is told to stop has stopped: what does not close is reset after
10 s, and counts as gone 1 s later; and some for the wire.
"""


class Operators:
    """Bring about what is meant to happen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = 1

    # Mappings

    def on_register(self, _: float, which: float, priority: float, __: float, ___: float) -> str:
        """An EID-prefix is registered, or registered otherwise."""
        eid = pick(which, list(self._world.owners))
        owner = self._world.owners[eid]
        owner.register(eid, 1 + int(priority * 5))
        return f"{eid} at {owner.name}, priority {owner.meaning[eid]}"

    def on_withdraw(self, _: float, which: float, *__: float) -> str | None:
        """An EID-prefix is withdrawn."""
        eid = pick(which, list(self._world.owners))
        owner = self._world.owners[eid]
        if eid not in owner.meaning:
            return None
        owner.withdraw(eid)
        return f"{eid} at {owner.name}"

    def on_move(
        self, lasts: float, which: float, to: float, order: float, gap: float
    ) -> str | None:
        """An EID-prefix goes to another ETR of its site; first it is in both places, or nowhere."""
        eid = pick(which, list(self._world.owners))
        old = self._world.owners[eid]
        others = [
            etr
            for etr in self._world.etrs
            if etr is not old and site_of(etr.number) == site_of(old.number)
        ]
        if not others:
            return None
        new = pick(to, others)
        self._world.owners[eid] = new
        wait = lasts * gap
        after = self._world.timeline.after
        if order < 0.5:
            old.withdraw(eid)
            after(wait, self._register_if_still, new, eid)
            return f"{eid} withdrawn at {old.name}, registered at {new.name} in {wait:g} s"
        new.register(eid, 2)
        after(wait, self._withdraw_if_still, old, eid)
        return f"{eid} registered at {new.name}, withdrawn at {old.name} in {wait:g} s"

    def _register_if_still(self, etr: EtrHost, eid: str) -> None:
        if self._world.owners[eid] is etr:
            etr.register(eid, 3)

    def _withdraw_if_still(self, etr: EtrHost, eid: str) -> None:
        if self._world.owners[eid] is not etr:
            etr.withdraw(eid)

    # Restarts

    def crash(
        self, host: EtrHost | MapServerHost, lasts: float, *, is_power_cut: bool
    ) -> str | None:
        """End a process without a goodbye, and start it later."""
        if host.is_down:
            return None
        host.is_down = True
        if isinstance(host, MapServerHost):
            host.has_stopped = False
            self._forgets(host)
        host.crash(is_power_cut=is_power_cut)
        self._world.timeline.after(lasts, self._start, host)
        return f"{host.name} {'without power' if is_power_cut else 'killed'} for {lasts:g} s"

    def _forgets(self, host: MapServerHost) -> None:
        self._world.book.forgotten(host)
        for invariant in self._world.invariants:
            invariant.crashed(host)

    def _start(self, host: EtrHost | MapServerHost) -> None:
        host.is_down = False
        host.start()
        self._world.note(f"{host.name} started")
        if isinstance(host, MapServerHost):
            for invariant in self._world.invariants:
                invariant.started(host)

    def on_restart_etr(self, lasts: float, which: float, *_: float) -> str | None:
        """An ETR is stopped in order, and started again."""
        return self._restart(pick(which, self._world.etrs), lasts)

    def on_restart_map_server(self, lasts: float, which: float, *_: float) -> str | None:
        """The same for a Map-Server, which takes leave of its ETRs."""
        return self._restart(pick(which, self._world.servers), lasts)

    def _restart(self, host: EtrHost | MapServerHost, lasts: float) -> str | None:
        if host.is_down or host.service is None or host.machine.was_late(host.machine.timeline.now):
            return None
        host.is_down = True
        host.has_stopped = False
        host.service.stopService().addCallback(lambda _: self._has_stopped(host))
        after, life = self._world.timeline.after, host.machine.life
        after(lasts, self._restarted, host)
        after(_STOPPED_WITHIN, self._must_have_stopped, host, life)
        return f"{host.name} stopped for {lasts:g} s"

    def _has_stopped(self, host: EtrHost | MapServerHost) -> None:
        host.has_stopped = True
        self._world.note(f"{host.name} has stopped")

    def _must_have_stopped(self, host: EtrHost | MapServerHost, life: int) -> None:
        since = self._world.timeline.now - _STOPPED_WITHIN
        is_another = host.machine.life != life or host.machine.was_late(since)
        if not host.has_stopped and not is_another:
            self._world.fail("StopsInTime", f"{host.name} goes on after {_STOPPED_WITHIN:g} s")

    def _restarted(self, host: EtrHost | MapServerHost) -> None:
        if isinstance(host, MapServerHost):
            self._forgets(host)
        host.crash(is_power_cut=False)
        self._start(host)

    def on_clear(self, _: float, which: float, link: float, *__: float) -> str | None:
        """An operator closes a session."""
        etr = pick(which, self._world.etrs)
        if not etr.is_running or etr.service is None:
            return None
        one = pick(link, etr.service.links)
        return f"{etr.name} with {one.name}" if one.clear() else None

    # Configurations

    def reload(self, host: MapServerHost) -> None:
        """Have a Map-Server read its configuration."""
        for invariant in self._world.invariants:
            invariant.reconfigured(host)
        host.reload()

    def allow(self, host: MapServerHost, site: str, prefix: str) -> None:
        """Give a site an EID-prefix back."""
        host.prefixes[site].append(prefix)
        self.reload(host)

    def next_key(self) -> int:
        """Return the number of a key that no site has had."""
        self._key += 1
        return self._key

    def add_key(self, site: str, key: int) -> None:
        """Have every Map-Server take another key too."""
        for host in self._world.servers:
            host.keys[site].append(key)
            self.reload(host)

    def drop_keys(self, site: str, key: int) -> None:
        """Have every Map-Server take no older keys."""
        for host in self._world.servers:
            host.keys[site] = [one for one in host.keys[site] if one >= key]
            self.reload(host)

    def rekey(self, etr: EtrHost, key: int) -> None:
        """Give an ETR another key, for which it must be restarted."""
        etr.key = max(etr.key, key)
        self._world.note(f"{etr.name} has key {etr.key}")
        if not etr.is_down:
            self.crash(etr, 0.5, is_power_cut=False)
