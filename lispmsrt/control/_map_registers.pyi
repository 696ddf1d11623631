from collections.abc import Hashable

from lispmsrt.control.nonces import History, NonceMemory, SiteMemory
from lispmsrt.mapping._over_udp import LikeRecord, OverUdp
from lispmsrt.mapping.database import Endpoint
from lispmsrt.wire._keyed_hash import KeyedHash

class LikeMapRegister:
    def __init__(
        self,
        record: LikeRecord,
        secret: KeyedHash,
        data: bytes,
        records_at: int,
        who: Hashable,
        address: bytes,
        endpoint: Endpoint,
        answer: bytes | None,
        memory: SiteMemory | None,
        history: History | None,
    ) -> None: ...

class LikeMapRegisters:
    limit: int
    def __init__(self, entries: OverUdp, nonces: NonceMemory, limit: int) -> None: ...
    def __len__(self) -> int: ...
    def remember(self, like: LikeMapRegister, data: bytes, source: Endpoint) -> None: ...
    def take_run(
        self, batch: list[tuple[bytes, Endpoint]], first: int, now: float
    ) -> tuple[int, list[tuple[bytes, Endpoint]]]: ...
