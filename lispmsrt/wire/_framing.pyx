"""Ordinary frames found at the speed of C; the compiled twin of a part of
:mod:`lispmsrt.wire.framing`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc

cdef enum:
    HEADER = 8
    OVERHEAD = 12
    MARKER = 0x9FACADE9u


cdef class Frames:
    """A sequence of frames that become tuples one by one, and only when somebody asks for them."""

    def __dealloc__(self):
        free(self.spans)

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self.number))]
        cdef Py_ssize_t at = index
        if at < 0:
            at += self.number
        if not 0 <= at < self.number:
            raise IndexError(index)
        cdef Span *span = self.spans + at
        return (span.kind, span.message_id, span.start, span.end)

    def __eq__(self, other):
        return self[:] == (other[:] if isinstance(other, Frames) else other)

    def __repr__(self):
        return f"Frames({self[:]})"

    cdef int add(self, unsigned short kind, unsigned int message_id, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Span *larger
        if self.number == self.room:
            self.room = 2 * self.room or 16
            larger = <Span *>realloc(self.spans, self.room * sizeof(Span))
            if larger == NULL:
                self.room = self.number
                raise MemoryError()
            self.spans = larger
        self.spans[self.number] = Span(kind, message_id, start, end)
        self.number += 1
        return 0


cdef inline unsigned int _word(const unsigned char *at) noexcept:
    return <unsigned int>at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]


def find_frames(bytes data):
    """Return the frames from the beginning on that are whole and have a message ID and the right
    marker, and the offset behind them.
    """
    cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t length
    cdef const unsigned char *at
    cdef Frames frames = Frames()
    while size - position >= OVERHEAD:
        at = octets + position
        length = at[2] << 8 | at[3]
        if length < OVERHEAD or length > size - position or _word(at + length - 4) != <unsigned int>MARKER:
            break
        frames.add(at[0] << 8 | at[1], _word(at + 4), position + HEADER, position + length - 4)
        position += length
    return frames, position
