"""lispmsrt: a LISP Map-Server, a Map-Resolver and an ETR; registrations travel over
reliable-transport sessions.

To embed a role, give its service a configuration and a reactor::

    from lispmsrt import MapServer, parse_config

    config = parse_config(TOML_TEXT)
    MapServer(config.map_server, config.site, reactor).setServiceParent(application)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lispmsrt.version import VERSION

if TYPE_CHECKING:
    from lispmsrt.config import Config as Config
    from lispmsrt.config import ConfigError as ConfigError
    from lispmsrt.config import load as load_config
    from lispmsrt.config import parse as parse_config
    from lispmsrt.services.etr import Etr as Etr
    from lispmsrt.services.etr import EtrListener as EtrListener
    from lispmsrt.services.etr import NullListener as NullListener
    from lispmsrt.services.etr import RegistrationRejected as RegistrationRejected
    from lispmsrt.services.map_resolver import MapResolverService as MapResolverService
    from lispmsrt.services.map_server import MapServer as MapServer
    from lispmsrt.services.operations import Operations as Operations
    from lispmsrt.services.requester import Answer as Answer
    from lispmsrt.services.requester import NoAnswerError as NoAnswerError
    from lispmsrt.services.requester import Requester as Requester
    from lispmsrt.views.node import NodeViews as NodeViews
    from lispmsrt.web.management import Management as Management
    from lispmsrt.wire.addresses import Address as Address
    from lispmsrt.wire.addresses import EidPrefix as EidPrefix
    from lispmsrt.wire.records import Locator as Locator
    from lispmsrt.wire.records import MappingRecord as MappingRecord

__all__ = [
    "Address",
    "Answer",
    "Config",
    "ConfigError",
    "EidPrefix",
    "Etr",
    "EtrListener",
    "Locator",
    "Management",
    "MapResolverService",
    "MapServer",
    "MappingRecord",
    "NoAnswerError",
    "NodeViews",
    "NullListener",
    "Operations",
    "RegistrationRejected",
    "Requester",
    "load_config",
    "parse_config",
]

__version__ = VERSION

# Looked up when asked for: the wire codec alone must not pull in Twisted, nor the plugin scan
# pydantic.
_PUBLIC = {
    "Address": ("lispmsrt.wire.addresses", "Address"),
    "Answer": ("lispmsrt.services.requester", "Answer"),
    "Config": ("lispmsrt.config", "Config"),
    "ConfigError": ("lispmsrt.config", "ConfigError"),
    "EidPrefix": ("lispmsrt.wire.addresses", "EidPrefix"),
    "Etr": ("lispmsrt.services.etr", "Etr"),
    "EtrListener": ("lispmsrt.services.etr", "EtrListener"),
    "Locator": ("lispmsrt.wire.records", "Locator"),
    "Management": ("lispmsrt.web.management", "Management"),
    "MapResolverService": ("lispmsrt.services.map_resolver", "MapResolverService"),
    "MapServer": ("lispmsrt.services.map_server", "MapServer"),
    "MappingRecord": ("lispmsrt.wire.records", "MappingRecord"),
    "NoAnswerError": ("lispmsrt.services.requester", "NoAnswerError"),
    "NodeViews": ("lispmsrt.views.node", "NodeViews"),
    "NullListener": ("lispmsrt.services.etr", "NullListener"),
    "Operations": ("lispmsrt.services.operations", "Operations"),
    "RegistrationRejected": ("lispmsrt.services.etr", "RegistrationRejected"),
    "Requester": ("lispmsrt.services.requester", "Requester"),
    "load_config": ("lispmsrt.config", "load"),
    "parse_config": ("lispmsrt.config", "parse"),
}


def __getattr__(name: str) -> object:
    try:
        module, attribute = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(module), attribute)
