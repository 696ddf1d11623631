"""The newest row of each EID-prefix of one family: the compiled twin of
:class:`lispmsrt.storage.index.Rows`, for families whose prefix keys have one length.

An IPv4 name takes 9 octets here, and 12 to 48 of the table: a million has 46 MB, where a dict of
numbers has 109. The table has the number of the row and a part of the hash; the names stand in the
order of the rows.
"""

from struct import error

from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    void* PyMem_RawCalloc(size_t n, size_t size) nogil
    void* PyMem_RawRealloc(void* p, size_t n) nogil
    void PyMem_RawFree(void* p) nogil

cdef extern from *:
    """
    static inline void prefetch(const void *at) { __builtin_prefetch(at); }
    """
    void prefetch(const void* at) nogil

cdef uint64_t _MOST = 0xFFFFFFFE
"Rows that a slot can name."

cdef enum:
    AHEAD = 64

cdef uint64_t _LEAST_SLOTS = 1024


cdef inline uint64_t _mixed(uint64_t x) noexcept nogil:
    """Return a number that depends on every bit (the finisher of SplitMix64)."""
    x ^= x >> 30
    x *= <uint64_t>0xBF58476D1CE4E5B9
    x ^= x >> 27
    x *= <uint64_t>0x94D049BB133111EB
    return x ^ x >> 31


cdef class Rows:
    """The newest row of each name, until somebody takes it."""

    cdef unsigned char* names
    cdef unsigned char* gone
    cdef uint64_t* slots
    cdef uint64_t mask
    cdef uint64_t used
    cdef uint64_t count
    cdef uint64_t room
    cdef uint64_t living
    cdef uint64_t seed
    cdef readonly Py_ssize_t octets

    def __cinit__(self, Py_ssize_t octets):
        if octets < 1:
            raise ValueError("a name has octets")
        self.octets = octets
        # Whoever registers chooses the names: nobody shall choose where they collide.
        self.seed = int.from_bytes(urandom(8), "little")
        self.mask = _LEAST_SLOTS - 1
        self.slots = <uint64_t*>PyMem_RawCalloc(_LEAST_SLOTS, sizeof(uint64_t))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self.names)
        PyMem_RawFree(self.gone)
        PyMem_RawFree(self.slots)

    def __len__(self):
        return self.living

    def add(self, Py_ssize_t count, bytes names not None, bytes sizes not None):
        """Take in the next rows. Raises struct.error where there are not so many."""
        if (
            count < 0
            or PyBytes_GET_SIZE(names) // self.octets != count
            or PyBytes_GET_SIZE(names) % self.octets
            or PyBytes_GET_SIZE(sizes) // 4 != count
            or PyBytes_GET_SIZE(sizes) % 4
            or self.count + count > _MOST
        ):
            raise error(f"no {count} rows")
        self._make_room(count)
        cdef const unsigned char* size = <const unsigned char*>PyBytes_AS_STRING(sizes)
        memcpy(self.names + self.count * self.octets, PyBytes_AS_STRING(names), count * self.octets)
        cdef uint64_t[AHEAD] hashes
        cdef Py_ssize_t at = 0, first, end
        while at < count:
            first, end = at, min(at + AHEAD, count)
            # Each is somewhere else in memory: all are on their way before the first is needed.
            while at < end:
                hashes[at - first] = self._hash(self.names + (self.count + at) * self.octets)
                prefetch(self.slots + (hashes[at - first] & self.mask))
                at += 1
            at = first
            while at < end:
                self._enter(
                    hashes[at - first],
                    self.count + at,
                    not (size[4 * at] | size[4 * at + 1] | size[4 * at + 2] | size[4 * at + 3]),
                )
                at += 1
        self.count += count

    def take(self, key):
        """Return the row of a prefix key and forget it; -1 where there is none."""
        name = key.to_bytes(self.octets, "big")
        cdef const unsigned char* wanted = <const unsigned char*>PyBytes_AS_STRING(name)
        cdef uint64_t row = <uint32_t>self._slot(self._hash(wanted), wanted)[0]
        if not row or self.gone[row - 1]:
            return -1
        self._forget(row - 1)
        return row - 1

    def take_all(self, uint64_t first, keys):
        """Return prefix keys, and their place from ``first`` on, of those rows that are the newest
        and that nobody has taken; forget these.
        """
        found = []
        cdef uint64_t at = 0
        for key in keys:
            if first + at >= self.count:
                break
            if not self.gone[first + at]:
                self._forget(first + at)
                found.append((key, at))
            at += 1
        return found

    cdef inline void _forget(self, uint64_t row) noexcept:
        self.gone[row] = 1
        self.living -= 1

    cdef inline uint64_t _hash(self, const unsigned char* name) noexcept:
        cdef uint64_t mixed = self.seed, word
        cdef Py_ssize_t left = self.octets
        while left >= 8:
            memcpy(&word, name, 8)
            mixed = _mixed(mixed ^ word)
            name += 8
            left -= 8
        if left:
            word = 0
            memcpy(&word, name, left)
            mixed = _mixed(mixed ^ word)
        return mixed

    cdef inline uint64_t* _slot(self, uint64_t mixed, const unsigned char* name) noexcept:
        """Return the slot of a name, or the empty one where it would be."""
        cdef uint64_t at = mixed & self.mask, held
        while True:
            held = self.slots[at]
            if not held or (
                held >> 32 == mixed >> 32
                and not memcmp(
                    self.names + <size_t>(<uint32_t>held - 1) * <size_t>self.octets, name, self.octets
                )
            ):
                return self.slots + at
            at = at + 1 & self.mask

    cdef inline void _enter(self, uint64_t mixed, uint64_t row, bint is_gone) noexcept:
        cdef uint64_t* slot = self._slot(mixed, self.names + row * self.octets)
        if not slot[0]:
            self.used += 1
        elif not self.gone[<uint32_t>slot[0] - 1]:
            self._forget(<uint32_t>slot[0] - 1)
        slot[0] = mixed >> 32 << 32 | row + 1
        self.gone[row] = is_gone
        self.living += not is_gone

    cdef int _make_room(self, uint64_t count) except -1:
        cdef uint64_t room = self.room
        cdef void* moved
        if self.count + count > room:
            room = self.count + count + (self.count >> 1)
            moved = PyMem_RawRealloc(self.names, room * self.octets)
            if moved == NULL:
                raise MemoryError
            self.names = <unsigned char*>moved
            moved = PyMem_RawRealloc(self.gone, room)
            if moved == NULL:
                raise MemoryError
            self.gone = <unsigned char*>moved
            self.room = room
        cdef uint64_t slots = self.mask + 1
        # At most two thirds are used.
        while 3 * (self.used + count) > 2 * slots:
            slots <<= 1
        if slots > self.mask + 1:
            # A quarter at first is a half in the end: it does not happen for every other segment.
            self._spread(2 * slots)
        return 0

    cdef int _spread(self, uint64_t count) except -1:
        """Have another table, with what is not gone."""
        cdef uint64_t* slots = <uint64_t*>PyMem_RawCalloc(count, sizeof(uint64_t))
        if slots == NULL:
            raise MemoryError
        PyMem_RawFree(self.slots)
        self.slots, self.mask, self.used = slots, count - 1, 0
        cdef uint64_t row, at, mixed
        for row in range(self.count):
            if self.gone[row]:
                continue
            mixed = self._hash(self.names + row * self.octets)
            at = mixed & self.mask
            while slots[at]:
                at = at + 1 & self.mask
            slots[at] = mixed >> 32 << 32 | row + 1
            self.used += 1
        return 0
