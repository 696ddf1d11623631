cdef class Registration:
    cdef public bytes record
    cdef public object lease
    cdef public unsigned int flags
    cdef unsigned int serial  # in what would be padding
    cdef public double since
    cdef public object deadline
