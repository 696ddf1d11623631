from collections.abc import Sequence

from lispmsrt.mapping.new_mappings import Stretch

def under_others(new: Stretch) -> Sequence[int] | None: ...
