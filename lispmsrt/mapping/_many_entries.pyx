"""Many prefixes looked up together; to ask :mod:`lispmsrt.mapping._eid_entries` one by one means the
same, so this is nobody's twin. It knows how a leaf is laid out there.

Of a million mappings hardly any is in the processor's cache when somebody asks for it, and a search
waits for memory at every step. Here the searches go step by step side by side, and all wait
together: to take a Registration that is there already takes half as long.
"""

from libc.stdint cimport uint32_t

from lispmsrt.mapping._eid_entries cimport Leaf, prefix_of

cdef extern from *:
    """
    static inline void prefetch(const void *at) { __builtin_prefetch(at); }
    """
    void prefetch(const void *) noexcept


cdef struct Search:
    uint64_t number
    Leaf *leaf
    const uint64_t *base
    uint32_t left


cdef inline void _begin(Search *search, EidEntries entries, const Wanted *wanted) noexcept:
    search.number = wanted.hi | <uint64_t>wanted.length
    search.leaf = entries.leaves[entries._leaf_of(wanted.hi, 0, wanted.length)]
    prefetch(search.leaf)


cdef inline void _open(Search *search, int step) noexcept:
    search.left = search.leaf.count
    search.base = <const uint64_t *>(search.leaf + 1)
    prefetch(search.base + (search.left >> 1) * step)


cdef inline bint _halve(Search *search, int step) noexcept:
    """Halve what is left; tell whether there is more to do."""
    cdef uint32_t half = search.left >> 1
    if not half:
        return False
    # No branch: what it would depend on is not there yet.
    search.base += half * step * (search.base[(half - 1) * step] <= search.number)
    search.left -= half
    prefetch(search.base + (search.left >> 1) * step)
    return search.left > 1


cdef inline PyObject *_found(Search *search, int step) noexcept:
    """Return what is kept of it, NULL where it is not there."""
    if not search.left:
        return NULL
    # It is here, or the one before is the last that is not above.
    if search.base[0] > search.number and search.base > <const uint64_t *>(search.leaf + 1):
        search.base -= step
    return <PyObject *>search.base[1] if search.base[0] == search.number else NULL


cdef void find_many(EidEntries entries, const Wanted *wanted, int count, PyObject **found) noexcept:
    """Write what is kept of each of at most MANY prefixes, borrowed; NULL for nothing."""
    cdef Search searches[MANY]
    cdef int at
    cdef bint is_more = True
    if entries.words != 1:
        for at in range(count):
            found[at] = entries.at(wanted[at].hi, wanted[at].lo, wanted[at].length)
        return
    for at in range(count):
        _begin(&searches[at], entries, &wanted[at])
    for at in range(count):
        _open(&searches[at], entries.step)
    while is_more:
        is_more = False
        for at in range(count):
            is_more |= _halve(&searches[at], entries.step)
    for at in range(count):
        found[at] = _found(&searches[at], entries.step)
        prefetch(found[at])


def values_of(EidEntries entries, keys):
    """Return what is kept of each of at most MANY prefix keys, None for nothing: for tests."""
    cdef Wanted wanted[MANY]
    cdef PyObject *found[MANY]
    cdef int at
    cdef int count = 0
    for key in keys[:MANY]:
        wanted[count].length = prefix_of(key, entries.width, &wanted[count].hi, &wanted[count].lo)
        count += 1
    find_many(entries, wanted, count, found)
    return [<object>found[at] if found[at] != NULL else None for at in range(count)]
