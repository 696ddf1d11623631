"""A registration as a structure: the compiled twin of
:class:`lispmsrt.mapping.registration.Registration`.

A Map-Server holds millions of these. They are invisible to the cyclic garbage collector, which
would else walk over all of them again and again: the one cycle that they are part of, over their
lease, is undone when they are taken out of the database.
"""

cimport cython

from lispmsrt.mapping.registration import WANT_MAP_NOTIFY
from lispmsrt.wire.reader import Reader
from lispmsrt.wire.records import decode_record

cdef unsigned int _WANT_MAP_NOTIFY = WANT_MAP_NOTIFY


@cython.no_gc
cdef class Registration:
    """One EID-prefix registered by one xTR. Written by the registrar only."""

    def __init__(self, bytes record, lease, unsigned int flags, double since, deadline):
        self.record = record
        self.lease = lease
        self.flags = flags
        self.since = since
        self.deadline = deadline

    @property
    def expires(self):
        return self.lease.deadline if self.deadline is None else self.deadline

    @property
    def wants_notification(self):
        return self.flags & _WANT_MAP_NOTIFY != 0

    def decode(self):
        return decode_record(Reader(self.record))
