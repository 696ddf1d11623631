"""Runs of Registrations at the speed of C: the compiled twin of what
:mod:`lispmsrt.mapping.likeness` checks and :mod:`lispmsrt.mapping.runs` enters.

It knows of a Registration only whether it is the one that it has a pattern of, but for nonce, MAC,
mask length and EID address.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from lispmsrt.mapping._eid_entries cimport EidEntries
from lispmsrt.mapping._many_entries cimport MANY, Wanted, find_many
from lispmsrt.mapping._prefetch cimport prefetch
from lispmsrt.mapping._prefix_words cimport mask
from lispmsrt.mapping._registration cimport Registration
from lispmsrt.wire._framing cimport Frames, Span
from lispmsrt.wire._keyed_hash cimport KeyedHash, equal

from lispmsrt.mapping.new_mappings import Stretch

cdef extern from "Python.h":
    object _PyLong_FromByteArray(const unsigned char *, size_t, int little_endian, int is_signed)

cdef enum:
    REGISTRATION = 17
    ACK = 18
    AUTHENTICATION = 16  # where the MAC begins
    MASK = 5  # where the mask length stands in a record
    EID = 10  # where the EID-prefix AFI stands in a record
    OVERHEAD = 12
    LENGTHS = 129
    KEY_OCTETS = 17

cdef unsigned char MARKER[4]
MARKER[:] = [0x9F, 0xAC, 0xAD, 0xE9]
cdef unsigned char ZEROS[64]
ZEROS[:] = [0] * 64


cdef class Pattern:
    """A likeness as octets and offsets; those of a record count from its beginning."""

    cdef object sites
    cdef object table
    cdef EidEntries entries
    cdef KeyedHash secret
    cdef unsigned int flags
    cdef bint accepts_more_specifics
    cdef Py_ssize_t size
    cdef Py_ssize_t body_at
    cdef Py_ssize_t mac_size
    cdef Py_ssize_t record_size
    cdef Py_ssize_t address_at
    cdef Py_ssize_t address_end
    cdef Py_ssize_t ack_size
    cdef int width
    cdef int prefix_length
    cdef unsigned char prefix[16]
    cdef unsigned char head[16]
    # What must agree, with anything where nothing need.
    cdef bytes body

    def __cinit__(self, like, Py_ssize_t size):
        self.sites = like.sites
        self.table = like.table
        self.entries = like.table.entries
        self.secret = like.secret.keyed_hash
        self.flags = like.flags
        self.accepts_more_specifics = like.accept_more_specifics
        self.size = size
        self.body_at = like.body_at
        self.mac_size = self.body_at - AUTHENTICATION
        self.record_size = like.record_size
        self.address_at = like.address_at
        self.address_end = like.address_end
        self.width = like.width
        self.prefix_length = like.prefix_length
        self.ack_size = OVERHEAD + 1 + self.address_end - EID
        address = bytes(self.address_end - self.address_at)
        self.body = like.before_mask + b"\0" + like.from_mask + address + like.suffix
        head = like.word.to_bytes(4, "big") + bytes(8) + like.keys.to_bytes(4, "big")
        memcpy(self.head, PyBytes_AS_STRING(head), 16)
        # With Python's numbers: C has no 1 << 32, and no 1 << 128 of any kind.
        network = like.prefix_key ^ 1 << like.prefix_length
        prefix = (network << like.width - like.prefix_length).to_bytes(self.width // 8, "big")
        memcpy(self.prefix, PyBytes_AS_STRING(prefix), self.width // 8)
        if (
            self.mac_size != self.secret.digest_size
            or self.body_at + PyBytes_GET_SIZE(self.body) != size
            or 8 * (self.address_end - self.address_at) != self.width
        ):
            raise ValueError("a likeness whose sizes do not fit")

    cdef bint is_like(self, const unsigned char *message) noexcept:
        """Whether a message of the right size differs only where it may."""
        cdef const unsigned char *record = message + self.body_at
        cdef const unsigned char *body = <const unsigned char *>PyBytes_AS_STRING(self.body)
        return (
            memcmp(message, self.head, 4) == 0
            and memcmp(message + 12, self.head + 12, 4) == 0
            and memcmp(record, body, MASK) == 0
            and memcmp(record + MASK + 1, body + MASK + 1, self.address_at - MASK - 1) == 0
            and memcmp(
                record + self.address_end,
                body + self.address_end,
                self.size - self.body_at - self.address_end,
            ) == 0
        )

    cdef bint is_allowed(self, int length, const unsigned char *address) noexcept:
        """Whether an EID-prefix is the configured one, or inside where that may be."""
        cdef int whole = self.prefix_length >> 3
        cdef int bits = self.prefix_length & 7
        if length > self.width or length < self.prefix_length:
            return False
        if length > self.prefix_length and not self.accepts_more_specifics:
            return False
        if memcmp(address, self.prefix, whole) != 0:
            return False
        return not bits or (address[whole] ^ self.prefix[whole]) >> 8 - bits == 0

    cdef bint is_authentic(self, const unsigned char *message) noexcept:
        """Whether its MAC is right."""
        cdef unsigned char digest[32]
        self.secret.mac(
            message,
            AUTHENTICATION,
            ZEROS,
            self.mac_size,
            message + self.body_at,
            self.size - self.body_at,
            digest,
        )
        return equal(digest, message + AUTHENTICATION, self.mac_size)

    cdef object key(self, int length, const unsigned char *address):
        """Return the prefix key (:func:`lispmsrt.wire.record_walk.prefix_key`)."""
        cdef unsigned long long number = 0
        cdef unsigned char octets[KEY_OCTETS]
        cdef int at
        cdef int size = self.width >> 3
        cdef int drop = self.width - length
        if self.width < 64:
            for at in range(size):
                number = number << 8 | address[at]
            return number >> drop | 1ULL << length
        # The address with the bit set in front of it, shifted right by whole octets and then bits.
        octets[0] = 1
        memcpy(octets + 1, address, size)
        size = size + 1 - (drop >> 3)
        drop &= 7
        if drop:
            # The set bit stands where the network's first bit was, `drop` further on.
            for at in range(size - 1, 0, -1):
                octets[at] = octets[at] >> drop | octets[at - 1] << 8 - drop
            octets[0] = octets[0] >> drop
        return _PyLong_FromByteArray(octets, size, False, False)

    cdef void network(self, int length, const unsigned char *address, Wanted *wanted) noexcept:
        """Write the EID-prefix as the entries want it."""
        cdef int at
        cdef int size = self.width >> 3
        wanted.length = length
        wanted.hi = wanted.lo = 0
        for at in range(min(size, 8)):
            wanted.hi |= <uint64_t>address[at] << 56 - 8 * at
        for at in range(8, size):
            wanted.lo |= <uint64_t>address[at] << 120 - 8 * at
        wanted.hi &= mask(length)
        wanted.lo &= mask(length - 64)

    cdef Registration enter(self, const Wanted *place, const unsigned char *record, object lease, double now):
        """Register what is new."""
        cdef Registration registration = Registration.__new__(Registration)
        registration.record = PyBytes_FromStringAndSize(<const char *>record, self.record_size)
        registration.lease = lease
        registration.flags = self.flags
        registration.since = now
        self.entries.put(place.hi, place.lo, place.length, registration)
        return registration

    cdef bint is_held(self, Registration current, object lease, const unsigned char *record) noexcept:
        """Whether a registration is exactly this one already."""
        return (
            current.lease is lease
            and current.flags == self.flags
            and PyBytes_GET_SIZE(current.record) == self.record_size
            and memcmp(PyBytes_AS_STRING(current.record), record, self.record_size) == 0
        )

    cdef void write_ack(self, unsigned char *out, unsigned int message_id, const unsigned char *record) noexcept:
        """Write a Registration ACK of ``ack_size`` octets."""
        out[0] = 0
        out[1] = ACK
        out[2] = self.ack_size >> 8
        out[3] = self.ack_size
        out[4] = message_id >> 24
        out[5] = message_id >> 16
        out[6] = message_id >> 8
        out[7] = message_id
        out[8] = record[MASK]
        memcpy(out + 9, record + EID, self.address_end - EID)
        memcpy(out + self.ack_size - 4, MARKER, 4)


cdef class _Acks:
    """ACKs, one behind the other."""

    cdef unsigned char *octets
    cdef Py_ssize_t size
    cdef Py_ssize_t room

    def __dealloc__(self):
        free(self.octets)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef unsigned char *larger
        if self.size + more > self.room:
            larger = <unsigned char *>realloc(self.octets, 2 * self.room + more)
            if larger == NULL:
                raise MemoryError()
            self.octets = larger
            self.room = 2 * self.room + more
        return 0


cdef class _Stretch:
    """New registrations like one pattern."""

    cdef object table
    cdef list keys
    cdef list registrations
    cdef unsigned int counts[LENGTHS]
    cdef unsigned char order[LENGTHS]
    cdef int different

    def __cinit__(self, table):
        self.table = table
        self.keys = []
        self.registrations = []
        self.different = 0
        for at in range(LENGTHS):
            self.counts[at] = 0

    cdef int add(self, int length, object key, Registration registration) except -1:
        if self.counts[length] == 0:
            self.order[self.different] = length
            self.different += 1
        self.counts[length] += 1
        self.keys.append(key)
        self.registrations.append(registration)
        return 0

    cdef object finished(self):
        lengths = {self.order[at]: self.counts[self.order[at]] for at in range(self.different)}
        return Stretch(self.table, self.keys, self.registrations, lengths)


cdef Pattern _pattern(dict by_size, object sites, Py_ssize_t size):
    like = by_size.get(size)
    if like is None or like.sites is not sites:
        return None
    pattern = like.pattern
    if pattern is None and isinstance(like.table.entries, EidEntries):
        pattern = like.pattern = Pattern(like, size)
    return pattern


cdef Span _span(object frames, Frames compiled, Py_ssize_t at) except *:
    if compiled is not None:
        return compiled.spans[at]
    kind, message_id, start, end = frames[at]
    return Span(kind, message_id, start, end)


cdef struct Ahead:
    # What was found for the frames from `first` on, before `end`; NULL may be there by now.
    Py_ssize_t first
    Py_ssize_t end
    PyObject *found[MANY]


cdef int _look(
    Ahead *ahead, Pattern like, const unsigned char *octets, Py_ssize_t limit, object frames,
    Frames compiled, Py_ssize_t first,
) except -1:
    """Look up the next few together, as if all were like this one; for others NULL is found."""
    cdef Wanted wanted[MANY]
    cdef Span span
    cdef int at
    cdef const unsigned char *record
    cdef PyObject *found
    cdef int count = min(MANY, len(frames) - first)
    for at in range(count):
        # There is no such length.
        wanted[at].hi, wanted[at].lo, wanted[at].length = 0, 0, 255
        span = _span(frames, compiled, first + at)
        if 0 <= span.start <= span.end <= limit and span.end - span.start == like.size:
            record = octets + span.start + like.body_at
            if record[MASK] <= like.width:
                like.network(record[MASK], record + like.address_at, &wanted[at])
    find_many(like.entries, wanted, count, ahead.found)
    for at in range(count):
        found = ahead.found[at]
        if found != NULL and type(<object>found) is Registration:
            # Two lines of the cache: it is longer than one.
            prefetch(<void *>(<Registration>found).record)
            prefetch(<char *><void *>(<Registration>found).record + 64)
    ahead.first, ahead.end = first, first + count
    return 0


def take(likenesses, sites, run, Py_ssize_t room):
    """Check and enter; see :func:`lispmsrt.mapping.runs.take_run`. Returns how many, their ACKs,
    and what is new.
    """
    cdef bytes data
    cdef object frames
    cdef Py_ssize_t at
    cdef double now
    cdef unsigned int message_id
    lease, data, frames, at, now, message_id = run
    cdef dict held = lease.held
    cdef dict by_size = likenesses.by_size
    cdef Frames compiled = frames if isinstance(frames, Frames) else None
    cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t limit = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t count = len(frames)
    cdef Py_ssize_t taken = 0
    cdef const unsigned char *message
    cdef const unsigned char *record
    cdef PyObject *current
    cdef Pattern like = None
    cdef Pattern latest = None
    cdef _Stretch stretch = None
    cdef _Acks acks = _Acks()
    cdef Registration registration
    cdef Span span
    cdef int length
    cdef list stretches = []
    cdef Ahead ahead
    cdef Wanted place
    ahead.first = ahead.end = 0
    while at < count:
        span = _span(frames, compiled, at)
        if span.kind != REGISTRATION or not 0 <= span.start <= span.end <= limit:
            break
        if like is None or span.end - span.start != like.size:
            like = _pattern(by_size, sites, span.end - span.start)
            if like is None:
                break
            acks.reserve(like.ack_size * min(count - at, 4096))
        if at >= ahead.end:
            _look(&ahead, like, octets, limit, frames, compiled, at)
        message = octets + span.start
        record = message + like.body_at
        length = record[MASK]
        if not (
            like.is_like(message)
            and like.is_allowed(length, record + like.address_at)
            and like.is_authentic(message)
        ):
            break
        current = ahead.found[at - ahead.first]
        if current == NULL:
            like.network(length, record + like.address_at, &place)
            current = like.entries.at(place.hi, place.lo, length)
        if current == NULL:
            if room <= 0:
                break
            room -= 1
            if like is not latest:
                latest, stretch = like, _Stretch(like.table)
                stretches.append(stretch)
            registration = like.enter(&place, record, lease, now)
            PyDict_SetItem(held, registration, None)
            stretch.add(length, like.key(length, record + like.address_at), registration)
        elif type(<object>current) is not Registration or not like.is_held(
            <Registration>current, lease, record
        ):
            break
        acks.reserve(like.ack_size)
        like.write_ack(acks.octets + acks.size, message_id, record)
        acks.size += like.ack_size
        message_id += 1
        taken += 1
        at += 1
    return taken, acks.octets[: acks.size], [(<_Stretch>one).finished() for one in stretches]
