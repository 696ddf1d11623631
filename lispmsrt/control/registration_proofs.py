"""Whether a Map-Register may be looked at, before it is: nothing in it proves anything but the MAC
(RFC 9301 §5.6), and that costs a hash.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from lispmsrt.control.arming import normalised
from lispmsrt.control.nonces import NonceMemory
from lispmsrt.control.unproven import Excess, Unproven, hash_work, network
from lispmsrt.mapping.database import Endpoint, Lease, Xtr
from lispmsrt.mapping.policy import site_of
from lispmsrt.mapping.sites import Site, Sites
from lispmsrt.wire.authentication import Key
from lispmsrt.wire.map_register import MapRegisterSpan

__all__ = ["MAX_ADDRESSES", "KnowsXtrs", "RegistrationProofs"]

MAX_ADDRESSES = 65_536
"""xTRs of which is remembered where they are: some 20 MB. Of one that is forgotten, or was not
heard since the process began, any address may be its own.
"""

_Xtr = tuple[str, bytes, bytes]
"""Equal to an :class:`Xtr`, and made in a fifth of the time."""


class KnowsXtrs(Protocol):
    """Knows who may register, and who has."""

    @property
    def sites(self) -> Sites:
        """The configured sites in force."""

    def lease_over_udp(self, xtr: Xtr) -> Lease | None:
        """Return what the xTR holds over UDP."""


class RegistrationProofs:
    """Know what Map-Registers claim, and have those pay that prove nothing."""

    def __init__(self, registrar: KnowsXtrs, nonces: NonceMemory, unproven: Unproven) -> None:
        self._registrar = registrar
        self._nonces = nonces
        self._unproven = unproven
        # OrderedDict: a plain dict walks over all it has lost to find its first.
        self._addresses: OrderedDict[_Xtr, bytes] = OrderedDict()
        "where xTRs with IDs have proven themselves last"

    def excess(
        self, data: bytes, register: MapRegisterSpan, source: Endpoint, now: float
    ) -> Excess | None:
        """Return the limit that forbids to look for a proof, None where there is none."""
        if not self._unproven.is_wary(now):
            return None
        payer = network(source[0])
        excess = self._unproven.excess(payer, None, now)
        if excess is None and not self._unproven.is_wary_of_xtrs(now):
            return None  # whoever it is
        site = site_of(self._registrar.sites, register[5])
        xtr = self._claimed(site, data, register, source) if site is not None else None
        return excess if xtr is None else self._unproven.excess(payer, xtr, now)

    def failed(self, data: bytes, register: MapRegisterSpan, source: Endpoint, now: float) -> None:
        """Have a Map-Register paid for that is wrong, or a repeat."""
        site = site_of(self._registrar.sites, register[5])
        xtr, hashes = None, 0
        if site is not None:
            xtr = self._claimed(site, data, register, source)
            for key in site.keys:
                if _may_be_by(key, register) and key.accepts_length(register[4]):
                    # The MAC may end with the records, or with the message: both are tried.
                    hashes += 2 if register[6] != len(data) else 1
        self._unproven.failed(network(source[0]), xtr, hash_work(hashes, len(data)), now)

    def proved(self, xtr: Xtr, source: Endpoint) -> None:
        """Take note of where an xTR is."""
        if xtr.ids:
            self._addresses[xtr] = normalised(source[0])
            self._addresses.move_to_end(xtr)
            if len(self._addresses) > MAX_ADDRESSES:
                self._addresses.popitem(last=False)

    def _claimed(
        self, site: Site, data: bytes, register: MapRegisterSpan, source: Endpoint
    ) -> _Xtr | None:
        """Return the known xTR of which this may be a new message, from where it is."""
        name, ids, nonce = site.name, data[register[6] :], register[1]
        address = normalised(source[0])
        by_address = (name, b"", address)
        # IDs that no MAC covers are nobody's.
        candidates = [(name, ids, b""), by_address] if ids else [by_address]
        # From elsewhere it is a stranger's: else who knows the IDs could shut the xTR out.
        candidates = [xtr for xtr in candidates if self._addresses.get(xtr, address) == address]
        is_seen = False
        for key in site.keys:
            if _may_be_by(key, register):
                for xtr in candidates:
                    is_new = self._nonces.knows(name, (xtr, key.fingerprint), nonce)
                    if is_new:
                        return xtr
                    is_seen = is_seen or is_new is not None
        if not is_seen:
            # Without a check of nonces nothing is seen of anybody, and of too many some are
            # forgotten.
            for xtr in candidates:
                if self._registrar.lease_over_udp(Xtr(*xtr)) is not None:
                    return xtr
        return None


def _may_be_by(key: Key, register: MapRegisterSpan) -> bool:
    return key.key_id == register[2] and key.algorithm_id == register[3]
