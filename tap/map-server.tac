"""A Map-Server inside an application of one's own: ``twistd -ny tap/map-server.tac``."""

import os

from twisted.application.service import Application
from twisted.internet import reactor

from lispmsrt import MapServer, parse_config

HOST = os.environ.get("MAP_SERVER", "127.0.0.1")
PORT = os.environ.get("PORT", "4342")

config = parse_config(f"""
[map-server]
control = ["{HOST}:{PORT}"]
reliable-transport = ["tcp:{PORT}:interface={HOST}"]

[[site]]
name = "campus"
keys = [{{ id = 0, secret = "campus secret" }}]
  [[site.eid-prefix]]
  prefix = "10.1.0.0/16"
  accept-more-specifics = true
""")

application = Application("map-server")
MapServer(config.map_server, config.site, reactor).setServiceParent(application)
