from lispmsrt.mapping.credentials import Credentials
from lispmsrt.mapping.etr_queue import EtrQueue
from lispmsrt.mapping.etr_registration import EtrRegistration

def write_registrations(
    due: EtrQueue, credentials: Credentials, message_id: int, room: int, most: int
) -> tuple[bytes, int]: ...
def take_acks(
    entries: dict[bytes, EtrRegistration],
    prompt: EtrQueue,
    chunk: bytes,
    start: int,
    most: int,
) -> int: ...
