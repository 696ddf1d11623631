cdef struct Span:
    unsigned short kind
    unsigned int message_id
    # Of the message's data, in the chunk.
    Py_ssize_t start
    Py_ssize_t end


cdef class Frames:
    cdef Span *spans
    cdef Py_ssize_t number
    cdef Py_ssize_t room

    cdef int add(self, unsigned short kind, unsigned int message_id, Py_ssize_t start, Py_ssize_t end) except -1
