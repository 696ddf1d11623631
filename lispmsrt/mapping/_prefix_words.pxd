"""EID-prefixes as words: the network, with the most significant bit first, then the length. A family
of at most 48 bits has both in one word, IPv6 has three.
"""

from libc.stdint cimport uint64_t

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLongMask(object number) except? -1

cdef extern from *:
    """
    /* Of a number in one word, what is not the length. */
    #define ADDRESS_BITS 0xFFFFFFFFFFFF0000ULL
    static inline int leading_zeros(unsigned long long x) { return __builtin_clzll(x); }
    """
    const uint64_t ADDRESS_BITS
    int leading_zeros(unsigned long long x) nogil


cdef inline uint64_t mask(int bits) noexcept:
    """Return a word with so many leading bits set."""
    if bits <= 0:
        return 0
    return ~<uint64_t>0 << 64 - bits if bits < 64 else ~<uint64_t>0


cdef inline int shared_bits(
    const uint64_t* number, int words, uint64_t hi, uint64_t lo, int width
) noexcept:
    """Return how many leading bits the networks share."""
    cdef uint64_t differs
    if words == 1:
        differs = (number[0] & ADDRESS_BITS) ^ hi
        return leading_zeros(differs) if differs else width
    differs = number[0] ^ hi
    if differs:
        return leading_zeros(differs)
    differs = number[1] ^ lo
    return 64 + leading_zeros(differs) if differs else 128


cdef inline void first_of(
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


cdef inline void last_of(
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


cdef inline int prefix_of(object key, int width, uint64_t* hi, uint64_t* lo) except -2:
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


cdef inline int address_of(object network, int width, uint64_t* hi, uint64_t* lo) except -1:
    """Take an address apart."""
    if width <= 48:
        hi[0] = <uint64_t>PyLong_AsUnsignedLongLongMask(network) << (64 - width)
        lo[0] = 0
        return 0
    lo[0] = PyLong_AsUnsignedLongLongMask(network)
    hi[0] = PyLong_AsUnsignedLongLongMask(network >> 64)
    return 0


cdef inline object key_of(const uint64_t* number, int words):
    """Return the prefix key (:func:`lispmsrt.wire.record_walk.prefix_key`) of a number."""
    cdef int length
    if words == 1:
        length = <int>(number[0] & 0xFFFF)
        return (number[0] >> (64 - length) if length else 0) | <uint64_t>1 << length
    length = <int>number[2]
    if length < 64:
        return (number[0] >> (64 - length) if length else 0) | <uint64_t>1 << length
    return (number[0] | <object>18446744073709551616) << length - 64 | (
        number[1] >> (128 - length) if length > 64 else 0
    )
