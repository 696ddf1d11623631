from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from lispmsrt.mapping._leaf_search cimport Leaf


cdef class Leaves:
    cdef readonly int width
    cdef int words
    cdef int step
    cdef uint32_t most
    cdef uint64_t* starts
    cdef Leaf** leaves
    cdef Py_ssize_t leaf_count
    cdef Py_ssize_t leaf_room
    cdef Py_ssize_t size
    cdef Py_ssize_t latest

    cdef PyObject** _value(self, Leaf* leaf, uint32_t at) noexcept
    cdef bint _is(
        self, Leaf* leaf, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept
    cdef Py_ssize_t _leaf_of(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
    cdef Py_ssize_t _leaf_near(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept
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
