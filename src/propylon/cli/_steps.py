"""The steps of `engine/forward.py` for a request, without sending anything.

Rules of the file: it uses the same router, rewrites and target rules as the engine, and does not guess: policies are
listed, not run, so whether one responds is left open.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from propylon.cli._choice import rule_lines
from propylon.cli._view import RouteView, route_view
from propylon.engine.errors import GatewayError
from propylon.engine.request_out import begins_with
from propylon.engine.snapshot import CompiledRoute
from propylon.engine.websocket.upgrade import check_handshake
from propylon.failures import FAILURES
from propylon.http.forwarded import origin
from propylon.http.host import Host, HostError, parse_host
from propylon.http.refusal import Refusal
from propylon.http.request_head import RequestFields, RequestLine
from propylon.http.target import TargetError
from propylon.routing.rewrite import join
from propylon.routing.router import RouteMatch, WrongMethod

if TYPE_CHECKING:
    from propylon.engine.snapshot import Snapshot
    from propylon.inbound.redirect_https import RedirectHttps


@dataclass(frozen=True, slots=True)
class Question:
    """The request to explain.

    Attributes:
        scheme: that of the listener, before trusted proxies are asked.
        listener: its name; listener_id: its id.
        redirect: what the listener does with requests over http; `None` if they go to their routes.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    client: str
    scheme: str
    listener: str | None
    listener_id: str | None
    redirect: "RedirectHttps | None" = None


class ParsedRequest:
    """The request parsed by the rules of the gateway, as the router uses it; raises `Refusal`."""

    def __init__(self, question: Question, snapshot: "Snapshot") -> None:
        rules = snapshot.reader.rules
        line = RequestLine(f"{question.method} {question.target} HTTP/1.1".encode(errors="surrogateescape"), rules)
        block = "".join(f"{name}: {value}\r\n" for name, value in question.headers)
        self.fields = RequestFields(block.encode(errors="surrogateescape"), rules)
        host = self.fields.host if line.authority is None else parse_host(line.authority)
        self.host = host or Host(b"", None)
        self.method = line.method
        self.path = line.path
        self.query = line.query
        self.client_method = line.method
        self.id = b"REQUEST-ID"
        self.route = CompiledRoute("-")
        self.tells_prefix = True
        self.path_params: dict[str, bytes] = {}
        self.path_rest = b""
        self.listener = question.listener_id
        scheme, port = question.scheme.encode(), b"443" if question.scheme == "https" else b"80"
        client, name = question.client.encode(), self.host.text
        self.origin = origin(snapshot.forwarding, client, scheme, name, port, self.fields.all)
        if self.origin.by_proxy:
            self.fields = self.fields.with_claims(rules)
        self.client_address = self.origin.client
        self.is_websocket = self.fields.websocket
        if line.odd:
            self.apply_path_rules(line, snapshot)

    def apply_path_rules(self, line: RequestLine, snapshot: "Snapshot") -> None:
        """Read the target by the rules of its route. Raises `Refusal`."""
        try:
            target = snapshot.read_again(line, self.host.name, self.host.port, self)
        except TargetError as error:
            raise Refusal(error.code, error.detail) from None
        self.path, self.query = target.path, target.query

    def check_handshake(self) -> None:
        """Raise `GatewayError` for an invalid WebSocket handshake."""
        check_handshake(self.method, self.fields)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header by its lower-case name; `None` for those that clients cannot set."""
        return None if name in self.fields.hidden else self.fields.first(name)


@dataclass(slots=True)
class Step:
    """One step: its number and name in the engine, the outcome in one line, and details."""

    number: int
    name: str
    outcome: str
    details: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Explanation:
    """All steps, and the status if the gateway responds without a service."""

    steps: list[Step]
    status: int | None = None
    route: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the steps, for JSON."""
        steps = [
            {"number": step.number, "name": step.name, "outcome": step.outcome, "details": step.details}
            for step in self.steps
        ]
        return {"status": self.status, "route": self.route, "steps": steps}


def explain(snapshot: "Snapshot", question: Question) -> Explanation:
    """Return the steps of a request."""
    try:
        request = ParsedRequest(question, snapshot)
        if request.is_websocket:
            request.check_handshake()
    except (Refusal, HostError, GatewayError) as error:
        status = FAILURES[error.code].status
        return Explanation([Step(1, "admit", f"refused with {status}: {error.detail}"), _done(None)], status)
    host = request.host.name.decode() or "(none)"
    told = f"host {host}, path {request.path.decode()}, client {request.client_address.decode()}"
    told += f", scheme {request.origin.scheme.decode()}"
    steps = [Step(1, "admit", told + (f", listener {question.listener}" if question.listener else ""))]
    if question.redirect is not None and question.redirect.redirects(request.method, request):
        to = question.redirect.location(host, request.path, request.query)
        step = Step(2, "match", "no route: the listener redirects to https with 308", [f"Location: {to}"])
        return Explanation([*steps, step, _done(None)], 308)
    return _matched(snapshot, request, steps)


def _matched(snapshot: "Snapshot", request: ParsedRequest, steps: list[Step]) -> Explanation:
    host, port, path, method = request.host.name, request.host.port, request.path, request.method
    found = snapshot.router.find(host, port, path, method, request)
    verdicts = snapshot.router.explain(host, port, path, method, request)
    lost = [f"not {verdict.rule.route.name}: {verdict.reason}" for verdict in verdicts if not verdict.won]
    if not isinstance(found, RouteMatch):
        status = 405 if isinstance(found, WrongMethod) else 404
        outcome = "no route: answered with 404"
        if isinstance(found, WrongMethod):
            allow = b", ".join(found.allow).decode()
            outcome = f"no route for {request.method.decode()}: answered with 405, Allow: {allow}"
        return Explanation([*steps, Step(2, "match", outcome, lost), _done(None)], status)
    winner = next(verdict for verdict in verdicts if verdict.won)
    route, shares = _variant(winner.rule.route, request)
    view = route_view(winner.rule, route)
    steps.append(Step(2, "match", f"route {view.name}: {winner.reason}", [*_parameters(found), *shares, *lost]))
    if winner.rule.route.refuses_websockets and request.is_websocket:
        steps[-1].outcome += ": WebSockets are answered with 403"
        return Explanation([*steps, _done(view)], 403, view.name)
    request.route, request.path_params, request.path_rest = route, found.params, found.rest
    request.tells_prefix = snapshot.forwarding.x_forwarded
    steps += [*_forwarded(route, view, request), _done(view)]
    return Explanation(steps, None, view.name)


def _parameters(found: "RouteMatch[CompiledRoute]") -> list[str]:
    return [f"{name} = {value.decode('latin-1')}" for name, value in found.params.items()]


def _variant(route: "CompiledRoute", request: ParsedRequest) -> "tuple[CompiledRoute, list[str]]":
    """Return the selected variant of a split route with the reason; any other route unchanged."""
    if route.split is None:
        return route, []
    share, reason = route.split.foresee(request)
    shares = f"split: {', '.join(route.split.shown())}"
    if share is not None:
        return share.route, [shares, f"service {share.name}: {reason}"]
    share = max(route.split.shares, key=lambda each: each.weight)
    return share.route, [shares, f"the service is found by chance; the next steps are those of {share.name}"]


def _forwarded(route: "CompiledRoute", view: RouteView, request: ParsedRequest) -> list[Step]:
    """Return steps 3 to 8."""
    steps = [_policies(3, "request", view, "on_request")]
    if view.service is None:
        names = ", ".join(view.policies.get("on_request", []))
        steps.append(Step(4, "choose", f"not reached: {names or 'no policy'} answers, the route has no service"))
        return steps
    steps.append(Step(4, "choose", f"service {view.service.name}: {view.service.choice}"))
    steps[-1].details += [*view.service.lines, *rule_lines(route, request.method)]
    try:
        outcome = f"sends {request.method.decode()} {_rewritten(route, view, request)}"
    except TargetError as error:
        outcome = f"refused with 400: the rewritten path is not canonical: {error.detail}"
    sent = _policies(5, "attempt", view, "on_attempt", "on_request_chunk")
    steps.append(Step(5, "attempt", outcome, [*_prefix_lines(route, request), sent.outcome]))
    head = _policies(6, "head", view, "on_response")
    head.details += _redirect_lines(route)
    steps.append(head)
    if request.is_websocket:
        relay = _policies(7, "relay", view, "on_message")
        relay.outcome = f"a tunnel, if the endpoint answers with 101; {relay.outcome}"
    else:
        relay = _policies(7, "relay", view, "on_response_chunk")
    steps.append(relay)
    steps.append(Step(8, "settle", "the connection goes back to the pool, or is closed"))
    return steps


def _prefix_lines(route: "CompiledRoute", request: ParsedRequest) -> list[str]:
    """Return what the service is told of the stripped prefix."""
    prefix = route.stripped
    below = prefix and request.tells_prefix and begins_with(request.path, prefix)
    return [f"X-Forwarded-Prefix: {prefix.decode('latin-1')}"] if below else []


def _redirect_lines(route: "CompiledRoute") -> list[str]:
    """Return what becomes of URLs in the response, unless it is the default."""
    if route.public_urls is None:
        return ["redirects: off: Location and the like are left"]
    return [f"redirects: {begin.decode()} becomes {to.decode()}" for begin, to in route.public_urls.replace]


def _rewritten(route: "CompiledRoute", view: RouteView, request: ParsedRequest) -> str:
    path = request.path if route.rewrite is None else route.rewrite.apply(request.path, request)
    query = request.query if route.query_edit is None else route.query_edit.apply(request.query, request)
    bases = {(endpoint.base_path, endpoint.root) for endpoint in view.service.endpoints} if view.service else set()
    path = join(*bases.pop(), path) if len(bases) == 1 else path or b"/"
    return (path if query is None else path + b"?" + query).decode("latin-1")


def _policies(number: int, name: str, view: RouteView, *phases: str) -> Step:
    """Return a step that lists policies."""
    found = [f"{policy}.{phase}" for phase in phases for policy in view.policies.get(phase, [])]
    return Step(number, name, f"policies: {', '.join(found)}" if found else "no policies")


def _done(view: RouteView | None) -> Step:
    if view is None:
        return Step(9, "done", "on_done policies of the gateway, if any; a failure is logged")
    return Step(9, "done", _policies(9, "done", view, "on_done").outcome)
