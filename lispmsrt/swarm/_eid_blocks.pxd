"""The EIDs of a swarm by their numbers, as :mod:`lispmsrt.swarm.eids` has them: addresses in blocks
of EID-prefixes of one length.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

cdef enum:
    MAX_HEAD = 24  # octets of an EID's wire form before its address


cdef struct Block:
    unsigned char head[MAX_HEAD]
    int head_size
    int octets
    int shift
    uint64_t base_high
    uint64_t base_low
    int64_t first
    int64_t count


cdef inline void put_u64(unsigned char *at, uint64_t value) noexcept nogil:
    cdef int octet
    for octet in range(8):
        at[octet] = <unsigned char>(value >> (56 - 8 * octet))


cdef inline uint64_t get_u64(const unsigned char *at) noexcept nogil:
    cdef int octet
    cdef uint64_t value = 0
    for octet in range(8):
        value = value << 8 | at[octet]
    return value


cdef inline void put_u32(unsigned char *at, uint32_t value) noexcept nogil:
    at[0] = <unsigned char>(value >> 24)
    at[1] = <unsigned char>(value >> 16)
    at[2] = <unsigned char>(value >> 8)
    at[3] = <unsigned char>value


cdef inline uint32_t get_u32(const unsigned char *at) noexcept nogil:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline void put_address(const Block *block, int64_t number, unsigned char *at) noexcept nogil:
    # The base has zeros where the number goes: a prefix has no host bits.
    cdef uint64_t offset = <uint64_t>(number - block.first)
    cdef uint64_t high = 0, low = 0
    if block.shift >= 128:
        pass  # ::/0 is the one EID-prefix of its block
    elif block.shift >= 64:
        high = offset << (block.shift - 64)
    else:
        low = offset << block.shift
        if block.shift:
            high = offset >> (64 - block.shift)
    if block.octets == 4:
        put_u32(at, <uint32_t>(block.base_low | low))
    else:
        put_u64(at, block.base_high | high)
        put_u64(at + 8, block.base_low | low)


cdef inline int64_t number_of(const Block *block, const unsigned char *at) noexcept nogil:
    """Return the number of the EID with this address, -1 where it is none of these."""
    cdef uint64_t high = 0, low, offset
    cdef unsigned char again[16]
    if block.octets == 4:
        low = get_u32(at) ^ block.base_low
    else:
        high = get_u64(at) ^ block.base_high
        low = get_u64(at + 8) ^ block.base_low
    if block.shift >= 128:
        offset = 0
    elif block.shift >= 64:
        offset = high >> (block.shift - 64)
    else:
        offset = low >> block.shift
        if block.shift:
            offset |= high << (64 - block.shift)
    if offset >= <uint64_t>block.count:
        return -1
    # Host bits, or another prefix: only what would be written so is one of these.
    put_address(block, block.first + <int64_t>offset, again)
    if memcmp(again, at, block.octets):
        return -1
    return block.first + <int64_t>offset
