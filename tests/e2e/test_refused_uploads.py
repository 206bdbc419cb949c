"""Uploads that a service refuses unread, and closes: the client gets the answer, and the endpoint is not at fault.

Without reading what came before the reset, about half of the answers to 10 MB are lost.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from propylon import Gateway
from tests.conftest import BOTH_LOOPS
from tests.support.front import Fronts, service_of
from tests.support.refusing import RefusingService, upload
from tests.support.tls import Certificates

BODY = b"who are you?" * 100
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n"
RESPONSES = {
    "length": REFUSED + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunked": REFUSED + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "until close": b"HTTP/1.0 401 Unauthorized\r\n\r\n" + BODY,
}
TIMES = 15
STRICT: dict[str, Any] = {
    "breaker": {"consecutive": 1},
    "health": {"passive": {"consecutive": 1, "max_ejected": "100%"}},
}


async def uploads(gateway: Gateway, size: int, *, chunked: bool = False, method: str = "POST") -> None:
    for _ in range(TIMES if size < 50_000_000 else 2):
        received = await asyncio.to_thread(upload, gateway.port, size, chunked=chunked, method=method)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert body.endswith(b"\r\n0\r\n\r\n") if b"chunked" in head else body == BODY
        assert BODY in body
    endpoint = service_of(gateway, "s").endpoints[0]
    assert endpoint.breaker is not None
    assert (endpoint.breaker.state, endpoint.vitals.ejection.times) == ("closed", 0)


@BOTH_LOOPS
@pytest.mark.parametrize("size", [200_000, 1_000_000, 10_000_000, 100_000_000])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_9112_9_5_the_answer_to_an_upload_that_is_not_read_is_passed_on(
    front: Fronts, certificates: Certificates, size: int, secure: bool
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.path("a"), certificates.path("a").replace(".pem", ".key"))
    with RefusingService(RESPONSES["length"], tls if secure else None) as service:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("s", [service.url], **STRICT, **({"tls": {"ca": certificates.path("ca")}} if secure else {}))
        gateway.route("/*", service="s")
        await uploads(await front.start(gateway), size)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_every_framing_of_both_messages(front: Fronts, response: str, chunked: bool) -> None:
    with RefusingService(RESPONSES[response]) as service:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        gateway.service("s", [service.url], **STRICT)
        gateway.route("/*", service="s")
        await uploads(await front.start(gateway), 4_000_000, chunked=chunked)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_with_retries_and_hedges_the_answer_is_the_first_ones(front: Fronts, method: str) -> None:
    with RefusingService(RESPONSES["length"]) as service, RefusingService(RESPONSES["length"]) as other:
        gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
        retry = {"attempts": 3, "on": ["connect", "reset"], "body_buffer": "16MiB"}
        gateway.service("s", [service.url, other.url], **STRICT, retry=retry, hedge="1ms")
        gateway.route("/*", service="s")
        await uploads(await front.start(gateway), 3_000_000, method=method)
