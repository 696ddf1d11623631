"""Which Map-Registers are ordinary, so that those that come like them can be taken at the speed of
C (:mod:`lispmsrt.control._map_registers`).

Policy stays where it is: only what :mod:`lispmsrt.control.map_server` has accepted, whole and the
long way, is remembered here. Where nothing is compiled nothing is remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lispmsrt.compiled import twin
from lispmsrt.control.nonces import NonceCheck, NonceMemory
from lispmsrt.mapping.database import Database, Endpoint, Lease, Xtr
from lispmsrt.mapping.interfaces import RegistersOverUdp
from lispmsrt.mapping.over_udp import like_record
from lispmsrt.mapping.sites import Sites
from lispmsrt.mapping.verdicts import Identity
from lispmsrt.wire.authentication import Coverage
from lispmsrt.wire.map_register import MapRegisterSpan, RegisterFlag

if TYPE_CHECKING:
    from lispmsrt.mapping._over_udp import OverUdp

__all__ = ["MAX_KINDS", "OrdinaryMapRegisters", "RunsOverUdp"]

MAX_KINDS = 65_536
"""Kinds of Map-Register that are remembered, by source, xTR and size: some 70 MB. The oldest make
room; theirs go the long way once, and are the newest then.
"""

# These arm, last for as long as they say, and change what others have registered.
_EXTRAORDINARY = RegisterFlag.RELIABLE_TRANSPORT | RegisterFlag.USE_TTL | RegisterFlag.MERGE
_WHOLE_MESSAGE = Coverage.WHOLE_MESSAGE

_compiled = twin("lispmsrt.control._map_registers")


class RunsOverUdp(RegistersOverUdp, Protocol):
    """Registers Map-Registers one by one, and in runs."""

    database: Database

    @property
    def sites(self) -> Sites:
        """The configured sites in force."""

    def lease_over_udp(self, xtr: Xtr) -> Lease | None:
        """Return what the xTR holds over UDP."""

    def entries_over_udp(self) -> OverUdp | None:
        """Return what enters runs; None where nothing is compiled."""


class OrdinaryMapRegisters:
    """What Map-Registers looked like that were accepted, and runs of their like."""

    def __init__(self, registrar: RunsOverUdp, nonces: NonceMemory) -> None:
        self._registrar = registrar
        self._nonces = nonces
        entries = registrar.entries_over_udp() if _compiled is not None else None
        self._known = (
            _compiled.LikeMapRegisters(entries, nonces, MAX_KINDS)
            if _compiled is not None and entries is not None
            else None
        )

    def take_run(
        self, batch: list[tuple[bytes, Endpoint]], first: int, now: float
    ) -> tuple[int, list[tuple[bytes, Endpoint]]]:
        """Take datagrams from ``batch[first]`` on, as long as each is like one that was accepted.

        Returns how many, and the Map-Notifies. The first that differs in any way, and whatever is
        wrong, is left alone.
        """
        return self._known.take_run(batch, first, now) if self._known is not None else (0, [])

    def remember(
        self,
        data: bytes,
        register: MapRegisterSpan,
        identity: Identity,
        xtr: Xtr,
        source: Endpoint,
        notify: bytes | None,
    ) -> None:
        """Take the next ones that come like this one, unless it is out of the ordinary.

        All its records were accepted, and ``notify`` answers it; it has armed nobody.
        """
        word, _nonce, _key_id, _algorithm_id, length, records, records_end = register
        key, record = identity.key, records[0]
        lease = self._registrar.lease_over_udp(xtr)
        if (
            self._known is None
            or lease is None
            or lease.path is None
            or word & _EXTRAORDINARY
            or identity.coverage is not _WHOLE_MESSAGE
            or not key.is_plain
            or length != key.digest_size
            or records_end - record[0] != len(records) * (record[7] - record[0])
        ):
            return
        sites, database = self._registrar.sites, self._registrar.database
        like = like_record(sites, database, lease, data, record)
        if like is None:
            return
        who = (xtr, key.fingerprint)
        # Without a check nothing is remembered of anybody.
        is_checked = self._nonces.check is not NonceCheck.OFF
        memory = self._nonces.memory(xtr.site) if is_checked else None
        assert _compiled is not None
        kind = _compiled.LikeMapRegister(
            like,
            key.keyed_hash,
            data,
            record[0],
            who,
            xtr.address,
            lease.path.endpoint,
            notify[:4] if notify is not None else None,
            memory,
            memory.histories.get(who) if memory is not None else None,
        )
        self._known.remember(kind, data, source)
