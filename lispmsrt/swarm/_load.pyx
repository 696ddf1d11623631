"""The compiled twin of lispmsrt.swarm.load: the same EIDs, written and read in C.

It works on the arrays of the Load that it is made for, and has no state of its own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from lispmsrt.swarm._eid_blocks cimport (
    MAX_HEAD, Block, get_u32, number_of, put_address, put_u32, put_u64
)
from lispmsrt.wire._keyed_hash cimport KeyedHash, equal

cdef enum:
    IDLE = 0
    OFFERED = 1
    REGISTERED = 2
    REJECTED = 3
    LEAVING = 4
    GONE = 5
    ACK = 18
    REJECT = 19
    MAP_NOTIFY = 4
    OVERHEAD = 12
    HEAD = 16
    BEFORE_REJECTED = 3
    MAX_BLOCKS = 64
    FINE_BITS = 6
    FINE = 64
    HALF = 32


cdef inline int _bucket(uint32_t value) noexcept nogil:
    cdef int shift = 0
    if value < FINE:
        return value
    while value >> shift >= FINE:
        shift += 1
    return HALF * shift + <int>(value >> shift)


cdef class LoadKernel:
    """The hands of a Load."""

    cdef uint8_t[::1] states
    cdef uint8_t[::1] versions
    cdef uint32_t[::1] owners
    cdef uint32_t[::1] sent
    cdef int64_t[::1] tally
    cdef uint64_t[::1] latencies
    cdef Block blocks[MAX_BLOCKS]
    cdef int block_count
    cdef int64_t count
    cdef KeyedHash hash
    cdef int mac_size
    cdef int algorithm_id
    cdef bint covers_ids

    def __init__(self, load, key):
        from lispmsrt.wire.authentication import Coverage

        cdef int at
        if len(load.space.blocks) > MAX_BLOCKS:
            raise ValueError(f"more than {MAX_BLOCKS} prefixes to take EIDs from")
        self.states = load.states
        self.versions = load.versions
        self.owners = load.owners
        self.sent = load.sent
        self.tally = load.tally
        self.latencies = load.latencies.counts
        self.count = load.space.count
        self.hash = key.keyed_hash
        self.mac_size = key.sent_length
        self.algorithm_id = int(key.algorithm_id)
        self.covers_ids = key.default_coverage is not Coverage.RECORDS
        self.block_count = len(load.space.blocks)
        for at, block in enumerate(load.space.blocks):
            self._take(&self.blocks[at], block)

    cdef int _take(self, Block *block, given) except -1:
        cdef bytes head = given.head
        if PyBytes_GET_SIZE(head) > MAX_HEAD:
            raise ValueError("an EID wire form with such a head is not known")
        block.head_size = <int>PyBytes_GET_SIZE(head)
        memcpy(block.head, PyBytes_AS_STRING(head), block.head_size)
        block.octets = given.octets
        block.shift = given.shift
        block.base_high = <uint64_t>(given.base >> 64)
        block.base_low = <uint64_t>(given.base & 0xFFFFFFFFFFFFFFFF)
        block.first = given.first
        block.count = given.count
        return 0

    cdef const Block *_block_of(self, int64_t number) except NULL:
        cdef int at
        for at in range(self.block_count):
            if number < self.blocks[at].first + self.blocks[at].count:
                return &self.blocks[at]
        raise IndexError(f"there is no EID {number}")

    cdef inline void _enter(self, int64_t number, int state) noexcept nogil:
        self.tally[self.states[number]] -= 1
        self.tally[state] += 1
        self.states[number] = <uint8_t>state

    cdef inline bint _is_due(self, int64_t number, uint32_t etr, int only, bint leaves) noexcept nogil:
        cdef int state = self.states[number]
        if self.owners[number] != etr or (only >= 0 and state != only):
            return False
        return leaves or (state != LEAVING and state != GONE)

    cdef inline void _acknowledge(self, int64_t number, uint32_t now) noexcept nogil:
        cdef int state = self.states[number]
        if state == OFFERED or state == LEAVING:
            self.latencies[_bucket(now - self.sent[number])] += 1
            self._enter(number, REGISTERED if state == OFFERED else GONE)

    cdef inline void _reject(self, int64_t number) noexcept nogil:
        cdef int state = self.states[number]
        self._enter(number, GONE if state == LEAVING or state == GONE else REJECTED)

    cdef inline void _put_record(
        self,
        const Block *block,
        unsigned char *at,
        const unsigned char *record,
        size_t size,
        int address_at,
        int weight_at,
        int64_t number,
    ) noexcept nogil:
        memcpy(at, record, size)
        put_address(block, number, at + address_at)
        if weight_at:
            at[weight_at] = 1 + self.versions[number]

    cdef inline void _sign(self, unsigned char *message, size_t size, size_t ids) noexcept nogil:
        """Put the MAC of a Map-Register in; where it goes there are zeros."""
        cdef unsigned char mac[64]
        cdef size_t covered = size if self.covers_ids else size - ids
        self.hash.mac(message, covered, NULL, 0, NULL, 0, mac)
        memcpy(message + HEAD, mac, self.mac_size)

    cdef int _check(self, int64_t first, int64_t last) except -1:
        if first < 0 or last > self.count:
            raise IndexError(f"there are no EIDs {first} to {last}")
        return 0

    def write_registrations(
        self,
        template,
        int64_t first,
        int64_t last,
        int only,
        uint64_t nonce,
        uint32_t message_id,
        uint32_t now,
        int64_t room,
    ):
        cdef bytes head = template.head
        cdef bytes record = template.record
        cdef bytes ids = template.ids
        cdef int address_at = template.address_at
        cdef int weight_at = template.weight_at
        cdef uint32_t etr = template.etr
        cdef bint leaves = template.leaves
        cdef size_t record_size = PyBytes_GET_SIZE(record)
        cdef size_t ids_size = PyBytes_GET_SIZE(ids)
        cdef size_t inner = HEAD + self.mac_size + record_size + ids_size
        cdef size_t size = inner + OVERHEAD
        cdef int64_t most = min(room // <int64_t>size, last - first)
        cdef int64_t number = first
        cdef int64_t count = 0
        cdef const Block *block
        cdef unsigned char *at
        cdef bytes out
        if most <= 0:
            return b"", first, 0
        self._check(first, last)
        block = self._block_of(first)
        out = PyBytes_FromStringAndSize(NULL, most * size)
        at = <unsigned char *>PyBytes_AS_STRING(out)
        while number < last and count < most:
            if self._is_due(number, etr, only, leaves):
                at[0], at[1] = 0, 17
                at[2], at[3] = <unsigned char>(size >> 8), <unsigned char>size
                put_u32(at + 4, message_id + <uint32_t>count)
                memcpy(at + 8, PyBytes_AS_STRING(head), HEAD)
                at[11] = 1
                put_u64(at + 12, nonce + <uint64_t>count)
                memset(at + 8 + HEAD, 0, self.mac_size)
                self._put_record(
                    block,
                    at + 8 + HEAD + self.mac_size,
                    <const unsigned char *>PyBytes_AS_STRING(record),
                    record_size,
                    address_at,
                    weight_at,
                    number,
                )
                memcpy(at + 8 + inner - ids_size, PyBytes_AS_STRING(ids), ids_size)
                self._sign(at + 8, inner, ids_size)
                put_u32(at + 8 + inner, 0x9FACADE9)
                self._enter(number, LEAVING if leaves else OFFERED)
                self.sent[number] = now
                at += size
                count += 1
            number += 1
        return out if count == most else out[: count * size], number, count

    def write_map_register(
        self,
        template,
        int64_t first,
        int64_t last,
        int only,
        uint64_t nonce,
        uint32_t now,
        int64_t limit,
    ):
        cdef bytes head = template.head
        cdef bytes record = template.record
        cdef bytes ids = template.ids
        cdef int address_at = template.address_at
        cdef int weight_at = template.weight_at
        cdef uint32_t etr = template.etr
        cdef bint leaves = template.leaves
        cdef size_t record_size = PyBytes_GET_SIZE(record)
        cdef size_t ids_size = PyBytes_GET_SIZE(ids)
        cdef size_t size = HEAD + self.mac_size
        cdef int64_t most = min(min(limit, last - first), 255)
        cdef int64_t number = first
        cdef int64_t count = 0
        cdef const Block *block
        cdef unsigned char *start
        cdef bytes out
        if most <= 0:
            return b"", first, 0
        self._check(first, last)
        block = self._block_of(first)
        out = PyBytes_FromStringAndSize(NULL, size + most * record_size + ids_size)
        start = <unsigned char *>PyBytes_AS_STRING(out)
        while number < last and count < most:
            if self._is_due(number, etr, only, leaves):
                self._put_record(
                    block,
                    start + size,
                    <const unsigned char *>PyBytes_AS_STRING(record),
                    record_size,
                    address_at,
                    weight_at,
                    number,
                )
                self._enter(number, LEAVING if leaves else OFFERED)
                self.sent[number] = now
                size += record_size
                count += 1
            number += 1
        if not count:
            return b"", number, 0
        memcpy(start, PyBytes_AS_STRING(head), HEAD)
        start[3] = <unsigned char>count
        put_u64(start + 4, nonce)
        memset(start + HEAD, 0, self.mac_size)
        memcpy(start + size, PyBytes_AS_STRING(ids), ids_size)
        size += ids_size
        self._sign(start, size, ids_size)
        return out if count == most else out[:size], number, count

    def read_answers(self, bytes data, int64_t at, uint32_t etr, uint32_t now):
        cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef int64_t size = PyBytes_GET_SIZE(data)
        cdef int64_t end, number
        cdef int64_t acks = 0, rejections = 0, strays = 0
        cdef int kind, skipped
        while at + OVERHEAD <= size:
            kind = octets[at] << 8 | octets[at + 1]
            end = at + (octets[at + 2] << 8 | octets[at + 3])
            skipped = BEFORE_REJECTED if kind == REJECT else 0
            if (
                (kind != ACK and kind != REJECT)
                or end - at < OVERHEAD + skipped
                or end > size
                or get_u32(octets + end - 4) != 0x9FACADE9
            ):
                break
            number = self._find(octets + at + 8 + skipped, end - 4 - (at + 8 + skipped))
            if number < 0 or self.owners[number] != etr:
                strays += 1
            elif kind == ACK:
                self._acknowledge(number, now)
                acks += 1
            else:
                self._reject(number)
                rejections += 1
            at = end
        return at, acks, rejections, strays

    cdef int64_t _find(self, const unsigned char *eid, int64_t size) noexcept nogil:
        """Return the number of an EID in wire form, -1 where it is none of these."""
        cdef int at
        cdef int64_t number
        cdef const Block *block
        for at in range(self.block_count):
            block = &self.blocks[at]
            if size != block.head_size + block.octets or memcmp(eid, block.head, block.head_size):
                continue
            number = number_of(block, eid + block.head_size)
            if number >= 0:
                return number
        return -1

    def settle(self, uint32_t etr, int64_t first, int64_t last, uint32_t sent, uint32_t now):
        cdef int64_t number
        cdef int64_t count = 0
        self._check(first, last)
        for number in range(first, last):
            if (
                self.sent[number] == sent
                and self.owners[number] == etr
                and (self.states[number] == OFFERED or self.states[number] == LEAVING)
            ):
                self._acknowledge(number, now)
                count += 1
        return count

    def vouches_for(self, bytes notify):
        """Whether it is a Map-Notify under the key, with a MAC of the length that is sent, over as
        much as is signed by us.
        """
        cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(notify)
        cdef size_t size = PyBytes_GET_SIZE(notify)
        cdef size_t after = HEAD + self.mac_size
        cdef unsigned char zeros[64]
        cdef unsigned char mac[64]
        # With the MAC over the records alone, where they end is not known here.
        if not self.covers_ids or size < after or octets[0] >> 4 != MAP_NOTIFY:
            return False
        if (octets[14] << 8 | octets[15]) != self.mac_size or octets[13] != self.algorithm_id:
            return False
        memset(zeros, 0, self.mac_size)
        self.hash.mac(octets, HEAD, zeros, self.mac_size, octets + after, size - after, mac)
        return equal(mac, octets + HEAD, self.mac_size)
