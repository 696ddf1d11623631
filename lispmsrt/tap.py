"""``twistd lispmsrt``: the one place that builds everything from a file and meets the reactor and
its signals.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorUNIX
from twisted.logger import Logger
from twisted.python import usage

from lispmsrt.clock import MonotonicClock
from lispmsrt.config import Config, ConfigError, ManagementConfig, load
from lispmsrt.config.secret_files import exposure, has_secrets
from lispmsrt.identity import StateError
from lispmsrt.services.etr import Etr
from lispmsrt.services.listening import ListenError
from lispmsrt.services.map_resolver import MapResolverService
from lispmsrt.services.map_server import MapServer
from lispmsrt.services.operations import Operations
from lispmsrt.services.process_limits import (
    allow_descriptors,
    descriptors_needed,
    forbid_core_dumps,
)
from lispmsrt.services.systemd import SystemdNotifier
from lispmsrt.views.node import NodeViews
from lispmsrt.web.management import Management

__all__ = ["Options", "makeService", "tune_garbage_collector"]

_STOPPING = (signal.SIGTERM, signal.SIGINT)
"""What has Twisted stop the reactor."""

_log = Logger()


class Options(usage.Options):
    """Command-line options of the plugin."""

    optParameters = [  # noqa: RUF012
        [
            "config",
            "c",
            None,
            "The configuration file (TOML): [map-server], [map-resolver] and [etr] are the roles.",
        ]
    ]

    def postOptions(self) -> None:
        """Refuse a wrong configuration before anything is started."""
        if self["config"] is None:
            raise usage.UsageError("--config FILE is missing")
        try:
            self.config = load(self["config"])
        except ConfigError as failure:
            raise usage.UsageError(str(failure)) from None
        # A daemon changes its directory, and reads the file again on SIGHUP.
        self["config"] = os.path.abspath(self["config"])


class Node(MultiService):
    """The roles that the file configures, over one reactor; reads it again on SIGHUP."""

    _log = Logger()

    def __init__(self, path: str, config: Config, reactor: Any) -> None:
        super().__init__()
        self._path = path
        self._config = config
        self._reactor = reactor
        self._needs_restart: tuple[str, ...] = ()
        "sections of the file that have changed since the start"
        self._earlier_handler: Any = None
        clock = MonotonicClock(reactor)
        self.map_server: MapServer | None = None
        self.etr: Etr | None = None
        self.map_resolver: MapResolverService | None = None
        if config.map_server is not None:
            self.map_server = MapServer(
                config.map_server,
                config.site,
                reactor,
                clock,
                resolver=config.map_resolver,
                is_daemon=True,
            )
            self.map_server.setServiceParent(self)
        elif config.map_resolver is not None:
            self.map_resolver = MapResolverService(config.map_resolver, reactor, clock)
            self.map_resolver.setServiceParent(self)
        if config.etr is not None:
            self.etr = Etr(config.etr, reactor, clock)
            self.etr.setServiceParent(self)
        self.views = NodeViews.of(self.map_server, self.etr, self.map_resolver)
        self.management = self._make_management(config.management)
        # Last: only when all the others run, the node is ready.
        self._systemd = SystemdNotifier(clock, self._status)
        self._systemd.setServiceParent(self)

    def _make_management(self, config: ManagementConfig | None) -> Management | None:
        """Return the management endpoint; where nothing is said of one, that is a Unix socket."""
        if config is None and not IReactorUNIX.providedBy(self._reactor):
            return None
        management = Management(
            config or ManagementConfig(),
            self.views,
            Operations(self.map_server, self.etr, self.reload, lambda: self._needs_restart),
            self._reactor,
            is_optional=config is None,
        )
        management.setServiceParent(self)
        return management

    def _status(self) -> str:
        """Return one line for ``systemctl status``."""
        overview = self.views.overview()
        return (
            f"{', '.join(overview.roles)}: {overview.registrations} registrations,"
            f" {overview.established_sessions} sessions"
        )

    def startService(self) -> None:
        """Start the roles; what can't be opened ends the process with one sentence."""
        try:
            super().startService()
        except (ListenError, StateError) as failure:
            # Twice: a daemon has no stderr any more.
            self._log.critical("can't start: {reason}", reason=failure)
            sys.exit(f"lispmsrt: {failure}")
        self._earlier_handler = signal.signal(signal.SIGHUP, self._on_signal)

    def stopService(self) -> Deferred[Any]:
        """Stop the roles; fires when nothing is left open."""
        signal.signal(signal.SIGHUP, self._earlier_handler or signal.SIG_DFL)
        handlers = {number: signal.signal(number, self._on_second_stop) for number in _STOPPING}
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(_give_back, handlers)

    def _on_signal(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reload_and_log)

    def _on_second_stop(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._leave)

    def _leave(self) -> None:
        """Somebody does not want to wait: whatever is still open the kernel closes."""
        sessions = len(self.map_server.sessions) if self.map_server is not None else 0
        self._log.warn(
            "told to stop once more: leaving at once, with {sessions} sessions not closed",
            sessions=sessions,
        )
        self._reactor.crash()

    def reload(self) -> Deferred[None] | None:
        """Read the file again. ConfigError leaves everything as it is."""
        config = load(self._path)
        if self.map_server is not None and config.map_server is None:
            raise ConfigError(self._path, ["[map-server] is gone from it: that needs a restart"])
        if self.management is not None:
            try:
                self.management.access.read_token()
            except ValueError as failure:
                raise ConfigError(self._path, [str(failure)]) from None
        self._needs_restart = _changed(self._config, config)
        if self._needs_restart:
            self._log.warn(
                "{path}: only sites and keys are reloaded; what has changed in {sections} needs a"
                " restart",
                path=self._path,
                sections=", ".join(f"[{name}]" for name in self._needs_restart),
            )
        if self.map_server is None or config.map_server is None:
            return None
        return self.map_server.reload(config.site)

    def _reload_and_log(self) -> None:
        self._systemd.reloading()
        try:
            done = self.reload()
        except ConfigError as failure:
            reason = "; ".join(failure.mistakes)
            self._log.error(
                "{path} not reloaded, nothing has changed: {reason}", path=self._path, reason=reason
            )
            self._systemd.reloaded()
            return
        if done is None:
            self._log.info(
                "{path}: an ETR and a Map-Resolver read it at their start only; nothing but the"
                " management token was read again",
                path=self._path,
            )
            self._systemd.reloaded()
            return
        done.addCallbacks(
            lambda _: self._log.info("configuration reloaded from {path}", path=self._path),
            lambda failure: self._log.failure("while reloading", failure),
        )
        done.addCallback(lambda _: self._systemd.reloaded())


def _give_back(result: Any, handlers: dict[signal.Signals, Any]) -> Any:
    for number, handler in handlers.items():
        signal.signal(number, handler or signal.SIG_DFL)
    return result


def _changed(earlier: Config, later: Config) -> tuple[str, ...]:
    """Return the sections that differ and are read at the start only."""
    names = ("map_server", "map_resolver", "etr", "management")
    return tuple(
        name.replace("_", "-") for name in names if getattr(earlier, name) != getattr(later, name)
    )


def tune_garbage_collector() -> None:
    """Have the garbage collector look less often at what stays anyway.

    Mappings hold no cycles, and a million of them are looked at again and again while they are
    registered: that took 10 % of the time for each. What sessions leave behind in libraries does
    hold cycles: with rarer collections it would pile up for hours.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 5, 5)


def _allow_sessions(config: Config) -> None:
    """Have descriptors for all sessions that there may be, or say that there are too few."""
    if config.map_server is None:
        return
    needed = descriptors_needed(config.map_server)
    allowed = allow_descriptors(needed)
    if allowed < needed:
        _log.warn(
            "only {allowed} file descriptors are allowed, and max-sessions = {sessions} may need"
            " {needed}: when none is left, connections are reset. Raise ulimit -Hn or"
            " LimitNOFILE=, or lower max-sessions",
            allowed=allowed,
            sessions=config.map_server.max_sessions,
            needed=needed,
        )


def _look_at_mode(path: str, config: Config) -> None:
    """Say that others may read the keys. That is no mistake where the machine has nobody else."""
    with suppress(OSError):
        why = exposure(os.stat(path))
        if why and has_secrets(config):
            _log.warn(
                "{path} has secrets in it, and {why}: chmod 640, or put them into files of their"
                " own (secret-file)",
                path=path,
                why=why,
            )


def makeService(options: Options) -> IService:
    """Build the roles that the file configures."""
    from twisted.internet import reactor

    forbid_core_dumps()
    _allow_sessions(options.config)
    _look_at_mode(options["config"], options.config)

    # Delayed calls too must not care when somebody steps the wall clock.
    setattr(reactor, "seconds", time.monotonic)  # noqa: B010
    tune_garbage_collector()
    try:
        return Node(options["config"], options.config, reactor)
    except (ListenError, StateError) as failure:
        sys.exit(f"lispmsrt: {failure}")
