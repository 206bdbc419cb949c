"""The JSON Schema that editors use."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from propylon.config.json_schema import json_schema
from propylon.config.model_schema import model_schema
from propylon.config.problems import ConfigError
from tests.support.config import load_text, written


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*(references(each) for each in value.values()))
    return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    schema = json_schema()
    assert {name.removeprefix("#/$defs/") for name in references(schema)} <= set(schema["$defs"])


def test_every_key_is_described() -> None:
    schema = json_schema()
    models = [schema, *(part for name, part in schema["$defs"].items() if "." not in name and name != "PolicyEntry")]
    parts = [(key, part) for model in models for key, part in model.get("properties", {}).items()]
    # A key whose description is that of its model has it there.
    assert [key for key, part in parts if "description" not in part and "$ref" not in part] == []
    assert [
        name
        for name, part in schema["$defs"].items()
        if "." not in name and "anyOf" not in part and "description" not in part
    ] == []


def test_policies_have_the_keys_of_their_settings() -> None:
    definitions = model_schema()["$defs"]
    names, named = definitions["PolicyEntry"]["anyOf"]
    assert "colour" in names["enum"]
    assert named["properties"]["colour"] == {"anyOf": [{"$ref": "#/$defs/policy.colour"}, {"type": "null"}]}
    assert definitions["policy.colour"]["properties"]["shade"]["enum"] == ["light", "dark"]
    assert definitions["policy.colour"]["description"] == "Colours."
    assert "when" in named["properties"]
    assert {"required": ["colour"]} in named["oneOf"]


def test_balancing_algorithms_have_the_keys_of_their_settings() -> None:
    definitions = model_schema()["$defs"]
    names, named = definitions["BalanceEntry"]["anyOf"]
    assert {"p2c", "consistent_hash"} <= set(names["enum"]) == set(named["properties"])
    assert definitions["balancer.least_requests"]["properties"]["choices"]["maximum"] == 16
    assert definitions["balancer.random"]["description"] == "Weighted random choice."
    assert {"type": ["string"]} in definitions["balancer.python"]["anyOf"]
    assert len(named["oneOf"]) == len(names["enum"])


def test_unknown_keys_are_wrong_in_the_schema_too() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["RouteConfig"]["additionalProperties"] is False


def test_short_forms_are_allowed() -> None:
    schema = json_schema()
    assert any(each.get("type") == "string" for each in schema["properties"]["listen"]["anyOf"])
    one, several, *_ = schema["$defs"]["ServiceConfig"]["properties"]["endpoints"]["anyOf"]
    assert one["type"] == "string"
    assert one in several["items"]["anyOf"]


# What both accept, or both refuse


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_and_schema(validator: Draft202012Validator, text: str, base_dir: Path) -> tuple[bool, bool]:
    try:
        load_text(text, base_dir=base_dir, environment={})
    except ConfigError:
        accepted = False
    else:
        accepted = True
    return accepted, validator.is_valid(written(text))


GOOD = [
    "limits: {connections: none}\nlisten: ${LISTEN:-:80}",
    "limits:\n  header_count: ${MAX:-100}\n  request_line: ${LINE:-8KiB}",
    "log:\n  level: ${LEVEL:-info}",
    "forwarded:\n  via: ${VIA:-true}",
    "services_json: /list.json",
    "policies: [{timeout: 5s}, hsts, {hsts: }, {body_limit: 1 MB}, {respond: {status: 204}, when: {methods: GET}}]",
    "policies: [{headers: {request: {set: {a: {from_file: token}}}}}]",
    "policies:\n  - timeout:\n      response: ${T:-1s}",
    "timeouts: {header: 1.5s, body: none, write: 0, linger: 250ms, drain: 10, keep_alive: ' 1 m '}",
    "services: {a: {endpoints: [http://a, {url: 'unix:/a', weight: 0}], panic: 20%, balance: {least_requests: }}}",
    "services: {a: {endpoints: http://a, retry: {statuses: [5xx, 503, 500-504]}, health: {path: /, statuses: 2xx}}}",
    "services: {a: {discover: {file: endpoints.yaml, x-why: tests}}}",
    "trusted_proxies: [10.0.0.0/8, '::1', unix]\nroutes: [{path: /a, respond: x, clients: 10.1.2.3}]",
    "listen: [':80', '[::1]:80', 'unix:/p.sock', {address: ':81', redirect_https: 8443}]",
    "listen: {address: ':443', tls: {certificate: cert.pem, min_version: 1.3}}",
    "x-any: {nope: 1}\nroutes: [{path: /a, respond: {json: {a: [1]}, x-note: a}, x-b: 1}]",
    "include: conf.d/*.yaml",
    "tests: [{request: GET /, answer: down, expect: {status: 404, headers: {a: '*', b: {regex: x+}}}}]",
    "dns: {servers: '127.0.0.1:53', min_ttl: 1m}",
]
BAD = [
    "timeouts: {header: 5 sec}",
    "timeouts: {header: -1}",
    "timeouts: {header: 1h30m}",
    "timeouts: {header: 5S}",
    "dns: {min_ttl: none}",
    "limits: {request_line: 8 kilobytes}",
    "limits: {request_line: -1}",
    "limits: {header_count: '7'}",
    "limits: {header_count: 0}",
    "policies: [{timeout: soon}]",
    "policies: [{body_limit: 10 apples}]",
    "policies: [{hsts: {}, timeout: 1s}]",
    "policies: [{when: {methods: GET}}]",
    "services: {a: {endpoints: http://a, panic: 20}}",
    "services: {a: {endpoints: http://a, panic: 101%}}",
    "services: {a: {endpoints: ftp://a}}",
    "services: {a: {endpoints: http://a, retry: {statuses: [600]}}}",
    "services: {a: {endpoints: http://a, health: {path: /, statuses: 6xx}}}",
    "services: {a: {endpoints: http://a, balance: {p2c: , random: }}}",
    "trusted_proxies: everyone",
    "listen: localhost",
    "routes: [{path: a, respond: x}]",
    "routes: [{path: /a, respond: x, methods: get}]",
    "log: {level: '${}'}",
    "nope: 1",
]


@pytest.mark.parametrize("text", GOOD)
def test_the_schema_accepts_what_check_accepts(validator: Draft202012Validator, text: str, tmp_path: Path) -> None:
    for file in ("token", "cert.pem"):
        (tmp_path / file).write_text("x")
    assert check_and_schema(validator, text, tmp_path) == (True, True), list(validator.iter_errors(written(text)))


@pytest.mark.parametrize("text", BAD)
def test_the_schema_refuses_what_check_refuses(validator: Draft202012Validator, text: str, tmp_path: Path) -> None:
    assert check_and_schema(validator, text, tmp_path) == (False, False)
