from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from lispmsrt.mapping._eid_entries cimport EidEntries

cdef enum:
    MANY = 32


cdef struct Wanted:
    # An address with the most significant bit first, and a prefix length.
    uint64_t hi
    uint64_t lo
    int length


cdef void find_many(EidEntries entries, const Wanted *wanted, int count, PyObject **found) noexcept
