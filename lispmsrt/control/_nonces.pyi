from collections import OrderedDict

class History:
    seen: OrderedDict[int, None]
    increases: int
    answers: list[tuple[int, object, float, bytes]]
    is_forgotten: bool
    highest: int
    def __init__(self) -> None: ...
