"""Where a number stands, or would stand, among the ordered ones of a leaf or of the directory."""

from libc.stdint cimport uint32_t, uint64_t

from lispmsrt.mapping._prefetch cimport prefetch


cdef struct Leaf:
    # Its numbers follow, and what is kept of each behind it.
    uint32_t count
    uint32_t room


cdef inline uint64_t* numbers_of(Leaf* leaf) noexcept:
    return <uint64_t*>(leaf + 1)


cdef inline uint32_t count_up_to(
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


cdef inline bint is_up_to(const uint64_t* a, uint64_t hi, uint64_t lo, uint64_t length) noexcept:
    if a[0] != hi:
        return a[0] < hi
    if a[1] != lo:
        return a[1] < lo
    return a[2] <= length


cdef inline bint is_from(
    const uint64_t* start, int words, uint64_t hi, uint64_t lo, uint64_t length
) noexcept:
    """Whether a number is not below that with which a leaf starts."""
    if words == 1:
        return start[0] <= (hi | length)
    return is_up_to(start, hi, lo, length)


cdef inline uint32_t count_up_to_wide(
    const uint64_t* first, uint32_t count, int step, uint64_t hi, uint64_t lo, uint64_t length
) noexcept:
    cdef uint32_t begin = 0, end = count, middle
    while begin < end:
        middle = (begin + end) >> 1
        if is_up_to(first + <size_t>middle * step, hi, lo, length):
            begin = middle + 1
        else:
            end = middle
    return begin


cdef inline void fetch_all(Leaf* leaf, int step) noexcept:
    """Have the memory send what a search looks at first, all at once: one wait instead of three."""
    cdef const uint64_t* first = numbers_of(leaf)
    cdef size_t part = <size_t>(leaf.count >> 3) * step
    cdef int number
    if leaf.count > 32:
        for number in range(1, 8):
            prefetch(first + number * part)
