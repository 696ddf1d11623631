from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

cdef struct Leaf:
    uint32_t count
    uint32_t room

cdef struct Around:
    int covering
    int below
    int above
    PyObject* value

cdef class Prefixes:
    cdef readonly int width
    cdef int words
    cdef int step
    cdef uint32_t most
    cdef uint64_t* starts
    cdef Leaf** leaves
    cdef Py_ssize_t leaf_count
    cdef Py_ssize_t leaf_room
    cdef Py_ssize_t size

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

    cdef PyObject** _value(self, Leaf* leaf, uint32_t at) noexcept
    cdef bint _is(
        self, Leaf* leaf, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept
    cdef Py_ssize_t _leaf_of(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
    cdef uint32_t _upper(
        self, Leaf* leaf, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept
    cdef int _insert(
        self, Py_ssize_t index, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length,
        object value
    ) except -1
    cdef int _split(self, Py_ssize_t index, uint32_t at) except -1
    cdef void _remove(self, Py_ssize_t index, uint32_t at) noexcept
    cdef void _write_start(
        self, Py_ssize_t index, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept
    cdef void _join(self, Py_ssize_t index) noexcept
    cdef int _resize(self, Py_ssize_t index, uint32_t room) noexcept
    cdef int _open(self, Py_ssize_t index, Leaf* leaf) except -1
    cdef void _close(self, Py_ssize_t index) noexcept
    cdef object _key(self, const uint64_t* number)
    cdef list _page(
        self, bint from_start, uint64_t hi, uint64_t lo, uint64_t length, int limit, int what
    )


cdef int prefix_of(object key, int width, uint64_t* hi, uint64_t* lo) except -2


cdef class EidEntries(Prefixes):
    pass


cdef class EidIndex(Prefixes):
    cdef object entries

    cpdef enter(self, key)
    cpdef discard(self, key)
