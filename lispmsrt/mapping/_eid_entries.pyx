"""The prefixes of one (instance ID, family) with what is kept of each, in order: the compiled twin
of a dict and the :class:`lispmsrt.mapping.eid_index.EidIndex` over it, in one.

A mapping takes 16 octets here (IPv6 32) and some room to grow, where the dict, the number that is
its key and the index take 80. Everything is in order at any time: leaves of up to 128 numbers
each, and above them a directory of the first number of each leaf. So a change moves 2 kB at most,
one in some 60 the directory besides, and no question has to wait until something is sorted. With
smaller leaves the directory were larger, with larger ones there is more to move.

A number stands for a prefix: its network, with the most significant bit first, then its length. A
family of at most 48 bits has both in one word, IPv6 has three.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memmove

cdef extern from "Python.h":
    void* PyMem_RawMalloc(size_t n) nogil
    void* PyMem_RawRealloc(void* p, size_t n) nogil
    void PyMem_RawFree(void* p) nogil
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLongMask(object number) except? -1

cdef extern from *:
    """
    static inline int leading_zeros(unsigned long long x) { return __builtin_clzll(x); }
    static inline void prefetch(const void *at) { __builtin_prefetch(at); }
    """
    int leading_zeros(unsigned long long x) nogil
    void prefetch(const void* at) nogil

cdef uint64_t _ADDRESS = 0xFFFFFFFFFFFF0000
"Of a number in one word, what is not the length."

cdef uint32_t _MOST = 128
"Prefixes of a leaf."

cdef uint32_t _LEAST_ROOM = 4
cdef int _PAGE = 256

cdef enum:
    KEYS
    VALUES
    ITEMS


cdef inline uint64_t* _numbers(Leaf* leaf) noexcept:
    return <uint64_t*>(leaf + 1)


cdef inline uint32_t _count_up_to(
    const uint64_t* first, uint32_t count, int step, uint64_t number
) noexcept:
    """Return how many of the ordered numbers, which stand ``step`` words apart, are not above this
    one.
    """
    cdef uint32_t before = 0, half
    if not count:
        return 0
    while count > 1:
        half = count >> 1
        before += half if first[<size_t>(before + half - 1) * step] <= number else 0
        count -= half
    return before + (1 if first[<size_t>before * step] <= number else 0)


cdef inline bint _is_up_to(const uint64_t* a, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
    if a[0] != hi:
        return a[0] < hi
    if a[1] != lo:
        return a[1] < lo
    return a[2] <= length


cdef inline uint32_t _count_up_to_wide(
    const uint64_t* first, uint32_t count, int step, uint64_t hi, uint64_t lo, uint64_t length
) noexcept:
    cdef uint32_t begin = 0, end = count, middle
    while begin < end:
        middle = (begin + end) >> 1
        if _is_up_to(first + <size_t>middle * step, hi, lo, length):
            begin = middle + 1
        else:
            end = middle
    return begin


cdef inline void _fetch(Leaf* leaf, int step) noexcept:
    """Have the memory send what a search looks at first, all at once: one wait instead of three."""
    cdef const uint64_t* first = _numbers(leaf)
    cdef size_t part = <size_t>(leaf.count >> 3) * step
    cdef int number
    if leaf.count > 32:
        for number in range(1, 8):
            prefetch(first + number * part)


cdef class Prefixes:
    """Prefixes in order, perhaps with something kept of each."""

    def __cinit__(self, int width, *rest, **options):
        if not (0 < width <= 48 or width == 128):
            raise ValueError(f"no family has addresses of {width} bits")
        self.width = width
        self.words = 1 if width <= 48 else 3
        self.step = self.words
        self.most = _MOST
        self.starts = NULL
        self.leaves = NULL
        self.leaf_count = self.leaf_room = self.size = 0
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

    # In order

    def __len__(self):
        return self.size

    def __contains__(self, key):
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        return length >= 0 and self.has(hi, lo, length)

    def neighbours(self, network, int length):
        """Return what :meth:`lispmsrt.mapping.eid_index.EidIndex.neighbours` does."""
        cdef uint64_t hi, lo
        cdef Around found
        _address(network, self.width, &hi, &lo)
        self.around(hi, lo, length, &found)
        return found.covering, found.below, found.above

    def inside(self, network, int length, int limit):
        """Return the keys of every longer prefix inside this one, in order; None for more than
        ``limit`` of them.
        """
        cdef uint64_t hi, lo
        cdef Py_ssize_t index
        cdef uint32_t at
        cdef Leaf* leaf
        cdef uint64_t last_hi, last_lo
        cdef const uint64_t* number
        cdef list found = []
        _address(network, self.width, &hi, &lo)
        _last(hi, lo, length, &last_hi, &last_lo)
        index = self._leaf_of(hi, lo, length)
        at = self._upper(self.leaves[index], hi, lo, length)
        while index < self.leaf_count:
            leaf = self.leaves[index]
            while at < leaf.count:
                number = _numbers(leaf) + <size_t>at * self.step
                if self.words == 1:
                    if number[0] & _ADDRESS > last_hi:
                        return found
                elif number[0] > last_hi or (number[0] == last_hi and number[1] > last_lo):
                    return found
                if len(found) >= limit:
                    return None
                found.append(self._key(number))
                at += 1
            index += 1
            at = 0
        return found

    def following(self, key, int limit):
        """Return the keys of the next ``limit`` prefixes in order, after that of this key, which
        need not be there; 0 stands before all.
        """
        cdef uint64_t hi = 0, lo = 0
        cdef int length = 0
        if key:
            length = prefix_of(key, self.width, &hi, &lo)
            if length < 0:
                raise ValueError(f"{key} is no key of a prefix of {self.width} bits")
        return self._page(not key, hi, lo, length, limit, KEYS)

    # In C: ``hi`` and ``lo`` are an address with the most significant bit first

    cdef bint has(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Whether this prefix is there."""
        cdef Leaf* leaf = self.leaves[self._leaf_of(hi, lo, length)]
        cdef uint32_t at = self._upper(leaf, hi, lo, length)
        return at > 0 and self._is(leaf, at - 1, hi, lo, length)

    cdef PyObject* at(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return what is kept of a prefix, borrowed; NULL for nothing."""
        cdef Leaf* leaf = self.leaves[self._leaf_of(hi, lo, length)]
        cdef uint32_t at = self._upper(leaf, hi, lo, length)
        if not at or not self._is(leaf, at - 1, hi, lo, length):
            return NULL
        return self._value(leaf, at - 1)[0]

    cdef int put(self, uint64_t hi, uint64_t lo, uint64_t length, object value) except -1:
        """Enter or replace; return whether it is new."""
        cdef Py_ssize_t index = self._leaf_of(hi, lo, length)
        cdef Leaf* leaf = self.leaves[index]
        cdef uint32_t at = self._upper(leaf, hi, lo, length)
        cdef PyObject** place
        cdef PyObject* before
        if at and self._is(leaf, at - 1, hi, lo, length):
            if self.step > self.words:
                place = self._value(leaf, at - 1)
                before = place[0]
                Py_INCREF(value)
                place[0] = <PyObject*>value
                Py_DECREF(<object>before)
            return 0
        self._insert(index, at, hi, lo, length, value)
        return 1

    cdef bint take(self, uint64_t hi, uint64_t lo, uint64_t length) except -1:
        """Take a prefix out; return whether it was there."""
        cdef Py_ssize_t index = self._leaf_of(hi, lo, length)
        cdef Leaf* leaf = self.leaves[index]
        cdef uint32_t at = self._upper(leaf, hi, lo, length)
        cdef PyObject* value
        if not at or not self._is(leaf, at - 1, hi, lo, length):
            return False
        value = self._value(leaf, at - 1)[0] if self.step > self.words else NULL
        self._remove(index, at - 1)
        if value != NULL:
            Py_DECREF(<object>value)
        return True

    cdef void fetch(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Have the memory send what :meth:`around` will look at."""
        cdef Leaf* leaf = self.leaves[self._leaf_of(hi, lo, length)]
        cdef size_t part = <size_t>(self.most >> 3) * self.step
        cdef int number
        prefetch(leaf)
        for number in range(1, 8):
            prefetch(_numbers(leaf) + number * part)

    cdef void around(self, uint64_t hi, uint64_t lo, uint64_t length, Around* found) noexcept:
        """Find the neighbours of a query; ``value``, borrowed, belongs to what covers it."""
        cdef Py_ssize_t index = self._leaf_of(hi, lo, length)
        cdef Leaf* leaf = self.leaves[index]
        cdef uint32_t at = self._upper(leaf, hi, lo, length)
        cdef int words = self.words, below_length
        cdef uint64_t* number = NULL
        found.covering = found.below = found.above = -1
        found.value = NULL
        if at < leaf.count:
            number = _numbers(leaf) + <size_t>at * self.step
        elif index + 1 < self.leaf_count:
            number = _numbers(self.leaves[index + 1])
        if number != NULL:
            found.above = _shared(number, words, hi, lo, self.width)
        if not at and index:
            leaf = self.leaves[index - 1]
            at = leaf.count
        if at:
            number = _numbers(leaf) + <size_t>(at - 1) * self.step
            found.below = _shared(number, words, hi, lo, self.width)
            below_length = <int>(number[0] & 0xFFFF if words == 1 else number[2])
            if found.below >= below_length:
                found.covering = below_length
                found.below = -1
                if self.step > words:
                    found.value = <PyObject*>number[words]

    cdef PyObject* cover(self, uint64_t hi, uint64_t lo, int shared, int* length) noexcept:
        """Find the longest prefix of at most ``shared`` bits that covers an address; set its
        ``length``, -1 for none, and return what is kept of it.
        """
        cdef Around found
        cdef uint64_t first_hi, first_lo
        while shared >= 0:
            _first(hi, lo, shared, &first_hi, &first_lo)
            self.around(first_hi, first_lo, shared, &found)
            if found.covering >= 0:
                length[0] = found.covering
                return found.value
            # What covers the query covers its neighbour below too.
            shared = found.below
        length[0] = -1
        return NULL

    cdef int below(
        self, uint64_t hi, uint64_t lo, uint64_t length, int limit, uint64_t* numbers,
        PyObject** values,
    ) noexcept:
        """List what lies inside a prefix, three words each and what is kept of it; return how many,
        -1 for more than ``limit``.
        """
        cdef uint64_t last_hi, last_lo
        cdef Py_ssize_t index = self._leaf_of(hi, lo, length)
        cdef uint32_t at = self._upper(self.leaves[index], hi, lo, length)
        cdef Leaf* leaf
        cdef uint64_t* number
        cdef int count = 0
        _last(hi, lo, <int>length, &last_hi, &last_lo)
        while index < self.leaf_count:
            leaf = self.leaves[index]
            while at < leaf.count:
                number = _numbers(leaf) + <size_t>at * self.step
                if self.words == 1:
                    if number[0] & _ADDRESS > last_hi:
                        return count
                elif number[0] > last_hi or (number[0] == last_hi and number[1] > last_lo):
                    return count
                if count >= limit:
                    return -1
                if self.words == 1:
                    numbers[3 * count] = number[0] & _ADDRESS
                    numbers[3 * count + 1] = 0
                    numbers[3 * count + 2] = number[0] & ~_ADDRESS
                else:
                    memcpy(numbers + 3 * count, number, 24)
                values[count] = (
                    <PyObject*>number[self.words] if self.step > self.words else NULL
                )
                count += 1
                at += 1
            index += 1
            at = 0
        return count

    # Leaves

    cdef PyObject** _value(self, Leaf* leaf, uint32_t at) noexcept:
        """Return where what is kept stands, behind its number."""
        return <PyObject**>(_numbers(leaf) + <size_t>at * self.step + self.words)

    cdef bint _is(
        self, Leaf* leaf, uint32_t at, uint64_t hi, uint64_t lo, uint64_t length
    ) noexcept:
        """Whether this number stands at a place of a leaf."""
        cdef uint64_t* number = _numbers(leaf) + <size_t>at * self.step
        if self.words == 1:
            return number[0] == (hi | length)
        return number[0] == hi and number[1] == lo and number[2] == length

    cdef Py_ssize_t _leaf_of(self, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return which leaf a number belongs to."""
        # The first one has everything below the second.
        if self.words == 1:
            return _count_up_to(self.starts + 1, <uint32_t>(self.leaf_count - 1), 1, hi | length)
        return _count_up_to_wide(
            self.starts + 3, <uint32_t>(self.leaf_count - 1), 3, hi, lo, length
        )

    cdef uint32_t _upper(self, Leaf* leaf, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
        """Return how many numbers of a leaf are not above this one."""
        _fetch(leaf, self.step)
        if self.words == 1:
            return _count_up_to(_numbers(leaf), leaf.count, self.step, hi | length)
        return _count_up_to_wide(_numbers(leaf), leaf.count, self.step, hi, lo, length)

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
        number = _numbers(leaf) + <size_t>at * self.step
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
        memcpy(_numbers(right), _numbers(leaf) + kept * step, moved * step * 8)
        try:
            self._open(index + 1, right)
        except MemoryError:
            PyMem_RawFree(right)
            raise
        leaf.count = kept
        if moved:
            memcpy(
                self.starts + (index + 1) * self.words, _numbers(right), <size_t>self.words * 8
            )
            self._resize(index, kept + (kept >> 3) + _LEAST_ROOM)
        return 0

    cdef void _remove(self, Py_ssize_t index, uint32_t at) noexcept:
        cdef Leaf* leaf = self.leaves[index]
        cdef uint64_t* number = _numbers(leaf) + <size_t>at * self.step
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
        memcpy(_numbers(leaf) + leaf.count * step, _numbers(taken), taken.count * step * 8)
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

    # As Python objects

    cdef object _key(self, const uint64_t* number):
        cdef int length
        if self.words == 1:
            length = <int>(number[0] & 0xFFFF)
            return (number[0] >> (64 - length) if length else 0) | <uint64_t>1 << length
        length = <int>number[2]
        if length < 64:
            return (number[0] >> (64 - length) if length else 0) | <uint64_t>1 << length
        return (number[0] | _SET_BIT) << length - 64 | (
            number[1] >> (128 - length) if length > 64 else 0
        )

    cdef list _page(
        self, bint from_start, uint64_t hi, uint64_t lo, uint64_t length, int limit, int what
    ):
        """Return the next keys after this prefix, or pairs of key and what is kept."""
        cdef Py_ssize_t index = 0
        cdef uint32_t at = 0
        cdef Leaf* leaf
        cdef const uint64_t* number
        cdef list found = []
        if not from_start:
            index = self._leaf_of(hi, lo, length)
            at = self._upper(self.leaves[index], hi, lo, length)
        while index < self.leaf_count:
            leaf = self.leaves[index]
            while at < leaf.count:
                if len(found) >= limit:
                    return found
                number = _numbers(leaf) + <size_t>at * self.step
                key = self._key(number)
                if what == KEYS:
                    found.append(key)
                else:
                    found.append((key, <object>self._value(leaf, at)[0]))
                at += 1
            index += 1
            at = 0
        return found


cdef class EidEntries(Prefixes):
    """What is kept of each prefix, by its prefix key: a mapping, in order."""

    def __cinit__(self, int width, most=None):
        # ``most``: prefixes of a leaf; a test has small ones.
        self.step = self.words + 1
        if most is not None:
            self.most = max(4, most)

    def __getitem__(self, key):
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        cdef PyObject* value = self.at(hi, lo, length) if length >= 0 else NULL
        if value == NULL:
            raise KeyError(key)
        return <object>value

    def __setitem__(self, key, value):
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        if length < 0:
            raise ValueError(f"{key} is no key of a prefix of {self.width} bits")
        self.put(hi, lo, length, value)

    def __delitem__(self, key):
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        if length < 0 or not self.take(hi, lo, length):
            raise KeyError(key)

    def get(self, key, default=None):
        """Return what is kept of a prefix."""
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        cdef PyObject* value = self.at(hi, lo, length) if length >= 0 else NULL
        return default if value == NULL else <object>value

    def pop(self, key):
        """Take a prefix out, and return what was kept of it; raise KeyError."""
        value = self[key]
        del self[key]
        return value

    def __iter__(self):
        return self._pages(KEYS)

    def keys(self):
        """Iterate over the keys in order; the entries may change meanwhile."""
        return self._pages(KEYS)

    def values(self):
        """Iterate over what is kept, in order."""
        return self._pages(VALUES)

    def items(self):
        """Iterate over both."""
        return self._pages(ITEMS)

    def _pages(self, int what):
        cdef uint64_t hi = 0, lo = 0
        cdef int length = -1
        while True:
            page = self._page(length < 0, hi, lo, length if length > 0 else 0, _PAGE, ITEMS)
            if not page:
                return
            length = prefix_of(page[len(page) - 1][0], self.width, &hi, &lo)
            if what == ITEMS:
                yield from page
            else:
                for key, value in page:
                    yield key if what == KEYS else value

    def enter(self, key):
        """Nothing: an entry is in order at once."""

    def enter_all(self, keys):
        """Nothing."""

    def discard(self, key):
        """Nothing: an entry that is taken out is gone."""

    def note(self, key):
        """Nothing."""


cdef class EidIndex(Prefixes):
    """The prefixes of somebody else's entries in order; see
    :class:`lispmsrt.mapping.eid_index.EidIndex`.
    """

    def __cinit__(self, int width, entries, most=None):
        self.entries = entries
        if most is not None:
            self.most = max(4, most)
        for key in entries:
            self.enter(key)

    cpdef enter(self, key):
        """Take a prefix that is new in the entries: every Registration passes here."""
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        if length < 0:
            raise ValueError(f"{key} is no key of a prefix of {self.width} bits")
        self.put(hi, lo, length, None)

    def enter_all(self, keys):
        """Take prefixes that are new in the entries."""
        for key in keys:
            self.enter(key)

    cpdef discard(self, key):
        """Take a prefix that is in the entries no more."""
        cdef uint64_t hi, lo
        cdef int length = prefix_of(key, self.width, &hi, &lo)
        if length >= 0:
            self.take(hi, lo, length)

    def note(self, key):
        """Take a prefix that was put or removed."""
        if key in self.entries:
            self.enter(key)
        else:
            self.discard(key)


cdef object _SET_BIT = 1 << 64


cdef inline int _shared(
    const uint64_t* number, int words, uint64_t hi, uint64_t lo, int width
) noexcept:
    """Return how many leading bits the networks share."""
    cdef uint64_t differs
    if words == 1:
        differs = (number[0] & _ADDRESS) ^ hi
        return leading_zeros(differs) if differs else width
    differs = number[0] ^ hi
    if differs:
        return leading_zeros(differs)
    differs = number[1] ^ lo
    return 64 + leading_zeros(differs) if differs else 128


cdef inline void _first(
    uint64_t hi, uint64_t lo, int length, uint64_t* first_hi, uint64_t* first_lo
) noexcept:
    """Clear what follows so many bits."""
    if length >= 64:
        first_hi[0] = hi
        first_lo[0] = lo if length >= 128 else (
            lo >> (128 - length) << (128 - length) if length > 64 else 0
        )
    else:
        first_hi[0] = hi >> (64 - length) << (64 - length) if length else 0
        first_lo[0] = 0


cdef inline void _last(
    uint64_t hi, uint64_t lo, int length, uint64_t* last_hi, uint64_t* last_lo
) noexcept:
    """Set what follows so many bits."""
    cdef uint64_t ones = 0xFFFFFFFFFFFFFFFF
    if length >= 64:
        last_hi[0] = hi
        last_lo[0] = lo if length >= 128 else lo | ones >> (length - 64)
    else:
        last_hi[0] = hi | ones >> length
        last_lo[0] = ones


cdef int prefix_of(object key, int width, uint64_t* hi, uint64_t* lo) except -2:
    """Take a prefix key apart; return the length, -1 for what is no key here."""
    cdef int overflow = 0, length
    cdef long long small = PyLong_AsLongLongAndOverflow(key, &overflow)
    cdef uint64_t bits, above
    if not overflow:
        if small <= 0:
            return -1
        bits = <uint64_t>small
        length = 63 - leading_zeros(bits)
        if length > width:
            return -1
        hi[0] = (bits ^ <uint64_t>1 << length) << (64 - length) if length else 0
        lo[0] = 0
        return length
    if width != 128 or overflow < 0:
        return -1
    bits = PyLong_AsUnsignedLongLongMask(key)
    rest = key >> 64
    if not rest:
        # The set bit is the first of this word.
        hi[0] = (bits ^ <uint64_t>1 << 63) << 1
        lo[0] = 0
        return 63
    above = PyLong_AsUnsignedLongLongMask(rest)
    if rest >> 64:
        if rest >> 65:
            return -1
        hi[0] = above
        lo[0] = bits
        return 128
    length = 63 - leading_zeros(above)  # bits of the first word that are here
    hi[0] = bits
    lo[0] = 0
    if length:
        hi[0] = (above ^ <uint64_t>1 << length) << (64 - length) | bits >> length
        lo[0] = bits << (64 - length)
    return 64 + length


cdef int _address(object network, int width, uint64_t* hi, uint64_t* lo) except -1:
    """Take an address apart."""
    if width <= 48:
        hi[0] = <uint64_t>PyLong_AsUnsignedLongLongMask(network) << (64 - width)
        lo[0] = 0
        return 0
    lo[0] = PyLong_AsUnsignedLongLongMask(network)
    hi[0] = PyLong_AsUnsignedLongLongMask(network >> 64)
    return 0
