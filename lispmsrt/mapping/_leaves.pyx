"""Prefixes in order, in leaves: where :mod:`lispmsrt.mapping._eid_index` keeps them.

A mapping takes 16 octets here (IPv6 32) and some room to grow, where the dict, the number that is
its key and the index take 80. Everything is in order at any time: leaves of up to 128 numbers
each, and above them a directory of the first number of each leaf. So a change moves 2 kB at most,
one in some 60 the directory besides, and no question has to wait until something is sorted. With
smaller leaves the directory were larger, with larger ones there is more to move.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from lispmsrt.mapping._leaf_search cimport (
    Leaf, count_up_to, count_up_to_wide, fetch_all, is_from, numbers_of
)

cdef extern from "Python.h":
    void* PyMem_RawMalloc(size_t n) nogil
    void* PyMem_RawRealloc(void* p, size_t n) nogil
    void PyMem_RawFree(void* p) nogil

cdef uint32_t _MOST = 128
"Prefixes of a leaf."

cdef uint32_t _LEAST_ROOM = 4


cdef class Leaves:
    """Numbers in order, perhaps with something kept of each. ``hi`` and ``lo`` are an address with
    the most significant bit first.
    """

    def __cinit__(self, int width, *rest, **options):
        if not (0 < width <= 48 or width == 128):
            raise ValueError(f"no family has addresses of {width} bits")
        self.width = width
        self.words = 1 if width <= 48 else 3
        self.step = self.words
        self.most = _MOST
        self.starts = NULL
        self.leaves = NULL
        self.leaf_count = self.leaf_room = self.size = self.latest = 0
        cdef Leaf* leaf = <Leaf*>PyMem_RawMalloc(sizeof(Leaf))
        if leaf == NULL:
            raise MemoryError
        leaf.count = leaf.room = 0
        self._open(0, leaf)

    def __dealloc__(self):
        cdef Py_ssize_t index
        cdef uint32_t at
        cdef Leaf* leaf
        for index in range(self.leaf_count):
            leaf = self.leaves[index]
            if self.step > self.words:
                for at in range(leaf.count):
                    Py_DECREF(<object>self._value(leaf, at)[0])
            PyMem_RawFree(leaf)
        PyMem_RawFree(self.leaves)
        PyMem_RawFree(self.starts)

    cdef PyObject** _value(self, Leaf* leaf, uint32_t at) noexcept:
        """Return where what is kept stands, behind its number."""
        return <PyObject**>(numbers_of(leaf) + <size_t>at * self.step + self.words)

    cdef bint _is(
        self, Leaf* leaf, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept:
        """Whether this number stands at a place of a leaf."""
        cdef uint64_t* number = numbers_of(leaf) + <size_t>at * self.step
        if self.words == 1:
            return number[0] == (hi | length)
        return number[0] == hi and number[1] == lo and number[2] == length

    cdef Py_ssize_t _leaf_of(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return which leaf a number belongs to."""
        # The first one has everything below the second.
        if self.words == 1:
            return count_up_to(self.starts + 1, <uint32_t>(self.leaf_count - 1), 1, hi | length)
        return count_up_to_wide(
            self.starts + 3, <uint32_t>(self.leaf_count - 1), 3, hi, lo, length
        )

    cdef Py_ssize_t _leaf_near(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return which leaf a number belongs to, most likely that of the one entered last: who
        registers many does so in their order.
        """
        cdef Py_ssize_t index = self.latest
        cdef int words = self.words
        if (
            index < self.leaf_count
            and (not index or is_from(self.starts + index * words, words, hi, lo, length))
            and (
                index + 1 == self.leaf_count
                or not is_from(self.starts + (index + 1) * words, words, hi, lo, length)
            )
        ):
            return index
        return self._leaf_of(hi, lo, length)

    cdef uint32_t _upper(self, Leaf* leaf, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return how many numbers of a leaf are not above this one."""
        fetch_all(leaf, self.step)
        if self.words == 1:
            return count_up_to(numbers_of(leaf), leaf.count, self.step, hi | length)
        return count_up_to_wide(numbers_of(leaf), leaf.count, self.step, hi, lo, length)

    cdef int _insert(
        self, Py_ssize_t index, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length,
        object value,
    ) except -1:
        cdef Leaf* leaf = self.leaves[index]
        cdef uint64_t* number
        cdef uint32_t count = leaf.count, room
        if count == self.most:
            self._split(index, at)
            leaf = self.leaves[index]
            if at > leaf.count or at == self.most:
                # At the very end there is a new leaf, for more of the same order may come.
                at -= leaf.count
                index += 1
                leaf = self.leaves[index]
                if not leaf.count:
                    self._write_start(index, hi, lo, length)
            count = leaf.count
        if count == leaf.room:
            room = max(_LEAST_ROOM, count + (count if count < 16 else count >> 3))
            if self._resize(index, min(room, self.most)) < 0:
                raise MemoryError
            leaf = self.leaves[index]
        number = numbers_of(leaf) + <size_t>at * self.step
        memmove(number + self.step, number, <size_t>(count - at) * self.step * 8)
        if self.words == 1:
            number[0] = hi | length
        else:
            number[0] = hi
            number[1] = lo
            number[2] = length
        if self.step > self.words:
            Py_INCREF(value)
            number[self.words] = <uint64_t>(<void*>value)
        leaf.count = count + 1
        self.size += 1
        self.latest = index
        return 0

    cdef void _write_start(
        self, Py_ssize_t index, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept:
        """Enter where a leaf starts into the directory."""
        cdef uint64_t* start = self.starts + index * self.words
        if self.words == 1:
            start[0] = hi | length
        else:
            start[0] = hi
            start[1] = lo
            start[2] = length

    cdef int _split(self, Py_ssize_t index, uint32_t at) except -1:
        """Make two of a full leaf, where something is to be inserted at ``at``."""
        cdef Leaf* leaf = self.leaves[index]
        cdef uint32_t kept = leaf.count if at == leaf.count else leaf.count >> 1
        cdef uint32_t moved = leaf.count - kept
        cdef uint32_t room = moved + (moved >> 3) + _LEAST_ROOM
        cdef size_t step = self.step
        cdef Leaf* right
        room = min(room, self.most)
        right = <Leaf*>PyMem_RawMalloc(sizeof(Leaf) + room * step * 8)
        if right == NULL:
            raise MemoryError
        right.count = moved
        right.room = room
        memcpy(numbers_of(right), numbers_of(leaf) + kept * step, moved * step * 8)
        try:
            self._open(index + 1, right)
        except MemoryError:
            PyMem_RawFree(right)
            raise
        leaf.count = kept
        if moved:
            memcpy(
                self.starts + (index + 1) * self.words, numbers_of(right), <size_t>self.words * 8
            )
            self._resize(index, kept + (kept >> 3) + _LEAST_ROOM)
        return 0

    cdef void _remove(self, Py_ssize_t index, uint32_t at) noexcept:
        cdef Leaf* leaf = self.leaves[index]
        cdef uint64_t* number = numbers_of(leaf) + <size_t>at * self.step
        cdef uint32_t after = leaf.count - at - 1
        memmove(number, number + self.step, <size_t>after * self.step * 8)
        leaf.count -= 1
        self.size -= 1
        if not leaf.count and self.leaf_count > 1:
            self._close(index)
            return
        if leaf.count < self.most >> 2:
            if index + 1 < self.leaf_count:
                self._join(index)
            if index and index < self.leaf_count and self.leaves[index].count < self.most >> 2:
                self._join(index - 1)
            if index >= self.leaf_count or self.leaves[index] != leaf:
                return
        if leaf.room > 2 * leaf.count + _LEAST_ROOM:
            self._resize(index, leaf.count + (leaf.count >> 3) + _LEAST_ROOM)

    cdef void _join(self, Py_ssize_t index) noexcept:
        """Make one of a leaf and the next, if that is not a full one."""
        cdef Leaf* leaf = self.leaves[index]
        cdef Leaf* taken = self.leaves[index + 1]
        cdef uint32_t count = leaf.count + taken.count
        cdef size_t step = self.step
        if count > self.most - (self.most >> 2):
            return
        if leaf.room < count and self._resize(index, count) < 0:
            return  # no memory: then they stay two
        leaf = self.leaves[index]
        memcpy(numbers_of(leaf) + leaf.count * step, numbers_of(taken), taken.count * step * 8)
        leaf.count = count
        self._close(index + 1)

    cdef int _resize(self, Py_ssize_t index, uint32_t room) noexcept:
        """Give a leaf room for so many; -1 where there is no memory."""
        cdef Leaf* leaf = self.leaves[index]
        cdef Leaf* moved = <Leaf*>PyMem_RawRealloc(
            leaf, sizeof(Leaf) + <size_t>room * self.step * 8
        )
        if moved == NULL:
            return -1
        moved.room = room
        self.leaves[index] = moved
        return 0

    cdef int _open(self, Py_ssize_t index, Leaf* leaf) except -1:
        """Enter a leaf into the directory; where it starts is for the caller to write."""
        cdef size_t words = self.words
        cdef Py_ssize_t room = self.leaf_room
        cdef void* moved
        if self.leaf_count == room:
            room = room + (room >> 2) + 4 if room else 1
            moved = PyMem_RawRealloc(self.leaves, room * sizeof(void*))
            if moved == NULL:
                raise MemoryError
            self.leaves = <Leaf**>moved
            moved = PyMem_RawRealloc(self.starts, room * words * 8)
            if moved == NULL:
                raise MemoryError
            self.starts = <uint64_t*>moved
            self.leaf_room = room
        memmove(
            self.leaves + index + 1,
            self.leaves + index,
            (self.leaf_count - index) * sizeof(void*),
        )
        memmove(
            self.starts + (index + 1) * words,
            self.starts + index * words,
            (self.leaf_count - index) * words * 8,
        )
        self.leaves[index] = leaf
        self.leaf_count += 1
        return 0

    cdef void _close(self, Py_ssize_t index) noexcept:
        """Forget a leaf."""
        cdef size_t words = self.words
        PyMem_RawFree(self.leaves[index])
        self.leaf_count -= 1
        memmove(
            self.leaves + index,
            self.leaves + index + 1,
            (self.leaf_count - index) * sizeof(void*),
        )
        memmove(
            self.starts + index * words,
            self.starts + (index + 1) * words,
            (self.leaf_count - index) * words * 8,
        )
