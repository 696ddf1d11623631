"""Ordinary Map-Requests answered at the speed of C: the compiled twin of what
:mod:`lispmsrt.control.questions`, :mod:`lispmsrt.mapping.lookup`, :mod:`lispmsrt.control.answers`
and :mod:`lispmsrt.control.map_replies` do one after the other.

Ordinary is a Map-Request for one EID with plain ITR-RLOCs, in an ECM or without, that wants nothing
but a Map-Reply, and that this Map-Server answers itself, with one record and perhaps a few
more-specifics. Everything else is declined before anything has changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.ref cimport PyObject
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from lispmsrt.mapping._eid_entries cimport Around, EidEntries, Prefixes
from lispmsrt.mapping._registration cimport Registration

import sys

from lispmsrt.control.answers import NO_SITE_TTL, NOT_REGISTERED_TTL
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS, MAX_UNFRAGMENTED
from lispmsrt.control.questions import LISP_CONTROL_PORT, MAX_QUESTION, Drop
from lispmsrt.control.request_limits import PLENTY
from lispmsrt.mapping import lookup
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action

cdef enum:
    NONE = 0
    IPV4 = 1
    IPV6 = 2
    MAC = 6
    NAME = 17
    LCAF = 16387
    INSTANCE_ID = 2  # type of an LCAF
    MOST_BELOW = 64  # no fewer than lookup.MAX_MORE_SPECIFICS
    ROOM = 2048  # octets of a Map-Reply that is ordinary
    AHEAD = 16  # questions that are looked up together

cdef uint32_t _LAYOUT = 0xF0000000 | 1 << 26 | 1 << 20 | 0xFF
"Of a Map-Request's first word, what decides which fields there are: type, M, I, record count."
cdef uint32_t _COMMON_LAYOUT = 1 << 28 | 1
cdef uint32_t _NOT_ASKED = 1 << 25 | 1 << 24 | 1 << 13  # P, S, N
cdef uint32_t _NOT_ORDINARY = 1 << 27 | 1 << 26 | 1 << 25  # S, D, E of an ECM
cdef uint32_t _TO_MAP_SERVER = 1 << 24  # M of an ECM

cdef uint32_t _PORT = LISP_CONTROL_PORT
cdef Py_ssize_t _MAX_QUESTION = MAX_QUESTION
cdef Py_ssize_t _AMPLIFICATION = AMPLIFICATION
cdef Py_ssize_t _HEADER_OCTETS = HEADER_OCTETS
cdef Py_ssize_t _MAX_UNFRAGMENTED = MAX_UNFRAGMENTED
cdef Py_ssize_t _MAP_REPLY_HEADER = 12
cdef uint32_t _PROXY_REPLY = RegisterFlag.PROXY_REPLY
cdef uint32_t _NO_SITE_TTL = NO_SITE_TTL
cdef uint32_t _NOT_REGISTERED_TTL = NOT_REGISTERED_TTL
cdef int _NATIVELY_FORWARD = Action.NATIVELY_FORWARD
cdef int _SEND_MAP_REQUEST = Action.SEND_MAP_REQUEST
# A sum of 16-bit words in the order of this machine is that of the network times this (RFC 1071).
cdef uint64_t _ORDER = 256 if sys.byteorder == "little" else 1

cdef double _PLENTY = PLENTY

cdef object _IN = "Map-Requests in"
cdef object _OUT = "Map-Replies out"
cdef object _NOT_REGISTERED = "EIDs not registered"
cdef object _NO_SITE = "EIDs of no site"
cdef object _RATE = Drop.RATE.value


cdef struct Eid:
    int afi
    int octets
    int length
    bint explicit_instance
    uint32_t instance_id
    uint64_t hi  # the network, with the most significant bit first
    uint64_t lo


cdef extern from *:
    """
    static inline void prefetch(const void *at) { __builtin_prefetch(at); }
    """
    void prefetch(const void* at) nogil


cdef struct Question:
    uint32_t flags
    Py_ssize_t inner_at
    uint64_t nonce  # as it stands in the message
    Eid eid
    Py_ssize_t reply_to  # where the chosen ITR-RLOC stands in the message
    int reply_octets
    uint32_t port
    bint is_found
    Around found


cdef class Runs:
    """Answers what is ordinary in a batch of datagrams."""

    cdef dict tables
    cdef object sites
    cdef object can_reach
    cdef object limits
    cdef object buckets
    cdef double rate
    cdef double burst
    cdef Py_ssize_t max_pairs
    cdef object questioned
    cdef object answered
    cdef object outgoing
    cdef bint passes_on
    cdef int max_more_specifics

    cdef object configured_of
    cdef dict configured
    cdef list output
    cdef int reaches[2]  # IPv4, IPv6; -1: not asked yet in this run
    cdef uint32_t latest_instance
    cdef int latest_afi
    cdef object latest_table
    cdef bint has_latest
    cdef Prefixes latest_order
    cdef dict latest_entries
    cdef EidEntries latest_configured
    cdef object latest_endpoint
    cdef bytes latest_rloc
    cdef uint32_t latest_port
    cdef tuple latest_pair
    cdef object newest_pair
    cdef long asked
    cdef long told
    cdef long dropped
    cdef long not_registered
    cdef long of_no_site

    def __init__(self, tables, sites, questions, answered, outgoing, passes_on):
        self.tables = tables
        self.sites = sites
        self.limits = questions.limits
        self.buckets = self.limits.buckets
        self.rate, self.burst = self.limits.rate, self.limits.burst
        self.max_pairs = self.limits.max_pairs
        self.can_reach = questions.can_reach
        self.questioned = questions.counters
        self.answered = answered
        self.outgoing = outgoing
        self.passes_on = passes_on
        self.max_more_specifics = min(lookup.MAX_MORE_SPECIFICS, MOST_BELOW)
        self.configured_of = None
        self.configured = {}
        self.latest_rloc = b""

    def receive_run(self, list batch, Py_ssize_t first, double now):
        """Answer what is ordinary from ``batch[first]`` on; return how many that was. Queues
        output.
        """
        cdef Py_ssize_t at = first, count = len(batch)
        cdef Question questions[AHEAD]
        cdef int number, ahead
        sites = self.sites()
        if sites is not self.configured_of:
            self.configured = _in_order(sites)
            self.configured_of = sites
        self.output = self.outgoing.waiting
        limit = self.outgoing.limit
        self.reaches[0] = self.reaches[1] = -1
        self.has_latest = False
        self.newest_pair = None
        self.asked = self.told = self.dropped = self.not_registered = self.of_no_site = 0
        try:
            while at < count:
                ahead = self._look_ahead(batch, at, min(count - at, <Py_ssize_t>AHEAD), questions)
                for number in range(ahead):
                    if len(self.output) >= limit:
                        return at - first
                    datagram = batch[at]
                    data, source = <tuple>datagram
                    if not self._answer(data, source, now, &questions[number]):
                        return at - first
                    at += 1
                if not ahead:
                    break
        finally:
            self._count()
        return at - first

    cdef int _count(self) except -1:
        _add(self.questioned, _IN, self.asked)
        _add(self.questioned, _RATE, self.dropped)
        _add(self.answered, _NOT_REGISTERED, self.not_registered)
        _add(self.answered, _NO_SITE, self.of_no_site)
        _add(self.answered, _OUT, self.told)
        return 0

    cdef int _look_ahead(
        self, list batch, Py_ssize_t at, Py_ssize_t most, Question* questions
    ) except -1:
        """Read the next questions as far as they are ordinary; return how many.

        Among a million mappings it is memory that a lookup waits for: so these wait together.
        """
        cdef int count = 0, number
        cdef bytes data
        cdef Question* question
        while count < most:
            datagram = batch[at + count]
            data, source = <tuple>datagram
            question = &questions[count]
            question.is_found = False
            if not self._read(
                <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), source,
                question,
            ):
                break
            self._find_table(&question.eid)
            if self.has_latest and self.latest_order is not None:
                self.latest_order.fetch(question.eid.hi, question.eid.lo, question.eid.length)
            count += 1
        for number in range(count):
            question = &questions[number]
            self._find_table(&question.eid)
            if self.has_latest and self.latest_order is not None:
                self._find(question)
                if question.found.value != NULL:
                    prefetch(question.found.value)
        for number in range(count):
            question = &questions[number]
            if question.is_found and question.found.value != NULL:
                if isinstance(<object>question.found.value, Registration):
                    prefetch(<void*>(<Registration>question.found.value).record)
        return count

    cdef void _find(self, Question* question) noexcept:
        """Find what stands beside the EID, in the table that was found last."""
        self.latest_order.around(
            question.eid.hi, question.eid.lo, question.eid.length, &question.found
        )
        question.is_found = True

    cdef bint _answer(
        self, bytes data, tuple source, double now, Question* question
    ) except -1:
        """Answer one; False for what is not ordinary."""
        cdef unsigned char reply[ROOM]
        cdef Py_ssize_t octets
        cdef int kind = 0
        cdef const unsigned char* message = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        octets = self._reply(question, size, reply, &kind)
        if octets < 0:
            return False
        self._remember(message + question.reply_to, question.reply_octets, question.port)
        if not self._admits(source[0], now):
            self.dropped += 1
            return True
        self.asked += 1
        if kind == 1:
            self.not_registered += 1
        elif kind == 2:
            self.of_no_site += 1
        self.output.append(
            (PyBytes_FromStringAndSize(<char*>reply, octets), self.latest_endpoint)
        )
        self.told += 1
        return True

    cdef int _remember(self, const unsigned char* rloc, int octets, uint32_t port) except -1:
        """Have the ITR-RLOC, and it with the port, as objects: often they are those of before."""
        if PyBytes_GET_SIZE(self.latest_rloc) != octets or memcmp(
            PyBytes_AS_STRING(self.latest_rloc), rloc, octets
        ):
            self.latest_rloc = PyBytes_FromStringAndSize(<const char*>rloc, octets)
        elif self.latest_port == port:
            return 0
        self.latest_port = port
        self.latest_endpoint = (self.latest_rloc, port)
        return 0

    cdef bint _admits(self, bytes outer, double now) except -1:
        """Do what :meth:`lispmsrt.control.request_limits.RequestLimits.admits` does for the
        ITR-RLOC that was remembered last.
        """
        cdef PyObject* kept
        cdef double tokens = self.burst, then
        cdef tuple pair = self.latest_pair
        if not self.rate:
            return True
        if pair is None or pair[1] is not self.latest_rloc or pair[0] != outer:
            pair = self.latest_pair = (outer, self.latest_rloc)
        kept = PyDict_GetItemWithError(self.buckets, pair)
        if kept != NULL:
            tokens, then = <tuple><object>kept
            tokens += (now - then) * self.rate
            if tokens > self.burst:
                tokens = self.burst
        if tokens < self.burst * _PLENTY:
            self.newest_pair = None
            return self.limits.admits(outer, self.latest_rloc, now)
        if kept == NULL:
            if len(self.buckets) >= self.max_pairs:
                self.buckets.popitem(False)
        elif pair is not self.newest_pair:
            self.buckets.move_to_end(pair)
        self.buckets[pair] = (tokens - 1 if tokens > 0 else -1.0, now)
        self.newest_pair = pair
        return True

    # The question

    cdef bint _read(
        self, const unsigned char* message, Py_ssize_t size, tuple source, Question* question
    ) except -1:
        """Read a Map-Request, in an ECM or without; False for what is not ordinary."""
        cdef bytes outer = source[0]
        cdef const unsigned char* inner = <const unsigned char*>PyBytes_AS_STRING(outer)
        cdef Py_ssize_t inner_octets = PyBytes_GET_SIZE(outer)
        cdef Py_ssize_t at = 0, begin
        if size > _MAX_QUESTION or size < 12:
            return False
        question.flags = 0
        if message[0] >> 4 == 8:
            question.flags = _u32(message)
            if question.flags & _NOT_ORDINARY:
                return False
            at = _inner_message(message, size)
            if at < 0 or _u16(message + at - 6) != _PORT:
                return False
            question.port = _u16(message + at - 8)
            # Its addresses end where an IPv4 header without options, or IPv6's, ends.
            if message[4] >> 4 == 4:
                inner, inner_octets = message + 16, 4
            else:
                inner, inner_octets = message + 12, 16
        else:
            question.port = source[1]
        if size - at < 12:
            return False
        question.inner_at = at
        cdef uint32_t word = _u32(message + at)
        if word & _LAYOUT != _COMMON_LAYOUT or word & _NOT_ASKED:
            return False
        memcpy(&question.nonce, message + at + 4, 8)
        at = _after_source_eid(message, size, at + 12)
        if at < 0 or not question.port:
            return False
        begin = at
        at = _after_rlocs(message, size, at, (word >> 8 & 0x1F) + 1)
        if at < 0 or not _read_eid(message, size, at, &question.eid):
            return False
        return self._choose(
            message, begin, (word >> 8 & 0x1F) + 1, inner, inner_octets, outer, question
        )

    cdef bint _choose(
        self,
        const unsigned char* message,
        Py_ssize_t at,
        int count,
        const unsigned char* inner,
        Py_ssize_t inner_octets,
        bytes outer_bytes,
        Question* question,
    ) except -1:
        """Choose where the Map-Reply goes, as :mod:`lispmsrt.control.questions` does."""
        cdef const unsigned char* outer = <const unsigned char*>PyBytes_AS_STRING(outer_bytes)
        cdef Py_ssize_t outer_octets = PyBytes_GET_SIZE(outer_bytes)
        cdef bint loopback
        cdef int left, octets
        cdef const unsigned char* rloc
        if outer_octets == 16 and _is_mapped(outer):
            outer, outer_octets = outer + 12, 4
        if outer_octets != 4 and outer_octets != 16:
            return False
        loopback = _is_loopback(outer, outer_octets)
        question.reply_octets = 0
        for left in range(count):
            octets = 4 if message[at + 1] == IPV4 else 16
            rloc = message + at + 2
            if _is_unicast(rloc, octets, loopback) and self._reaches(octets):
                if (
                    count == 1
                    or (octets == inner_octets and memcmp(rloc, inner, octets) == 0)
                    or (octets == outer_octets and memcmp(rloc, outer, octets) == 0)
                ):
                    question.reply_to, question.reply_octets = at + 2, octets
                    return True
                if not question.reply_octets:
                    question.reply_to, question.reply_octets = at + 2, octets
            at += 2 + octets
        return question.reply_octets != 0

    cdef bint _reaches(self, int octets) except -1:
        cdef int family = 0 if octets == 4 else 1
        if self.reaches[family] < 0:
            self.reaches[family] = 1 if self.can_reach(IPV4 if octets == 4 else IPV6) else 0
        return self.reaches[family] != 0

    # The answer

    cdef int _find_table(self, Eid* eid) except -1:
        """Find what is registered and configured of a family."""
        if self.has_latest and self.latest_instance == eid.instance_id and (
            self.latest_afi == eid.afi
        ):
            return 0
        family = (eid.instance_id, eid.afi)
        table = self.tables.get(family)
        self.latest_table = table
        self.latest_order = None
        self.latest_entries = None
        self.has_latest = False
        if table is not None:
            order, entries = table.index, table.entries
            if not isinstance(order, Prefixes):
                return 0
            self.latest_order = order
            if entries is not order:
                if type(entries) is not dict:
                    self.latest_order = None
                    return 0
                self.latest_entries = entries
        self.latest_configured = self.configured.get(family)
        self.latest_instance, self.latest_afi = eid.instance_id, eid.afi
        self.has_latest = True
        return 0

    cdef Registration _kept(self, PyObject* value, Eid* eid, int length):
        """Return the registration of the prefix of this length around an EID; None for none that
        is ordinary.
        """
        if self.latest_entries is not None:
            key = _key(eid.hi, eid.lo, length)
            value = PyDict_GetItemWithError(self.latest_entries, key)
        if value == NULL or not isinstance(<object>value, Registration):
            return None
        return <Registration><object>value

    cdef Py_ssize_t _reply(
        self, Question* question, Py_ssize_t size, unsigned char* out, int* kind
    ) except -2:
        """Write the Map-Reply; return its octets, -1 where it is not ordinary. ``kind``: 1 for
        nothing registered, 2 for no site.
        """
        cdef Eid* eid = &question.eid
        cdef Py_ssize_t octets = size - (
            question.inner_at if question.flags & _TO_MAP_SERVER else 0
        )
        cdef Py_ssize_t room = min(
            _AMPLIFICATION * (octets + _HEADER_OCTETS) - _HEADER_OCTETS - _MAP_REPLY_HEADER,
            <Py_ssize_t>ROOM - _MAP_REPLY_HEADER,
        )
        cdef Around found
        cdef int covering = -1, nearest = -1, records = 1
        cdef PyObject* value = NULL
        cdef Py_ssize_t written
        self._find_table(eid)
        if not self.has_latest:
            return -1
        found.covering = found.above = -1
        if self.latest_order is not None:
            if not question.is_found:
                self._find(question)
            found = question.found
            covering, value = found.covering, found.value
            nearest = max(found.below, found.above)
            if covering < 0 and found.below >= 0:
                value = self.latest_order.cover(eid.hi, eid.lo, found.below, &covering)
        if covering < 0:
            written = self._hole(eid, nearest, out + _MAP_REPLY_HEADER, room, kind)
            if self.passes_on and kind[0] == 2 and not question.flags & _TO_MAP_SERVER:
                return -1
        else:
            written = self._hit(
                eid, value, covering, found.above if found.covering >= 0 else covering, nearest,
                out + _MAP_REPLY_HEADER, room, &records,
            )
        if written < 0:
            return -1
        out[0], out[1], out[2], out[3] = 2 << 4, 0, 0, records
        memcpy(out + 4, &question.nonce, 8)
        return _MAP_REPLY_HEADER + written

    cdef Py_ssize_t _hole(
        self, Eid* eid, int nearest, unsigned char* out, Py_ssize_t room, int* kind
    ) except -2:
        """Write the record of the hole around an EID that nothing registered covers."""
        cdef Around found
        cdef int site_length = -1, length = nearest + 1, nearest_site
        if self.latest_configured is not None:
            self.latest_configured.around(eid.hi, eid.lo, eid.length, &found)
            nearest_site = max(found.below, found.above)
            site_length = found.covering
            if site_length < 0:
                self.latest_configured.cover(eid.hi, eid.lo, found.below, &site_length)
            length = max(length, nearest_site + 1, site_length)
        if length > eid.length:
            return -1  # something lies inside
        kind[0] = 2 if site_length < 0 else 1
        return _write_negative(
            eid, eid.hi, eid.lo, length, _NO_SITE_TTL if site_length < 0 else _NOT_REGISTERED_TTL,
            _NATIVELY_FORWARD, out, room,
        )

    cdef Py_ssize_t _hit(
        self, Eid* eid, PyObject* value, int length, int above, int nearest,
        unsigned char* out, Py_ssize_t room, int* records,
    ) except -2:
        """Write the records that answer with the registration of this prefix length."""
        cdef uint64_t numbers[3 * MOST_BELOW]
        cdef PyObject* values[MOST_BELOW]
        cdef uint64_t hi, lo
        cdef int below = 0, covered = length
        cdef Registration registration = self._kept(value, eid, length)
        if registration is None:
            return -1
        if not registration.flags & _PROXY_REPLY and not _has_no_locators(registration):
            return -1  # an ETR has to answer
        if not self._answers_all(eid.hi, eid.lo, length):
            return -1
        if length <= above:
            _cut(eid.hi, eid.lo, length, &hi, &lo)
            below = self.latest_order.below(hi, lo, length, self.max_more_specifics, numbers, values)
            if below < 0:
                # Too many to list: what is right for the part around the EID that has none.
                if nearest >= eid.length:
                    return -1
                covered, below = nearest + 1, 0
        if not below:
            return _write_served(eid, eid.hi, eid.lo, covered, registration, out, room)
        room = min(room, _MAX_UNFRAGMENTED - _MAP_REPLY_HEADER)
        return self._with_below(
            eid, length, registration, below, numbers, values, out, room, records
        )

    cdef Py_ssize_t _with_below(
        self, Eid* eid, int length, Registration registration, int below, uint64_t* numbers,
        PyObject** values, unsigned char* out, Py_ssize_t room, int* records,
    ) except -2:
        """Write the record of a registration and those of what lies inside, all with one TTL."""
        cdef Py_ssize_t starts[MOST_BELOW + 1]
        cdef Py_ssize_t written = 0, more
        cdef uint32_t ttl = 0xFFFFFFFF, one
        cdef int number
        cdef Eid inside = eid[0]
        for number in range(below + 1):
            starts[number] = written
            if number:
                inside.hi, inside.lo = numbers[3 * number - 3], numbers[3 * number - 2]
                inside.length = <int>numbers[3 * number - 1]
                registration = self._kept(values[number - 1], &inside, inside.length)
                if registration is None or not self._answers_all(
                    inside.hi, inside.lo, inside.length
                ):
                    return -1
            else:
                inside.length = length
            if PyBytes_GET_SIZE(registration.record) < 10:
                return -1
            one = _u32(<const unsigned char*>PyBytes_AS_STRING(registration.record))
            if registration.flags & _PROXY_REPLY or _has_no_locators(registration):
                more = _write_served(
                    &inside, inside.hi, inside.lo, inside.length, registration, out + written,
                    room - written,
                )
            else:
                more = _write_negative(
                    &inside, inside.hi, inside.lo, inside.length, one, _SEND_MAP_REQUEST,
                    out + written, room - written,
                )
            if more < 0:
                return -1
            ttl = min(ttl, one)
            written += more
        for number in range(below + 1):
            _put_u32(out + starts[number], ttl)
        records[0] = below + 1
        return written

    cdef bint _answers_all(self, uint64_t hi, uint64_t lo, int length) except -1:
        """Whether the site that a registration belongs to lets everybody know it."""
        cdef Around found
        cdef int covering
        cdef uint64_t first_hi, first_lo
        if self.latest_configured is None:
            return True
        _cut(hi, lo, length, &first_hi, &first_lo)
        self.latest_configured.around(first_hi, first_lo, length, &found)
        if found.covering < 0:
            found.value = self.latest_configured.cover(
                first_hi, first_lo, found.below, &covering
            )
        # What is kept of a configured prefix is whether its site answers to some ITRs only.
        return found.value == NULL or <object>found.value is False


def _in_order(sites):
    """Return the configured prefixes of each (instance ID, family), and whether some ITRs only
    shall know what is registered there.
    """
    cdef dict found = {}
    for prefix in sites.prefixes:
        if prefix.afi in WIDTHS:
            family = (prefix.instance_id, int(prefix.afi))
            if family not in found:
                found[family] = EidEntries(WIDTHS[prefix.afi])
            found[family][prefix.key] = bool(prefix.site.allowed_itrs)
    return found


cdef int _add(counters, what, long number) except -1:
    if number:
        counters[what] = counters.get(what, 0) + number
    return 0


# Octets

cdef inline uint32_t _u16(const unsigned char* at) noexcept:
    return <uint32_t>at[0] << 8 | at[1]


cdef inline uint32_t _u32(const unsigned char* at) noexcept:
    return _u16(at) << 16 | _u16(at + 2)


cdef inline uint64_t _u64(const unsigned char* at) noexcept:
    return <uint64_t>_u32(at) << 32 | _u32(at + 4)


cdef inline void _put_u16(unsigned char* at, uint32_t number) noexcept:
    at[0] = number >> 8 & 0xFF
    at[1] = number & 0xFF


cdef inline void _put_u32(unsigned char* at, uint32_t number) noexcept:
    _put_u16(at, number >> 16)
    _put_u16(at + 2, number & 0xFFFF)


cdef uint64_t _sum(const unsigned char* at, Py_ssize_t octets) noexcept:
    """Return the sum of 16-bit words, in the order of this machine, modulo 65535."""
    cdef uint64_t total = 0
    cdef uint32_t word
    cdef uint16_t half
    cdef unsigned char last[2]
    while octets >= 4:
        memcpy(&word, at, 4)
        total += word
        at += 4
        octets -= 4
    if octets >= 2:
        memcpy(&half, at, 2)
        total += half
        at += 2
        octets -= 2
    if octets:
        last[0], last[1] = at[0], 0
        memcpy(&half, last, 2)
        total += half
    return total % 0xFFFF


cdef Py_ssize_t _inner_message(const unsigned char* message, Py_ssize_t size) noexcept:
    """Return where the message in an ECM without LISP-SEC data begins; -1 where
    :func:`lispmsrt.wire.encapsulated.walk_encapsulated` has something to say about it.
    """
    cdef Py_ssize_t udp
    cdef uint64_t total
    cdef uint32_t octets, checksum
    cdef int version
    if size < 4 + 20 + 8:
        return -1
    version = message[4] >> 4
    if version == 4:
        udp = 4 + (message[4] & 0xF) * 4
        if udp < 24 or udp + 8 > size or _u16(message + 6) != <uint32_t>(size - 4):
            return -1
        if _u16(message + 10) & 0x3FFF or message[13] != 17 or _sum(message + 4, udp - 4):
            return -1
        total = _sum(message + 16, 8)
    elif version == 6:
        udp = 44
        if udp + 8 > size or _u16(message + 8) != <uint32_t>(size - udp) or message[10] != 17:
            return -1
        total = _sum(message + 12, 32)
    else:
        return -1
    octets, checksum = _u16(message + udp + 4), _u16(message + udp + 6)
    if octets != <uint32_t>(size - udp):
        return -1
    if checksum or version == 6:
        total = (total + _sum(message + udp, size - udp)) * _ORDER + octets + 17
        if not checksum or total % 0xFFFF:
            return -1
    return udp + 8


cdef inline int _plain_octets(uint32_t afi) noexcept:
    """Return how long an address is; -1 for one that is not plain."""
    if afi == IPV4:
        return 4
    if afi == IPV6:
        return 16
    if afi == MAC:
        return 6
    return 0 if afi == NONE else -1


cdef Py_ssize_t _after_source_eid(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at
) noexcept:
    """Return where a plain address ends, with or without instance ID; -1 for another."""
    cdef int octets
    if at + 2 > size:
        return -1
    if _u16(message + at) == LCAF:
        if at + 14 > size or message[at + 4] != INSTANCE_ID:
            return -1
        octets = _plain_octets(_u16(message + at + 12))
        if octets < 0 or _u16(message + at + 6) != <uint32_t>(6 + octets):
            return -1
        at += 14 + octets
    else:
        octets = _plain_octets(_u16(message + at))
        if octets < 0:
            return -1
        at += 2 + octets
    return at if at <= size else -1


cdef Py_ssize_t _after_rlocs(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at, int count
) noexcept:
    """Return where ITR-RLOCs end that are IPv4 and IPv6 addresses; -1 for others."""
    cdef uint32_t afi
    for _ in range(count):
        if at + 2 > size:
            return -1
        afi = _u16(message + at)
        if afi != IPV4 and afi != IPV6:
            return -1
        at += 2 + _plain_octets(afi)
    return at if at <= size else -1


cdef bint _read_eid(
    const unsigned char* message, Py_ssize_t size, Py_ssize_t at, Eid* eid
) noexcept:
    """Read the one EID asked for, which ends the message."""
    cdef uint32_t afi
    cdef unsigned char packed[16]
    if at + 4 > size or message[at] & 0x80:
        return False
    eid.length = message[at + 1]
    afi = _u16(message + at + 2)
    at += 4
    eid.explicit_instance = afi == LCAF
    eid.instance_id = 0
    if eid.explicit_instance:
        if at + 12 > size or message[at + 2] != INSTANCE_ID:
            return False
        eid.instance_id = _u32(message + at + 6)
        afi = _u16(message + at + 10)
        if _u16(message + at + 4) != <uint32_t>(6 + _plain_octets(afi)):
            return False
        at += 12
    eid.octets = _plain_octets(afi)
    if eid.octets <= 0 or at + eid.octets != size or eid.length > 8 * eid.octets:
        return False
    eid.afi = afi
    for octet in range(16):
        packed[octet] = message[at + octet] if octet < eid.octets else 0
    # As everywhere, bits beyond the mask are ignored.
    _cut(_u64(packed), _u64(packed + 8), eid.length, &eid.hi, &eid.lo)
    return True


cdef inline void _cut(
    uint64_t hi, uint64_t lo, int length, uint64_t* first_hi, uint64_t* first_lo
) noexcept:
    """Clear what follows so many bits."""
    cdef uint64_t ones = 0xFFFFFFFFFFFFFFFF
    if length >= 64:
        first_hi[0] = hi
        first_lo[0] = lo & ~(ones >> (length - 64)) if length < 128 else lo
    else:
        first_hi[0] = hi & ~(ones >> length)
        first_lo[0] = 0


cdef object _WORD = 1 << 64


cdef object _key(uint64_t hi, uint64_t lo, int length):
    """Return the prefix key (:func:`lispmsrt.wire.record_walk.prefix_key`)."""
    if length < 64:
        return (hi >> (64 - length) if length else 0) | <uint64_t>1 << length
    return (hi | _WORD) << length - 64 | (lo >> (128 - length) if length > 64 else 0)


# Which addresses may be sent to, as :mod:`lispmsrt.control.unicast` has it

cdef bint _is_mapped(const unsigned char* packed) noexcept:
    """Whether it is IPv4 in disguise."""
    return (
        _u64(packed) == 0 and packed[8] == 0 and packed[9] == 0
        and packed[10] == 0xFF and packed[11] == 0xFF
    )


cdef bint _is_loopback(const unsigned char* packed, Py_ssize_t octets) noexcept:
    if octets == 4:
        return packed[0] == 127
    return _u64(packed) == 0 and _u64(packed + 8) == 1


cdef bint _is_unicast(const unsigned char* packed, int octets, bint loopback) noexcept:
    if octets == 4:
        return 0 < packed[0] < 224 and (packed[0] != 127 or loopback)
    if _is_loopback(packed, octets):
        return loopback
    if _u64(packed) == 0 and packed[8] == 0 and packed[9] == 0:
        return False
    return packed[0] != 0xFF and not (packed[0] == 0xFE and packed[1] == 0x80)


# Records, as :mod:`lispmsrt.wire.served_records` writes them

cdef bint _has_no_locators(Registration registration) noexcept:
    cdef bytes record = registration.record
    return PyBytes_GET_SIZE(record) > 4 and PyBytes_AS_STRING(record)[4] == 0


cdef Py_ssize_t _write_eid(
    Eid* eid, uint64_t hi, uint64_t lo, int length, unsigned char* out, Py_ssize_t room
) noexcept:
    """Write AFI and EID-prefix, in the form that was asked for; return the octets, -1 for no
    room.
    """
    cdef int octet
    cdef Py_ssize_t at = 0
    if room < 14 + eid.octets:
        return -1
    if eid.instance_id or eid.explicit_instance:
        _put_u16(out, LCAF)
        out[2] = out[3] = out[5] = 0
        out[4] = INSTANCE_ID
        _put_u16(out + 6, 6 + eid.octets)
        _put_u32(out + 8, eid.instance_id)
        at = 12
    _put_u16(out + at, eid.afi)
    at += 2
    _cut(hi, lo, length, &hi, &lo)
    for octet in range(eid.octets):
        out[at + octet] = (hi >> (56 - 8 * octet) if octet < 8 else lo >> (120 - 8 * octet)) & 0xFF
    return at + eid.octets


cdef Py_ssize_t _write_negative(
    Eid* eid, uint64_t hi, uint64_t lo, int length, uint32_t ttl, int action,
    unsigned char* out, Py_ssize_t room,
) noexcept:
    cdef Py_ssize_t octets = _write_eid(eid, hi, lo, length, out + 10, room - 10)
    if octets < 0:
        return -1
    _put_u32(out, ttl)
    out[4], out[5] = 0, length
    _put_u16(out + 6, action << 13)
    out[8] = out[9] = 0
    return 10 + octets


cdef Py_ssize_t _write_served(
    Eid* eid, uint64_t hi, uint64_t lo, int length, Registration registration,
    unsigned char* out, Py_ssize_t room,
) noexcept:
    """Write a registered record as one that does not come from its ETR: A cleared, L cleared in all
    locators.
    """
    cdef bytes whole = registration.record
    cdef const unsigned char* record = <const unsigned char*>PyBytes_AS_STRING(whole)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
    cdef Py_ssize_t octets = _write_eid(eid, hi, lo, length, out + 10, room - 10)
    cdef Py_ssize_t locators, at = 0
    cdef int left
    cdef unsigned char* written = out + 10 + octets
    if octets < 0:
        return -1
    locators = _after_address(record, size, 10)
    if locators < 0 or 10 + octets + size - locators > room:
        return -1
    memcpy(out, record, 10)
    out[5] = length
    out[6] &= 0xEF  # A
    size -= locators
    memcpy(written, record + locators, size)
    for left in range(record[4], 0, -1):
        if at + 8 > size:
            return -1
        written[at + 5] &= 0xFB  # L
        if left > 1:
            at = _after_address(written, size, at + 6)
            if at < 0:
                return -1
    return 10 + octets + size


cdef Py_ssize_t _after_address(
    const unsigned char* record, Py_ssize_t size, Py_ssize_t at
) noexcept:
    """Return where the address ends whose AFI stands at ``at``; -1 beyond the end."""
    cdef uint32_t afi
    cdef int octets
    if at + 2 > size:
        return -1
    afi = _u16(record + at)
    octets = _plain_octets(afi)
    if octets >= 0:
        at += 2 + octets
    elif afi == LCAF:
        if at + 8 > size:
            return -1
        at += 8 + _u16(record + at + 6)
    elif afi == NAME:
        at += 2
        while at < size and record[at]:
            at += 1
        at += 1
    else:
        return -1
    return at if at <= size else -1
