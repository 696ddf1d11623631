"""The prefixes of one (instance ID, family) with what is kept of each, in order: the compiled twin
of a dict and the :class:`lispmsrt.mapping.eid_index.EidIndex` over it, in one.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from lispmsrt.mapping._prefix_words cimport prefix_of

from lispmsrt.mapping._eid_index import EidIndex

cdef int _PAGE = 256

cdef enum:
    KEYS
    VALUES
    ITEMS


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
            page = self._page(length < 0, hi, lo, length if length > 0 else 0, _PAGE, True)
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
