"""Which role names the Unix socket of the management endpoint. Where it is says
:mod:`lispmsrt.management_socket`.
"""

from __future__ import annotations

from lispmsrt.config.schema import Config
from lispmsrt.management_socket import SOCKET_ROLES

__all__ = ["socket_role"]


def socket_role(config: Config) -> str:
    """Return the role that names the socket of a process."""
    has_role = (config.map_server, config.etr, config.map_resolver)
    roles = zip(SOCKET_ROLES, has_role, strict=True)
    return next(role for role, section in roles if section is not None)
