from collections.abc import Sequence

from lispmsrt.mapping._eid_entries import EidEntries

def values_of(entries: EidEntries[object], keys: Sequence[int]) -> list[object]: ...
