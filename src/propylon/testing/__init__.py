"""A test client for policy authors: the whole gateway, no socket.

    from propylon import Gateway, Response
    from propylon.testing import ServiceDown, TestClient

    def users(request):
        return Response(200, json={"path": request.path})

    def test_users_need_a_key():
        client = TestClient(gateway, {"users": users})
        assert client.get("/users/7").status == 401
        answer = client.get("/users/7", headers={"x-api-key": "s3cret"})
        assert answer.json() == {"path": "/7"}
        assert answer.sent[0].headers["x-request-id"] == answer.headers["x-request-id"]

    def test_a_service_that_is_down_is_a_503():
        assert TestClient(gateway, {"users": ServiceDown("connect.refused")}).get("/users/7").status == 503

Everything between the two ends is the production code: request parsing, routing, policies (`def` and `async def`),
rewrites, forwarding fields, timeouts, error pages. HTTP framing is not covered: limits on the size of a head,
pipelining and keep-alive belong to the listener.

Services are named by an endpoint's URL, a `target:` URL, or a service's name. A service is replaced by a `Response`, a
`ServiceDown`, or a handler (`def` or `async def`) from a `ServiceRequest` to either; a service that is not named
echoes the request as JSON. Any other exception of a handler, as of a failed `assert`, is raised by the request, so
that it fails the test. Inside a running event loop, use `await client.request_async("GET", "/users/7")`.

Rules of this package: the two classes in place of connections, in `client_side.py` and `service_side.py`, implement
`Client` and `Upstream` of `engine/sides.py`; nothing of the engine is replaced. Each test client compiles its own
snapshot, so the tested gateway can run at the same time.
"""

from propylon.testing.client import TestClient
from propylon.testing.messages import Answer, Handler, RequestOptions, ServiceDown, ServiceRequest, StreamedResponse

__all__ = ["Answer", "Handler", "RequestOptions", "ServiceDown", "ServiceRequest", "StreamedResponse", "TestClient"]
