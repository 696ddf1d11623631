"""What an ETR keeps of each EID-prefix as a structure, and the walks over all of them: the compiled
twins of :mod:`lispmsrt.mapping.etr_registration`, :mod:`lispmsrt.mapping.etr_queue` and of what
:mod:`lispmsrt.mapping.etr_registrations` does to a million of them at once.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from lispmsrt.mapping.etr_states import EtrState
from lispmsrt.wire.addresses import Address, EidPrefix
from lispmsrt.wire.record_walk import EID_OFFSET
from lispmsrt.wire.records import MappingRecord

cdef enum:
    MIN_SLOTS = 64
    LENGTH_OFFSET = 5  # of the mask length, in a record
    IPV4 = 1
    IPV6 = 2
    MAX_EID = 19  # mask length, AFI and an IPv6 address

cdef tuple _STATES = tuple(EtrState)
cdef Py_ssize_t _EID_OFFSET = EID_OFFSET
cdef tuple _IPV4_FAMILY = (0, IPV4)
cdef tuple _IPV6_FAMILY = (0, IPV6)

if [state.name for state in EtrState] != [
    "NO_STATE", "PERIODIC", "STABLE", "ACK_WAIT", "REJECTED", "ROAMED"
]:
    raise ImportError("this was compiled for other states")


cdef class EtrRegistration:
    """One EID-prefix at one Map-Server. The collector of cycles has nothing to find in it."""

    def __init__(self, bytes eid not None, bytes record not None):
        self.eid = eid
        self.record = record
        self.answer = self.refusal = -1

    @property
    def state(self):
        return _STATES[self.stage]

    @state.setter
    def state(self, int value):
        if not 0 <= value <= ROAMED:
            raise ValueError(f"no state {value}")
        self.stage = value

    @property
    def last_answer(self):
        return None if self.answer < 0 else self.answer

    @last_answer.setter
    def last_answer(self, value):
        self.answer = -1 if value is None else value

    @property
    def reason(self):
        return None if self.refusal < 0 else self.refusal

    @reason.setter
    def reason(self, value):
        self.refusal = -1 if value is None else value

    def withdrawal(self):
        return bytes(5) + self.record[5 : _EID_OFFSET + len(self.eid) - 1]


cdef class EtrQueue:
    """A row of slots; who is taken out of the middle leaves an empty one."""

    def __init__(self, int which):
        if which != DUE and which != PROMPT:
            raise ValueError(f"no queue {which}")
        self.which = which

    def __dealloc__(self):
        self.forget()
        free(self.slots)

    def __len__(self):
        return self.count

    def __contains__(self, entry):
        return type(entry) is EtrRegistration and self.has(entry)

    def __iter__(self):
        cdef size_t at = self.first
        while at < self.end:
            if self.slots[at] != NULL:
                yield <EtrRegistration>self.slots[at]
            at += 1

    def add(self, EtrRegistration entry not None):
        self.append(entry)

    def discard(self, EtrRegistration entry not None):
        self.drop(entry)

    def take(self):
        cdef EtrRegistration entry = self.peek()
        if entry is None:
            raise KeyError("nothing waits")
        self.drop(entry)
        return entry

    def put_first(self, entries):
        cdef EtrRegistration entry
        cdef list others
        cdef list firsts = list(entries)
        for entry in firsts:
            self.drop(entry)
        others = list(self)
        self.clear()
        for entry in firsts:
            self.append(entry)
        for entry in others:
            self.append(entry)

    def clear(self):
        self.forget()

    cdef int append(self, EtrRegistration entry) except -1:
        if entry.places[self.which]:
            return 0
        if self.end == self.capacity:
            self.make_room()
        Py_INCREF(entry)
        self.slots[self.end] = <PyObject *>entry
        self.end += 1
        self.count += 1
        entry.places[self.which] = self.end
        return 0

    cdef bint has(self, EtrRegistration entry) noexcept:
        cdef size_t place = entry.places[self.which]
        # One that waits at another Map-Server has its place there, not here.
        return place and place <= self.end and self.slots[place - 1] == <PyObject *>entry

    cdef void drop(self, EtrRegistration entry) noexcept:
        if not self.has(entry):
            return
        self.slots[entry.places[self.which] - 1] = NULL
        entry.places[self.which] = 0
        self.count -= 1
        if not self.count:
            self.first = self.end = 0
        # Else who looks for the first walks over all that have left.
        while self.first < self.end and self.slots[self.first] == NULL:
            self.first += 1
        Py_DECREF(entry)

    cdef EtrRegistration peek(self):
        """Return the first, None where there is none."""
        return <EtrRegistration>self.slots[self.first] if self.count else None

    cdef int make_room(self) except -1:
        cdef size_t at, kept = 0, wanted
        cdef PyObject **slots
        cdef PyObject *one
        # Closing the gaps is worth it when half of them are free: so each costs a constant.
        if 2 * self.count <= self.capacity and self.capacity:
            for at in range(self.first, self.end):
                one = self.slots[at]
                if one != NULL:
                    self.slots[kept] = one
                    kept += 1
                    (<EtrRegistration>one).places[self.which] = kept
            self.first, self.end = 0, kept
            return 0
        wanted = 2 * self.capacity if self.capacity else MIN_SLOTS
        if wanted >= 0xFFFFFFFF:
            raise MemoryError("a queue has no room for so many")
        slots = <PyObject **>realloc(self.slots, wanted * sizeof(PyObject *))
        if slots == NULL:
            raise MemoryError("a queue has no room for so many")
        self.slots, self.capacity = slots, wanted
        return 0

    cdef int forget(self) except -1:
        cdef size_t at
        cdef EtrRegistration entry
        for at in range(self.first, self.end):
            if self.slots[at] != NULL:
                entry = <EtrRegistration>self.slots[at]
                entry.places[self.which] = 0
                self.slots[at] = NULL
                Py_DECREF(entry)
        self.first = self.end = self.count = 0
        return 0


def session_up(dict entries not None, list states not None):
    """Do for all entries what EtrEvent.SESSION_UP says."""
    cdef EtrRegistration entry
    cdef Py_ssize_t moved = 0
    for entry in entries.values():
        if entry.stage == PERIODIC:
            entry.stage = STABLE
            moved += 1
    states[PERIODIC] -= moved
    states[STABLE] += moved


def session_down(
    dict entries not None, list states not None, EtrQueue prompt not None, dict resumed not None
):
    """Do for all entries what EtrEvent.SESSION_DOWN says, and wait for no answer any more."""
    cdef EtrRegistration entry
    for entry in entries.values():
        entry.outstanding = 0
        entry.answer = -1
        if entry.stage == NO_STATE:
            prompt.append(entry)
        elif entry.stage == STABLE or entry.stage == ACK_WAIT or entry.stage == REJECTED:
            states[entry.stage] -= 1
            states[PERIODIC] += 1
            entry.stage = PERIODIC
            if not entry.over_udp:
                entry.over_udp = True
                resumed[entry] = None


def refresh_everything(dict entries not None, list states not None, EtrQueue due not None):
    """Do for all entries that are not due yet what EtrEvent.REFRESH says."""
    cdef EtrRegistration entry
    for entry in entries.values():
        if due.has(entry):
            continue
        if entry.stage == STABLE or entry.stage == ACK_WAIT or entry.stage == REJECTED:
            states[entry.stage] -= 1
            states[ACK_WAIT] += 1
            entry.stage = ACK_WAIT
            due.append(entry)


cdef inline bint _is_same(one, other):
    return one is other or (type(one) is type(other) and one == other)


cdef class Model:
    """A record, and its wire form, for others that differ from it in nothing but an EID-prefix."""

    def __init__(self, record, bytes eid not None, bytes wire not None):
        self.locators = record.locators
        self.ttl, self.action = record.ttl, record.action
        self.authoritative, self.map_version = record.authoritative, record.map_version
        self.eid_size = len(eid)
        self.before = wire[:_EID_OFFSET]
        self.behind = wire[_EID_OFFSET + len(eid) - 1 :]

    cdef bint is_like(self, record):
        # Locators are values that nobody edits: the same tuple has the same wire form.
        return (
            type(record) is MappingRecord
            and record.locators is self.locators
            and _is_same(record.ttl, self.ttl)
            and _is_same(record.action, self.action)
            and _is_same(record.authoritative, self.authoritative)
            and _is_same(record.map_version, self.map_version)
        )

    cdef bytes wire(self, const unsigned char *eid, Py_ssize_t size):
        """Return the wire form with this EID wire form in it."""
        cdef Py_ssize_t behind_size = PyBytes_GET_SIZE(self.behind)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, _EID_OFFSET + size - 1 + behind_size)
        cdef unsigned char *at = <unsigned char *>PyBytes_AS_STRING(made)
        memcpy(at, PyBytes_AS_STRING(self.before), _EID_OFFSET)
        at[LENGTH_OFFSET] = eid[0]
        memcpy(at + _EID_OFFSET, eid + 1, size - 1)
        memcpy(at + _EID_OFFSET + size - 1, PyBytes_AS_STRING(self.behind), behind_size)
        return made


cdef Py_ssize_t _write_eid(eid, unsigned char *at):
    """Write the EID wire form of a plain EID-prefix of instance 0; return its octets, 0 for what is
    no such thing.
    """
    if type(eid) is not EidPrefix or eid.instance_id != 0 or eid.explicit_instance:
        return 0
    address = eid.address
    if type(address) is not Address:
        return 0
    packed = address.packed
    if type(packed) is not bytes:
        return 0
    cdef Py_ssize_t octets = PyBytes_GET_SIZE(<bytes>packed)
    cdef int afi = address.afi
    cdef Py_ssize_t length = eid.length
    if octets != (4 if afi == IPV4 else 16 if afi == IPV6 else -1) or not 0 <= length <= 8 * octets:
        return 0
    at[0], at[1], at[2] = length, 0, afi
    memcpy(at + 3, PyBytes_AS_STRING(<bytes>packed), octets)
    return 3 + octets


def register_like(Model model not None, registrations, record, bint awaited):
    """Register a record that is new and like the model; return its EID wire form, or None where it
    is not, having changed nothing.
    """
    cdef unsigned char octets[MAX_EID]
    cdef Py_ssize_t size
    if not model.is_like(record):
        return None
    size = _write_eid(record.eid, octets)
    # A longer one might make a record that is too large.
    if not size or size > model.eid_size:
        return None
    cdef bytes eid = PyBytes_FromStringAndSize(<char *>octets, size)
    cdef dict entries = registrations.entries
    if eid in entries:
        return None
    cdef EtrRegistration entry = EtrRegistration(eid, model.wire(octets, size))
    cdef EtrQueue queue
    listing = registrations.listing
    cdef list states = listing.states
    cdef list order = listing.order
    entry.is_awaited = awaited
    if registrations.session_is_up:
        entry.stage = ACK_WAIT
        queue = registrations.due
    else:
        entry.stage = PERIODIC
        entry.over_udp = True
        queue = registrations.prompt
    states[entry.stage] += 1
    order.append(entry)
    entries[eid] = entry
    queue.append(entry)
    families = listing.families
    family = _IPV4_FAMILY if octets[2] == IPV4 else _IPV6_FAMILY
    families[family] = families.get(family, 0) + 1
    return eid
