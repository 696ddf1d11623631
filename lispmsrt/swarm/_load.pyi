from lispmsrt.swarm.load import Answers, Load
from lispmsrt.swarm.templates import Template
from lispmsrt.wire.authentication import Key

class LoadKernel:
    def __init__(self, load: Load, key: Key) -> None: ...
    def write_registrations(
        self,
        template: Template,
        first: int,
        last: int,
        only: int,
        nonce: int,
        message_id: int,
        now: int,
        room: int,
    ) -> tuple[bytes, int, int]: ...
    def write_map_register(
        self,
        template: Template,
        first: int,
        last: int,
        only: int,
        nonce: int,
        now: int,
        limit: int,
    ) -> tuple[bytes, int, int]: ...
    def read_answers(self, data: bytes, at: int, etr: int, now: int) -> Answers: ...
    def settle(self, etr: int, first: int, last: int, sent: int, now: int) -> int: ...
    def vouches_for(self, notify: bytes) -> bool: ...
