from collections import Counter
from collections.abc import Callable

from lispmsrt.control.plane import Datagram
from lispmsrt.control.questions import Questions
from lispmsrt.control.request_limits import Outgoing
from lispmsrt.mapping.database import EidTable
from lispmsrt.mapping.sites import Sites

class Runs:
    def __init__(
        self,
        tables: dict[tuple[int, int], EidTable],
        sites: Callable[[], Sites],
        questions: Questions,
        answered: Counter[str],
        outgoing: Outgoing,
        passes_on: bool,
    ) -> None: ...
    def receive_run(self, batch: list[Datagram], first: int, now: float) -> int: ...
