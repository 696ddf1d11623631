"""Ordinary Map-Replies at the speed of C: the compiled twin of what :mod:`lispmsrt.mapping.lookup`,
:mod:`lispmsrt.control.answers` and :mod:`lispmsrt.control.map_replies` do one after the other.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from libc.string cimport memcpy

from lispmsrt.control._octets cimport put_u32, u32
from lispmsrt.control._served_records cimport has_no_locators, write_negative, write_served
from lispmsrt.mapping._eid_index cimport Around
from lispmsrt.mapping._prefix_words cimport first_of

from lispmsrt.control.answers import NO_SITE_TTL, NOT_REGISTERED_TTL
from lispmsrt.control.map_replies import AMPLIFICATION, HEADER_OCTETS, MAX_UNFRAGMENTED
from lispmsrt.mapping import lookup
from lispmsrt.mapping.eid_index import WIDTHS
from lispmsrt.wire.map_register import RegisterFlag
from lispmsrt.wire.records import Action

cdef Py_ssize_t _AMPLIFICATION = AMPLIFICATION
cdef Py_ssize_t _HEADER_OCTETS = HEADER_OCTETS
cdef Py_ssize_t _MAX_UNFRAGMENTED = MAX_UNFRAGMENTED
cdef Py_ssize_t _MAP_REPLY_HEADER = 12
cdef uint32_t _PROXY_REPLY = RegisterFlag.PROXY_REPLY
cdef uint32_t _NO_SITE_TTL = NO_SITE_TTL
cdef uint32_t _NOT_REGISTERED_TTL = NOT_REGISTERED_TTL
cdef int _NATIVELY_FORWARD = Action.NATIVELY_FORWARD
cdef int _SEND_MAP_REQUEST = Action.SEND_MAP_REQUEST

cdef object _WORD = 1 << 64


cdef object prefix_key(uint64_t hi, uint64_t lo, int length):
    """Return the prefix key (:func:`lispmsrt.wire.record_walk.prefix_key`)."""
    if length < 64:
        return (hi >> (64 - length) if length else 0) | <uint64_t>1 << length
    return (hi | _WORD) << length - 64 | (lo >> (128 - length) if length > 64 else 0)


cdef class Answers:
    """Finds what is registered and configured, and writes it."""

    def __init__(self, tables, passes_on):
        self.tables = tables
        self.passes_on = passes_on
        self.max_more_specifics = min(lookup.MAX_MORE_SPECIFICS, MOST_BELOW)
        self.configured_of = None
        self.configured = {}

    cdef int configure(self, object sites) except -1:
        """Answer by these sites from now on."""
        self.has_latest = False
        if sites is not self.configured_of:
            self.configured = _in_order(sites)
            self.configured_of = sites
        return 0

    cdef int find_table(self, Eid* eid) except -1:
        """Find what is registered and configured of a family."""
        if self.has_latest and self.latest_instance == eid.instance_id and (
            self.latest_afi == eid.afi
        ):
            return 0
        family = (eid.instance_id, eid.afi)
        table = self.tables.get(family)
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

    cdef void find(self, Question* question) noexcept:
        """Find what stands beside the EID, in the table that was found last."""
        self.latest_order.around(
            question.eid.hi, question.eid.lo, question.eid.length, &question.found
        )
        question.is_found = True

    cdef Registration _kept(self, PyObject* value, Eid* eid, int length):
        """Return the registration of the prefix of this length around an EID; None for none that
        is ordinary.
        """
        if self.latest_entries is not None:
            key = prefix_key(eid.hi, eid.lo, length)
            value = PyDict_GetItemWithError(self.latest_entries, key)
        if value == NULL or not isinstance(<object>value, Registration):
            return None
        return <Registration><object>value

    cdef Py_ssize_t reply(
        self, Question* question, Py_ssize_t size, unsigned char* out, int* kind
    ) except -2:
        """Write the Map-Reply; return its octets, -1 where it is not ordinary. ``kind`` is set
        where nothing is registered.
        """
        cdef Eid* eid = &question.eid
        cdef Py_ssize_t octets = size - (
            question.inner_at if question.flags & TO_MAP_SERVER else 0
        )
        cdef Py_ssize_t room = min(
            _AMPLIFICATION * (octets + _HEADER_OCTETS) - _HEADER_OCTETS - _MAP_REPLY_HEADER,
            <Py_ssize_t>ROOM - _MAP_REPLY_HEADER,
        )
        cdef Around found
        cdef int covering = -1, nearest = -1, records = 1
        cdef PyObject* value = NULL
        cdef Py_ssize_t written
        self.find_table(eid)
        if not self.has_latest:
            return -1
        found.covering = found.above = -1
        if self.latest_order is not None:
            if not question.is_found:
                self.find(question)
            found = question.found
            covering, value = found.covering, found.value
            nearest = max(found.below, found.above)
            if covering < 0 and found.below >= 0:
                value = self.latest_order.cover(eid.hi, eid.lo, found.below, &covering)
        if covering < 0:
            written = self._hole(eid, nearest, out + _MAP_REPLY_HEADER, room, kind)
            if self.passes_on and kind[0] == NO_SITE and not question.flags & TO_MAP_SERVER:
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
        kind[0] = NO_SITE if site_length < 0 else NOT_REGISTERED
        return write_negative(
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
        if not registration.flags & _PROXY_REPLY and not has_no_locators(registration):
            return -1  # an ETR has to answer
        if not self._answers_all(eid.hi, eid.lo, length):
            return -1
        if length <= above:
            first_of(eid.hi, eid.lo, length, &hi, &lo)
            below = self.latest_order.below(hi, lo, length, self.max_more_specifics, numbers, values)
            if below < 0:
                # Too many to list: what is right for the part around the EID that has none.
                if nearest >= eid.length:
                    return -1
                covered, below = nearest + 1, 0
        if not below:
            return write_served(eid, eid.hi, eid.lo, covered, registration, out, room)
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
            one = u32(<const unsigned char*>PyBytes_AS_STRING(registration.record))
            if registration.flags & _PROXY_REPLY or has_no_locators(registration):
                more = write_served(
                    &inside, inside.hi, inside.lo, inside.length, registration, out + written,
                    room - written,
                )
            else:
                more = write_negative(
                    &inside, inside.hi, inside.lo, inside.length, one, _SEND_MAP_REQUEST,
                    out + written, room - written,
                )
            if more < 0:
                return -1
            ttl = min(ttl, one)
            written += more
        for number in range(below + 1):
            put_u32(out + starts[number], ttl)
        records[0] = below + 1
        return written

    cdef bint _answers_all(self, uint64_t hi, uint64_t lo, int length) except -1:
        """Whether the site that a registration belongs to lets everybody know it."""
        cdef Around found
        cdef int covering
        cdef uint64_t first_hi, first_lo
        if self.latest_configured is None:
            return True
        first_of(hi, lo, length, &first_hi, &first_lo)
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
