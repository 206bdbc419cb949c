"""Propylon: an API gateway for people who program in Python.

Everything public is here. The rest of the package may change with any release.
"""

from typing import TYPE_CHECKING, Any

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.pending import Pending
from propylon.engine.request import Request
from propylon.engine.response import Response
from propylon.engine.scope import Scope
from propylon.engine.subrequest import Subrequest
from propylon.engine.websocket.message import Message
from propylon.gateway import Gateway
from propylon.http.headers import Headers
from propylon.version import __version__

if TYPE_CHECKING:
    from propylon.build.errors import BuildError
    from propylon.config.problems import ConfigError, Problem
    from propylon.inbound.listener import ListenError
    from propylon.tls import TlsError

__all__ = [
    "BuildError",
    "ConfigError",
    "Exchange",
    "Gateway",
    "GatewayError",
    "Headers",
    "ListenError",
    "Message",
    "Pending",
    "Problem",
    "Request",
    "Response",
    "Scope",
    "Subrequest",
    "TlsError",
    "__version__",
]

# Errors of starting, imported when they are named: policy modules import this package, and need none of them.
_LATE = {
    "BuildError": "propylon.build.errors",
    "ConfigError": "propylon.config.problems",
    "ListenError": "propylon.inbound.listener",
    "Problem": "propylon.config.problems",
    "TlsError": "propylon.tls",
}


def __getattr__(name: str) -> Any:
    """Import a name of `_LATE`."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_LATE[name]), name)
    return found
