"""Records of Map-Replies, as :mod:`lispmsrt.wire.served_records` writes them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from lispmsrt.control._octets cimport (
    INSTANCE_ID, LCAF, NAME, plain_octets, put_u16, put_u32, u16
)
from lispmsrt.control._questions cimport Eid
from lispmsrt.mapping._prefix_words cimport first_of
from lispmsrt.mapping._registration cimport Registration


cdef inline bint has_no_locators(Registration registration) noexcept:
    cdef bytes record = registration.record
    return PyBytes_GET_SIZE(record) > 4 and PyBytes_AS_STRING(record)[4] == 0


cdef inline Py_ssize_t write_eid(
    Eid* eid, uint64_t hi, uint64_t lo, int length, unsigned char* out, Py_ssize_t room
) noexcept:
    """Write AFI and EID-prefix, in the form that was asked for; return the octets, -1 for no
    room.
    """
    cdef int octet
    cdef Py_ssize_t at = 0
    if room < 14 + eid.octets:
        return -1
    if eid.instance_id or eid.explicit_instance:
        put_u16(out, LCAF)
        out[2] = out[3] = out[5] = 0
        out[4] = INSTANCE_ID
        put_u16(out + 6, 6 + eid.octets)
        put_u32(out + 8, eid.instance_id)
        at = 12
    put_u16(out + at, eid.afi)
    at += 2
    first_of(hi, lo, length, &hi, &lo)
    for octet in range(eid.octets):
        out[at + octet] = (hi >> (56 - 8 * octet) if octet < 8 else lo >> (120 - 8 * octet)) & 0xFF
    return at + eid.octets


cdef inline Py_ssize_t write_negative(
    Eid* eid, uint64_t hi, uint64_t lo, int length, uint32_t ttl, int action,
    unsigned char* out, Py_ssize_t room,
) noexcept:
    cdef Py_ssize_t octets = write_eid(eid, hi, lo, length, out + 10, room - 10)
    if octets < 0:
        return -1
    put_u32(out, ttl)
    out[4], out[5] = 0, length
    put_u16(out + 6, action << 13)
    out[8] = out[9] = 0
    return 10 + octets


cdef inline Py_ssize_t write_served(
    Eid* eid, uint64_t hi, uint64_t lo, int length, Registration registration,
    unsigned char* out, Py_ssize_t room,
) noexcept:
    """Write a registered record as one that does not come from its ETR: A cleared, L cleared in all
    locators.
    """
    cdef bytes whole = registration.record
    cdef const unsigned char* record = <const unsigned char*>PyBytes_AS_STRING(whole)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
    cdef Py_ssize_t octets = write_eid(eid, hi, lo, length, out + 10, room - 10)
    cdef Py_ssize_t locators, at = 0
    cdef int left
    cdef unsigned char* written = out + 10 + octets
    if octets < 0:
        return -1
    locators = after_address(record, size, 10)
    if locators < 0 or 10 + octets + size - locators > room:
        return -1
    memcpy(out, record, 10)
    out[5] = length
    out[6] &= 0xEF  # A
    size -= locators
    memcpy(written, record + locators, size)
    for left in range(record[4], 0, -1):
        if at + 8 > size:
            return -1
        written[at + 5] &= 0xFB  # L
        if left > 1:
            at = after_address(written, size, at + 6)
            if at < 0:
                return -1
    return 10 + octets + size


cdef inline Py_ssize_t after_address(
    const unsigned char* record, Py_ssize_t size, Py_ssize_t at
) noexcept:
    """Return where the address ends whose AFI stands at ``at``; -1 beyond the end."""
    cdef uint32_t afi
    cdef int octets
    if at + 2 > size:
        return -1
    afi = u16(record + at)
    octets = plain_octets(afi)
    if octets >= 0:
        at += 2 + octets
    elif afi == LCAF:
        if at + 8 > size:
            return -1
        at += 8 + u16(record + at + 6)
    elif afi == NAME:
        at += 2
        while at < size and record[at]:
            at += 1
        at += 1
    else:
        return -1
    return at if at <= size else -1
