from lispmsrt.mapping.database import EidTable, Lease
from lispmsrt.mapping.over_udp import EntersRuns
from lispmsrt.mapping.sites import SitePrefix, Sites
from lispmsrt.mapping.soft_state import SoftState

class LikeRecord:
    def __init__(
        self,
        sites: Sites,
        prefix: SitePrefix,
        lease: Lease,
        table: EidTable,
        flags: int,
        record: bytes,
        address_at: int,
        octets: int,
    ) -> None: ...

class OverUdp:
    def __init__(self, registrar: EntersRuns, soft_state: SoftState) -> None: ...
