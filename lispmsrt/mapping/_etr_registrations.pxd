from cpython.object cimport PyObject


# As lispmsrt.mapping.etr_states.EtrState has them; checked when the module is imported.
cdef enum:
    NO_STATE = 0
    PERIODIC = 1
    STABLE = 2
    ACK_WAIT = 3
    REJECTED = 4
    ROAMED = 5


# As lispmsrt.mapping.etr_queue has them.
cdef enum:
    DUE = 0
    PROMPT = 1


cdef class EtrRegistration:
    cdef readonly bytes eid
    cdef public bytes record
    cdef public unsigned int outstanding
    # Where it stands in each queue, counted from 1; 0 where it is in none.
    cdef unsigned int places[2]
    cdef short answer
    cdef short refusal
    cdef unsigned char stage
    cdef public bint over_udp
    cdef public bint is_awaited
    cdef public bint is_welcome


cdef class EtrQueue:
    cdef int which
    cdef PyObject **slots
    cdef size_t capacity
    cdef size_t first
    cdef size_t end
    cdef size_t count

    cdef int append(self, EtrRegistration entry) except -1
    cdef bint has(self, EtrRegistration entry) noexcept
    cdef void drop(self, EtrRegistration entry) noexcept
    cdef EtrRegistration peek(self)
    cdef int make_room(self) except -1
    cdef int forget(self) except -1


cdef class Model:
    cdef object locators
    cdef object ttl
    cdef object action
    cdef object authoritative
    cdef object map_version
    cdef Py_ssize_t eid_size
    cdef bytes before
    cdef bytes behind

    cdef bint is_like(self, record)
    cdef bytes wire(self, const unsigned char *eid, Py_ssize_t size)
