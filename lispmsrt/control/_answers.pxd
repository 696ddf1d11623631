from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from lispmsrt.control._questions cimport Eid, Question
from lispmsrt.mapping._eid_entries cimport EidEntries
from lispmsrt.mapping._eid_index cimport Prefixes
from lispmsrt.mapping._registration cimport Registration

cdef enum:
    ROOM = 2048  # octets of a Map-Reply that is ordinary
    MOST_BELOW = 64  # no fewer than lookup.MAX_MORE_SPECIFICS
    TO_MAP_SERVER = 1 << 24  # M of an ECM

cdef enum Kind:
    REGISTERED
    NOT_REGISTERED
    NO_SITE


cdef class Answers:
    cdef dict tables
    cdef bint passes_on
    cdef int max_more_specifics
    cdef object configured_of
    cdef dict configured
    cdef uint32_t latest_instance
    cdef int latest_afi
    cdef bint has_latest
    cdef Prefixes latest_order
    cdef dict latest_entries
    cdef EidEntries latest_configured

    cdef int configure(self, object sites) except -1
    cdef int find_table(self, Eid* eid) except -1
    cdef void find(self, Question* question) noexcept
    cdef Py_ssize_t reply(
        self, Question* question, Py_ssize_t size, unsigned char* out, int* kind
    ) except -2
    cdef Registration _kept(self, PyObject* value, Eid* eid, int length)
    cdef Py_ssize_t _hole(
        self, Eid* eid, int nearest, unsigned char* out, Py_ssize_t room, int* kind
    ) except -2
    cdef Py_ssize_t _hit(
        self, Eid* eid, PyObject* value, int length, int above, int nearest,
        unsigned char* out, Py_ssize_t room, int* records,
    ) except -2
    cdef Py_ssize_t _with_below(
        self, Eid* eid, int length, Registration registration, int below, uint64_t* numbers,
        PyObject** values, unsigned char* out, Py_ssize_t room, int* records,
    ) except -2
    cdef bint _answers_all(self, uint64_t hi, uint64_t lo, int length) except -1
