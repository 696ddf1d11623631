"""Ordinary Map-Requests answered at the speed of C: the compiled twin of what
:mod:`lispmsrt.control.questions` and :mod:`lispmsrt.control.map_requests` do;
:mod:`lispmsrt.control._answers` writes the answers.

Ordinary is a Map-Request for one EID with plain ITR-RLOCs, in an ECM or without, that wants nothing
but a Map-Reply, and that this Map-Server answers itself, with one record and perhaps a few
more-specifics. Everything else is declined before anything has changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy

from lispmsrt.control._answers cimport NO_SITE, NOT_REGISTERED, REGISTERED, ROOM, Answers
from lispmsrt.control._octets cimport IPV4, IPV6, u16, u32
from lispmsrt.control._questions cimport (
    Question, after_rlocs, after_source_eid, inner_message, read_eid
)
from lispmsrt.control._unicast cimport is_loopback, is_mapped, is_unicast
from lispmsrt.mapping._prefetch cimport prefetch
from lispmsrt.mapping._registration cimport Registration

from lispmsrt.control.questions import LISP_CONTROL_PORT, MAX_QUESTION, Drop
from lispmsrt.control.request_limits import PLENTY

cdef enum:
    AHEAD = 16  # questions that are looked up together

cdef uint32_t _LAYOUT = 0xF0000000 | 1 << 26 | 1 << 20 | 0xFF
"Of a Map-Request's first word, what decides which fields there are: type, M, I, record count."
cdef uint32_t _COMMON_LAYOUT = 1 << 28 | 1
cdef uint32_t _NOT_ASKED = 1 << 25 | 1 << 24 | 1 << 13  # P, S, N
cdef uint32_t _NOT_ORDINARY = 1 << 27 | 1 << 26 | 1 << 25  # S, D, E of an ECM

cdef uint32_t _PORT = LISP_CONTROL_PORT
cdef Py_ssize_t _MAX_QUESTION = MAX_QUESTION
cdef double _PLENTY = PLENTY

cdef object _IN = "Map-Requests in"
cdef object _OUT = "Map-Replies out"
cdef object _NOT_REGISTERED = "EIDs not registered"
cdef object _NO_SITE = "EIDs of no site"
cdef object _RATE = Drop.RATE.value


cdef class Runs(Answers):
    """Answers what is ordinary in a batch of datagrams."""

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

    cdef list output
    cdef int reaches[2]  # IPv4, IPv6; -1: not asked yet in this run
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
        Answers.__init__(self, tables, passes_on)
        self.sites = sites
        self.limits = questions.limits
        self.buckets = self.limits.buckets
        self.rate, self.burst = self.limits.rate, self.limits.burst
        self.max_pairs = self.limits.max_pairs
        self.can_reach = questions.can_reach
        self.questioned = questions.counters
        self.answered = answered
        self.outgoing = outgoing
        self.latest_rloc = b""

    def receive_run(self, list batch, Py_ssize_t first, double now):
        """Answer what is ordinary from ``batch[first]`` on; return how many that was. Queues
        output.
        """
        cdef Py_ssize_t at = first, count = len(batch)
        cdef Question questions[AHEAD]
        cdef int number, ahead
        self.configure(self.sites())
        self.output = self.outgoing.waiting
        limit = self.outgoing.limit
        self.reaches[0] = self.reaches[1] = -1
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
            self.find_table(&question.eid)
            if self.has_latest and self.latest_order is not None:
                self.latest_order.fetch(question.eid.hi, question.eid.lo, question.eid.length)
            count += 1
        for number in range(count):
            question = &questions[number]
            self.find_table(&question.eid)
            if self.has_latest and self.latest_order is not None:
                self.find(question)
                if question.found.value != NULL:
                    prefetch(question.found.value)
        for number in range(count):
            question = &questions[number]
            if question.is_found and question.found.value != NULL:
                if isinstance(<object>question.found.value, Registration):
                    prefetch(<void*>(<Registration>question.found.value).record)
        return count

    cdef bint _answer(
        self, bytes data, tuple source, double now, Question* question
    ) except -1:
        """Answer one; False for what is not ordinary."""
        cdef unsigned char reply[ROOM]
        cdef Py_ssize_t octets
        cdef int kind = REGISTERED
        cdef const unsigned char* message = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        octets = self.reply(question, size, reply, &kind)
        if octets < 0:
            return False
        self._remember(message + question.reply_to, question.reply_octets, question.port)
        if not self._admits(source[0], now):
            self.dropped += 1
            return True
        self.asked += 1
        if kind == NOT_REGISTERED:
            self.not_registered += 1
        elif kind == NO_SITE:
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
            question.flags = u32(message)
            if question.flags & _NOT_ORDINARY:
                return False
            at = inner_message(message, size)
            if at < 0 or u16(message + at - 6) != _PORT:
                return False
            question.port = u16(message + at - 8)
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
        cdef uint32_t word = u32(message + at)
        if word & _LAYOUT != _COMMON_LAYOUT or word & _NOT_ASKED:
            return False
        memcpy(&question.nonce, message + at + 4, 8)
        at = after_source_eid(message, size, at + 12)
        if at < 0 or not question.port:
            return False
        begin = at
        at = after_rlocs(message, size, at, (word >> 8 & 0x1F) + 1)
        if at < 0 or not read_eid(message, size, at, &question.eid):
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
        if outer_octets == 16 and is_mapped(outer):
            outer, outer_octets = outer + 12, 4
        if outer_octets != 4 and outer_octets != 16:
            return False
        loopback = is_loopback(outer, outer_octets)
        question.reply_octets = 0
        for left in range(count):
            octets = 4 if message[at + 1] == IPV4 else 16
            rloc = message + at + 2
            if is_unicast(rloc, octets, loopback) and self._reaches(octets):
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


cdef int _add(counters, what, long number) except -1:
    if number:
        counters[what] = counters.get(what, 0) + number
    return 0
