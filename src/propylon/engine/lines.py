"""The lines of the log about an exchange: all of them are built here, from the same facts.

    relay.truncated detail="closed before the body's end" status=200 response=cut method=GET path=/users/7 ...

Rules of the file:

- Facts are fields: each record has `event` (the text), `facts` (a dictionary) and `code` as attributes, so another
  format needs no other calls. As text, facts are `key=value`, in quotes where that could be misread.
- Nothing that a peer sent can end a line or pose as a field: it is in facts only, never in the event. The query is left
  out: tokens are often in it.
- `status` is what the client saw, and `response` how its response ended; `-` stands for what there is not.
- What any client can cause is bounded (`line_limit.py`), except at the level debug.
"""

from __future__ import annotations

import logging
import re
import sys
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from propylon.engine.line_limit import SECONDS

if TYPE_CHECKING:
    from propylon.engine.attempt import Attempt
    from propylon.engine.backend import Endpoint
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange
    from propylon.engine.line_limit import LineLimit
    from propylon.http.websocket import Close

Ended = Literal["none", "error", "cut", "event", "closed"]
"""How the client's response ended: there was none, it is the gateway's error response, its body was cut off, its event
stream ended with an error event, its WebSocket was closed."""

CLOSED: Final = "WebSockets closed by the gateway"
OVERDUE: Final = "exchanges cut off after the drain time"

MAX_TEXT: Final = 1000  # characters of a text that a peer may have made
MAX_PATH: Final = 300
REQUEST_LINE_BYTES: Final = 400  # of a request that could not be read

_ENGINE: Final = logging.getLogger("propylon.engine")
_POLICIES: Final = logging.getLogger("propylon.policies")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUERY: Final = re.compile(rb"[? \r\n]")
_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")  # visible ASCII without quotes, backslash and "="
_NO_ENDPOINT: Final = frozenset(("choose.no_endpoint", "choose.broken"))  # an earlier try may have had one
_USUAL: Final = frozenset(("relay.client_gone", "tunnel.client_lost", "choose.broken"))
"""Debug only: clients leave all the time, and an open circuit is told when it opens."""
_BY_CLIENTS: Final = frozenset(("read", "admit", "match", "upgrade"))
_CROWDED: Final = frozenset(("response.too_many_streams", "tunnel.backpressure"))


class Facts(dict[str, object]):
    """The facts of an exchange; as text, a line of `key=value`."""

    def __str__(self) -> str:
        return " ".join(f"{key}={_value(value)}" for key, value in self.items())


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text without line ends and other control characters, cut at `limit` characters."""
    text = _cut(text, limit)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def facts_of(x: Exchange, error: GatewayError | None = None, response: Ended | None = None) -> Facts:
    """Return the facts of an exchange, as they are now.

    Args:
        error: its failure, if there is one.
        response: how the client's response ended.
    """
    method, path = x.method, x.path
    if not method and error is not None:
        method, path = _parts(error.request_line)
    service, endpoint, tunnel = x.service, x.endpoint, x.tunnel
    if error is not None and error.code in _NO_ENDPOINT:
        endpoint = None
    facts = Facts()
    if error is not None and (detail := ": ".join(part for part in (error.detail, error.log) if part)):
        facts["detail"] = _cut(detail, MAX_TEXT)
    facts["status"] = x.status or None
    if response is not None:
        facts["response"] = response
    if tunnel is not None and (close := tunnel.client.sent_close) is not None:
        facts["close"] = close.code
    facts.update(
        method=_text(method),
        path=_text(path),
        client=_text(x.client_address) or (x.protocol if x.protocol == "internal" else None),
        route=x.route.name,
        service=None if service is None else service.name,
        endpoint=None if endpoint is None else endpoint.url,
        attempts=x.attempts,
    )
    if x.attempt is not None and x.attempt.previous is not None:
        facts["tries"] = ", ".join(f"{each.endpoint.url} {each.outcome or '-'}" for each in x.tries)
    facts.update(bytes_in=x.bytes_in, bytes_out=x.bytes_out, elapsed=round(x.elapsed, 3), id=x.request_id)
    return facts


# failures


def failed(x: Exchange, error: GatewayError, response: Ended) -> None:
    """Tell the failure of an exchange: a fault as a warning, an error of the client as information.

    Args:
        response: how the client's response ended.
    """
    prefix = error.code.partition(".")[0]
    level = logging.WARNING if error.status >= 500 and prefix != "read" else logging.INFO
    if error.code in _USUAL:
        level = logging.DEBUG
    if not _ENGINE.isEnabledFor(level):
        return
    limited = level == logging.INFO or prefix in _BY_CLIENTS or error.code in _CROWDED
    if limited and not _admits(x.snapshot.line_limit, error.code):
        return
    facts = facts_of(x, error, response)
    facts["hint"] = error.failure.hint
    _write(_ENGINE, level, error.code, facts, error.code)


def closed(x: Exchange, close: Close) -> None:
    """Tell of a WebSocket that the gateway has closed for no failure: its age, a policy, or the end of the gateway."""
    if _ENGINE.isEnabledFor(logging.INFO) and _admits(x.snapshot.line_limit, CLOSED):
        facts = facts_of(x, response="closed")
        facts["reason"] = close.reason
        _write(_ENGINE, logging.INFO, "the WebSocket was closed by the gateway", facts)


def tell_left_out(limit: LineLimit, now: float) -> None:
    """Tell how many lines were left out, of each kind whose time is over at `now` (`time.monotonic`)."""
    for kind, count in limit.ended(now):
        event = f"{kind}: {count} more within {SECONDS:g} s, which are not shown"
        _ENGINE.info("%s", event, extra={"event": event, "code": kind, "facts": Facts(left_out=count)})


def overdue(x: Exchange) -> None:
    """Tell of an exchange that is cut off, as it took longer than the drain time."""
    if _admits(x.snapshot.line_limit, OVERDUE):
        _write(_ENGINE, logging.WARNING, "cut off, as it was busy for longer than the drain time", facts_of(x))


def defect(x: Exchange, event: str) -> None:
    """Tell of a defect of the gateway, with the exception that is being handled."""
    _write(_ENGINE, logging.ERROR, event, facts_of(x), "gateway.failed", sys.exc_info()[1])


# the steps of a request that succeeds in the end; they are for debugging


def retried(x: Exchange, attempt: Attempt, error: GatewayError | None, wait: float) -> None:
    """Tell that another try follows after `wait` seconds; `error` is `None` if the status of the response is why."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        why = f"status {attempt.outcome}" if error is None else error.code
        event = f"another try in {wait * 1000:.0f} ms, as {attempt.endpoint.url} failed: {why}"
        _write(_ENGINE, logging.DEBUG, event, facts_of(x, error), "" if error is None else error.code)


def repeated(x: Exchange, endpoint: Endpoint, error: GatewayError) -> None:
    """Tell that the request is sent once more, as a kept connection was closed."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        event = f"sent once more, as a kept connection to {endpoint.url} was closed: {error.code}"
        _write(_ENGINE, logging.DEBUG, event, facts_of(x, error), error.code)


def reconnecting(x: Exchange, endpoint: Endpoint) -> None:
    """Tell that a WebSocket has lost its endpoint, and that another one is asked."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        event = f"another endpoint is asked for the WebSocket, as {endpoint.url} was lost"
        _write(_ENGINE, logging.DEBUG, event, facts_of(x))


def hedged(x: Exchange, endpoint: Endpoint) -> None:
    """Tell that a second endpoint is asked, as the first is slow."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        _write(_ENGINE, logging.DEBUG, f"{endpoint.url} is asked too, as there is no response yet", facts_of(x))


def fell_back(x: Exchange, error: GatewayError) -> None:
    """Tell that the fallback of the route is used."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        _write(_ENGINE, logging.DEBUG, f"the fallback is used: {error.code}", facts_of(x, error), error.code)


# policies


def raised(x: Exchange, name: str, error: BaseException) -> None:
    """Tell an exception of a policy with its traceback."""
    _write(_POLICIES, logging.ERROR, f"policy {name} raised {type(error).__name__}", facts_of(x), exc_info=error)


def blocked(name: str, seconds: float, x: Exchange | None) -> None:
    """Tell that a policy has blocked the event loop; `x` is its exchange, if there is one."""
    event = f"policy {name} blocked the event loop for {seconds * 1000:.0f} ms: nothing else moved meanwhile"
    _write(_POLICIES, logging.WARNING, event, Facts() if x is None else facts_of(x))


def name_of(code: object) -> str:
    """Return the name of a function, or of the class of an object, with its module."""
    named = code if hasattr(code, "__qualname__") else type(code)
    return f"{getattr(named, '__module__', '?')}:{named.__qualname__}"


def _admits(limit: LineLimit, kind: str) -> bool:
    """Return whether a line of that kind is written now."""
    if _ENGINE.isEnabledFor(logging.DEBUG):
        return True
    if limit.due < inf:
        tell_left_out(limit, limit.clock())
    return limit.admits(kind)


def _write(
    log: logging.Logger, level: int, event: str, facts: Facts, code: str = "", exc_info: BaseException | None = None
) -> None:
    extra = {"event": event, "facts": facts, "code": code}
    log.log(level, "%s %s" if facts else "%s%s", event, facts, extra=extra, exc_info=exc_info)


def _cut(text: str, limit: int) -> str:
    return f"{text[:limit]}…" if len(text) > limit else text


def _text(value: bytes) -> str | None:
    """Return bytes of a request as text; `None` for none."""
    return printable(value.decode("utf-8", "backslashreplace"), MAX_PATH) if value else None


def _parts(line: bytes) -> tuple[bytes, bytes]:
    """Return method and path of a request line that was refused, as far as they can be told.

    A line whose first word is no token is none, and may be a field with a secret; an absolute form may name a user.
    """
    method, _, target = line.lstrip(b"\r\n").partition(b" ")  # empty lines may precede it (RFC 9112 2.2)
    if not _TOKEN.fullmatch(method):
        return b"", b""
    path = _QUERY.split(target, maxsplit=1)[0]
    return method, b"" if b"@" in path.partition(b"://")[2].partition(b"/")[0] else path


def _value(value: object) -> str:
    """Return a value as text that ends where it ends."""
    text = "-" if value is None else str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"{}"'.format(printable(text.replace("\\", "\\\\").replace('"', '\\"')))
