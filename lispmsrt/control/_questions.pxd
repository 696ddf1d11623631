"""Ordinary Map-Requests read, as :mod:`lispmsrt.wire.encapsulated` and
:mod:`lispmsrt.wire.map_request` do.
"""

from libc.stdint cimport uint32_t, uint64_t

from lispmsrt.control._octets cimport (
    INSTANCE_ID, IPV4, IPV6, LCAF, SUM_ORDER, plain_octets, sum_of, u16, u32, u64
)
from lispmsrt.mapping._eid_index cimport Around
from lispmsrt.mapping._prefix_words cimport first_of


cdef struct Eid:
    int afi
    int octets
    int length
    bint explicit_instance
    uint32_t instance_id
    uint64_t hi  # the network, with the most significant bit first
    uint64_t lo


cdef struct Question:
    uint32_t flags
    Py_ssize_t inner_at
    uint64_t nonce  # as it stands in the message
    Eid eid
    Py_ssize_t reply_to  # where the chosen ITR-RLOC stands in the message
    int reply_octets
    uint32_t port
    bint is_found
    Around found


cdef inline Py_ssize_t inner_message(const unsigned char* message, Py_ssize_t size) noexcept:
    """Return where the message in an ECM without LISP-SEC data begins; -1 where
    :func:`lispmsrt.wire.encapsulated.walk_encapsulated` has something to say about it.
    """
    cdef Py_ssize_t udp
    cdef uint64_t total
    cdef uint32_t octets, checksum
    cdef int version
    if size < 4 + 20 + 8:
        return -1
    version = message[4] >> 4
    if version == 4:
        udp = 4 + (message[4] & 0xF) * 4
        if udp < 24 or udp + 8 > size or u16(message + 6) != <uint32_t>(size - 4):
            return -1
        if u16(message + 10) & 0x3FFF or message[13] != 17 or sum_of(message + 4, udp - 4):
            return -1
        total = sum_of(message + 16, 8)
    elif version == 6:
        udp = 44
        if udp + 8 > size or u16(message + 8) != <uint32_t>(size - udp) or message[10] != 17:
            return -1
        total = sum_of(message + 12, 32)
    else:
        return -1
    octets, checksum = u16(message + udp + 4), u16(message + udp + 6)
    if octets != <uint32_t>(size - udp):
        return -1
    if checksum or version == 6:
        total = (total + sum_of(message + udp, size - udp)) * SUM_ORDER + octets + 17
        if not checksum or total % 0xFFFF:
            return -1
    return udp + 8


cdef inline Py_ssize_t after_source_eid(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at
) noexcept:
    """Return where a plain address ends, with or without instance ID; -1 for another."""
    cdef int octets
    if at + 2 > size:
        return -1
    if u16(message + at) == LCAF:
        if at + 14 > size or message[at + 4] != INSTANCE_ID:
            return -1
        octets = plain_octets(u16(message + at + 12))
        if octets < 0 or u16(message + at + 6) != <uint32_t>(6 + octets):
            return -1
        at += 14 + octets
    else:
        octets = plain_octets(u16(message + at))
        if octets < 0:
            return -1
        at += 2 + octets
    return at if at <= size else -1


cdef inline Py_ssize_t after_rlocs(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at, int count
) noexcept:
    """Return where ITR-RLOCs end that are IPv4 and IPv6 addresses; -1 for others."""
    cdef uint32_t afi
    for _ in range(count):
        if at + 2 > size:
            return -1
        afi = u16(message + at)
        if afi != IPV4 and afi != IPV6:
            return -1
        at += 2 + plain_octets(afi)
    return at if at <= size else -1


cdef inline bint read_eid(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at, Eid* eid
) noexcept:
    """Read the one EID asked for, which ends the message."""
    cdef uint32_t afi
    cdef unsigned char packed[16]
    if at + 4 > size or message[at] & 0x80:
        return False
    eid.length = message[at + 1]
    afi = u16(message + at + 2)
    at += 4
    eid.explicit_instance = afi == LCAF
    eid.instance_id = 0
    if eid.explicit_instance:
        if at + 12 > size or message[at + 2] != INSTANCE_ID:
            return False
        eid.instance_id = u32(message + at + 6)
        afi = u16(message + at + 10)
        if u16(message + at + 4) != <uint32_t>(6 + plain_octets(afi)):
            return False
        at += 12
    eid.octets = plain_octets(afi)
    if eid.octets <= 0 or at + eid.octets != size or eid.length > 8 * eid.octets:
        return False
    eid.afi = afi
    for octet in range(16):
        packed[octet] = message[at + octet] if octet < eid.octets else 0
    # As everywhere, bits beyond the mask are ignored.
    first_of(u64(packed), u64(packed + 8), eid.length, &eid.hi, &eid.lo)
    return True
