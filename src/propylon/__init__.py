"""Propylon: an API gateway for people who program in Python.

Everything public is here. The rest of the package may change with any release.
"""

from propylon.engine.errors import GatewayError
from propylon.engine.exchange import Exchange
from propylon.engine.message import Message, Request, Response
from propylon.engine.pending import Pending
from propylon.engine.scope import Scope
from propylon.engine.subrequest import Subrequest
from propylon.gateway import Gateway
from propylon.http.headers import Headers
from propylon.version import __version__

__all__ = [
    "Exchange",
    "Gateway",
    "GatewayError",
    "Headers",
    "Message",
    "Pending",
    "Request",
    "Response",
    "Scope",
    "Subrequest",
    "__version__",
]
