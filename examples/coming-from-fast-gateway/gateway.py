"""What a configuration of fast-gateway looks like in Propylon; docs/coming-from/fast-gateway.md goes through it.

To try it, in this folder:

    python3 remote.py &
    ../../.venv/bin/propylon run gateway:gateway &
    curl -i http://127.0.0.1:8080/users/info
    curl -i -H 'x-key: s3cret' http://127.0.0.1:8080/private/a
    curl -i http://127.0.0.1:8080/services.json
"""

import asyncio
import json
import os
from typing import Any
from urllib.request import urlopen

from propylon import Exchange, Gateway, GatewayError, Response


class Cors:
    """middlewares: [cors()]"""

    def on_request(self, exchange: Exchange) -> Response | None:
        """Answer preflights."""
        return Response(204) if exchange.request.method == "OPTIONS" else None

    def on_response(self, exchange: Exchange) -> None:
        """Allow everybody."""
        if exchange.response is not None:
            exchange.response.headers.set("access-control-allow-origin", "*")


def require_key(exchange: Exchange) -> Response | None:
    """hooks: {onRequest (req, res) { if (!allowed) { res.send(401); return true } }}"""
    return None if exchange.request.headers.get("x-key") == "s3cret" else Response(401, json={"error": "no key"})


def set_query(exchange: Exchange) -> None:
    """hooks: {onRequest (req) { req.query.name = 'gateway' }}"""
    exchange.request.query = "name=gateway"


class PostProcessed:
    """hooks: {rewriteHeaders (headers) { return Object.assign({'post-processed': true}, headers) }}"""

    def on_response(self, exchange: Exchange) -> None:
        """Mark what passed."""
        if exchange.response is not None:
            exchange.response.headers.set("post-processed", "true")


class Transform:
    """hooks: {onResponse (req, res, stream) { collect it, change the JSON, res.send }}"""

    async def on_response(self, exchange: Exchange) -> None:
        """Add to the JSON."""
        response = exchange.response
        if response is not None and response.status == 200 and (content := await response.body()):
            response.replace_body(json.dumps({**json.loads(content), "transformed": True}))


class ById:
    """proxyHandler (req, res, url, proxy, opts) { opts.base = targets[hash(req)]; proxy(req, res, url, opts) }"""

    def __init__(self, *targets: str) -> None:
        self.targets = targets

    def on_request(self, exchange: Exchange) -> None:
        """Send the same id to the same endpoint."""
        exchange.choose(self.targets[int(exchange.params["id"]) % len(self.targets)])


class Sorry:
    """hooks: {onError (err, req, res) { … }}; here it sees failures of services too."""

    def on_error(self, exchange: Exchange, error: GatewayError) -> Response | None:
        """Answer for a service that is down."""
        return Response(503, json={"fallback": True}) if error.code.startswith("connect.") else None


class Aggregate:
    """hooks: {onRequest: async (req, res) => { res.send(await both()); return true }}"""

    def __init__(self, *urls: str) -> None:
        self.urls = urls

    async def on_request(self, exchange: Exchange) -> Response:
        """Answer with what two requests gave."""
        return Response(json=await asyncio.gather(*(asyncio.to_thread(self._get, url) for url in self.urls)))

    def _get(self, url: str) -> Any:
        with urlopen(url, timeout=5) as answer:
            return json.load(answer)


def build(target: str, other: str) -> Gateway:
    """gateway({middlewares, timeout, routes})"""
    gateway = Gateway(
        listen=os.environ.get("LISTEN", "127.0.0.1:8080"),
        policies=[Cors(), {"timeout": "500ms"}],  # middlewares, timeout: 500
    )
    gateway.service("both", [target, other])

    # {prefix: '/users', target, docs}
    gateway.route("/users/*", target=target, strip="/users", docs={"name": "Users", "endpoint": "/docs"})
    # {prefix: '/private', target, hooks: {onRequest}}
    gateway.route("/private/*", target=target, strip="/private", policies=[require_key])
    # {prefix: '/old', prefixRewrite: '/new', target}
    gateway.route("/old/*", target=target, rewrite={"prefix": "/old", "to": "/new"})
    # {pathRegex: '', prefix: '/exact', prefixRewrite: '/exact', target, methods: ['GET', 'POST']}
    gateway.route("/exact", target=target, methods=["GET", "POST"])
    # {prefix: new RegExp('/regex/.*'), urlRewrite: () => '/info', target}
    gateway.route(path_regex="/regex/.*", target=target, rewrite="/info")
    # {pathRegex: '', prefix: '/customers/:id', urlRewrite: ({params: {id}}) => `/people/${id}`, target}
    gateway.route("/customers/{id}", target=target, rewrite="/people/{id}")
    # {prefix: '/qs', hooks: {onRequest}} and {prefix: '/qs2', hooks: {queryString: {name: 'qs2'}}}
    gateway.route("/qs", target=target, policies=[set_query])
    gateway.route("/qs2", target=target, rewrite="/qs", query_edit={"set": {"name": "qs2"}})
    # {prefix: '/marked', hooks: {rewriteHeaders}} and {prefix: '/transformed', hooks: {onResponse}}
    gateway.route("/marked/*", target=target, strip="/marked", policies=[PostProcessed()])
    gateway.route("/transformed/*", target=target, strip="/transformed", policies=[Transform()])
    # {pathRegex: '', prefix: '/balanced/:id', proxyHandler}
    gateway.route("/balanced/{id}", service="both", rewrite="/item/{id}", policies=[ById(target, other)])
    # {pathRegex: '', prefix: '/both', hooks: {onRequest}}
    gateway.route("/both", target=target, policies=[Aggregate(f"{target}/a", f"{other}/b")])
    # {prefix: '/slow', timeout: 200, target}
    gateway.route("/slow", target=target, policies=[{"timeout": "200ms"}])
    # {prefix: '/down', hooks: {onError}, target}
    gateway.route("/down", target="http://127.0.0.1:1", policies=[Sorry()])
    # hostnames-hook: [{hostname: '*.company.tld', prefix: '/company'}]
    gateway.route("/*", host="*.company.tld", target=f"{target}/company")
    return gateway


REMOTE = os.environ.get("REMOTE", "http://127.0.0.1:3000")
gateway = build(REMOTE, os.environ.get("OTHER", "http://localhost:3000"))

if __name__ == "__main__":
    gateway.run()
