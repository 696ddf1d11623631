"""What operators do and what goes wrong, one method each. Everything ends after a while by itself.

The first number of an event is how long it lasts, in seconds; the others say whom it befalls and
how, each between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulate.attacker import Attacker
from tests.simulate.hosts import PREFIXES, site_of
from tests.simulate.machine import Machine
from tests.simulate.network import Weather
from tests.simulate.operators import Operators
from tests.simulate.picking import pick
from tests.simulate.schedule import Event
from tests.simulate.streams import End, Stream

if TYPE_CHECKING:
    from tests.simulate.world import World

__all__ = ["Troubles"]

_STEPS = (-86_400.0, -3600.0, -60.0, -1.0, 1.0, 60.0, 3600.0, 86_400.0)


class Troubles:
    """Bring about the events of a plan."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._weathers: list[Weather] = []
        self._attacker = Attacker(world)
        self._operators = Operators(world)

    def happen(self, event: Event) -> str:
        """Bring about one event; return what it came to."""
        name = event.name.replace(" ", "_").replace("-", "_")
        for one in (self, self._operators, self._attacker):
            act: Callable[..., str | None] | None = getattr(one, f"on_{name}", None)
            if act is not None:
                what = act(*event.numbers)
                if what is None:
                    return "nothing"
                self._world.counters[f"event: {event.name}"] += 1
                self._world.note(f"{event.name}: {what}")
                return what
        raise AssertionError(f"nobody brings about {event}")

    def _after(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        self._world.timeline.after(seconds, function, *args)

    def _stream(self, number: float) -> Stream | None:
        streams = [one for one in self._world.network.streams if one.client.connected]
        return pick(number, streams) if streams else None

    # The network

    def on_weather(self, lasts: float, loss: float, double: float, late: float, _: float) -> str:
        """Datagrams are lost, doubled and delayed, by chance."""
        weather = Weather(0.6 * loss, 0.4 * double, pick(late, (0.0, 0.2, 1.0, 5.0)))
        self._weathers.append(weather)
        self._set_weather()
        self._after(lasts, self._weather_ends, weather)
        return f"{weather} for {lasts:g} s"

    def _weather_ends(self, weather: Weather) -> None:
        self._weathers = [one for one in self._weathers if one is not weather]
        self._set_weather()

    def _set_weather(self) -> None:
        worst = self._weathers or [Weather()]
        self._world.network.weather = Weather(
            max(one.loss for one in worst),
            max(one.duplication for one in worst),
            max(one.delay for one in worst),
        )

    def on_partition(self, lasts: float, who: float, server: float, way: float, _: float) -> str:
        """Nothing passes between two machines, in one direction or both."""
        world, network = self._world, self._world.network
        one = pick(who, [*world.etrs, *world.itrs]).name
        other = pick(server, world.servers).name
        ways = pick(way, ([(one, other)], [(other, one)], [(one, other), (other, one)]))
        for source, to in ways:
            network.close_path(source, to)
            self._after(lasts, network.open_path, source, to)
        return f"{ways} for {lasts:g} s"

    def on_cut(self, _: float, which: float, side: float, __: float, ___: float) -> str | None:
        """A connection is reset."""
        stream = self._stream(which)
        if stream is None:
            return None
        end = pick(side, (stream.client, stream.server))
        end.reset()
        return f"at {end.machine.name}, with {end.other.machine.name}"

    def on_half_open(
        self, _: float, which: float, __: float, ___: float, ____: float
    ) -> str | None:
        """Nothing of a connection arrives any more, as when a NAT has forgotten it."""
        return self._block(which, lambda stream: (stream.client, stream.server))

    def on_one_way_stream(
        self, _: float, which: float, side: float, __: float, ___: float
    ) -> str | None:
        """A connection works in one direction only."""
        return self._block(which, lambda stream: (pick(side, (stream.client, stream.server)),))

    def _block(self, which: float, ends: Callable[[Stream], tuple[End, ...]]) -> str | None:
        stream = self._stream(which)
        if stream is None:
            return None
        blocked = ends(stream)
        stream.blocked.update(blocked)
        stream.check()
        names = [end.machine.name for end in blocked]
        return f"nothing from {names}, {stream.client.machine.name} - {stream.server.machine.name}"

    def on_deaf(self, lasts: float, which: float, side: float, _: float, __: float) -> str | None:
        """One end does not read."""
        stream = self._stream(which)
        if stream is None:
            return None
        end = pick(side, (stream.client, stream.server))
        end.is_deaf = True
        self._after(lasts, self._hears_again, end)
        return f"{end.machine.name} does not read from {end.other.machine.name} for {lasts:g} s"

    def _hears_again(self, end: End) -> None:
        end.is_deaf = False
        end.reset_reading()

    def on_refuse(self, lasts: float, which: float, _: float, __: float, ___: float) -> str:
        """A Map-Server's host answers connections with a reset."""
        name = pick(which, self._world.servers).name
        self._world.network.refusing[name] += 1
        self._after(lasts, self._refuses_no_more, name)
        return f"{name} refuses connections for {lasts:g} s"

    def _refuses_no_more(self, name: str) -> None:
        self._world.network.refusing[name] -= 1

    # Machines

    def on_crash_map_server(
        self, lasts: float, which: float, how: float, _: float, __: float
    ) -> str | None:
        """A Map-Server is killed, or its host has no power."""
        host = pick(which, self._world.servers)
        return self._operators.crash(host, lasts, is_power_cut=how < 0.5)

    def on_crash_etr(
        self, lasts: float, which: float, how: float, _: float, __: float
    ) -> str | None:
        """The same for an ETR."""
        host = pick(which, self._world.etrs)
        return self._operators.crash(host, lasts, is_power_cut=how < 0.5)

    def on_stall(self, lasts: float, which: float, _: float, __: float, ___: float) -> str:
        """A machine stands still for a while."""
        machine = self._machine(which)
        machine.stall(lasts)
        return f"{machine.name} for {lasts:g} s"

    def on_clock(self, _: float, which: float, step: float, __: float, ___: float) -> str:
        """A wall clock is set."""
        machine, seconds = self._machine(which), pick(step, _STEPS)
        machine.step_clock(seconds, moves_timers=self._world.steps_timers)
        return f"{machine.name} by {seconds:g} s"

    def _machine(self, which: float) -> Machine:
        return pick(which, [*self._world.servers, *self._world.etrs]).machine

    # What an operator's change brings

    def on_roam(self, lasts: float, which: float, to: float, how: float, _: float) -> str | None:
        """An ETR gets another address."""
        host = pick(which, self._world.etrs)
        if host.is_down:
            return None
        address = f"198.51.100.{host.number + 10 * (1 + int(to * 20))}"
        text = self._operators.crash(host, min(lasts, 30.0), is_power_cut=how < 0.5)
        self._world.network.readdress(host.machine, address)
        return f"{text}, at {address} from then on"

    def on_rotate(self, lasts: float, which: float, _: float, __: float, ___: float) -> str:
        """A site gets another key: Map-Servers take both for a while."""
        site = pick(which, tuple(PREFIXES))
        new = self._operators.next_key()
        self._operators.add_key(site, new)
        for etr in self._world.etrs:
            if site_of(etr.number) == site:
                self._after(lasts * (1 + etr.number / 10) / 3, self._operators.rekey, etr, new)
        self._after(lasts, self._operators.drop_keys, site, new)
        return f"{site} from key {new - 1} to {new} in {lasts:g} s"

    def on_policy(
        self, lasts: float, which: float, where: float, prefix: float, _: float
    ) -> str | None:
        """A Map-Server has an EID-prefix of a site no longer, for a while."""
        host = pick(which, self._world.servers)
        site = pick(where, tuple(PREFIXES))
        text = pick(prefix, PREFIXES[site])
        if text not in host.prefixes[site]:
            return None
        host.prefixes[site].remove(text)
        self._operators.reload(host)
        self._after(lasts, self._operators.allow, host, site, text)
        return f"{host.name} is without {text} of {site} for {lasts:g} s"
