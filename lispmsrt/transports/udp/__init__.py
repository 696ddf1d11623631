"""UDP sockets as Twisted's reactors watch them: many datagrams by one system call in turns that are
no longer than they should be, and connected ones that outlive refusals.
"""

from __future__ import annotations

from lispmsrt.transports.udp.port import BatchPort, listen_udp
from lispmsrt.transports.udp.refusals import outlive_refusals

__all__ = ["BatchPort", "listen_udp", "outlive_refusals"]
