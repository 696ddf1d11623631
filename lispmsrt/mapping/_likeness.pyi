from lispmsrt.mapping.likeness import Likenesses
from lispmsrt.mapping.new_mappings import Stretch
from lispmsrt.mapping.runs import Run
from lispmsrt.mapping.sites import Sites

def take(
    likenesses: Likenesses, sites: Sites, run: Run, room: int
) -> tuple[int, bytes, list[Stretch]]: ...
