"""Registrations written and ACKs taken by the thousand; the compiled twin of a part of
:mod:`lispmsrt.session.etr`.

Withdrawals, Rejections, EID-prefixes that somebody waits for, what is outstanding more than once:
all that is left to the Python.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.object cimport PyObject
from libc.string cimport memcpy, memset

from lispmsrt.mapping._etr_registrations cimport (
    ACK_WAIT,
    DUE,
    NO_STATE,
    STABLE,
    EtrQueue,
    EtrRegistration,
)
from lispmsrt.wire._keyed_hash cimport KeyedHash

from lispmsrt.wire.authentication import Coverage
from lispmsrt.wire.map_register import RegisterFlag

cdef enum:
    HEADER = 8  # of a message: type, length, message ID
    FIXED = 16  # of a Map-Register, up to its authentication data
    MARKER_SIZE = 4
    MARKER = 0x9FACADE9u
    REGISTRATION = 17
    ACK = 18
    MIN_ACK = 15  # a mask length and an AFI, with what is around every message
    MAX_MAC = 32
    SPACE = 8192  # behind the room that is given: for the last message

cdef unsigned int _XTR_ID = RegisterFlag.XTR_ID
cdef object _WHOLE_MESSAGE = Coverage.WHOLE_MESSAGE


cdef inline void _put16(unsigned char *at, unsigned int value) noexcept:
    at[0], at[1] = value >> 8 & 0xFF, value & 0xFF


cdef inline void _put32(unsigned char *at, unsigned int value) noexcept:
    _put16(at, value >> 16)
    _put16(at + 2, value)


def write_registrations(
    EtrQueue due not None, credentials, unsigned int message_id, Py_ssize_t room, Py_ssize_t most
):
    """Take Registrations out of what is due, at most so many and until the room is used up; return
    their messages, one behind the other, and how many they are.
    """
    key = credentials.key
    if not key.is_plain or most <= 0 or room <= 0:
        return b"", 0
    cdef KeyedHash keyed_hash = key.keyed_hash
    if keyed_hash is None:
        return b"", 0
    cdef bytes ids = credentials.ids
    cdef const unsigned char *ids_at = <const unsigned char *>PyBytes_AS_STRING(ids)
    cdef size_t ids_size = PyBytes_GET_SIZE(ids)
    cdef size_t uncovered = 0 if key.default_coverage is _WHOLE_MESSAGE else ids_size
    cdef size_t mac_size = key.sent_length
    cdef unsigned int word = 0x30000001 | <unsigned int>credentials.flags
    cdef unsigned char head[FIXED]
    if ids_size:
        word |= _XTR_ID
    _put32(head, word)
    head[12], head[13] = key.key_id, key.algorithm_id
    _put16(head + 14, mac_size)

    next_nonce = credentials.next_nonce
    cdef Py_ssize_t written = 0
    cdef size_t around = HEADER + FIXED + mac_size + ids_size + MARKER_SIZE
    cdef size_t size, record_size
    cdef unsigned long long nonce
    cdef unsigned char digest[MAX_MAC]
    cdef unsigned char *at
    cdef EtrRegistration entry
    cdef size_t space = room + SPACE
    cdef bytes messages = PyBytes_FromStringAndSize(NULL, space)
    cdef unsigned char *begin = <unsigned char *>PyBytes_AS_STRING(messages)
    cdef size_t used = 0
    while written < most and used < <size_t>room:
        entry = due.peek()
        if entry is None or entry.stage == NO_STATE:
            break
        record_size = PyBytes_GET_SIZE(entry.record)
        size = around + record_size
        if size > SPACE:
            break
        nonce = PyLong_AsUnsignedLongLongMask(next_nonce())
        at = begin + used
        _put16(at, REGISTRATION)
        _put16(at + 2, size)
        _put32(at + 4, message_id)
        at += HEADER
        _put32(head + 4, nonce >> 32)
        _put32(head + 8, nonce & 0xFFFFFFFFu)
        memcpy(at, head, FIXED)
        memset(at + FIXED, 0, mac_size)
        memcpy(at + FIXED + mac_size, PyBytes_AS_STRING(entry.record), record_size)
        memcpy(at + FIXED + mac_size + record_size, ids_at, ids_size)
        keyed_hash.mac(
            at, FIXED + mac_size + record_size + ids_size - uncovered, NULL, 0, NULL, 0, digest
        )
        memcpy(at + FIXED, digest, mac_size)
        _put32(begin + used + size - MARKER_SIZE, MARKER)
        used += size
        written += 1
        message_id += 1
        due.drop(entry)
        entry.outstanding += 1
        entry.answer = -1
    return messages[:used], written


def take_acks(dict entries not None, EtrQueue prompt not None, bytes chunk not None, Py_ssize_t start, Py_ssize_t most):
    """Take ACKs, of at most so many messages, that are the one answer which an entry waits for;
    return how many. The data of the first begins at ``start``.
    """
    cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(chunk)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(chunk)
    cdef Py_ssize_t taken = 0
    cdef Py_ssize_t length
    cdef const unsigned char *at
    cdef PyObject *found
    cdef EtrRegistration entry
    cdef bytes eid
    start -= HEADER
    if start < 0:
        return 0
    while taken < most and end - start >= MIN_ACK:
        at = octets + start
        length = at[2] << 8 | at[3]
        if (at[0] << 8 | at[1]) != ACK or length < MIN_ACK or length > end - start:
            break
        eid = PyBytes_FromStringAndSize(<const char *>at + HEADER, length - HEADER - MARKER_SIZE)
        found = PyDict_GetItem(entries, eid)
        if found == NULL:
            break
        entry = <EtrRegistration>found
        # One that is due is not settled by this answer.
        if entry.stage != ACK_WAIT or entry.outstanding != 1 or entry.is_awaited or entry.places[DUE]:
            break
        entry.outstanding = 0
        entry.over_udp = False
        prompt.drop(entry)
        entry.is_welcome = True
        entry.stage = STABLE
        entry.refusal = -1
        taken += 1
        start += length
    return taken
