"""`propylon explain`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tls import Certificates


def explain(run: Any, *arguments: str) -> dict[str, Any]:
    result = run("explain", "good.yaml", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def step(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["steps"] if each["name"] == name)


def test_every_step_is_told_in_order(run: Any) -> None:
    lines = run("explain", "good.yaml", "GET", "/users/5?a=b").output.splitlines()
    steps = [line.split()[:2] for line in lines if line[0] != " "]
    names = ["admit", "match", "request", "choose", "attempt", "head", "relay", "settle", "done"]
    assert steps == [[str(number), name] for number, name in enumerate(names, 1)]


def test_the_winner_its_parameters_and_every_loser_are_told(run: Any) -> None:
    match = step(explain(run, "GET", "/users/5"), "match")
    assert match["outcome"].startswith("route user: ")
    assert "id = 5" in match["details"]
    assert "not /users/*: header 'x-a' does not match" in match["details"]
    assert any(line.startswith("not /hello: path /users/5 does not match") for line in match["details"])


def test_the_service_its_endpoints_and_the_rewritten_path_are_told(run: Any) -> None:
    found = explain(run, "GET", "/users/5?a=b")
    assert step(found, "choose")["outcome"] == "service users: one of 2 by p2c"
    assert step(found, "choose")["details"][:2] == [
        "http://127.0.0.1:3001/base (weight 1)",
        "http://127.0.0.1:3002/base (weight 2)",
    ]
    assert step(found, "attempt")["outcome"] == "sends GET /base/v2/5?a=b"
    assert "body_limit (on a condition).on_request" in step(found, "request")["outcome"]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["GET", "/nowhere"], 404, "no route: answered with 404"),
        (["POST", "/users/5"], 405, "no route for POST: answered with 405, Allow: GET, HEAD"),
        (["GET", "/a/../b"], 400, "refused with 400: the path has a dot segment"),
        (["GET", "nowhere"], 400, "refused with 400: "),
        (["TRACE", "/"], 405, "refused with 405: TRACE"),
        (["GET", "/", "-H", "Host: a b"], 400, "refused with 400: "),
        (["GET", "/", "-H", "Host: a", "-H", "Host: b"], 400, "refused with 400: "),
        (["GET", "/", "-H", "x_y: 1"], 400, "refused with 400: the header name 'x_y'"),
        (["GET", "http://a b/"], 400, "refused with 400: "),
        (["GET", "http://a,b/"], 400, "refused with 400: "),
    ],
)
def test_a_request_that_the_gateway_answers_says_why(run: Any, arguments: list[str], status: int, text: str) -> None:
    found = explain(run, *arguments)
    assert (found["status"], found["route"]) == (status, None)
    assert any(each["outcome"].startswith(text) for each in found["steps"])
    assert found["steps"][-1]["name"] == "done"


@pytest.mark.parametrize(
    ("arguments", "route"),
    [
        (["GET", "/hello", "--client", "10.1.2.3"], "/hello"),
        (["GET", "/hello", "--client", "::1"], None),
        (["PUT", "/users/5", "-H", "X-A: 1", "-H", "x-b:bb"], "/users/*"),
        (["GET", "http://BYE.example/bye"], "bye"),
        (["GET", "/bye", "-H", "Host: bye.example"], "bye"),
        (["GET", "/bye"], None),
    ],
)
def test_headers_host_and_client_count(run: Any, arguments: list[str], route: str | None) -> None:
    assert explain(run, *arguments)["route"] == route


def test_a_route_without_a_service_ends_at_its_policy(run: Any) -> None:
    found = explain(run, "GET", "http://bye.example/bye")
    assert step(found, "choose")["outcome"].startswith("not reached: ")
    assert "respond" in step(found, "choose")["outcome"]
    assert [each["name"] for each in found["steps"]] == ["admit", "match", "request", "choose", "done"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["-H", "nocolon"], "'nocolon' is not 'NAME: VALUE'"), (["--client", "home"], "'home' is not an IP address")],
)
def test_wrong_options_say_what_is_wrong(run: Any, arguments: list[str], message: str) -> None:
    result = run("explain", "good.yaml", "GET", "/", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_request_is_explained_in_a_process(spawn: Any) -> None:
    result = spawn("explain", "app:gateway", "GET", "/x/1")
    assert result.returncode == 0
    assert "policies: app:nothing.on_request" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "give [FILE] METHOD TARGET, as in: gateway.yaml GET /users/5"),
        ("good.yaml GET / /", "give [FILE] METHOD TARGET, as in: gateway.yaml GET /users/5"),
        ("good.yaml", "give [FILE] METHOD TARGET, as in: gateway.yaml GET /users/5"),
        ("good.yaml /users/1", "METHOD is missing: write good.yaml GET /users/1"),
        ("good.yaml http://a.example/x", "METHOD is missing: write good.yaml GET http://a.example/x"),
        ("/users/1", "METHOD is missing: write GET /users/1"),
        ("good.yaml GET", "TARGET is missing, a path or a URL: write good.yaml GET /"),
        ("GET", "TARGET is missing, a path or a URL: write GET /"),
        ("good.yaml get /users/1", "methods are written in capitals: GET"),
    ],
)
def test_a_method_and_a_target_are_asked_for(run: Any, arguments: str, told: str) -> None:
    result = run("explain", *arguments.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: {told}"


SOCKETS = """
listen: 127.0.0.1:0
services_json: false
routes:
  - {name: open, path: /open, target: "http://127.0.0.1:3000"}
  - {name: shut, path: /shut, target: "http://127.0.0.1:3000", websocket: refuse}
  - {name: page, path: /both, respond: page}
  - {name: live, path: /both, target: "http://127.0.0.1:3000", websocket: only}
"""
ASKS = [
    "-H", "Upgrade: websocket", "-H", "Connection: upgrade", "-H", "Sec-WebSocket-Version: 13",
    "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "asks", "status", "route"),
    [
        ("/open", True, None, "open"),
        ("/shut", True, 403, "shut"),
        ("/shut", False, None, "shut"),
        ("/both", True, None, "live"),
        ("/both", False, None, "page"),
    ],
)
def test_a_handshake_is_explained_as_one(
    run: Any, folder: Path, path: str, asks: bool, status: int | None, route: str
) -> None:
    (folder / "good.yaml").write_text(SOCKETS)
    found = explain(run, "GET", path, *(ASKS if asks else []))
    assert (found["status"], found["route"]) == (status, route)
    if status == 403:
        assert step(found, "match")["outcome"].endswith("WebSockets are answered with 403")
    elif asks:
        assert step(found, "relay")["outcome"].startswith("a tunnel, if the endpoint answers with 101")


def test_a_handshake_that_is_none_is_refused_as_by_the_gateway(run: Any) -> None:
    assert explain(run, "POST", "/users/5", *ASKS)["status"] == 400
    assert explain(run, "GET", "/users/5", *ASKS[:4])["status"] == 426


SPLIT = """
services:
  v1: {endpoints: [http://127.0.0.1:3001], policies: [request_id]}
  v2: {endpoints: [http://127.0.0.1:3002], policies: [{body_limit: 5}]}
routes:
  - path: /*
    split: {services: {v1: 90, v2: 10}, sticky: {cookie: stay}, choose: {header: x-version}}
"""


def test_a_split_tells_the_shares_and_where_this_request_goes(run: Any, folder: Path) -> None:
    (folder / "good.yaml").write_text(SPLIT)
    found = explain(run, "GET", "/", "-H", "X-Version: v2", "-H", "Cookie: stay=1")
    assert step(found, "match")["details"][:2] == ["split: v1 90%, v2 10%", "service v2: named by header x-version"]
    assert step(found, "choose")["outcome"] == "service v2: its only endpoint"
    assert step(found, "request")["outcome"] == "policies: body_limit.on_request"
    told = {
        step(explain(run, "GET", "/", "-H", f"Cookie: stay={number}"), "match")["details"][1] for number in range(40)
    }
    assert told == {"service v1: sticky by cookie stay", "service v2: sticky by cookie stay"}


def test_a_split_that_goes_by_chance_says_so(run: Any, folder: Path) -> None:
    (folder / "good.yaml").write_text(SPLIT)
    found = explain(run, "GET", "/")
    assert step(found, "match")["details"][1] == "the service is found by chance; the next steps are those of v1"
    assert step(found, "choose")["details"][0] == "http://127.0.0.1:3001 (weight 1)"


TWO_WAYS = """
listen: ["127.0.0.1:8080", {address: "127.0.0.1:9000", name: internal}]
trusted_proxies: [10.0.0.0/8]
routes:
  - {name: admin, path: /admin, listeners: [internal], respond: admin}
  - {name: to_https, path: /*, redirect: {https: true}}
  - {name: rest, path: /*, respond: here}
"""


@pytest.mark.parametrize(
    ("arguments", "route", "told"),
    [
        (["GET", "/admin"], "to_https", "scheme http, listener 127.0.0.1:8080"),
        (["GET", "/admin", "--listener", "internal"], "admin", "scheme http, listener internal"),
        (["GET", "/admin", "--listener", "127.0.0.1:9000"], "admin", "listener 127.0.0.1:9000"),
        (["GET", "/", "--scheme", "https"], "rest", "scheme https"),
        (["GET", "https://a.example/"], "rest", "scheme https"),
        (["GET", "/", "-H", "X-Forwarded-Proto: https"], "to_https", "scheme http"),
        (["GET", "/", "-H", "X-Forwarded-Proto: https", "--client", "10.0.0.1"], "rest", "scheme https"),
    ],
)
def test_scheme_and_listener_may_be_given(run: Any, arguments: list[str], route: str, told: str) -> None:
    Path("two.yaml").write_text(TWO_WAYS)
    found = json.loads(run("explain", "two.yaml", *arguments, "--json").output)
    assert found["route"] == route
    assert told in found["steps"][0]["outcome"]


def test_a_route_of_another_listener_says_so(run: Any) -> None:
    Path("two.yaml").write_text(TWO_WAYS)
    output = run("explain", "two.yaml", "GET", "https://a.example/admin").output
    assert "not admin: the listener is not internal" in output
    assert "not to_https: the request is where it would be redirected to: https" in output


REDIRECTED = """
listen: [{address: ":8443", tls: TLS}, {address: ":8080", redirect_https: 8443}, "127.0.0.1:9000"]
routes:
  - {name: rest, path: /*, respond: here}
"""


@pytest.mark.parametrize(
    ("arguments", "status", "route", "told"),
    [
        (["GET", "/a"], None, "rest", "scheme https, listener :8443"),
        (["GET", "http://a.example/a?b"], 308, None, "Location: https://a.example:8443/a?b"),
        (["GET", "/a", "--listener", ":8080"], 308, None, "the listener redirects to https with 308"),
        (["GET", "/.well-known/acme-challenge/x", "--scheme", "http"], None, "rest", "scheme http, listener :8080"),
    ],
)
def test_what_a_listener_redirects_reaches_no_route(
    run: Any, certificates: Certificates, arguments: list[str], status: int | None, route: str | None, told: str
) -> None:
    pair = certificates.pair("a")
    tls = f"{{certificate: {pair['certificate']}, key: {pair['key']}}}"
    Path("two.yaml").write_text(REDIRECTED.replace("TLS", tls))
    found = json.loads(run("explain", "two.yaml", *arguments, "--json").output)
    assert (found["status"], found["route"]) == (status, route)
    assert told in run("explain", "two.yaml", *arguments).output


def test_a_listener_that_is_not_there_is_told(run: Any) -> None:
    Path("two.yaml").write_text(TWO_WAYS)
    result = run("explain", "two.yaml", "GET", "/", "--listener", "intern")
    assert result.exit_code == 2
    assert "did you mean 'internal'?" in result.output


REWRITING = """
services: {a: {endpoints: ["http://127.0.0.1:3001"], redirects: {/login: /login}}}
routes:
  - {path: "/a/{id}/*", host: "*.a.example", service: a, strip: /a, query_edit: {keep: [q], set: {t: "{host.*}-{id}"}}}
  - {path: /b/*, service: a, rewrite: "/c/{request.method}/{*}", redirects: "off"}
"""


def test_prefixes_redirects_and_templates_are_told(run: Any, folder: Path) -> None:
    (folder / "good.yaml").write_text(REWRITING)
    found = explain(run, "GET", "http://blue.a.example/a/5/x?q=1&z=2")
    assert step(found, "attempt")["outcome"] == "sends GET /5/x?q=1&t=blue-5"
    assert "X-Forwarded-Prefix: /a" in step(found, "attempt")["details"]
    assert step(found, "head")["details"] == ["redirects: /login becomes /login"]
    found = explain(run, "GET", "/b/x")
    assert step(found, "attempt")["outcome"] == "sends GET /c/GET/x"
    assert step(found, "head")["details"] == ["redirects: off: Location and the like are left"]
    (folder / "good.yaml").write_text(f"forwarded: {{x_forwarded: false}}\n{REWRITING}")
    found = explain(run, "GET", "http://blue.a.example/a/5/x")
    assert not any("Prefix" in line for line in step(found, "attempt")["details"])


def test_a_policy_in_python_is_named_as_in_the_log(run: Any, folder: Path) -> None:
    (folder / "explained_policies.py").write_text("class Tag:\n    def on_response(self, x): ...\n")
    (folder / "good.yaml").write_text(
        'routes: [{path: /*, respond: ok, policies: [{python: "explained_policies:Tag", when: {paths: /a}}]}]\n'
    )
    found = step(explain(run, "GET", "/a"), "choose")
    assert found["outcome"].startswith("not reached: respond answers")
    assert "explained_policies:Tag (on a condition)" in run("routes", "good.yaml", "--json").output
