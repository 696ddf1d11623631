cdef class History:
    cdef public object seen
    cdef public long long increases
    cdef public list answers
    cdef public bint is_forgotten
    cdef unsigned long long greatest
    cdef bint is_new
