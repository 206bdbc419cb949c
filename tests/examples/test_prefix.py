"""The example of a FastAPI service below a prefix: its Swagger UI, links and redirects work through the gateway."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.client import RawClient, request_bytes
from tests.support.example import example


@pytest.mark.parametrize("root_path", ["", "/api"], ids=["X-Forwarded-Prefix", "root path"])
async def test_everything_that_a_browser_follows_leads_through_the_gateway(root_path: str) -> None:
    async with example("prefix", ROOT_PATH=root_path) as prefix, RawClient(prefix.port) as client:
        host = prefix.address.encode()

        async def get(target: str) -> bytes:
            reply = await client.ask(request_bytes(target.encode(), host=host))
            assert reply.status == 200, (target, reply.status, bytes(reply.body))
            return bytes(reply.body)

        page = (await get("/api/docs")).decode()
        description = re.search(r"url: '([^']+)'", page)
        assert description is not None
        assert description[1] == "/api/openapi.json"
        document = json.loads(await get(description[1]))
        assert document["servers"] == [{"url": "/api"}]
        first = json.loads(await get(document["servers"][0]["url"] + "/items/"))["first"]
        assert json.loads(await get(first)) == {"number": 1}
        redirect = await client.ask(request_bytes(b"/api/items?a=%2f", host=host))
        assert (redirect.status, redirect.header("location")) == (307, f"http://{prefix.address}/api/items/?a=%2f")
