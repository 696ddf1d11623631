"""The prefixes of one (instance ID, family) in order, and what lies around any: the compiled twin of
:mod:`lispmsrt.mapping.eid_index`.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from lispmsrt.mapping._leaf_search cimport Leaf, numbers_of
from lispmsrt.mapping._prefetch cimport prefetch
from lispmsrt.mapping._prefix_words cimport (
    ADDRESS_BITS, address_of, first_of, key_of, last_of, prefix_of, shared_bits
)


cdef inline bint _is_behind(
    const uint64_t* number, int words, uint64_t last_hi, uint64_t last_lo
) noexcept:
    """Whether an EID-prefix begins behind the last address of another one."""
    if words == 1:
        return number[0] & ADDRESS_BITS > last_hi
    return number[0] > last_hi or (number[0] == last_hi and number[1] > last_lo)


cdef class Prefixes(Leaves):
    """Prefixes in order, perhaps with something kept of each."""

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
        address_of(network, self.width, &hi, &lo)
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
        address_of(network, self.width, &hi, &lo)
        last_of(hi, lo, length, &last_hi, &last_lo)
        index = self._leaf_of(hi, lo, length)
        at = self._upper(self.leaves[index], hi, lo, length)
        while index < self.leaf_count:
            leaf = self.leaves[index]
            while at < leaf.count:
                number = numbers_of(leaf) + <size_t>at * self.step
                if _is_behind(number, self.words, last_hi, last_lo):
                    return found
                if len(found) >= limit:
                    return None
                found.append(key_of(number, self.words))
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
        return self._page(not key, hi, lo, length, limit, False)

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
        cdef Py_ssize_t index = self._leaf_near(hi, lo, length)
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
            prefetch(numbers_of(leaf) + number * part)

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
            number = numbers_of(leaf) + <size_t>at * self.step
        elif index + 1 < self.leaf_count:
            number = numbers_of(self.leaves[index + 1])
        if number != NULL:
            found.above = shared_bits(number, words, hi, lo, self.width)
        if not at and index:
            leaf = self.leaves[index - 1]
            at = leaf.count
        if at:
            number = numbers_of(leaf) + <size_t>(at - 1) * self.step
            found.below = shared_bits(number, words, hi, lo, self.width)
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
            first_of(hi, lo, shared, &first_hi, &first_lo)
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
        last_of(hi, lo, <int>length, &last_hi, &last_lo)
        while index < self.leaf_count:
            leaf = self.leaves[index]
            while at < leaf.count:
                number = numbers_of(leaf) + <size_t>at * self.step
                if _is_behind(number, self.words, last_hi, last_lo):
                    return count
                if count >= limit:
                    return -1
                if self.words == 1:
                    numbers[3 * count] = number[0] & ADDRESS_BITS
                    numbers[3 * count + 1] = 0
                    numbers[3 * count + 2] = number[0] & ~ADDRESS_BITS
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

    # As Python objects

    cdef list _page(
        self, bint from_start, uint64_t hi, uint64_t lo, uint64_t length, int limit, bint with_kept
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
                number = numbers_of(leaf) + <size_t>at * self.step
                key = key_of(number, self.words)
                if not with_kept:
                    found.append(key)
                else:
                    found.append((key, <object>self._value(leaf, at)[0]))
                at += 1
            index += 1
            at = 0
        return found


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
