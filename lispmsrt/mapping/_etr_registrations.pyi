from lispmsrt.mapping.etr_queue import EtrQueue as EtrQueue
from lispmsrt.mapping.etr_registration import EtrRegistration as EtrRegistration
from lispmsrt.mapping.etr_registrations import EtrRegistrations
from lispmsrt.wire.records import MappingRecord

class Model:
    def __init__(self, record: MappingRecord, eid: bytes, wire: bytes) -> None: ...

def session_up(entries: dict[bytes, EtrRegistration], states: list[int]) -> None: ...
def session_down(
    entries: dict[bytes, EtrRegistration],
    states: list[int],
    prompt: EtrQueue,
    resumed: dict[EtrRegistration, None],
) -> None: ...
def refresh_everything(
    entries: dict[bytes, EtrRegistration], states: list[int], due: EtrQueue
) -> None: ...
def register_like(
    model: Model, registrations: EtrRegistrations, record: MappingRecord, awaited: bool
) -> bytes | None: ...
