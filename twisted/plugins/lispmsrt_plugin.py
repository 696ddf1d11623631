"""The `twistd lispmsrt` command and our endpoint strings.

Any program that lists plugins imports this file: keep it bare.
"""

from twisted.application.service import ServiceMaker

from lispmsrt.transports.strings import PARSERS

lispmsrt = ServiceMaker(
    "lispmsrt",
    "lispmsrt.tap",
    "A LISP Map-Server, an ETR or both, with registrations over a reliable transport session.",
    "lispmsrt",
)
quic, sctp, tls13, tcpmd5 = PARSERS
