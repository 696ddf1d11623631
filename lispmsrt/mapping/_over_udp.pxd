cdef class LikeRecord:
    cdef object sites, site, lease, path, source, table, entries
    cdef dict by_key, held
    cdef bytes model
    cdef int octets, address_at
    cdef unsigned int flags
    cdef unsigned long long network[2]
    cdef int prefix_length
    cdef bint is_leaf, accepts_more_specifics

    cdef int know(self, object prefix) except -1
    cdef bint is_current(self) except -1
    cdef bint covers(self, const unsigned char *record) noexcept
    cdef bint may_have(self, object key, int length) except -1
    cdef object key_of(self, const unsigned char *record)
    cdef object standing(self, object key)


cdef class OverUdp:
    cdef object registrar, soft_state
    cdef readonly object sites
    cdef double now
    cdef object deadline
    cdef dict bucket
    cdef long long room, accepted
    cdef list keys, standing
    cdef long long fresh
    # What is new, of one lease.
    cdef object maker
    cdef list stretches
    cdef LikeRecord latest
    cdef list new_keys, registrations
    cdef dict lengths

    cdef int begin(self, double now) except -1
    cdef bint examine(self, LikeRecord like, const unsigned char *records, int count) except -1
    cdef int enter(self, LikeRecord like, const unsigned char *records, int count) except -1
    cdef int end(self) except -1

    cdef int register(self, LikeRecord like, object key, const unsigned char *record) except -1
    cdef int stretch(self, LikeRecord like) except -1
    cdef int tell(self) except -1
