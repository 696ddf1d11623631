"""SCTP without a kernel: libusrsctp in user space, its packets in UDP (RFC 6951).

One SCTP stack per process, driven by the reactor: no threads. Importing this needs no library;
listening and connecting do. Not done: multi-homing, several streams, fork() while in use, and at a
client a server whose UDP port changes (RFC 6951 §5.4): its session ends, and the next is set up.
"""
