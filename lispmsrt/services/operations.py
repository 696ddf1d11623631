"""What an operator may do to the roles of a process while they run. For embedding, too: it is all
that the management endpoint does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred

from lispmsrt.config import MappingConfig, make_record
from lispmsrt.mapping.etr_registration import UnregistrableError
from lispmsrt.services.etr import Etr
from lispmsrt.services.link import MapServerLink
from lispmsrt.services.map_server import MapServer
from lispmsrt.services.refresh_requests import (
    NotConfiguredError,
    RefreshRequest,
    refresh_sessions,
)
from lispmsrt.services.session_names import canonical, is_number, naming
from lispmsrt.session.base import CloseReason, SessionState
from lispmsrt.session.map_server import MapServerSession
from lispmsrt.wire.addresses import EidPrefix

__all__ = [
    "MAX_MAPPINGS",
    "MAX_WAITING",
    "PATIENCE",
    "NoSuchMappingError",
    "NoSuchSessionError",
    "NotConfiguredError",
    "NotThisRoleError",
    "NothingToReloadError",
    "Operations",
    "RefreshRequest",
    "TooManyError",
    "UnregistrableError",
]

PATIENCE = 30.0
"""Seconds for which a registration or withdrawal waits for the Map-Servers' answers: one of them
may be away for days.
"""

MAX_WAITING = 1024
"""Registrations and withdrawals that wait for their answers at a time, or a client that asks again
and again while a Map-Server is away would fill the memory.
"""

MAX_MAPPINGS = 1_000_000
"""Mappings that an ETR may have while any are added at run time: what it is built for."""


class NotThisRoleError(Exception):
    """The process has not the role that this is for. The text is a sentence."""


class NothingToReloadError(NotThisRoleError):
    """None of the roles of the process reads its configuration again."""


class TooManyError(ValueError):
    """There is no room for more."""


class Operations:
    """The actions of one process."""

    def __init__(
        self,
        map_server: MapServer | None,
        etr: Etr | None,
        reload: Callable[[], Deferred[None] | None] | None = None,
        needs_restart: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """``reload`` reads the configuration file again; ConfigError leaves everything as it is.
        ``needs_restart`` returns the sections of that file that differ from what runs.
        """
        self._map_server = map_server
        self._etr = etr
        self._reload = reload
        self._needs_restart = needs_restart
        self._waiting = 0

    # Sessions

    def clear_sessions(self, text: str) -> int:
        """Close the sessions that a text names: the id of one, the peer's address and port, or its
        address alone for all from there. On an ETR the peer is the Map-Server.

        Returns how many; NoSuchSessionError when there is none. Registrations stay as after any
        lost session, and the ETR authenticates over UDP and connects again.
        """
        server_sessions = list(self._map_server_sessions(text))
        links = [] if server_sessions and is_number(text) else list(self._links(text))
        for session, now in server_sessions:
            session.close(CloseReason.CLEARED, now)
        cleared = len(server_sessions) + sum(link.clear() for link in links)
        if not cleared:
            raise NoSuchSessionError(f"there is no session {text}")
        return cleared

    def _map_server_sessions(self, text: str) -> Iterator[tuple[MapServerSession, float]]:
        if self._map_server is None:
            return
        is_named = naming(text)
        for session, protocol in self._map_server.session_protocols.items():
            is_open = session.state is not SessionState.CLOSED
            if is_open and is_named(session.id, session.peer):
                yield session, protocol.clock.seconds()

    def _links(self, text: str) -> Iterator[MapServerLink]:
        is_named = naming(text)
        for link in self._etr.links if self._etr is not None else ():
            session = link.session
            if session is not None and (
                is_named(session.id, session.peer) or is_named(0, canonical(link.config.address))
            ):
                yield link

    def refresh(self, request: RefreshRequest) -> int:
        """Have ETRs register again, as far as the request says; return how many sessions were
        asked. NotConfiguredError where the configuration has no such site, instance or EID-prefix.
        """
        if self._map_server is None:
            raise NotThisRoleError("this lispmsrt is no Map-Server")
        return refresh_sessions(self._map_server, request)

    # Configuration

    async def _reloaded(self) -> str:
        if self._map_server is None or self._reload is None:
            raise NothingToReloadError(_why_nothing(self._map_server, self._etr))
        await maybeDeferred(self._reload)
        sites = len(self._map_server.registrar.sites.by_name())
        what = f"sites and keys of the Map-Server: {sites} site{'' if sites == 1 else 's'}"
        changed = [f"[{name}]" for name in self._needs_restart()]
        if changed:
            has = "has changed too and needs" if len(changed) == 1 else "have changed too and need"
            what = f"{what}; {' and '.join(changed)} {has} a restart"
        return what

    def reload(self) -> Deferred[str]:
        """Read the configuration file again; fires with what was reloaded, in words, when every
        registration has been judged by it.

        Fails with ConfigError, which leaves everything as it is, and NothingToReloadError.
        """
        return Deferred.fromCoroutine(self._reloaded())

    # Mappings of the ETR

    def register(self, mapping: MappingConfig) -> Deferred[bool]:
        """Register a mapping at every Map-Server, or change it, until the process ends.

        Fires with whether all have acknowledged it; False means that one is silent, or that
        something else was asked for meanwhile: the ETR goes on trying. Fails with
        RegistrationRejected where one refuses: the mapping stays, as a configured one would. After
        UnregistrableError and TooManyError nothing has changed.
        """
        return Deferred.fromCoroutine(self._registered(mapping))

    async def _registered(self, mapping: MappingConfig) -> bool:
        etr = self._need_etr()
        if etr.mapping_count >= MAX_MAPPINGS and not etr.registers(mapping.eid()):
            raise TooManyError(f"the ETR has {etr.mapping_count} mappings; there is no room")
        return await self._acknowledged(lambda: etr.register(make_record(mapping)), etr)

    def withdraw(self, eid_prefix: EidPrefix) -> Deferred[bool]:
        """Withdraw a mapping from every Map-Server. One that is configured comes back when the
        process starts again: to be rid of it, take it out of the file too.

        Fires with whether all know, as :meth:`register` does. Fails with NoSuchMappingError when it
        is not registered, and with TooManyError.
        """
        return Deferred.fromCoroutine(self._withdrawn(eid_prefix))

    async def _withdrawn(self, eid_prefix: EidPrefix) -> bool:
        etr = self._need_etr()
        if not etr.registers(eid_prefix):
            raise NoSuchMappingError(f"{eid_prefix} is not registered")
        return await self._acknowledged(lambda: etr.withdraw(eid_prefix), etr)

    async def _acknowledged(self, act: Callable[[], Deferred[None]], etr: Etr) -> bool:
        """Do it, and wait, but not for ever; tell whether the Map-Servers have acknowledged it."""
        if self._waiting >= MAX_WAITING:
            raise TooManyError(f"{self._waiting} actions wait for their answers; try again later")
        self._waiting += 1
        try:
            await act().addTimeout(PATIENCE, etr.clock)
        except (TimeoutError, CancelledError):
            return False
        finally:
            self._waiting -= 1
        return True

    def _need_etr(self) -> Etr:
        if self._etr is None:
            raise NotThisRoleError("this lispmsrt is no ETR")
        return self._etr


def _why_nothing(map_server: MapServer | None, etr: Etr | None) -> str:
    if map_server is not None:
        return "nothing to reload: this Map-Server was not started from a configuration file"
    if etr is not None:
        return (
            "nothing to reload: an ETR reads its file at the start only; restart it, or register"
            " and withdraw mappings while it runs"
        )
    return "nothing to reload: a Map-Resolver reads its file at the start only; restart it"


class NoSuchSessionError(KeyError):
    """No session has this name. The argument is a sentence."""


class NoSuchMappingError(KeyError):
    """No such EID-prefix is registered. The argument is a sentence."""
