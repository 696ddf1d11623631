from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from lispmsrt.mapping._leaves cimport Leaves


cdef struct Around:
    int covering
    int below
    int above
    PyObject* value


cdef class Prefixes(Leaves):
    cdef bint has(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
    cdef PyObject* at(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
    cdef int put(self, uint64_t hi, uint64_t lo, uint64_t length, object value) except -1
    cdef bint take(self, uint64_t hi, uint64_t lo, uint64_t length) except -1
    cdef void fetch(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
    cdef void around(self, uint64_t hi, uint64_t lo, uint64_t length, Around* found) noexcept
    cdef PyObject* cover(
        self, uint64_t hi, uint64_t lo, int shared, int* length
    ) noexcept
    cdef int below(
        self, uint64_t hi, uint64_t lo, uint64_t length, int limit, uint64_t* numbers,
        PyObject** values
    ) noexcept
    cdef list _page(
        self, bint from_start, uint64_t hi, uint64_t lo, uint64_t length, int limit, bint with_kept
    )


cdef class EidIndex(Prefixes):
    cdef object entries

    cpdef enter(self, key)
    cpdef discard(self, key)
