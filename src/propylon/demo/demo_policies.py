"""The Python policies of the demo: a function, and two classes."""

import json

from propylon import Exchange, Response


def require_key(exchange: Exchange) -> Response | None:
    """Refuse requests without the key with 401."""
    if exchange.request.headers.get("x-api-key") != "s3cret":
        return Response(401, json={"error": "send the header x-api-key: s3cret"})
    return None


class Greeting:
    """Changes a JSON response."""

    def __init__(self, word: str) -> None:
        self.word = word

    async def on_response(self, exchange: Exchange) -> None:
        """Add a greeting to the JSON of a person."""
        response = exchange.response
        if response is not None and response.status == 200 and (content := await response.body()):
            person = json.loads(content)
            person["greeting"] = f"{self.word}, {person['name']}"
            response.replace_body(json.dumps(person))


class Report:
    """Prints a line for each finished exchange."""

    def on_done(self, exchange: Exchange) -> None:
        """Print request, status, endpoint and duration."""
        where = exchange.endpoint.url if exchange.endpoint is not None else "the gateway itself"
        request = exchange.request
        milliseconds = exchange.elapsed * 1000
        print(f"{request.method} {request.path} -> {exchange.status} by {where} in {milliseconds:.1f} ms", flush=True)
