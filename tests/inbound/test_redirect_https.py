"""A listener that only sends to https."""

from __future__ import annotations

import pytest

from propylon.engine.errors import GatewayError
from propylon.http.forwarded import Origin
from propylon.inbound.redirect_https import RedirectHttps
from tests.support.fakes import exchange, snapshot


def location(port: int, fields: bytes, path: bytes = b"/a", query: bytes | None = None) -> str | None:
    x = exchange(method=b"POST", path=path, query=query, fields=fields)
    RedirectHttps(port, ()).admit(x)
    ((hook, name),) = x.snapshot.match(x).pipeline.on_request
    assert name == "redirect_https"
    response = hook(x)
    assert response.status == 308
    return response.headers.get("location")


@pytest.mark.parametrize(
    ("port", "host", "path", "query", "expected"),
    [
        (443, b"a.example", b"/a", None, "https://a.example/a"),
        (443, b"A.example:80", b"/a", b"x=1&y", "https://a.example/a?x=1&y"),
        (8443, b"a.example:8080", b"/", b"", "https://a.example:8443/?"),
        (443, b"[2001:db8::1]:80", b"/%2F", None, "https://[2001:db8::1]/%2F"),
    ],
)
def test_everything_is_sent_to_the_same_place(
    port: int, host: bytes, path: bytes, query: bytes | None, expected: str
) -> None:
    assert location(port, b"host: %b\r\n" % host, path, query) == expected


def test_without_a_host_there_is_no_place() -> None:
    with pytest.raises(GatewayError) as raised:
        location(443, b"")
    assert raised.value.code == "read.bad_host"


def test_the_snapshot_is_made_once_for_all_exchanges_and_anew_for_another() -> None:
    redirect, first, second = RedirectHttps(443, ()), snapshot(), snapshot()
    seen = []
    for made_of in (first, first, second):
        x = exchange(made_of)
        redirect.admit(x)
        seen.append(x.snapshot)
    assert seen[0] is seen[1]
    assert seen[0] is not seen[2]
    assert first.match(exchange(first)).name == "all", "others keep their routes"


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        (b"/.well-known/acme-challenge/abc", True),
        (b"/.well-known/acme-challenge", True),
        (b"/.well-known/acme-challenger", False),
        (b"/.well-known/other", False),
        (b"/health", True),
        (b"/health/", False),
    ],
)
def test_listed_paths_go_to_their_routes(path: bytes, passes: bool) -> None:
    x = exchange(path=path, fields=b"host: a.example\r\n")
    kept = x.snapshot
    RedirectHttps(443, ("/.well-known/acme-challenge/*", "/health")).admit(x)
    assert (x.snapshot is kept) is passes


def test_what_a_trusted_proxy_got_by_https_goes_to_its_route() -> None:
    x = exchange(fields=b"host: a.example\r\n")
    x._origin = Origin(b"192.0.2.1", b"https", b"a.example", b"")
    kept = x.snapshot
    RedirectHttps(443, ()).admit(x)
    assert x.snapshot is kept
