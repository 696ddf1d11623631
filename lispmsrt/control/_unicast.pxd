"""Which addresses may be sent to, as :mod:`lispmsrt.control.unicast` has it."""

from lispmsrt.control._octets cimport u64


cdef inline bint is_mapped(const unsigned char* packed) noexcept:
    """Whether it is IPv4 in disguise."""
    return (
        u64(packed) == 0 and packed[8] == 0 and packed[9] == 0
        and packed[10] == 0xFF and packed[11] == 0xFF
    )


cdef inline bint is_loopback(const unsigned char* packed, Py_ssize_t octets) noexcept:
    if octets == 4:
        return packed[0] == 127
    return u64(packed) == 0 and u64(packed + 8) == 1


cdef inline bint is_unicast(const unsigned char* packed, int octets, bint loopback) noexcept:
    if octets == 4:
        return 0 < packed[0] < 224 and (packed[0] != 127 or loopback)
    if is_loopback(packed, octets):
        return loopback
    if u64(packed) == 0 and packed[8] == 0 and packed[9] == 0:
        return False
    return packed[0] != 0xFF and not (packed[0] == 0xFE and packed[1] == 0x80)
