"""Fields that tell a service about the client: from whom they are taken, asked of a gateway for every one known."""

from __future__ import annotations

import pytest

from propylon import Exchange, Gateway, Response
from tests.support.client import request_bytes
from tests.support.front import Fronts

# Written down from the manuals of proxies, clouds and frameworks, and not from the gateway's own table.
CLAIMS = b"""
X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Preferred-Username X-Forwarded-Access-Token
X-Forwarded-Roles X-Forwarded-Client-Cert X-Forwarded-Tls-Client-Cert X-Forwarded-Tls-Client-Cert-Info X-Forwarded-By
X-Forwarded-Protocol X-Forwarded-Scheme X-Forwarded-Server X-Forwarded-Ssl X-Forwarded-Path
X-Forwarded-Uri X-Forwarded-Method X-Forwarded-Whatever X-Forwarded X-Forwarded-Host-Override Forwarded-For
CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 CF-Visitor CF-Access-Authenticated-User-Email True-Client-IP
Fastly-Client-IP Fastly-SSL Fly-Client-IP Fly-Forwarded-Proto Fly-Forwarded-Port Fly-Forwarded-Ssl X-Azure-ClientIP
X-Azure-SocketIP X-ARR-SSL X-ARR-ClientCert CloudFront-Forwarded-Proto CloudFront-Viewer-Address DO-Connecting-IP
X-NF-Client-Connection-IP X-Vercel-Forwarded-For Ali-CDN-Real-IP CDN-Src-IP X-Sucuri-ClientIP Incap-Client-IP
X-Appengine-User-IP X-Appengine-User-Email X-Appengine-Https X-Envoy-External-Address X-Envoy-Internal
X-Envoy-Original-Path X-Original-Forwarded-For WL-Proxy-Client-IP WL-Proxy-SSL WL-Proxy-Client-Cert Proxy-Client-IP
X-Real-IP X-Real-Port X-Client-IP X-Cluster-Client-IP X-Remote-IP X-Remote-Addr Remote-Addr Client-IP HTTP-Client-IP
X-Originating-IP X-ProxyUser-Ip X-Scheme X-Url-Scheme X-Original-Proto Front-End-Https X-Host X-Original-Host
X-Script-Name Script-Name Remote-User Remote-Groups Remote-Name Remote-Email X-Remote-User X-Remote-Group
X-Remote-Extra-Scopes X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups X-Authentik-Username
X-WebAuth-User X-Amzn-Oidc-Identity X-Amzn-Oidc-Data X-Amzn-Mtls-Clientcert X-Goog-Authenticated-User-Email
X-Goog-IAP-JWT-Assertion X-MS-Client-Principal X-MS-Client-Principal-Name X-MS-Token-AAD-Id-Token X-Consumer-ID
X-Consumer-Username X-Consumer-Custom-ID X-Credential-Identifier X-Anonymous-Consumer X-Authenticated-Userid
X-Userinfo X-Vouch-User X-Pomerium-JWT-Assertion Tailscale-User-Login Client-Cert Client-Cert-Chain SSL-Client-Cert
SSL-Client-Verify SSL-Client-S-DN X-SSL-Client-Cert X-SSL-Client-DN X-SSL-Client-Verify X-Client-Cert X-Client-Verify
""".split()

FOR_NOBODY = b"""
X-Original-URL X-Rewrite-URL X-Original-URI X-Original-Method X-HTTP-Method X-HTTP-Method-Override X-Method-Override
X-HTTP-Host-Override X-Client-Cert-Subject X-Client-Cert-San X-Client-Cert-Serial X-Client-Cert-Fingerprint
X-Client-Cert-Verify X-Forwarded-Prefix Proxy
""".split()

EVERY = CLAIMS + FOR_NOBODY


def lines(names: list[bytes]) -> list[bytes]:
    return [b"%b: forged" % name for name in names]


def alias(name: bytes) -> bytes:
    return name.replace(b"-", b"_", 1)


def told(raw: list[tuple[bytes, bytes]]) -> list[str]:
    """The names of the fields whose value is the client's."""
    return [name.lower().decode() for name, value in raw if value == b"forged"]


@pytest.mark.parametrize("spelled", [bytes, bytes.upper, alias], ids=["as is", "in capitals", "with an underscore"])
async def test_an_untrusted_client_cannot_make_a_claim(front: Fronts, spelled: object) -> None:
    assert callable(spelled)
    f = await front(limits={"header_count": 500}, field_names={"underscores": "keep"})
    client = await f.client()
    reply = await client.ask(request_bytes(b"/", *lines([spelled(name) for name in EVERY]), b"X-Mine: forged"))
    assert reply.status == 200
    assert told(f.upstream.requests[0].headers) == ["x-mine"]


@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]], ids=["untrusted", "trusted"])
async def test_trailers_make_no_claim(front: Fronts, trusted: list[str]) -> None:
    f = await front(trusted_proxies=trusted, field_names={"underscores": "keep"})
    names = [*CLAIMS[:10], *map(alias, CLAIMS[:10]), *FOR_NOBODY[:5]]
    client = await f.client()
    head = request_bytes(b"/", b"transfer-encoding: chunked", b"te: trailers", method=b"POST")
    await client.send(head + b"1\r\nx\r\n")
    await f.upstream.until(lambda: b"1\r\nx" in f.upstream.received, "the body under way")
    await client.send(b"0\r\n" + b"".join(b"%b\r\n" % line for line in lines(names)) + b"\r\n")
    assert (await client.reply("POST")).status == 200
    assert f.upstream.received.endswith(b"1\r\nx\r\n0\r\n\r\n")


async def test_the_claims_of_a_trusted_proxy_are_kept(front: Fronts) -> None:
    f = await front(
        limits={"header_count": 500}, trusted_proxies=["127.0.0.1"], forwarded={"claims": ["X-User-Id", "x-acme-*"]}
    )
    client = await f.client()
    further = [b"X-User-Id", b"X-Acme-Role"]
    await client.ask(request_bytes(b"/", *lines(EVERY + further), b"x-forwarded-for: 192.0.2.9"))
    (request,) = f.upstream.requests
    kept = [name for name in CLAIMS + further if name != b"X-Forwarded-Prefix"]  # it is checked, and written anew
    assert sorted(told(request.headers)) == sorted(name.lower().decode() for name in kept)
    assert request.header("x-forwarded-for") == "192.0.2.9, 127.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "keys", "sent", "prefixes"),
    [
        (True, {}, [b"/shop"], ["/shop"]),
        (True, {"strip": "/a"}, [b"/shop"], ["/shop/a"]),
        (True, {"strip": "/a"}, [b"/outer", b"/shop"], ["/outer/shop/a"]),
        (True, {"strip": "/a"}, [], ["/a"]),
        (False, {"strip": "/a"}, [b"/evil"], ["/a"]),
        (False, {}, [b"/evil"], []),
    ],
)
async def test_a_service_is_told_of_one_prefix(
    front: Fronts, trusted: bool, keys: dict[str, str], sent: list[bytes], prefixes: list[str]
) -> None:
    f = await front(trusted_proxies=["127.0.0.1"] if trusted else [], route={"path": "/a/*", **keys})
    client = await f.client()
    await client.ask(request_bytes(b"/a/b", *(b"X-Forwarded-Prefix: %b" % each for each in sent)))
    (request,) = f.upstream.requests
    assert [value.decode() for name, value in request.headers if name.lower() == b"x-forwarded-prefix"] == prefixes


async def test_claims_of_the_configuration_are_removed_like_the_known_ones(front: Fronts) -> None:
    f = await front(forwarded={"claims": ["X-User-Id", "x-acme-*"]})
    client = await f.client()
    await client.ask(request_bytes(b"/", *lines([b"x-user-id", b"X-Acme-Role", b"x-acm"])))
    assert told(f.upstream.requests[0].headers) == ["x-acm"]


@pytest.mark.parametrize(("trusted", "seen"), [([], None), (["127.0.0.1"], "ada")], ids=["untrusted", "trusted"])
async def test_a_policy_sees_what_the_service_would_get(front: Fronts, trusted: list[str], seen: str | None) -> None:
    found = []

    def look(x: Exchange) -> Response:
        found.append((x.request.headers.get("x-forwarded-user"), x.header(b"x-forwarded-user")))
        return Response(204)

    gateway = Gateway(listen="127.0.0.1:0", trusted_proxies=trusted).route("/*", respond="x", policies=[look])
    client = await front.client(await front.start(gateway))
    await client.ask(request_bytes(b"/", b"X-Forwarded-User: ada"))
    assert found == [(seen, None if seen is None else seen.encode())]


async def test_a_policy_may_take_a_claim_away(front: Fronts) -> None:
    def forget(x: Exchange) -> None:
        x.request.headers.remove("x-forwarded-user")

    f = await front(trusted_proxies=["127.0.0.1"], route={"policies": [forget]})
    client = await f.client()
    await client.ask(request_bytes(b"/", b"X-Forwarded-User: ada", b"X-Forwarded-Email: a@a.example"))
    (request,) = f.upstream.requests
    assert request.header("x-forwarded-user") is None
    assert request.header("x-forwarded-email") == "a@a.example"
