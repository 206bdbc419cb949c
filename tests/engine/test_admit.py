"""OPTIONS for the gateway itself."""

from __future__ import annotations

import pytest

from propylon.engine.admit import answer_options
from propylon.engine.errors import GatewayError
from tests.support.fakes import exchange


def options(path: bytes = b"/x", hops: bytes | None = None) -> object:
    fields = b"host: a\r\n" + (b"" if hops is None else b"max-forwards: %b\r\n" % hops)
    x = exchange(method=b"OPTIONS", path=path, fields=fields)
    response = answer_options(x)
    return response.status if response is not None else x.request.headers.get("max-forwards")


def test_rfc9110_9_3_7_the_server_as_such_is_the_gateway() -> None:
    x = exchange(method=b"OPTIONS", path=b"*")
    response = answer_options(x)
    assert response is not None
    assert response.status == 204
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(("hops", "result"), [(None, None), (b"0", 204), (b"000", 204), (b"1", "0"), (b"10", "9")])
def test_rfc9110_7_6_2_hops_are_counted_down_and_end_here(hops: bytes | None, result: object) -> None:
    assert options(hops=hops) == result


@pytest.mark.parametrize("hops", [b"", b"-1", b"+1", b"1.0", b"x", b"1, 2", b"\xb2", b"9" * 10, b"9" * 5000])
def test_rfc9110_7_6_2_what_is_no_number_is_refused(hops: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        options(hops=hops)
    assert caught.value.code == "read.bad_field"
