"""An ETR inside an application of one's own: ``twistd -ny tap/etr.tac``."""

import os

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import Logger

from lispmsrt import (
    Address,
    EidPrefix,
    Etr,
    Locator,
    MappingRecord,
    NullListener,
    parse_config,
)

HOST = os.environ.get("ETR", "127.0.0.2")
MAP_SERVER = os.environ.get("MAP_SERVER", "127.0.0.1")
PORT = os.environ.get("PORT", "4342")
log = Logger("etr")


class Listener(NullListener):
    def session_up(self, map_server, transport):
        log.info("{ms}: session up over {transport}", ms=map_server, transport=transport)

    def session_down(self, map_server, reason):
        log.info("{ms}: session down: {reason}", ms=map_server, reason=reason.value)

    def mapping_notified(self, map_server, notification):
        log.info("{ms}: {eid} has changed", ms=map_server, eid=notification.record.eid)

    def rejected(self, map_server, eid, reason):
        log.warn("{ms}: {eid} rejected, reason {reason}", ms=map_server, eid=eid, reason=reason)


config = parse_config(f"""
[etr]
control = "{HOST}:{PORT}"
xtr-id = "000102030405060708090a0b0c0d0e0f"
[[etr.map-server]]
address = "{MAP_SERVER}:{PORT}"
key = {{ id = 0, secret = "campus secret" }}
transports = ["tcp:{MAP_SERVER}:{PORT}"]
[[etr.mapping]]
eid-prefix = "10.1.1.0/24"
locators = [{{ rloc = "{HOST}" }}]
""")

application = Application("etr")
etr = Etr(config.etr, reactor, listener=Listener())
etr.setServiceParent(application)

# At run time, from anywhere in the application:
rlocs = (Locator(Address.from_text(HOST), priority=1, weight=100),)
registered = etr.register(MappingRecord(EidPrefix.from_text("10.1.2.0/24"), 1440, rlocs))
registered.addCallbacks(
    lambda _: log.info("10.1.2.0/24 is registered"),
    lambda failure: log.warn("10.1.2.0/24: {why}", why=failure.getErrorMessage()),
)
