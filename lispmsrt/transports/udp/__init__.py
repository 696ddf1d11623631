"""UDP sockets as Twisted's reactors watch them: many datagrams by one system call in turns that are
no longer than they should be, second ones for what is not to be crowded out, and Twisted's own that
read few at once or outlive refusals.
"""

from __future__ import annotations

from lispmsrt.transports.udp.beside import listen_beside
from lispmsrt.transports.udp.few import read_few
from lispmsrt.transports.udp.port import BatchPort, listen_udp
from lispmsrt.transports.udp.refusals import outlive_refusals

__all__ = ["BatchPort", "listen_beside", "listen_udp", "outlive_refusals", "read_few"]
