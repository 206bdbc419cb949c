"""Bodies of the gateway's own error responses: RFC 9457 problem details, plain text, or HTML for browsers."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from propylon.engine.response import Response
from propylon.http.fields import tokens

if TYPE_CHECKING:
    from propylon.engine.errors import GatewayError
    from propylon.engine.exchange import Exchange

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;color:#222}}
small{{color:#777}}@media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}}}</style></head>
<body><h1>{status} {title}</h1><p>{detail}</p><p><small>{code} · request {request_id}</small></p></body></html>
"""


def render_error(x: Exchange, error: GatewayError) -> Response:
    """Return the response for a failure, in the media type that the client's Accept field prefers."""
    failure = error.failure
    request_id = x.request_id
    page = x.snapshot.error_pages.get(str(failure.status)) or x.snapshot.error_pages.get(f"{failure.status // 100}xx")
    kind = _preferred(x)
    if page is not None:
        response = Response(failure.status, body=page.content, content_type=page.content_type)
    elif kind == "text/html":
        texts = {"title": failure.title, "detail": error.detail, "code": error.code, "request_id": request_id}
        escaped = {name: html.escape(text) for name, text in texts.items()}
        response = Response(
            failure.status, body=_PAGE.format(status=failure.status, **escaped), content_type="text/html; charset=utf-8"
        )
    elif kind == "text/plain":
        lines = [f"{failure.status} {failure.title}", error.detail, f"code: {error.code}", f"request: {request_id}"]
        response = Response(failure.status, body="\n".join(line for line in lines if line) + "\n")
    else:
        problem = {"type": f"urn:propylon:{error.code}", "title": failure.title, "status": failure.status}
        if error.detail:
            problem["detail"] = error.detail
        problem |= {"code": error.code, "request_id": request_id}
        response = Response(failure.status, json=problem, content_type="application/problem+json")
    for name, value in error.headers.items():
        response.headers.set(name, value)
    response.headers.set("cache-control", "no-store")
    return response


def _preferred(x: Exchange) -> str:
    """Choose HTML, problem details or text by Accept: the first of the highest quality (RFC 9110 12.5.1)."""
    best, best_quality = "application/problem+json", 0.0
    for value in x.fields.all(b"accept"):
        for token in tokens(value):
            kind, *parameters = [part.strip() for part in token.split(b";")]
            quality = _quality(parameters)
            form = _FORMS.get(kind)
            if form is not None and quality > best_quality:
                best, best_quality = form, quality
    return best


_FORMS = {
    b"text/html": "text/html",
    b"application/xhtml+xml": "text/html",
    b"text/plain": "text/plain",
    b"application/json": "application/problem+json",
    b"application/problem+json": "application/problem+json",
    b"*/*": "application/problem+json",
}


def _quality(parameters: list[bytes]) -> float:
    """Return the quality value; 1.0 if it is not a number (RFC 9110 12.4.2)."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            digits = value.strip()
            return float(digits) if digits.replace(b".", b"", 1).isdigit() else 1.0
    return 1.0
