"""Records of Map-Registers that are like one that was accepted: the compiled twin of
:meth:`lispmsrt.mapping.registrar.Registrar.enter_over_udp`.

It takes what is new, and what confirms exactly what the same xTR registered over UDP. Whoever holds
an EID-prefix otherwise, whatever limit is reached: it declines, having changed nothing. The octets
were written by a peer; whoever calls has seen that there are as many.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.set cimport PySet_GET_SIZE
from libc.string cimport memcmp

from lispmsrt.mapping._registration cimport Registration

from lispmsrt.mapping.new_mappings import Stretch

cdef extern from *:
    """
    typedef unsigned __int128 lispmsrt_bits;
    """
    # Of an address, in the lowest bits. What Cython takes it for does not matter: no such number
    # ever becomes a Python one.
    ctypedef unsigned long long Bits "lispmsrt_bits"

cdef enum:
    MASK = 5  # where the mask length stands in a record

cdef object _from_bytes = int.from_bytes


cdef inline Bits _address(const unsigned char *at, int octets) noexcept nogil:
    cdef Bits address = 0
    cdef int index
    for index in range(octets):
        address = address << 8 | at[index]
    return address


cdef class LikeRecord:
    """The octets of a record that must agree, and what has been found out about them."""

    def __init__(self, sites, prefix, lease, table, unsigned int flags, bytes record, int address_at, int octets):
        if not 0 < octets <= 16 or not MASK < address_at <= len(record) - octets:
            raise ValueError("the EID is not inside its record")
        self.sites, self.site = sites, prefix.site
        self.lease, self.held = lease, lease.held
        self.path, self.source = lease.path, lease.source
        self.table, self.entries = table, table.entries
        self.by_key = self.entries if type(self.entries) is dict else None
        self.flags, self.model = flags, record
        self.address_at, self.octets = address_at, octets
        self.know(prefix)

    cdef int know(self, object prefix) except -1:
        """Take the next ones to be under this configured EID-prefix."""
        network = prefix.key ^ 1 << prefix.length
        self.is_leaf = self.sites.is_leaf(prefix)
        self.prefix_length = prefix.length
        self.accepts_more_specifics = prefix.accept_more_specifics
        self.network[0] = network & 0xFFFFFFFFFFFFFFFF
        self.network[1] = network >> 64
        return 0

    cdef bint is_current(self) except -1:
        """Whether the lease still is the xTR's one over UDP, with the same path."""
        # One that holds nothing is in no book any more.
        return (
            PyDict_Size(self.held) > 0
            and self.lease.path is self.path
            and self.lease.source == self.source
        )

    cdef bint covers(self, const unsigned char *record) noexcept:
        """Whether the configured EID-prefix that is known is the one to decide, and allows it."""
        cdef int length = record[MASK]
        cdef Bits network = self.network[1]
        if not self.is_leaf or length < self.prefix_length:
            return False
        if length > self.prefix_length and not self.accepts_more_specifics:
            return False
        if self.prefix_length == 0:
            return True
        network = network << 64 | self.network[0]
        return (
            _address(record + self.address_at, self.octets)
            >> (8 * self.octets - self.prefix_length)
        ) == network

    cdef bint may_have(self, object key, int length) except -1:
        """Ask the sites whether this may be registered (RFC 9301 §8.2), and know it from now on."""
        prefix = self.sites.match(self.table.instance_id, self.table.afi, length, key)
        if prefix is None or prefix.site is not self.site:
            return False
        self.know(prefix)
        return True

    cdef object key_of(self, const unsigned char *record):
        """Return the prefix key; None where the record is not like the model."""
        cdef const unsigned char *model = <const unsigned char *>PyBytes_AS_STRING(self.model)
        cdef int behind = self.address_at + self.octets
        cdef int length = record[MASK]
        cdef int width = 8 * self.octets
        cdef int index
        cdef Bits address, one = 1
        cdef unsigned char key[17]
        if (
            length > width
            or memcmp(record, model, MASK)
            or memcmp(record + MASK + 1, model + MASK + 1, self.address_at - MASK - 1)
            or memcmp(record + behind, model + behind, PyBytes_GET_SIZE(self.model) - behind)
        ):
            return None
        address = _address(record + self.address_at, self.octets)
        if length < width:
            address = address >> (width - length) if length else 0
        if length < 64:
            return <unsigned long long>(address | one << length)
        if length < 128:
            address |= one << length
        for index in range(16):
            key[index] = <unsigned char>(address >> (8 * index) & 0xFF)
        key[16] = length == 128
        return _from_bytes(PyBytes_FromStringAndSize(<char *>key, 17), "little")

    cdef object standing(self, object key):
        """Return what is registered; None for nothing."""
        cdef PyObject *found
        if self.by_key is None:
            return self.entries.get(key)
        found = PyDict_GetItemWithError(self.by_key, key)
        return None if found == NULL else <object>found


cdef class OverUdp:
    """Registers and confirms in runs: all that came at one time."""

    def __init__(self, registrar, soft_state):
        self.registrar, self.soft_state = registrar, soft_state
        self.keys, self.standing, self.stretches = [], [], []

    cdef int begin(self, double now) except -1:
        """Begin a run; ``now`` in monotonic seconds."""
        self.now = now
        self.deadline = now + self.soft_state.timeout
        self.sites = self.registrar.sites
        self.room = self.registrar.room
        self.accepted = 0
        return 0

    cdef bint examine(self, LikeRecord like, const unsigned char *records, int count) except -1:
        """Tell whether all of ``count`` records, each as large as the model, can be taken."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(like.model)
        cdef const unsigned char *record = records
        cdef Registration held
        cdef object key, found
        cdef int index
        # Before anything is looked at: nobody knows what those who hear of it do.
        if self.maker is not None and like.lease is not self.maker:
            self.tell()
        if not like.is_current():
            return False
        self.keys.clear()
        self.standing.clear()
        self.fresh = 0
        for index in range(count):
            key = like.key_of(record)
            if key is None or not (like.covers(record) or like.may_have(key, record[MASK])):
                return False
            found = like.standing(key)
            if found is None:
                self.fresh += 1
            elif type(found) is not Registration:
                return False  # merged of several
            else:
                held = <Registration>found
                if (
                    held.lease is not like.lease
                    or held.flags != like.flags
                    or held.deadline is None
                    or PyBytes_GET_SIZE(held.record) != size
                    or memcmp(PyBytes_AS_STRING(held.record), record, size)
                ):
                    return False
            self.keys.append(key)
            self.standing.append(found)
            record += size
        # What stands there twice is the second time not new.
        return self.fresh <= self.room and (self.fresh < 2 or PySet_GET_SIZE(set(self.keys)) == count)

    cdef int enter(self, LikeRecord like, const unsigned char *records, int count) except -1:
        """Register or confirm what was examined last."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(like.model)
        cdef int index
        cdef object found
        for index in range(count):
            found = <object>PyList_GET_ITEM(self.standing, index)
            if found is not None:
                # It stays where it is among the clocks: a refresh is no more than this.
                (<Registration>found).deadline = self.deadline
            else:
                key = <object>PyList_GET_ITEM(self.keys, index)
                self.register(like, key, records + index * size)
        self.accepted += count
        return 0

    cdef int register(self, LikeRecord like, object key, const unsigned char *record) except -1:
        cdef Registration registration = Registration.__new__(Registration)
        cdef int length = record[MASK]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(like.model)
        registration.record = PyBytes_FromStringAndSize(<const char *>record, size)
        registration.lease = like.lease
        registration.flags = like.flags
        registration.since = self.now
        registration.deadline = self.deadline
        self.stretch(like)
        if like.by_key is not None:
            PyDict_SetItem(like.by_key, key, registration)
        else:
            like.entries[key] = registration
        PyDict_SetItem(like.held, registration, None)
        if self.bucket is None:
            self.bucket = self.soft_state.bucket(self.now)
        PyDict_SetItem(self.bucket, registration, None)
        self.room -= 1
        self.new_keys.append(key)
        self.registrations.append(registration)
        self.lengths[length] = self.lengths.get(length, 0) + 1
        return 0

    cdef int stretch(self, LikeRecord like) except -1:
        """Have the next new one noted among those that are like it."""
        if like is self.latest:
            return 0
        if (
            self.latest is not None
            and like.table is self.latest.table
            and like.flags == self.latest.flags
        ):
            self.latest = like
            return 0
        self.maker, self.latest = like.lease, like
        self.new_keys, self.registrations, self.lengths = [], [], {}
        self.stretches.append(
            Stretch(like.table, self.new_keys, self.registrations, self.lengths)
        )
        return 0

    cdef int tell(self) except -1:
        """Let everybody hear of what one lease has registered."""
        cdef list stretches = self.stretches
        self.latest = self.maker = None
        if PyList_GET_SIZE(stretches):
            self.stretches = []
            self.registrar.entered(stretches)
        return 0

    cdef int end(self) except -1:
        """End the run."""
        self.bucket = None
        self.registrar.accepted += self.accepted
        self.accepted = 0
        self.tell()
        return 0
