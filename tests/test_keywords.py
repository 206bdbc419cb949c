"""The types of the keyword arguments: what a type checker finds in a program, before it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

from propylon import Gateway, keywords

PROGRAM = """
from __future__ import annotations

from pathlib import Path
from typing import Any

from propylon import ConfigError, Exchange, Gateway, Problem, Response
from propylon.keywords import HealthKeys, RouteOptions


def check(exchange: Exchange) -> Response | None:
    return None


class Timing:
    def on_done(self, exchange: Exchange) -> None:
        pass


gateway = Gateway(listen="127.0.0.1:0", trusted_proxies=["10.0.0.0/8"], limits={"header_count": 50})
Gateway(listen=[":80", {"address": ":443", "tls": {"certificate": Path("cert.pem"), "min_version": 1.3}}])
Gateway(timeouts={"header": None, "body": "30s", "write": 5}, log={"level": "debug"})
Gateway(services={"a": {"endpoints": "http://a"}}, routes=[{"path": "/*", "service": "a"}])
gateway.service("users", "http://127.0.0.1:1", balance="least_load", retry=2, hedge="p95", health="/up")
gateway.service("more", ["http://a", {"url": "http://b", "weight": 2}], health={"path": "/", "statuses": ["2xx", 4]})
gateway.service("found", discover={"dns": {"name": "a.example"}}, balance={"consistent_hash": {"client": True}})
gateway.route("/a", service="users", strip="/a", methods="GET", policies=["hsts", check, Timing(), {"timeout": 1}])
gateway.route(["/b", "/c"], respond={"json": {"a": [1]}}, headers={"x-a": {"regex": "a+"}})
gateway.route("/d", redirect="https://a.example").route(path_regex="/e+", respond=404).route("/f", target="http://a")


@gateway.policy
def everywhere(exchange: Exchange) -> Response | None:
    return check(exchange)


everywhere(1)  # error: arg-type
health: HealthKeys = {"path": "/up"}
options: RouteOptions = {"service": "users", "priority": 2}
gateway.service("later", "http://a", health=health).route("/g", **options)
anything: dict[str, Any] = {"strip": "/a"}
gateway.route("/h", target="http://a", **anything)
try:
    gateway.snapshot()
except ConfigError as error:
    problem: Problem = error.problems[0]
    where: int | None = problem.line

gateway.route("/a", target="http://a", stripp="/a")  # error: call-arg
gateway.route("/a", target=5)  # error: arg-type
gateway.route(5, target="http://a")  # error: arg-type
gateway.route("/a", respond={"statuss": 200})  # error: arg-type
gateway.route("/a", respond="x", websocket="never")  # error: arg-type
gateway.route("/a", respond="x", priority="high")  # error: arg-type
gateway.service("a", "http://a", conections={})  # error: call-arg
gateway.service("a", [{"url": "http://a", "wieght": 1}])  # error: list-item
gateway.service("a", "http://a", connections={"max": "many"})  # error: typeddict-item
gateway.service("a", ["http://a"], retry={"attempt": 1})  # error: arg-type
Gateway(listne=":80")  # error: call-arg
Gateway(listen=8080)  # error: arg-type
Gateway(log={"level": "loud"})  # error: typeddict-item
Gateway(limits={"headers": 1})  # error: typeddict-unknown-key
Gateway(routes=[{"pth": "/a"}])  # error: typeddict-unknown-key
Gateway(include="conf.d")  # error: call-arg
gateway.run(8080)  # error: arg-type
"""
EXPECTED = re.compile(r"# error: ([a-z-]+)")
FOUND = re.compile(r"^program\.py:([0-9]+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def test_a_type_checker_finds_wrong_keys_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path(__file__).parents[1] / ".mypy_cache"
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    expected = {
        number: found[1] for number, line in enumerate(PROGRAM.splitlines(), 1) if (found := EXPECTED.search(line))
    }
    output, errors, _ = api.run(["--strict", f"--cache-dir={cache}", "program.py"])
    assert errors == ""
    assert {int(line): code for line, code in FOUND.findall(output)} == expected, output
    assert output.count(" error: ") == len(expected), output


def test_every_keyword_is_a_key_of_the_configuration() -> None:
    for name in keywords.__all__:
        assert getattr(keywords, name) is not None
    assert {"path", "strip"} <= set(keywords.RouteKeys.__annotations__)
    assert "path" not in keywords.RouteOptions.__annotations__
    assert Gateway(
        **{key: value for key, value in {"name": "a"}.items() if key in keywords.GatewayKeys.__annotations__}
    )
