cdef class Registration:
    cdef public bytes record
    cdef public object lease
    cdef public unsigned int flags
    cdef public double since
    cdef public object deadline
