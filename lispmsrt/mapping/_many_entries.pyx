"""Many prefixes looked up together; to ask :mod:`lispmsrt.mapping._eid_entries` one by one means the
same, so this is nobody's twin. It knows how a leaf is laid out there.

Of a million mappings hardly any is in the processor's cache when somebody asks for it, and a search
waits for memory at every step. Here the searches go step by step side by side, and all wait
together: to take a Registration that is there already takes half as long.
"""

from libc.stdint cimport uint32_t

from lispmsrt.mapping._leaf_search cimport Leaf
from lispmsrt.mapping._prefetch cimport prefetch
from lispmsrt.mapping._prefix_words cimport prefix_of

cdef enum:
    _NEXT = 48  # octets behind its beginning, where the line of an object may be the next
    _WINDOW = 4  # numbers around a guess: about a line of the cache


cdef struct Search:
    uint64_t number
    Leaf *leaf
    const uint64_t *base
    uint32_t left
    uint32_t guess  # where a window begins
    double part  # of the way from the start of its leaf to that of the next one


cdef inline void _find_leaves(Search *searches, int count, EidEntries entries) noexcept:
    """Find the leaf of each number, all a step at a time: as many as there are leaves, each has to
    take the same steps.
    """
    cdef const uint64_t *first = entries.starts + 1
    cdef size_t left = entries.leaf_count - 1
    cdef size_t half
    cdef int at
    for at in range(count):
        searches[at].base = first
    while left > 1:
        half = left >> 1
        for at in range(count):
            searches[at].base += half * (searches[at].base[half - 1] <= searches[at].number)
        left -= half
    if left:
        for at in range(count):
            searches[at].base += searches[at].base[0] <= searches[at].number
    # Nothing else in this loop: a prefetch waits for the place of its page, and the fewer
    # instructions lie between them, the more of them wait together.
    for at in range(count):
        searches[at].leaf = entries.leaves[searches[at].base - first]
        prefetch(searches[at].leaf)
    for at in range(count):
        searches[at].part = _part(&searches[at], entries)


cdef inline double _part(const Search *search, EidEntries entries) noexcept:
    """Guess where in its leaf a number stands: hosts are often numbered one after the other."""
    cdef size_t index = search.base - (entries.starts + 1)
    cdef uint64_t start, following
    if not index or index + 1 == <size_t>entries.leaf_count:
        return 0.5  # nothing is known of one of its ends
    start, following = entries.starts[index], entries.starts[index + 1]
    return <double>(search.number - start) / <double>(following - start)


cdef inline void _open(Search *search, int step) noexcept:
    search.left = search.leaf.count
    search.base = <const uint64_t *>(search.leaf + 1)
    search.guess = <uint32_t>(search.part * search.left)
    search.guess = search.guess - _WINDOW // 2 if search.guess > _WINDOW // 2 else 0
    prefetch(search.base + search.guess * step)
    prefetch(search.base + (search.guess + _WINDOW) * step)


cdef inline void _look_around(Search *search, int step) noexcept:
    """Go on in the window, or beside it where the guess was wrong."""
    cdef uint32_t end = search.guess + _WINDOW
    if search.guess and search.base[search.guess * step] > search.number:
        search.left = search.guess
    elif end < search.left and search.base[end * step] <= search.number:
        search.base += end * step
        search.left -= end
    else:
        search.base += search.guess * step
        search.left = min(search.left - search.guess, <uint32_t>_WINDOW)
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
        searches[at].number = wanted[at].hi | <uint64_t>wanted[at].length
    _find_leaves(searches, count, entries)
    for at in range(count):
        _open(&searches[at], entries.step)
    for at in range(count):
        _look_around(&searches[at], entries.step)
    while is_more:
        is_more = False
        for at in range(count):
            is_more |= _halve(&searches[at], entries.step)
    for at in range(count):
        found[at] = _found(&searches[at], entries.step)
    for at in range(count):
        # Objects begin anywhere in a line of the cache, and reach into the next.
        prefetch(found[at])
        prefetch(<const char *>found[at] + _NEXT)


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
