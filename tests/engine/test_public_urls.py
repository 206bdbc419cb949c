"""URLs in responses of services: what names the service is changed to what its client can use, all else is left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon import Gateway, Response
from propylon.config.problems import ConfigError
from propylon.testing import ServiceDown, ServiceRequest, TestClient

TARGET = "http://127.0.0.1:9102"


def of_route(value: str, path: str = "/api/*", **keys: Any) -> str:
    """Return the Location of a route at `path`, by default with `strip: /api`."""
    options = {key: keys.pop(key) for key in ("scheme", "host") if key in keys}
    url, request = keys.pop("target", TARGET), keys.pop("request", "/api/items")
    service, headers = keys.pop("service", {}), keys.pop("headers", {})
    name = keys.pop("name", "location")
    if not {"strip", "rewrite"} & set(keys):
        keys["strip"] = "/api"
    gateway = Gateway(trusted_proxies=["127.0.0.1"] if headers else [])
    gateway.service("items", service.pop("endpoints", [url]), **service)
    gateway.route(path, service="items", **keys)
    client = TestClient(gateway, {"items": Response(307, headers={name: value})}, **options)
    return client.get(request, headers=headers).headers[name]


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ("http://127.0.0.1:9102/items/", "http://gateway.test/api/items/"),
        ("HTTP://127.0.0.1:9102/items/?a=%2f#b", "http://gateway.test/api/items/?a=%2f#b"),
        ("//127.0.0.1:9102/items/", "//gateway.test/api/items/"),
        ("http://127.0.0.1:9102", "http://gateway.test/api"),
        ("http://127.0.0.1:9102?a", "http://gateway.test/api?a"),
        ("http://127.0.0.1:9102/", "http://gateway.test/api/"),
        ("/items/", "/api/items/"),
        ("/", "/api/"),
        ("/items?next=http://127.0.0.1:9102/", "/api/items?next=http://127.0.0.1:9102/"),
        ("https://127.0.0.1:9102/items/", "https://gateway.test/api/items/"),
        # a service that knows its prefix has put it there
        ("http://127.0.0.1:9102/api/items/", "http://gateway.test/api/items/"),
        ("http://127.0.0.1:9102/api", "http://gateway.test/api"),
        ("/api/items/", "/api/items/"),
        ("/apitems", "/api/apitems"),
        # relative to the request, or to another host
        ("items/", "items/"),
        ("../x", "../x"),
        ("?page=2", "?page=2"),
        ("", ""),
        ("http://127.0.0.1/items/", "http://127.0.0.1/items/"),
        ("http://127.0.0.1:91020/items/", "http://127.0.0.1:91020/items/"),
        ("http://user@127.0.0.1:9102/", "http://user@127.0.0.1:9102/"),
        ("http://127.0.0.1:9102@evil.example/", "http://127.0.0.1:9102@evil.example/"),
        ("http://127.0.0.1:9102.evil.example/", "http://127.0.0.1:9102.evil.example/"),
        ("http://127.0.0.1:9102\\.evil.example/", "http://127.0.0.1:9102\\.evil.example/"),
        ("https://idp.example/login", "https://idp.example/login"),
        ("//cdn.example/x", "//cdn.example/x"),
        ("ftp://127.0.0.1:9102/x", "ftp://127.0.0.1:9102/x"),
        ("mailto:a@127.0.0.1:9102", "mailto:a@127.0.0.1:9102"),
        ("http:///x", "http:///x"),
        ("http://[::1/x", "http://[::1/x"),
    ],
)
def test_what_names_the_service_is_changed_and_all_else_is_left(sent: str, location: str) -> None:
    assert of_route(sent) == location


@pytest.mark.parametrize(
    ("name", "sent", "public"),
    [
        ("content-location", "http://127.0.0.1:9102/items/5", "http://gateway.test/api/items/5"),
        ("refresh", "5; url=http://127.0.0.1:9102/x", "5; url=http://gateway.test/api/x"),
        ("refresh", "0;URL='/x'", "0;URL='/api/x'"),
        ("refresh", '1.5, "/x"', '1.5, "/api/x"'),
        ("refresh", "5", "5"),
        ("uri", "<http://127.0.0.1:9102/x>", "<http://gateway.test/api/x>"),
        ("uri", "/x", "/api/x"),
        ("Location", "/x", "/api/x"),
        ("link", "</x>; rel=next", "</x>; rel=next"),
    ],
)
def test_every_field_that_refers_to_a_url_is_read(name: str, sent: str, public: str) -> None:
    assert of_route(sent, name=name) == public


@pytest.mark.parametrize(
    ("sent", "keys", "location"),
    [
        # default ports, and the scheme of the client
        ("http://items.internal:80/x", {"target": "http://items.internal"}, "http://gateway.test/api/x"),
        ("http://items.internal/x", {"target": "http://items.internal:80", "scheme": "https"}, "https://gateway.test/api/x"),
        ("https://items.internal/x", {"target": "https://items.internal:443"}, "http://gateway.test/api/x"),
        ("//items.internal:443/x", {"target": "https://items.internal"}, "//gateway.test/api/x"),
        ("http://ITEMS.internal./x", {"target": "http://items.internal"}, "http://gateway.test/api/x"),
        ("http://127.0.0.1:9102/x", {"host": "shop.example:8443", "scheme": "https"}, "https://shop.example:8443/api/x"),
        # a service that wants https is asked by it, and not at the port of http
        ("https://127.0.0.1:9102/x", {"host": "shop.example:8080"}, "https://shop.example/api/x"),
        # the Host that was sent
        ("http://gateway.test/x", {"service": {"host": "preserve"}, "scheme": "https"}, "https://gateway.test/api/x"),
        ("https://gateway.test/x", {"service": {"host": "preserve"}}, "https://gateway.test/api/x"),
        ("http://items.example/x", {"service": {"host": "items.example"}}, "http://gateway.test/api/x"),
        ("http://gateway.test/x", {}, "http://gateway.test/x"),
        ("http://localhost/x", {"target": "unix:/run/items.sock"}, "http://gateway.test/api/x"),
        # any endpoint of the service
        ("http://b.internal/x", {"service": {"endpoints": ["http://a.internal", "http://b.internal"]}}, "http://gateway.test/api/x"),
        # the base path of the endpoint
        ("http://127.0.0.1:9102/v1/x", {"target": f"{TARGET}/v1"}, "http://gateway.test/api/x"),
        ("/v1/x", {"target": f"{TARGET}/v1"}, "/api/x"),
        ("/v1", {"target": f"{TARGET}/v1"}, "/api"),
        ("/v1x", {"target": f"{TARGET}/v1"}, "/v1x"),
        ("/other", {"target": f"{TARGET}/v1"}, "/other"),
        # without a prefix, and with rewrites
        ("http://127.0.0.1:9102/x", {"strip": None, "rewrite": None}, "http://gateway.test/x"),
        ("/x", {"strip": None, "rewrite": None}, "/x"),
        ("/v1", {"target": f"{TARGET}/v1", "strip": None, "rewrite": None}, "/"),
        ("/v2/x", {"rewrite": {"prefix": "/api", "to": "/v2"}}, "/api/x"),
        ("/v2", {"rewrite": {"prefix": "/api", "to": "/v2/"}}, "/api"),
        ("/x", {"rewrite": {"prefix": "/api", "to": "/v2"}}, "/x"),
        ("/api/x", {"rewrite": {"prefix": "/api", "to": "/v2"}}, "/api/x"),
        ("/v2/x", {"rewrite": {"prefix": "/", "to": "/v2"}}, "/x"),
        ("http://127.0.0.1:9102/v2/x", {"rewrite": "/v2/{*}"}, "http://gateway.test/v2/x"),
    ],
)  # fmt: skip
def test_host_scheme_and_path_are_those_of_the_client(sent: str, keys: dict[str, Any], location: str) -> None:
    assert (
        of_route(sent, **{key: dict(value) if isinstance(value, dict) else value for key, value in keys.items()})
        == location
    )


@pytest.mark.parametrize(
    ("redirects", "sent", "location"),
    [
        ("off", "http://127.0.0.1:9102/items/", "http://127.0.0.1:9102/items/"),
        ("off", "/items/", "/items/"),
        ("default", "/items/", "/api/items/"),
        ({"/login": "/login"}, "/login?next=1", "/login?next=1"),
        ({"/login": "/login"}, "/loginx", "/api/loginx"),
        ({"/login": "/login"}, "/items/", "/api/items/"),
        ({"http://old.example:81/two/": "/one/"}, "http://old.example:81/two/x?a", "/one/x?a"),
        ({"http://old.example": "https://new.example"}, "http://old.example/x", "https://new.example/x"),
        ({"http://old.example": "https://new.example"}, "http://old.example.evil/x", "http://old.example.evil/x"),
        ({"/": "/a/", "/b/": "/c/"}, "/b/x", "/c/x"),
        ({"/": "/a/", "/b/": "/c/"}, "/x", "/a/x"),
    ],
)
@pytest.mark.parametrize("place", ["route", "service"])
def test_the_keys_of_a_route_and_a_service_decide(place: str, redirects: Any, sent: str, location: str) -> None:
    keys = {"redirects": redirects} if place == "route" else {"service": {"redirects": redirects}}
    assert of_route(sent, **keys) == location


def test_the_key_of_a_route_has_precedence() -> None:
    assert of_route("/x", redirects="off", service={"redirects": "default"}) == "/x"
    assert of_route("/x", redirects="default", service={"redirects": "off"}) == "/api/x"


@pytest.mark.parametrize(
    "value", ["on", True, False, {}, {"x": "/"}, {"/": "x"}, {"ftp://a/": "/"}, {"/a b": "/"}, ["/"]]
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="redirects"):
        of_route("/x", redirects=value)


def test_policies_see_the_public_url_and_may_change_it() -> None:
    def on_response(exchange: Any) -> None:
        seen.append(exchange.response.headers["location"])

    class Spy:
        pass

    seen: list[str] = []
    spy: Any = Spy()
    spy.on_response = on_response
    assert of_route("http://127.0.0.1:9102/x", policies=[spy]) == "http://gateway.test/api/x"
    assert seen == ["http://gateway.test/api/x"]


def test_a_path_that_a_policy_has_set_cannot_be_restored() -> None:
    def elsewhere(exchange: Any) -> None:
        exchange.request.path = "/elsewhere"

    assert of_route("http://127.0.0.1:9102/x", policies=[elsewhere]) == "http://gateway.test/x"


def test_a_response_of_the_gateway_is_left() -> None:
    gateway = Gateway()
    gateway.route("/api/*", redirect={"path": "/x"})
    assert TestClient(gateway).get("/api/y").headers["location"] == "/x"


@given(st.from_regex(r"(?:http:|https:)?[/\\@:.]{0,3}(?:127\.0\.0\.1:9102|evil\.example)?[!-~]{0,8}", fullmatch=True))
def test_nothing_leads_to_another_host_than_the_service_meant(sent: str) -> None:
    found = of_route(sent)
    assert found == sent or found.startswith(
        ("http://gateway.test/", "https://gateway.test/", "//gateway.test/", "/api")
    )


# X-Forwarded-Prefix

KEEP = {"double_slashes": "keep"}


def told(request: str = "/api/items", *, trusted: bool = False, given: str | None = None, **keys: Any) -> str | None:
    """Return the X-Forwarded-Prefix that the service gets."""
    gateway = Gateway(trusted_proxies=["127.0.0.1"] if trusted else [], **keys.pop("gateway", {}))
    gateway.route("/*", target=TARGET)
    gateway.route(keys.pop("path", "/api/*"), target=TARGET, **keys)
    sent: list[ServiceRequest] = []

    def service(got: ServiceRequest) -> Response:
        sent.append(got)
        return Response(200)

    headers = {} if given is None else {"X-Forwarded-Prefix": given}
    assert TestClient(gateway, {TARGET: service}).get(request, headers=headers).status == 200
    assert len(sent[0].headers.get_all("x-forwarded-prefix")) <= 1
    return sent[0].headers.get("x-forwarded-prefix")


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ({}, None),
        ({"strip": "/api"}, "/api"),
        ({"strip": "/api/"}, "/api"),
        ({"strip": "/"}, None),
        ({"strip": "/api", "given": "/evil"}, "/api"),
        ({"given": "/evil"}, None),
        ({"given": "/outer", "trusted": True}, "/outer"),
        ({"strip": "/api", "given": "/outer/", "trusted": True}, "/outer/api"),
        ({"strip": "/api", "given": "/a, /b", "trusted": True}, "/a/b/api"),
        ({"strip": "/api", "given": "/a/../b", "trusted": True}, "/api"),
        ({"strip": "/api", "given": "evil", "trusted": True}, "/api"),
        ({"strip": "/api", "given": "//evil.example", "trusted": True}, "/evil.example/api"),
        ({"strip": "/api", "trusted": True}, "/api"),
        ({"rewrite": {"prefix": "/api", "to": "/"}}, "/api"),
        ({"path": "/a/b/*", "strip": "/a/b", "request": "/a//b//c", "path_rules": KEEP}, "/a/b"),
        ({"path": "/a/b/*", "strip": "/a/b", "request": "/a//b", "path_rules": KEEP}, "/a/b"),
        ({"rewrite": {"prefix": "/api", "to": "/v2"}}, None),
        ({"strip": "/api", "gateway": {"forwarded": {"x_forwarded": False}}}, None),
        ({"strip": "/api", "policies": [{"headers": {"request": {"set": {"x-forwarded-prefix": "/own"}}}}]}, "/own"),
        ({"strip": "/api", "policies": [{"headers": {"request": {"set": {"x-a": "1"}}}}]}, "/api"),
    ],
)
def test_a_service_is_told_the_prefix_that_was_stripped(keys: dict[str, Any], prefix: str | None) -> None:
    assert told(**keys) == prefix


def test_a_prefix_that_a_trusted_proxy_has_stripped_is_put_back_too() -> None:
    headers = {"x-forwarded-prefix": "/outer", "x-forwarded-host": "shop.example", "x-forwarded-proto": "https"}
    assert of_route("http://127.0.0.1:9102/x", headers=headers) == "https://shop.example/outer/api/x"
    assert of_route("/x", headers=headers) == "/outer/api/x"
    assert of_route("/api/x", headers=headers) == "/outer/api/x"
    assert of_route("/outer/api/x", headers=headers) == "/outer/api/x"


def test_every_service_of_a_split_and_of_a_fallback_is_known() -> None:
    gateway = Gateway()
    gateway.service("new", ["http://new.internal"])
    gateway.service("old", ["http://old.internal"], redirects="off")
    gateway.service("spare", ["http://spare.internal"])
    choose = {"header": "x-service"}
    gateway.route("/api/*", split={"services": {"new": 1, "old": 1}, "choose": choose}, strip="/api")
    gateway.route("/down/*", service="new", strip="/down", fallback={"service": "spare"}, retry=1)

    def redirect(request: ServiceRequest) -> Response:
        if request.headers.get("x-down"):
            raise ServiceDown("connect.refused")
        return Response(307, headers={"location": f"http://{request.headers['host']}/x"})

    client = TestClient(gateway, {"new": redirect, "old": redirect, "spare": Response(307, headers={"location": "/x"})})
    assert client.get("/api/y", headers={"x-service": "new"}).headers["location"] == "http://gateway.test/api/x"
    assert client.get("/api/y", headers={"x-service": "old"}).headers["location"] == "http://old.internal/x"
    assert client.get("/down/y", headers={"x-down": "1"}).headers["location"] == "/down/x"
