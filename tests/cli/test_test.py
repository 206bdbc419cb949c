"""`propylon test`: expectations beside the configuration."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tls import Certificates

ROUTES = """
listen: ["127.0.0.1:0", {address: "127.0.0.1:9000", name: internal}]
policies: [request_id]
services:
  users:
    endpoints: ["http://127.0.0.1:1/base"]
    policies: [{headers: {request: {set: {x-tenant: blue}, remove: [cookie]}}}]
  found: {discover: {dns: {name: found.test, port: 80}}}
routes:
  - {name: users, path: /users/*, service: users, strip: /users, methods: [GET, POST]}
  - {name: old, path: /old, redirect: {path: /new}}
  - {name: secure, path: /secure, redirect: {https: true}, host: a.test}
  - {path: /t, target: "http://127.0.0.1:9"}
  - {name: found, path: /found, service: found}
  - {name: office, path: /office, clients: [10.0.0.0/8], respond: {status: 200, body: hello}}
  - {name: python, path: /python, service: users, policies: [{python: "tested_policies:guard"}]}
  - {name: admin, path: /users/admin, listeners: [internal], respond: admin}
"""
POLICIES = """
import asyncio
from propylon import Response

async def guard(x):
    await asyncio.sleep(0)
    if x.request.headers.get("x-key") != "good":
        return Response(401, json={"error": "no"})
"""


def write(folder: Path, *tests: str) -> None:
    listed = "\n".join(f"  - {test}" for test in tests)
    (folder / "t.yaml").write_text(f"{ROUTES}tests:\n{listed}\n")
    (folder / "tested_policies.py").write_text(POLICIES)


PASSING = [
    "{request: GET /users/7, expect: {route: users, service: users, path: /base/7, status: 200}}",
    "{request: GET /users/7?a=1, expect: {path: /base/7?a=1}}",
    "{request: GET /users/admin, expect: {route: users}}",
    "{request: GET /users/admin, listener: internal, expect: {route: admin, body: admin}}",
    "{request: GET https://a.test/secure, expect: {status: 404}}",
    "{request: GET /users/7?a=1, expect: {path: /base/7}}",
    "{request: POST /users/7, body: hi, expect: {sent: {method: POST, body: hi, host: 127.0.0.1:1}}}",
    "{request: GET /users/7, headers: {cookie: a}, expect: {sent: {headers: {x-tenant: blue}, absent: [cookie]}}}",
    "{request: GET /users/7, expect: {policies: [request_id, headers], headers: {x-request-id: '*'}}}",
    "{request: GET /users/7, expect: {headers: {x-request-id: {regex: '[0-9a-f-]{36}'}}, absent: [x-other]}}",
    "{request: DELETE /users/7, expect: {status: 405, route: none, service: none, headers: {allow: '*'}}}",
    "{request: GET /nothing, expect: {status: 404, route: none}}",
    "{request: GET /old?a=1, expect: {status: 308, service: none, headers: {location: '/new?a=1'}}}",
    "{request: GET /secure, host: a.test, expect: {headers: {location: 'https://a.test/secure'}}}",
    "{request: GET http://a.test/secure, expect: {route: secure}}",
    "{request: GET https://a.test/users/1, expect: {sent: {headers: {x-forwarded-proto: https}}}}",
    "{request: GET /t, expect: {route: /t, service: 'http://127.0.0.1:9', path: /t}}",
    "{request: GET /found, expect: {service: found, status: 200, path: /found}}",
    "{request: GET /office, client: 10.1.2.3, expect: {status: 200, body: hello}}",
    "{request: GET /office, expect: {status: 404}}",
    "{request: GET /python, expect: {status: 401, service: none}}",
    "{request: GET /python, headers: {x-key: good}, expect: {status: 200, service: [users, found]}}",
    "{request: GET /users/1, answer: down, expect: {status: 503}}",
    "{request: GET /users/1, answer: head.timeout, expect: {status: 504}}",
    "{request: GET /users/1, answer: {status: 418, body: tea, headers: {x-a: b}},"
    " expect: {status: 418, body: tea, headers: {x-a: b}}}",
]


def test_what_is_as_expected_passes(run: Any, folder: Path) -> None:
    write(folder, *PASSING)
    result = run("test", "t.yaml")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "ok   GET /users/7"
    assert lines[-1] == f"{len(PASSING)} tests, all as expected"


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("{request: GET /users/7, expect: {status: 404}}", "status: expected 404, found 200"),
        ("{request: GET /nothing, expect: {status: 200}}", "status: expected 200, found 404 (match.no_route)"),
        ("{request: GET /users/7, expect: {route: old}}", "route: expected old, found users"),
        ("{request: GET /users/7, expect: {route: none}}", "route: expected none, found users"),
        ("{request: GET /old, expect: {service: users}}", "service: expected users, found none"),
        ("{request: GET /users/7, expect: {service: none}}", "service: expected none, found users"),
        ("{request: GET /users/7, expect: {path: /7}}", "path: expected /7, found /base/7"),
        ("{request: GET /users/7?a=1, expect: {path: '/base/7?a=2'}}", "path: expected /base/7?a=2, found /base/7?a=1"),
        ("{request: GET /old, expect: {path: /}}", "path: expected /, found none"),
        ("{request: GET /users/7, expect: {policies: [headers, request_id]}}",
         "policies: expected headers, request_id, found request_id, headers"),
        ("{request: GET /users/7, expect: {headers: {x-a: b}}}", "header x-a: expected b, found none"),
        ("{request: GET /old, expect: {headers: {location: {regex: /o.*}}}}",
         "header location: expected what matches /o.*, found /new"),
        ("{request: GET /users/7, expect: {absent: [x-request-id]}}", "header x-request-id: expected none, found "),
        ("{request: GET /users/7, expect: {body: no}}", "body: expected no, found ok"),
        ("{request: GET /old, expect: {sent: {method: GET}}}", "sent: expected a request to a service, found none"),
        ("{request: GET /users/7, expect: {sent: {method: POST}}}", "sent method: expected POST, found GET"),
        ("{request: GET /users/7, expect: {sent: {host: a.test}}}", "sent host: expected a.test, found 127.0.0.1:1"),
        ("{request: GET /users/7, expect: {sent: {headers: {x-tenant: red}}}}",
         "sent header x-tenant: expected red, found blue"),
        ("{request: GET /users/7, expect: {sent: {absent: [x-tenant]}}}",
         "sent header x-tenant: expected none, found blue"),
        ("{request: POST /users/7, body: a, expect: {sent: {body: b}}}", "sent body: expected b, found a"),
    ],
)  # fmt: skip
def test_what_is_not_is_told(run: Any, folder: Path, test: str, says: str) -> None:
    write(folder, test, PASSING[0])
    result = run("test", "t.yaml")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("FAIL ")
    assert lines[1].startswith(f"       {says}")
    assert lines[2:] == ["ok   GET /users/7", "2 tests, 1 failed"]


def test_everything_that_fails_is_told(run: Any, folder: Path) -> None:
    write(folder, "{name: all wrong, request: GET /users/7, expect: {status: 404, path: /, body: no}}")
    result = run("test", "t.yaml", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["passed"], found["failed"]) == (1, 0, 1)
    (test,) = found["tests"]
    assert (test["name"], test["passed"]) == ("all wrong", False)
    assert [failure["what"] for failure in test["failures"]] == ["status", "path", "body"]
    assert test["failures"][0] == {"what": "status", "expected": "404", "found": "200"}


def test_some_of_them_are_run(run: Any, folder: Path) -> None:
    write(folder, *PASSING)
    result = run("test", "t.yaml", "-k", "delete")
    assert result.output.splitlines() == ["ok   DELETE /users/7", "1 test, all as expected"]
    result = run("test", "t.yaml", "-k", "nothing of the kind")
    assert result.exit_code == 1
    assert "no test has 'nothing of the kind' in its name" in result.stderr


def test_a_file_without_tests_does_not_pass(run: Any) -> None:
    result = run("test", "good.yaml")
    assert result.exit_code == 1
    assert "good.yaml: it has no tests" in result.stderr


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("{request: GET, expect: {status: 200}}", "should be METHOD PATH, as in GET /users/7?full=1"),
        ("{request: GET /x, expect: {}}", "nothing is expected, give at least one of status"),
        ("{request: GET /x, expect: {route: usres}}", "unknown route 'usres', did you mean 'users'?"),
        ("{request: GET /x, expect: {service: usres}}", "unknown service 'usres', did you mean 'users'?"),
        ("{request: GET /x, expect: {stauts: 1}}", "unknown key 'stauts', did you mean 'status'?"),
        ("{request: GET /x, client: here, expect: {status: 200}}", "should be an IP address"),
        ("{request: GET /x, answer: up, expect: {status: 200}}", "should be 'down', or a code of connect.*"),
    ],
)
def test_what_is_wrong_with_a_test_is_a_problem_of_the_file(run: Any, folder: Path, test: str, says: str) -> None:
    write(folder, test)
    result = run("check", "t.yaml")
    assert result.exit_code == 1
    assert says in result.stderr
    assert "t.yaml:19:" in result.stderr


def test_check_counts_them(run: Any, folder: Path) -> None:
    write(folder, *PASSING[:2])
    assert run("check", "t.yaml").output.startswith("t.yaml: ok (8 routes, 3 services, 2 tests)")
    assert json.loads(run("check", "t.yaml", "--json").stdout)["tests"] == 2


def test_a_policy_that_never_answers_is_given_up(run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cli._expectations.REQUEST_SECONDS", 0.05)
    write(folder, "{request: GET /python, expect: {status: 401}}")
    never = POLICIES.replace("asyncio.sleep(0)", "asyncio.Event().wait()")
    (folder / "tested_policies.py").write_text(never)
    result = run("test", "t.yaml")
    assert "answer: expected one, found none within" in result.output


def test_tests_of_a_python_gateway_are_run(run: Any, folder: Path) -> None:
    (folder / "app.py").write_text(
        "from propylon import Gateway\n"
        "gateway = Gateway(tests=[{'request': 'GET /a', 'expect': {'body': 'hi'}}])\n"
        "gateway.route('/a', respond={'body': 'hi'})\n"
    )
    assert run("test", "app:gateway").output == "ok   GET /a\n1 test, all as expected\n"


STARTED = """
class Started:
    def start(self):
        print("started")

    def on_request(self, x):
        pass

    async def close(self):
        print("closed")
"""


def use(folder: Path, module: str, code: str) -> None:
    """Put another policy in the place of `guard`."""
    file = folder / "t.yaml"
    file.write_text(file.read_text().replace("tested_policies:guard", f"{module}:Started"))
    (folder / f"{module}.py").write_text(code)


def test_policies_are_started_and_closed(run: Any, folder: Path) -> None:
    write(folder, "{request: GET /python, expect: {status: 200}}")
    use(folder, "started", STARTED)
    result = run("test", "t.yaml")
    assert result.output.splitlines() == ["started", "closed", "ok   GET /python", "1 test, all as expected"]


def test_a_policy_that_cannot_be_started_is_told(run: Any, folder: Path) -> None:
    write(folder, "{request: GET /python, expect: {status: 200}}")
    (folder / "t.yaml").write_text(
        (folder / "t.yaml").read_text().replace("tested_policies:guard", "not_started:Started")
    )
    (folder / "not_started.py").write_text(STARTED.replace('print("started")', 'raise OSError("no database")'))
    result = run("test", "t.yaml")
    assert result.exit_code == 1
    assert "t.yaml: routes.6.policies.0: policy python: no database" in result.output


REDIRECTED = """
listen: [{address: ":8443", tls: {certificate: CERT, key: KEY}}, {address: ":8080", redirect_https: 8443}]
routes: [{name: all, path: /*, respond: here}]
tests:
  - {request: GET /a, expect: {route: all}}
  - {request: GET http://a.example/a?b, expect: {status: 308, headers: {location: "https://a.example:8443/a?b"}}}
  - {request: GET /a, listener: ":8080", expect: {status: 308}}
  - {request: GET http://a.example/.well-known/acme-challenge/b, expect: {status: 200}}
"""


def test_what_a_listener_redirects_is_redirected(run: Any, certificates: Certificates) -> None:
    pair = certificates.pair("a")
    Path("t.yaml").write_text(REDIRECTED.replace("CERT", pair["certificate"]).replace("KEY", pair["key"]))
    result = run("test", "t.yaml")
    assert result.exit_code == 0, result.output
