"""Map-Registers that are like one that was accepted: the compiled twin of what
:mod:`lispmsrt.control.map_server` does with an ordinary one.

An ETR's Map-Registers differ in nonce, MAC, mask lengths and EID addresses; everything else is
octet for octet what was in the one before. Whatever agrees with one that was accepted the long way
has passed the same checks, so that only these remain. It takes a Map-Register whole, or declines
having changed nothing.
"""

from collections import OrderedDict

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memcmp, memcpy, memset

from lispmsrt.control._nonces cimport History
from lispmsrt.mapping._over_udp cimport LikeRecord, OverUdp
from lispmsrt.wire._keyed_hash cimport KeyedHash, equal

from lispmsrt.control.nonces import ANSWERS, INCREASES, MAX_ANSWER, NonceCheck

cdef enum:
    AUTHENTICATION = 16  # where the MAC begins
    IDS = 24  # octets of xTR-ID and Site-ID
    MOST_MAC = 32
    MAP_REGISTER = 3

cdef unsigned char ZEROS[MOST_MAC]
memset(ZEROS, 0, MOST_MAC)

cdef int _INCREASES = INCREASES
cdef Py_ssize_t _ANSWERS = ANSWERS
cdef Py_ssize_t _MAX_ANSWER = MAX_ANSWER


cdef class LikeMapRegister:
    """The octets of a message that must agree, and what has been found out about them."""

    cdef LikeRecord record
    cdef KeyedHash secret
    cdef Py_ssize_t size, mac_size, records_at
    cdef int count
    cdef unsigned char head[AUTHENTICATION]
    cdef unsigned char answer[4]
    cdef bint is_answered
    cdef object who, endpoint, site
    cdef bytes address
    cdef object memory
    cdef History history

    def __init__(
        self,
        LikeRecord record,
        KeyedHash secret,
        bytes data,
        int records_at,
        who,
        bytes address,
        endpoint,
        answer,
        memory,
        history,
    ):
        """``answer`` is the first word of the Map-Notify as octets, None where none is sent."""
        self.record, self.secret = record, secret
        self.size, self.records_at = len(data), records_at
        self.mac_size = records_at - AUTHENTICATION
        self.count = data[3]
        self.who, self.site, self.address, self.endpoint = who, who[0].site, address, endpoint
        self.memory, self.history = memory, history
        ids = 0 if address else IDS
        if (
            self.mac_size != secret.digest_size
            or self.records_at + self.count * len(record.model) + ids != self.size
        ):
            raise ValueError("a Map-Register whose sizes do not fit")
        memcpy(self.head, PyBytes_AS_STRING(data), AUTHENTICATION)
        self.is_answered = answer is not None
        if self.is_answered:
            octets = bytes(answer)
            if len(octets) != 4:
                raise ValueError("no first word")
            memcpy(self.answer, PyBytes_AS_STRING(octets), 4)

    cdef bint is_like(self, const unsigned char *message) noexcept:
        """Whether the head of a message of the right size differs in its nonce alone."""
        return (
            memcmp(message, self.head, 4) == 0
            and memcmp(message + 12, self.head + 12, AUTHENTICATION - 12) == 0
        )

    cdef bint is_authentic(self, const unsigned char *message) noexcept:
        """Whether the MAC is right, over the whole message."""
        cdef unsigned char digest[MOST_MAC]
        self.sign(message, message + self.records_at, digest)
        return equal(digest, message + AUTHENTICATION, self.mac_size)

    cdef void sign(
        self, const unsigned char *head, const unsigned char *tail, unsigned char *mac
    ) noexcept:
        self.secret.mac(
            head, AUTHENTICATION, ZEROS, self.mac_size, tail, self.size - self.records_at, mac
        )

    cdef bytes map_notify(self, const unsigned char *message):
        """Return the Map-Notify: nonce, records and IDs are those of the Map-Register."""
        cdef bytes notify = PyBytes_FromStringAndSize(<const char *>message, self.size)
        cdef unsigned char *octets = <unsigned char *>PyBytes_AS_STRING(notify)
        memcpy(octets, self.answer, 4)
        self.sign(octets, octets + self.records_at, octets + AUTHENTICATION)
        return notify


cdef inline unsigned long long _nonce(const unsigned char *message) noexcept:
    cdef unsigned long long nonce = 0
    cdef int at
    for at in range(4, 12):
        nonce = nonce << 8 | message[at]
    return nonce


cdef class LikeMapRegisters:
    """What accepted Map-Registers looked like, by source, xTR and size; and runs of their like."""

    cdef OverUdp entries
    cdef object nonces
    cdef bint is_off, is_strict
    cdef object known
    cdef object sites
    cdef readonly Py_ssize_t limit

    def __init__(self, OverUdp entries not None, nonces, Py_ssize_t limit):
        self.entries, self.nonces, self.limit = entries, nonces, limit
        self.is_off = nonces.check is NonceCheck.OFF
        self.is_strict = nonces.check is NonceCheck.STRICT
        self.known = OrderedDict()

    def __len__(self):
        return len(self.known)

    def remember(self, LikeMapRegister like not None, bytes data, source):
        """Take ``like`` for what comes like ``data`` from ``source``."""
        known = self.known
        if self.sites is not like.record.sites:
            self.forget(like.record.sites)
        known[self.kind_of(data, source)] = like
        if len(known) > self.limit:
            known.popitem(last=False)

    cdef int forget(self, sites) except -1:
        """Forget everything: other sites are in force."""
        self.known.clear()
        self.sites = sites
        return 0

    cdef bytes kind_of(self, bytes data, tuple source):
        """Return size, port, address and, where there may be some, xTR-ID and Site-ID."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes address = source[0]
        cdef unsigned int port = source[1]
        cdef Py_ssize_t octets = PyBytes_GET_SIZE(address)
        cdef Py_ssize_t ids = IDS if PyBytes_AS_STRING(data)[0] & 2 else 0
        cdef bytes kind = PyBytes_FromStringAndSize(NULL, 4 + octets + ids)
        cdef char *at = PyBytes_AS_STRING(kind)
        at[0], at[1] = <char>(size >> 8), <char>size
        at[2], at[3] = <char>(port >> 8), <char>port
        memcpy(at + 4, PyBytes_AS_STRING(address), octets)
        memcpy(at + 4 + octets, PyBytes_AS_STRING(data) + size - ids, ids)
        return kind

    def take_run(self, list batch, Py_ssize_t first, now):
        """Take datagrams from ``batch[first]`` on, as long as each is like an earlier one.

        Returns how many, and the Map-Notifies with their destinations. ``now`` is in monotonic
        seconds.
        """
        cdef Py_ssize_t count = PyList_GET_SIZE(batch)
        cdef Py_ssize_t at = first
        cdef list output = []
        cdef bytes data
        cdef tuple source
        if not 0 <= first < count:
            return 0, output
        data, source = batch[first]
        if not data or data[0] >> 4 != MAP_REGISTER:
            return 0, output  # of no other type it knows any
        self.entries.begin(now)
        if self.entries.sites is not self.sites:
            self.forget(self.entries.sites)
            return 0, output
        try:
            while at < count:
                data, source = batch[at]
                if not self.take(data, source, now, output):
                    break
                at += 1
        finally:
            self.entries.end()
        return at - first, output

    cdef bint take(self, bytes data, tuple source, object now, list output) except -1:
        cdef const unsigned char *message = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef LikeMapRegister like
        cdef unsigned long long nonce
        if not AUTHENTICATION + IDS <= size <= 0xFFFF or message[0] >> 4 != MAP_REGISTER:
            return False
        kind = self.kind_of(data, source)
        found = self.known.get(kind)
        if found is None:
            return False
        like = <LikeMapRegister>found
        nonce = _nonce(message)
        if not (
            like.size == size
            and like.is_like(message)
            and self.may_be_fresh(like, nonce)
            and self.entries.examine(like.record, message + like.records_at, like.count)
        ):
            return False
        if not like.is_authentic(message):
            # What is done for wrong messages is bounded by the plain code alone: it hears of all
            # of this kind, until one is right again.
            del self.known[kind]
            return False
        if not self.is_fresh(like, nonce, data):
            return False
        self.entries.enter(like.record, message + like.records_at, like.count)
        if like.is_answered:
            notify = like.map_notify(message)
            self.keep_answer(like, nonce, source, now, notify)
            output.append((notify, like.endpoint))
        return True

    cdef bint may_be_fresh(self, LikeMapRegister like, unsigned long long nonce) except -1:
        """Whether it is worth a hash: a repeat is not, and changes nothing."""
        cdef History history = like.history
        if self.is_off:
            return True
        if history.is_forgotten:
            return False
        if self.is_strict or history.increases >= _INCREASES:
            return history.is_new or nonce > history.greatest
        return nonce not in history.seen

    cdef bint is_fresh(self, LikeMapRegister like, unsigned long long nonce, bytes data) except -1:
        """Whether it is neither a repeat nor one caught and sent from elsewhere."""
        cdef History history = like.history
        if self.is_off:
            return True
        if history.is_forgotten:
            return False
        if like.address and not self.nonces.is_from_origin(
            like.site, data[AUTHENTICATION : like.records_at], like.address
        ):
            return False
        if not (self.is_strict or history.increases >= _INCREASES):
            return self.nonces.is_fresh(like.site, like.who, nonce)
        if not history.is_new and nonce <= history.greatest:
            return False
        if like.memory.latest is not history:
            like.memory.histories.move_to_end(like.who)
            like.memory.latest = history
        history.increases += not history.is_new
        history.greatest = nonce
        history.is_new = False
        return True

    cdef int keep_answer(
        self, LikeMapRegister like, unsigned long long nonce, source, now, bytes notify
    ) except -1:
        cdef list answers
        if self.is_off or like.size > _MAX_ANSWER:
            return 0
        if not (self.is_strict or like.history.increases >= _INCREASES):
            self.nonces.keep_answer(like.site, like.who, nonce, source, now, notify)
            return 0
        # It counts up: no nonce can be there already.
        answers = like.history.answers
        answers.append((nonce, source, now, notify))
        if PyList_GET_SIZE(answers) > _ANSWERS:
            del answers[0]
        return 0
