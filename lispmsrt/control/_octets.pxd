"""Octets of messages as numbers, as they stand in the network's order."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define SUM_ORDER (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 256 : 1)
    """
    # A sum of 16-bit words in the order of this machine is that of the network times this (RFC
    # 1071).
    const uint64_t SUM_ORDER

cdef enum:
    NONE = 0
    IPV4 = 1
    IPV6 = 2
    MAC = 6
    NAME = 17
    LCAF = 16387
    INSTANCE_ID = 2  # type of an LCAF


cdef inline uint32_t u16(const unsigned char* at) noexcept:
    return <uint32_t>at[0] << 8 | at[1]


cdef inline uint32_t u32(const unsigned char* at) noexcept:
    return u16(at) << 16 | u16(at + 2)


cdef inline uint64_t u64(const unsigned char* at) noexcept:
    return <uint64_t>u32(at) << 32 | u32(at + 4)


cdef inline void put_u16(unsigned char* at, uint32_t number) noexcept:
    at[0] = number >> 8 & 0xFF
    at[1] = number & 0xFF


cdef inline void put_u32(unsigned char* at, uint32_t number) noexcept:
    put_u16(at, number >> 16)
    put_u16(at + 2, number & 0xFFFF)


cdef inline uint64_t sum_of(const unsigned char* at, Py_ssize_t octets) noexcept:
    """Return the sum of 16-bit words, in the order of this machine, modulo 65535."""
    cdef uint64_t total = 0
    cdef uint32_t word
    cdef uint16_t half
    cdef unsigned char last[2]
    while octets >= 4:
        memcpy(&word, at, 4)
        total += word
        at += 4
        octets -= 4
    if octets >= 2:
        memcpy(&half, at, 2)
        total += half
        at += 2
        octets -= 2
    if octets:
        last[0], last[1] = at[0], 0
        memcpy(&half, last, 2)
        total += half
    return total % 0xFFFF


cdef inline int plain_octets(uint32_t afi) noexcept:
    """Return how long an address is; -1 for one that is not plain."""
    if afi == IPV4:
        return 4
    if afi == IPV6:
        return 16
    if afi == MAC:
        return 6
    return 0 if afi == NONE else -1
