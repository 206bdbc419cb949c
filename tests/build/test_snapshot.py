"""From a configuration to a snapshot: everything arrives, in order, and what cannot be made is told with its place."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from propylon import Gateway
from propylon.build.errors import BuildError
from propylon.build.snapshot import build_snapshot
from propylon.config.load import validate
from propylon.engine.request_out import PRESERVE
from tests.support.built import ROUTE, asked, built


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("module_of_a_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


# what arrives


@pytest.mark.parametrize(
    ("host", "expected"), [("endpoint", None), ("preserve", PRESERVE), ("fixed.example:81", b"fixed.example:81")]
)
def test_a_service_is_built_as_it_is_configured(host: str, expected: bytes | None) -> None:
    connections = {"max": 2, "idle": 1, "idle_timeout": "none", "queue": 3, "queue_timeout": "2s"}
    endpoints = ["http://10.0.0.1:1", {"url": "http://10.0.0.2:1/base", "weight": 3}]
    made = built(
        {"path": "/*", "service": "s"},
        services={"s": {"endpoints": endpoints, "host": host, "connections": connections}},
    )
    service = made.services["s"]
    assert [(each.url, each.weight) for each in service.found] == [
        ("http://10.0.0.1:1", 1),
        ("http://10.0.0.2:1/base", 3),
    ]
    assert service.settings.host == expected
    limits = service.settings.transport.limits
    assert (limits.max, limits.idle, limits.idle_timeout, limits.queue, limits.queue_timeout) == (2, 1, inf, 3, 2.0)


def test_limits_times_and_rules_arrive() -> None:
    made = built(
        limits={
            "request_line": "1KiB",
            "header_block": "2KiB",
            "header_count": 7,
            "pipeline_buffer": "3KiB",
            "connections": 9,
        },
        timeouts={"header": "1s", "keep_alive": "none", "write": "2s", "body": "3s", "linger": "4s", "drain": "5s"},
        paths={"encoded_slashes": "keep", "semicolons": "keep"},
        field_names={"underscores": "drop"},
        forwarded={"x_forwarded": False, "standard": True, "via": False},
        trusted_proxies=["10.0.0.0/8"],
    )
    limits, times, rules = made.limits, made.client_timeouts, made.reader.rules
    assert (rules.max_line_bytes, rules.max_section_bytes) == (1024, 2048)
    assert (limits.pipeline_buffer, limits.connections) == (3072, 9)
    assert (times.header, times.keep_alive, times.write, times.body, times.linger, times.drain) == (1, inf, 2, 3, 4, 5)
    assert (rules.max_fields, rules.aliases) == (7, "drop")
    assert (rules.paths.encoded_slashes, rules.paths.semicolons) == (True, True)
    assert (made.forwarding.x_forwarded, made.forwarding.standard, made.forwarding.via) == (False, True, None)
    assert made.forwarding.trusted.contains(b"10.1.2.3")
    assert made.pseudonym == b""


def test_the_name_in_via_is_configured_or_its_own() -> None:
    assert built(name="front").pseudonym == b"front"
    default = built().pseudonym
    assert re.fullmatch(rb"propylon-[0-9a-f]{8}", default)
    assert built().pseudonym == default
    assert built(listen="127.0.0.1:1").pseudonym != built(listen="127.0.0.1:2").pseudonym


def test_error_pages_are_read_with_their_type(tmp_path: Path) -> None:
    (tmp_path / "404.html").write_bytes(b"<p>")
    (tmp_path / "any.json").write_bytes(b"{}")
    made = built(errors={"pages": {"404": str(tmp_path / "404.html"), "5xx": str(tmp_path / "any.json")}})
    assert made.error_pages["404"].content == b"<p>"
    assert made.error_pages["404"].content_type == "text/html; charset=utf-8"
    assert made.error_pages["5xx"].content_type == "application/json"


def test_conditions_decide_whether_a_policy_applies() -> None:
    use = {"respond": {"status": 403}, "when": {"methods": ["POST"]}, "unless": [{"paths": ["/open/*"]}]}
    made = built(ROUTE, policies=[use])
    statuses = [asked(made, path, method)[1].heads[0][0] for path, method in
                ((b"/x", b"POST"), (b"/x", b"GET"), (b"/open/x", b"POST"))]  # fmt: skip
    assert statuses == [403, 200, 200]


def test_a_condition_may_be_a_function(module: ModuleType) -> None:
    module.always = lambda x: True  # type: ignore[attr-defined]
    made = built(ROUTE, policies=[{"respond": 403, "when": {"python": "module_of_a_test:always"}}])
    assert asked(made, b"/x")[1].heads[0][0] == 403


# what cannot be made


def refused(*routes: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(BuildError) as caught:
        built(*routes, **keys)
    return str(caught.value)


def test_a_policy_that_cannot_be_imported_is_told_with_its_place() -> None:
    entry = {"python": "no_such_module_at_all:x"}
    assert refused(policies=["request_id", entry]).startswith("policies.1: policy python: No module named")
    assert refused(ROUTE, {"path": "/b", "respond": "x", "policies": [entry]}).startswith("routes.1.policies.0: ")
    services = {"s": {"endpoints": ["http://10.0.0.1:1"], "policies": [entry]}}
    assert refused({"path": "/*", "service": "s"}, services=services).startswith("services.s.policies.0: ")


def test_a_policy_that_cannot_be_constructed_is_told(module: ModuleType) -> None:
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("needs a key")

    module.Broken = Broken  # type: ignore[attr-defined]
    assert refused(policies=[{"python": "module_of_a_test:Broken"}]) == "policies.0: policy python: needs a key"


def test_a_condition_that_cannot_be_imported_is_told() -> None:
    message = refused(policies=[{"respond": "x", "when": {"python": "module_that_is_not:x"}}])
    assert message.startswith("policies.0: policy respond: No module named")


def test_what_is_imported_and_is_no_policy_is_told(module: ModuleType) -> None:
    module.number = 5  # type: ignore[attr-defined]
    assert "policies.0: policy python" in refused(policies=[{"python": "module_of_a_test:number"}])


def test_a_condition_that_is_imported_and_cannot_be_called_is_told(module: ModuleType) -> None:
    module.number = 5  # type: ignore[attr-defined]
    message = refused(policies=[{"respond": "x", "when": {"python": "module_of_a_test:number"}}])
    assert message.startswith("policies.0: policy respond: ")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    services = {"s": {"endpoints": ["https://10.0.0.1:1"], "tls": {"ca": str(path)}}}
    assert refused({"path": "/*", "service": "s"}, services=services).startswith("services.s.tls: ")


def test_an_error_page_that_is_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pages" / "404.html"
    path.parent.mkdir()
    path.write_text("x")
    config = validate({"routes": [ROUTE], "errors": {"pages": {"404": str(path)}}})
    shutil.rmtree(path.parent)
    with pytest.raises(BuildError, match=r"404"):
        build_snapshot(config)


def test_a_build_error_comes_out_of_the_gateway_before_anything_is_opened() -> None:
    made = Gateway(listen="127.0.0.1:0", policies=[{"python": "no_such_module_at_all:x"}]).route("/*", respond="x")
    with pytest.raises(BuildError):
        made.snapshot()
