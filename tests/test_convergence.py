"""Both roles back to back under a random schedule of events and losses (hypothesis, virtual time).

Whatever happens: once faults stop, the Map-Server holds exactly what the ETRs mean to register and
policy allows; and at no time is a registration without a live session or a running clock.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lispmsrt.control.etr import MAX_NONCES, EtrTimers, SessionMode
from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.mapping.sites import Site, SitePrefix, Sites
from lispmsrt.session.base import SessionState
from lispmsrt.session.limits import SessionLimits
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.authentication import AlgorithmId, Key
from lispmsrt.wire.records import Locator, MappingRecord
from tests.simulation import KEEPALIVE, EtrHost, Network, ServerHost, Table

_LONG = bool(os.environ.get("LISPMSRT_LONG"))
_EXAMPLES = 3000 if _LONG else 300
_STEPS = 80 if _LONG else 40

_EXPIRY = 180.0 + 1.0
_BACK_OFF = 60.0 * 1.25
_PERIOD = 60.0
_PROBATION = 30.0
_BOUND = KEEPALIVE + _BACK_OFF + 2 * _PERIOD + _PROBATION + _EXPIRY
"""Seconds: a dead connection is noticed, the longest wait ends, UDP authenticates anew (its first
try may be the one that the ETR sent before the fault was over), the session registers, and what
nobody confirmed expires.
"""

_LIMITS = SessionLimits(window=3, max_output=300)
_TIMERS = EtrTimers(max_unanswered=4)
_KEYS = tuple(Key(number, AlgorithmId.HMAC_SHA_256_128, b"secret %d" % number) for number in (1, 2))
_PREFIXES = ("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")
_EIDS = ("10.1.1.0/24", "10.1.2.0/24", "10.1.0.0/16", "10.2.1.0/24", "10.2.2.0/24", "10.3.1.0/24")
_OTHER_EIDS = ("10.2.200.0/24", "10.3.200.0/24")


_Step = tuple[Any, ...]
"""What happens, and numbers that say how: so that schedules shrink, and can be pasted into code."""


def _step(name: str, *arguments: st.SearchStrategy[int]) -> st.SearchStrategy[_Step]:
    return st.tuples(st.just(name), *arguments)


_flag = st.integers(0, 1)
_small = st.integers(0, 5)
_steps = st.lists(
    st.one_of(
        _step("nothing"),  # what the others shrink to
        _step("register", _flag, st.integers(0, len(_EIDS) - 1), _small),
        _step("withdraw", _flag, st.integers(0, len(_EIDS) - 1)),
        _step("deliver", _small),
        _step("lose", _small),
        _step("duplicate", _small),
        _step("delay", _small),
        _step("release"),
        _step("weather", _flag, _flag, _flag),
        _step("chunks", st.sampled_from((1, 2, 7, 30, 100, 1 << 20))),
        _step("stream", st.integers(0, 200), st.integers(0, 200)),
        _step("cut", _small, st.integers(0, 200), _flag, _flag),
        _step("close", _flag),
        _step("settle"),
        _step("restart_server", _flag),
        _step("restart_etr", _flag, _flag),
        _step("prefixes", st.integers(1, 7)),
        _step("server_keys", st.integers(1, 3)),
        _step("etr_key", _flag, _flag),
        _step("run", st.sampled_from((1, 3, 10, 16, 31, 61, 100, 181, 400))),
    ),
    min_size=_STEPS // 2,
    max_size=_STEPS,
)
_start = st.tuples(st.integers(0, 3), st.booleans())


class _World:
    """A Map-Server with one site, and two ETRs of it."""

    def __init__(self, start: tuple[int, bool], mode: SessionMode = SessionMode.AUTO) -> None:
        seed, is_warm = start
        self.prefixes = 7
        self.server_keys = 3
        self.server = ServerHost(self._sites(), _LIMITS)
        self.etrs = [
            EtrHost(
                bytes((192, 0, 2, number)),
                _KEYS[0],
                bytes(15) + bytes((number,)) + bytes(8),
                seed=seed + number,
                mode=mode,
                timers=_TIMERS,
                limits=_LIMITS,
            )
            for number in (1, 2)
        ]
        self.network = Network(self.server, self.etrs)
        if is_warm:
            for number in range(5):
                self._do_register(0, number, 1)
                self._do_register(1, number, 1)
            self._do_run(70)

    def _sites(self) -> Sites:
        keys = tuple(key for bit, key in enumerate(_KEYS) if self.server_keys >> bit & 1)
        site = Site("campus", keys)
        return Sites(
            SitePrefix.of(site, EidPrefix.from_text(text), True)
            for bit, text in enumerate(_PREFIXES)
            if self.prefixes >> bit & 1
        )

    # Steps

    def perform(self, step: _Step) -> None:
        """Do one step, and look whether everything is as it must always be."""
        getattr(self, f"_do_{step[0]}")(*step[1:])
        self.network.collect()
        self.check()

    def _do_nothing(self) -> None:
        pass

    def _do_register(self, who: int, which: int, priority: int) -> None:
        eid = EidPrefix.from_text((_EIDS, _OTHER_EIDS)[who][which % (len(_EIDS), 2)[who]])
        locators = tuple(
            Locator(Address.from_text(f"192.0.2.{1 + number}"), priority)
            for number in range(1 + 8 * (priority == 5))
        )
        self.etrs[who].register(MappingRecord(eid, 1440, locators))

    def _do_withdraw(self, who: int, which: int) -> None:
        text = (_EIDS, _OTHER_EIDS)[who][which % (len(_EIDS), 2)[who]]
        self.etrs[who].withdraw(EidPrefix.from_text(text))

    def _do_deliver(self, index: int) -> None:
        self.network.deliver_datagram(index)

    def _do_lose(self, index: int) -> None:
        self.network.lose(index)

    def _do_duplicate(self, index: int) -> None:
        self.network.duplicate(index)

    def _do_delay(self, index: int) -> None:
        self.network.delay(index)

    def _do_release(self) -> None:
        self.network.release()

    def _do_weather(self, to_server: int, to_etr: int, unreachable: int) -> None:
        self.network.loses_to_server = bool(to_server)
        self.network.loses_to_etr = bool(to_etr)
        self.network.is_reachable = not unreachable

    def _do_chunks(self, octets: int) -> None:
        self.network.chunk = octets

    def _do_stream(self, to_server: int, to_etr: int) -> None:
        for stream in self.network.streams:
            stream.deliver_to_server(to_server, self.network.now)
            stream.deliver_to_etr(to_etr, self.network.now)

    def _do_cut(self, index: int, octets: int, etr_notices: int, server_notices: int) -> None:
        self.network.cut(
            index, octets, etr_notices=bool(etr_notices), server_notices=bool(server_notices)
        )

    def _do_close(self, who: int) -> None:
        self.network.close(self.etrs[who])

    def _do_settle(self) -> None:
        self.network.settle()

    def _do_restart_server(self, etrs_notice: int) -> None:
        self.network.restart_server(etrs_notice=bool(etrs_notice))

    def _do_restart_etr(self, who: int, server_notices: int) -> None:
        self.network.restart_etr(self.etrs[who], server_notices=bool(server_notices))

    def _do_prefixes(self, prefixes: int) -> None:
        self.prefixes = prefixes
        self.server.reload(self._sites(), (), self.network.now)

    def _do_server_keys(self, keys: int) -> None:
        rekeyed = ("campus",) if keys != self.server_keys else ()
        self.server_keys = keys
        self.server.reload(self._sites(), rekeyed, self.network.now)

    def _do_etr_key(self, who: int, which: int) -> None:
        self.etrs[who].rekey(_KEYS[which])

    def _do_run(self, seconds: int) -> None:
        self.network.run(float(seconds), self.check)

    # What must hold

    def check(self) -> None:
        """Look at everything that must hold at every moment."""
        self._check_clocks()
        for etr in self.etrs:
            self._check_etr(etr)
        for stream in self.network.streams:
            assert len(stream.etr._output) <= 50 and len(stream.server._output) <= 50

    def _check_clocks(self) -> None:
        live = {
            session.lease
            for session in self.server.sessions
            if session.state is not SessionState.CLOSED
        }
        clock = self.server.registrar.next_expiry()
        for registration in self.server.registrar.database.registrations():
            assert registration in registration.lease.held
            expires = registration.expires
            if registration.lease.is_live:
                assert registration.lease in live, "held by a session that is gone"
            if not registration.lease.is_live or expires is not None:
                assert expires is not None, "neither a live session nor a clock"
                assert clock is not None and clock <= int(expires) + 1, "its clock does not run"

    def _check_etr(self, etr: EtrHost) -> None:
        registrations, control = etr.registrations, etr.control
        assert registrations.outstanding <= registrations.unanswered
        assert registrations.outstanding <= 2 * etr.limits.window
        assert len(control._nonces) <= MAX_NONCES
        for entry in registrations.entries.values():
            is_idle = entry.state is EtrState.PERIODIC and not registrations.session_is_up
            if is_idle:
                assert entry.over_udp, "neither a session nor UDP"
                assert (
                    entry in registrations.prompt
                    or entry in registrations.resumed
                    or entry in control._scheduled
                ), "its timer does not run"
        meant = {entry.eid for entry in registrations.entries.values()}
        assert len(meant) == len(registrations.entries)
        assert len(registrations) == len(etr.meaning)

    def expected(self) -> Table:
        """Return what the database must hold in the end."""
        table: Table = {}
        for etr in self.etrs:
            if self.server_keys >> _KEYS.index(etr.key) & 1:
                for (instance_id, afi, key), record in etr.expected().items():
                    length = key.bit_length() - 1
                    if self.server.sites.match(instance_id, afi, length, key) is not None:
                        table[instance_id, afi, key] = record
        return table

    def live_through(self, steps: list[_Step]) -> None:
        """Perform steps, stop the faults, and let time heal everything."""
        steps = [step for step in steps if step != ("nothing",)]
        try:
            for step in steps:
                self.perform(step)
            self.stop_faults()
        except Exception as problem:
            problem.add_note(f"after the steps {steps}")
            raise

    def stop_faults(self) -> None:
        """Let time heal everything, and see whether it does."""
        self.network.mend()
        self.network.run(_BOUND, self.check)
        held, expected = self.server.contents(), self.expected()
        assert held == expected, f"held {held}, expected {expected}"

    def check_sessions(self) -> None:
        """Who has something that is welcome has a session by then, and holds all of it there."""
        for registration in self.server.registrar.database.registrations():
            assert registration.lease.is_live and registration.expires is None


_run_settings = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class ConvergenceTests(SynchronousTestCase):
    """Faults, and then none."""

    @_run_settings
    @given(_start, _steps)
    @example(  # a withdrawal's retransmission put the registration that followed to sleep
        (0, True), [("prefixes", 1), ("withdraw", 1, 1), ("close", 1), ("register", 1, 1, 0)]
    )
    def test_the_map_server_ends_up_with_what_the_etrs_mean(
        self, start: tuple[int, bool], steps: list[_Step]
    ) -> None:
        """With sessions."""
        world = _World(start)
        world.live_through(steps)
        world.check_sessions()

    @settings(parent=_run_settings, max_examples=_EXAMPLES // 3)
    @given(_start, _steps)
    @example(  # what is refused took with it whatever shared its datagram, for ever
        (0, True),
        [("prefixes", 2), ("etr_key", 0, 0), *[("run", 1)] * 2, ("run", 3), ("etr_key", 0, 0)],
    )
    def test_it_does_so_over_udp_alone(self, start: tuple[int, bool], steps: list[_Step]) -> None:
        """Without sessions."""
        world = _World(start, SessionMode.OFF)
        world.live_through(steps)
        assert not world.network.streams

    @settings(parent=_run_settings, max_examples=_EXAMPLES // 3)
    @given(_start, _steps)
    def test_it_does_so_with_etrs_that_connect_after_any_map_notify(
        self, start: tuple[int, bool], steps: list[_Step]
    ) -> None:
        """As predecessors of the r bit do."""
        world = _World(start, SessionMode.ALWAYS)
        world.live_through(steps)
        world.check_sessions()
