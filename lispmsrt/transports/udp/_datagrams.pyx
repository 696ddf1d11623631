"""Datagrams by the batch: `recvmmsg` and `sendmmsg` of Linux, on a socket that somebody else owns.

What goes to one destination in datagrams of one length crosses the kernel as one message, which it
cuts up on the way out (UDP_SEGMENT, Linux 4.18), and what came so from one source is one message
until it is cut up here (UDP_GRO, Linux 5.0). Of 100 octets each, to send one takes the kernel 2.8
µs, so 0.5 or less; to receive one 0.7 µs, so 0.1. Captures on this machine show such messages whole.

The GIL is kept: no call waits, the longest takes some 100 µs, and to get it back from a busy thread
would take longer (measured: twice as long for a round of 64).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, errno
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from lispmsrt.transports.udp._sockets cimport (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    cmsghdr,
    getsockname,
    getsockopt,
    htons,
    iovec,
    mmsghdr,
    ntohs,
    recvmmsg,
    sa_family_t,
    sendmmsg,
    setsockopt,
    sockaddr,
    sockaddr_in,
    sockaddr_in6,
    socklen_t,
)

cdef union Place:
    # Address and port, of either family.
    sockaddr any
    sockaddr_in four
    sockaddr_in6 six


cdef struct Cut:
    # Ancillary data: how many octets of a message make a datagram.
    cmsghdr header
    uint16_t octets
    uint16_t padding[3]


cdef struct Merged:
    # Ancillary data: how long the datagrams are that a message was made of, but for the last.
    cmsghdr header
    int octets
    int padding


cdef enum:
    _SOL_UDP = 17
    _UDP_SEGMENT = 103
    _UDP_GRO = 104

    # What IP carries at most, merged or not.
    _MESSAGE = 65_535

    # Datagrams of one system call. More at a time were not faster, and their buffers no longer
    # fit into the cache.
    _RECEIVED_AT_ONCE = 16

    # The same, where messages are of up to 64 datagrams or, since Linux 6.9, 128.
    _MERGED_AT_ONCE = 2

    _SENT_AT_ONCE = 64

    # What is to be cut up. Datagrams: more than captures of ordinary traffic are to show as one.
    # Octets of each: what fits into a packet; and of all: what fits into IP. The kernel takes no
    # more than 64 datagrams.
    _CUT_FROM = 4
    _CUT_OCTETS = 1_400
    _CUT_TOTAL = 65_000

cdef const char* _V4_MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef class Batches:
    """Receive and send many datagrams by a system call each, without waiting. ``fd`` is a UDP
    socket, which stays the caller's to close; ``octets`` the most of a datagram that is kept, and
    what is behind them is dropped. OSError where ``fd`` is no socket, ValueError where it is none
    of IPv4 or IPv6.
    """

    cdef int _fd
    cdef bint _is_ipv6
    cdef size_t _octets
    cdef char* _buffers
    cdef bint _are_merged
    cdef Merged _received_lengths[_RECEIVED_AT_ONCE]
    cdef tuple _source
    cdef Place _source_place
    cdef mmsghdr _received[_RECEIVED_AT_ONCE]
    cdef iovec _received_parts[_RECEIVED_AT_ONCE]
    cdef Place _sources[_RECEIVED_AT_ONCE]
    cdef bint _cuts
    cdef mmsghdr _sent[_SENT_AT_ONCE]
    cdef Cut _sent_cuts[_SENT_AT_ONCE]
    cdef iovec _sent_parts[_SENT_AT_ONCE]
    cdef Place _destinations[_SENT_AT_ONCE]

    def __cinit__(self, int fd, unsigned int octets=65_535):
        cdef Place place
        cdef socklen_t length = sizeof(Place)
        cdef int option = 1
        memset(&place, 0, sizeof(place))
        if getsockname(fd, &place.any, &length) < 0:
            PyErr_SetFromErrno(OSError)
        if place.any.sa_family not in (AF_INET, AF_INET6):
            raise ValueError("no socket of IPv4 or IPv6")
        self._fd = fd
        self._is_ipv6 = place.any.sa_family == AF_INET6
        self._octets = octets
        self._buffers = <char*>malloc(_MESSAGE * _RECEIVED_AT_ONCE)
        if self._buffers is NULL:
            raise MemoryError
        self._source = None
        self._are_merged = False
        setsockopt(fd, _SOL_UDP, _UDP_GRO, &option, sizeof(option))
        length = sizeof(option)
        self._cuts = getsockopt(fd, _SOL_UDP, _UDP_SEGMENT, &option, &length) == 0
        self._point()

    def __dealloc__(self):
        free(self._buffers)

    cdef void _point(self):
        cdef int i
        memset(self._received, 0, sizeof(self._received))
        memset(self._sent, 0, sizeof(self._sent))
        for i in range(_RECEIVED_AT_ONCE):
            self._received_parts[i].iov_base = self._buffers + i * _MESSAGE
            self._received_parts[i].iov_len = _MESSAGE
            self._received[i].msg_hdr.msg_iov = &self._received_parts[i]
            self._received[i].msg_hdr.msg_iovlen = 1
            self._received[i].msg_hdr.msg_name = &self._sources[i]
            self._received[i].msg_hdr.msg_control = &self._received_lengths[i]
        for i in range(_SENT_AT_ONCE):
            self._sent_cuts[i].header.cmsg_len = sizeof(cmsghdr) + sizeof(uint16_t)
            self._sent_cuts[i].header.cmsg_level = _SOL_UDP
            self._sent_cuts[i].header.cmsg_type = _UDP_SEGMENT

    def close(self):
        """Have nothing more to do with the socket, whose number may be another's next. It must
        still be open.
        """
        cdef int option = 0
        setsockopt(self._fd, _SOL_UDP, _UDP_GRO, &option, sizeof(option))
        self._fd = -1

    def receive(self, unsigned int limit, size_t octets=262_144):
        """Return what is there, each with its source, a packed address and a port: no more once
        there are ``limit`` datagrams or so many octets, but for some that came merged. IPv4 mapped
        into IPv6 is IPv4. OSError as `recvfrom` raises it, except where there is just nothing to
        read.
        """
        cdef list batch = []
        cdef size_t total = 0
        cdef unsigned int asked, i
        cdef int found
        while <unsigned int>len(batch) < limit and total < octets and self._fd >= 0:
            asked = _MERGED_AT_ONCE if self._are_merged else _RECEIVED_AT_ONCE
            asked = min(asked, limit - <unsigned int>len(batch))
            for i in range(asked):
                self._received[i].msg_hdr.msg_namelen = sizeof(Place)
                self._received[i].msg_hdr.msg_controllen = sizeof(Merged)
            found = recvmmsg(self._fd, self._received, asked, MSG_DONTWAIT, NULL)
            if found < 0:
                # A refusal is for whoever is connected to its one peer.
                if batch or errno in (EAGAIN, EINTR, ECONNREFUSED):
                    break
                PyErr_SetFromErrno(OSError)
            self._are_merged = False
            for i in range(<unsigned int>found):
                total += self._received[i].msg_len
                self._keep(batch, i)
            if <unsigned int>found < asked:
                break
        return batch

    cdef int _keep(self, list batch, unsigned int i) except -1:
        """Append the datagrams of a message."""
        cdef Place* place = &self._sources[i]
        if place.any.sa_family != AF_INET and place.any.sa_family != AF_INET6:
            return 0
        if self._source is None or not _is_same(place, &self._source_place):
            self._source = _endpoint(place)
            self._source_place = place[0]
        cdef char* at = <char*>self._received_parts[i].iov_base
        cdef size_t left = self._received[i].msg_len, length = self._length_of_each(i)
        cdef bytes data
        while True:
            length = min(length, left)
            data = PyBytes_FromStringAndSize(at, min(length, self._octets))
            batch.append((data, self._source))
            at += length
            left -= length
            if left == 0:
                return 0

    cdef size_t _length_of_each(self, unsigned int i) noexcept:
        """Return how long the datagrams of a message are; the last may be shorter."""
        cdef Merged* merged = &self._received_lengths[i]
        if (
            self._received[i].msg_hdr.msg_controllen < sizeof(cmsghdr) + sizeof(int)
            or merged.header.cmsg_level != _SOL_UDP
            or merged.header.cmsg_type != _UDP_GRO
            or merged.octets <= 0
        ):
            return _MESSAGE
        if self._received[i].msg_len > <unsigned int>merged.octets:
            self._are_merged = True
        return merged.octets

    def send(self, list datagrams):
        """Send datagrams, each to a packed address and a port; return how many the network, or the
        socket's family, has refused. Those are lost, the others are not. What goes to one
        destination goes in the order given.
        """
        if self._cuts:
            datagrams = _by_destination(datagrams)
        cdef Py_ssize_t count = len(datagrams), first = 0
        cdef int ready, refused = 0
        while first < count:
            ready = 0
            while first < count and ready < _SENT_AT_ONCE:
                if self._prepare(<tuple?>datagrams[first], ready):
                    ready += 1
                else:
                    refused += 1
                first += 1
            refused += self._pass_on(self._sent, self._make_messages(ready))
        return refused

    cdef bint _prepare(self, tuple datagram, int i) except -1:
        """Tell whether the socket's family reaches the destination. The caller keeps the octets."""
        data, destination = datagram
        address, port = <tuple?>destination
        self._sent_parts[i].iov_base = PyBytes_AS_STRING(<bytes?>data)
        self._sent_parts[i].iov_len = PyBytes_GET_SIZE(data)
        cdef const char* octets = PyBytes_AS_STRING(<bytes?>address)
        cdef Py_ssize_t width = PyBytes_GET_SIZE(address)
        cdef uint16_t number = htons(<uint16_t>port)
        cdef Place* place = &self._destinations[i]
        memset(place, 0, sizeof(Place))
        if self._is_ipv6:
            place.six.sin6_family = <sa_family_t>AF_INET6
            place.six.sin6_port = number
            if width == 4:
                memcpy(&place.six.sin6_addr, _V4_MAPPED, 12)
                memcpy(<char*>&place.six.sin6_addr + 12, octets, 4)
                return True
            if width == 16:
                memcpy(&place.six.sin6_addr, octets, 16)
                return True
            return False
        place.four.sin_family = <sa_family_t>AF_INET
        place.four.sin_port = number
        if width == 4:
            memcpy(&place.four.sin_addr, octets, 4)
        return width == 4

    cdef int _make_messages(self, int ready) noexcept:
        """Make messages of what is prepared; return how many."""
        cdef int messages = 0, at = 0, alike
        while at < ready:
            alike = self._count_alike(at, ready)
            memset(&self._sent[messages], 0, sizeof(mmsghdr))
            message = &self._sent[messages].msg_hdr
            message.msg_name = &self._destinations[at]
            message.msg_namelen = sizeof(sockaddr_in6) if self._is_ipv6 else sizeof(sockaddr_in)
            message.msg_iov = &self._sent_parts[at]
            message.msg_iovlen = alike
            if alike > 1:
                self._sent_cuts[messages].octets = <uint16_t>self._sent_parts[at].iov_len
                message.msg_control = &self._sent_cuts[messages]
                message.msg_controllen = sizeof(Cut)
            messages += 1
            at += alike
        return messages

    cdef int _count_alike(self, int first, int ready) noexcept:
        """Return how many datagrams from one on may be one message, which the kernel cuts up into
        equal parts; the last of them may be shorter.
        """
        cdef size_t octets = self._sent_parts[first].iov_len, total = octets, length
        cdef int at = first + 1
        if not self._cuts or octets == 0 or octets > _CUT_OCTETS:
            return 1
        while at < ready:
            length = self._sent_parts[at].iov_len
            total += length
            if length == 0 or length > octets or total > _CUT_TOTAL or memcmp(
                &self._destinations[at], &self._destinations[first], sizeof(Place)
            ):
                break
            at += 1
            if length < octets:
                break
        return at - first if at - first >= _CUT_FROM else 1

    cdef int _pass_on(self, mmsghdr* messages, int count) noexcept:
        """Send messages, go on behind what is refused; return how many datagrams were."""
        cdef int refused = 0, gone
        while count > 0:
            gone = sendmmsg(self._fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
            if gone < 1:
                if errno == EINTR:
                    continue
                refused += self._pass_on_singly(messages[0])
                gone = 1
            messages += gone
            count -= gone
        return refused

    cdef int _pass_on_singly(self, mmsghdr message) noexcept:
        """Send what was refused together one by one: perhaps the way there is too narrow, or knows
        no cutting. Return how many datagrams are lost.
        """
        cdef int refused = 0, i, count = <int>message.msg_hdr.msg_iovlen
        if count == 1:
            # As Twisted has it: a refusal that a peer has sent is not about this datagram.
            return errno != ECONNREFUSED
        message.msg_hdr.msg_control = NULL
        message.msg_hdr.msg_controllen = 0
        message.msg_hdr.msg_iovlen = 1
        for i in range(count):
            refused += self._pass_on(&message, 1)
            message.msg_hdr.msg_iov += 1
        return refused


cdef list _by_destination(list datagrams):
    """Return datagrams with those to one destination together, where that is worth it."""
    cdef Py_ssize_t changes = 0, count = len(datagrams)
    cdef dict groups = {}
    if count < 2 * _CUT_FROM:
        return datagrams
    last = None
    for datagram in datagrams:
        _data, destination = <tuple?>datagram
        # Answers share the object that was the question's source.
        if destination is not last:
            last = destination
            changes += 1
    if changes * _CUT_FROM <= count:
        return datagrams
    for datagram in datagrams:
        group = groups.get((<tuple>datagram)[1])
        if group is None:
            groups[(<tuple>datagram)[1]] = [datagram]
        else:
            (<list>group).append(datagram)
    if len(groups) * _CUT_FROM > count:
        return datagrams
    return [datagram for group in groups.values() for datagram in <list>group]


cdef bint _is_same(const Place* one, const Place* other) noexcept:
    if one.any.sa_family != other.any.sa_family:
        return False
    if one.any.sa_family == AF_INET:
        return (
            one.four.sin_port == other.four.sin_port
            and memcmp(&one.four.sin_addr, &other.four.sin_addr, 4) == 0
        )
    return (
        one.six.sin6_port == other.six.sin6_port
        and memcmp(&one.six.sin6_addr, &other.six.sin6_addr, 16) == 0
    )


cdef tuple _endpoint(const Place* place):
    cdef const char* octets
    if place.any.sa_family == AF_INET:
        octets = <const char*>&place.four.sin_addr
        return (PyBytes_FromStringAndSize(octets, 4), ntohs(place.four.sin_port))
    octets = <const char*>&place.six.sin6_addr
    if memcmp(octets, _V4_MAPPED, 12) == 0:
        return (PyBytes_FromStringAndSize(octets + 12, 4), ntohs(place.six.sin6_port))
    return (PyBytes_FromStringAndSize(octets, 16), ntohs(place.six.sin6_port))
