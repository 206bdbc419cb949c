"""`propylon check`."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.tls import Certificates


def test_a_good_file_is_ok(run: Any) -> None:
    result = run("check", "good.yaml")
    assert (result.exit_code, result.output) == (0, "good.yaml: ok (4 routes, 2 services)\n")


def test_one_route_is_not_many(run: Any, folder: Path) -> None:
    (folder / "one.yaml").write_text("routes: [{path: /a, target: 'http://127.0.0.1:1'}]")
    assert run("check", "one.yaml").output == "one.yaml: ok (1 route, 1 service)\n"


def test_every_problem_is_shown(run: Any) -> None:
    result = run("check", "bad.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "bad.yaml:3:14: routes.0.service: unknown service 'usrs', define it under 'services'",
        "bad.yaml:4:5: routes.0.wieght: unknown key 'wieght'",
        "2 problems",
    ]


def test_problems_have_a_form_for_json(run: Any) -> None:
    result = run("check", "bad.yaml", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["target"]) == (1, False, "bad.yaml")
    assert found["problems"][1] == {
        "file": "bad.yaml",
        "line": 4,
        "column": 5,
        "path": "routes.0.wieght",
        "message": "unknown key 'wieght'",
        "hint": None,
        "severity": "error",
    }


def test_a_good_file_has_a_form_for_json(run: Any) -> None:
    found = json.loads(run("check", "good.yaml", "--json").stdout)
    assert found == {
        "target": "good.yaml",
        "ok": True,
        "problems": [],
        "warnings": [],
        "listeners": [
            {"address": "127.0.0.1:0", "name": None, "redirect_https": None, "not_redirected": [], "tls": None}
        ],
        "routes": 4,
        "services": 2,
        "splits": [],
        "tests": 0,
    }


def test_the_tls_of_listeners_is_told(run: Any, folder: Path, certificates: Certificates) -> None:
    asked = {"ca": certificates.path("ca"), "mode": "optional"}
    tls = certificates.tls("b", "past", min_version=1.3, client_certificates=asked)
    tls["certificates"][1] = certificates.pair("c")
    listen = [{"address": ":8443", "tls": tls}, {"address": ":8080", "redirect_https": True}, "127.0.0.1:8081"]
    (folder / "tls.yaml").write_text(yaml.safe_dump({"listen": listen, "routes": [], "services_json": False}))
    told = run("check", "tls.yaml").stdout.splitlines()
    assert told[1] == "  :8443: TLS 1.3 and newer, client certificates optional"
    assert told[2].startswith("    ECDSA certificate for b.test, *.wild.test, until 20")
    assert told[3].startswith("    ECDSA certificate for deep.wild.test, until 20")
    assert told[4:] == ["  :8080: redirects to https, port 443, but for /.well-known/acme-challenge/*"]
    found = json.loads(run("check", "tls.yaml", "--json").stdout)["listeners"]
    assert found[0]["tls"]["certificates"][0]["names"] == ["b.test", "*.wild.test"]
    assert [each["redirect_https"] for each in found] == [None, 443, None]


def test_an_expired_certificate_is_warned_of(run: Any, folder: Path, certificates: Certificates) -> None:
    listen = {"address": ":8443", "tls": certificates.pair("past")}
    (folder / "tls.yaml").write_text(yaml.safe_dump({"listen": listen, "routes": [], "services_json": False}))
    result = run("check", "tls.yaml", "--strict")
    assert result.exit_code == 1
    assert "tls.yaml:3:3: warning: listen.tls: certificate" in result.stderr
    assert "has expired on 2021-01-01" in result.stderr


TWICE = "routes:\n  - {path: '/o/{id}', respond: a}\n  - {path: '/o/{name}', respond: b}\n"


def test_warnings_are_shown_and_only_strict_fails(run: Any, folder: Path) -> None:
    (folder / "twice.yaml").write_text(TWICE)
    result = run("check", "twice.yaml")
    assert (result.exit_code, result.stdout) == (0, "twice.yaml: ok (2 routes, 0 services, 1 warning)\n")
    assert result.stderr == (
        "twice.yaml:3:5: warning: routes.1: can never match: routes.0 (line 2) takes all of its requests, names of "
        "parameters do not distinguish paths: remove one, or give them conditions that differ\n"
    )
    assert run("check", "twice.yaml", "--strict").exit_code == 1
    assert run("check", "good.yaml", "--strict").exit_code == 0
    assert "routes.1: can never match" in run("routes", "twice.yaml").stderr


def test_warnings_have_a_form_for_json(run: Any, folder: Path) -> None:
    (folder / "twice.yaml").write_text(TWICE)
    found = json.loads(run("check", "twice.yaml", "--json").stdout)
    assert (found["ok"], found["problems"]) == (True, [])
    assert [(each["severity"], each["line"], each["path"]) for each in found["warnings"]] == [
        ("warning", 3, "routes.1")
    ]
    strict = run("check", "twice.yaml", "--json", "--strict")
    assert (strict.exit_code, json.loads(strict.stdout)["ok"]) == (1, False)


def test_a_module_that_a_policy_needs_is_missed(run: Any, folder: Path) -> None:
    (folder / "p.yaml").write_text("policies: [{python: 'no_such_module:f'}]")
    result = run("check", "p.yaml")
    assert result.exit_code == 1
    assert "no_such_module" in result.stderr


def test_the_schema_is_printed_without_a_file(run: Any) -> None:
    result = run("check", "--schema")
    assert result.exit_code == 0
    assert "routes" in json.loads(result.stdout)["properties"]


def test_a_check_in_a_process(spawn: Any) -> None:
    result = spawn("check", "bad.yaml")
    assert result.returncode == 1
    assert result.stderr.endswith("2 problems\n")
    assert spawn("check", "good.yaml").stdout == "good.yaml: ok (4 routes, 2 services)\n"
