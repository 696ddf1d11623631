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
cdef unsigned int _serial = 0


@cython.no_gc
cdef class Registration:
    """One EID-prefix registered by one xTR. Written by the registrar only."""

    def __cinit__(self):
        global _serial
        _serial += 1
        self.serial = _serial

    def __init__(self, bytes record, lease, unsigned int flags, double since, deadline):
        self.record = record
        self.lease = lease
        self.flags = flags
        self.since = since
        self.deadline = deadline

    def __hash__(self):
        # What is made one after the other stands side by side in a dict too. By addresses, whose
        # last bits leave three places of four empty, to enter one among a million into what its
        # lease holds took twice as long as all the rest of the mapping database.
        return self.serial

    @property
    def expires(self):
        return self.lease.deadline if self.deadline is None else self.deadline

    @property
    def wants_notification(self):
        return self.flags & _WANT_MAP_NOTIFY != 0

    def decode(self):
        return decode_record(Reader(self.record))
