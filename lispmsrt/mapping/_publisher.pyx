"""Which new registrations lie under what somebody else has registered: the compiled twin of a part
of :mod:`lispmsrt.mapping.publisher`.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from lispmsrt.mapping._eid_entries cimport EidEntries
from lispmsrt.mapping._prefix_words cimport prefix_of
from lispmsrt.mapping._registration cimport Registration


def under_others(new):
    """Return which ones do, by their places; None where the entries are no compiled ones."""
    if not isinstance(new.table.entries, EidEntries):
        return None
    cdef EidEntries entries = new.table.entries
    cdef list keys = new.keys
    cdef object lease = (<Registration>new.registrations[0]).lease
    cdef PyObject *above
    cdef uint64_t hi, lo
    cdef int length
    cdef Py_ssize_t at
    cdef list found = []
    for at in range(len(keys)):
        length = prefix_of(keys[at], entries.width, &hi, &lo)
        while length > 0:
            above = entries.cover(hi, lo, length - 1, &length)
            if above == NULL:
                break
            if type(<object>above) is not Registration or (<Registration>above).lease is not lease:
                found.append(at)
                break
    return found
