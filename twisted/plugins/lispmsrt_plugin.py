"""The `twistd lispmsrt` command. Any program that lists plugins imports this file: keep it bare."""

from twisted.application.service import ServiceMaker

lispmsrt = ServiceMaker(
    "lispmsrt",
    "lispmsrt.tap",
    "A LISP Map-Server, an ETR or both, with registrations over a reliable transport session.",
    "lispmsrt",
)
