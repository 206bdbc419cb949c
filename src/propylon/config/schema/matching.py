"""Matchers of routes and conditions: methods, hosts, paths, header fields, query parameters.

Patterns are parsed by the router; here its errors become problems with their position.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator, Strict, WithJsonSchema

from propylon.config.reference import REFERENCE
from propylon.config.schema.base import Finding, complete
from propylon.config.types import ListedSome, Text
from propylon.http.claims import ANYONE, NOBODY, taken_from, verified_as
from propylon.routing.match import Regex as RegexMatch
from propylon.routing.pattern import HostPattern, PathPattern, RuleError
from propylon.routing.safe_regex import compile_regex

# RFC 9110, section 5.6.2.
TOKEN_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # noqa: S105 - not a secret

_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


def _method(value: object) -> str:
    if isinstance(value, str) and len(words := re.split(r"[\s,|]+", value.strip())) > 1:
        raise ValueError(f"write a list: [{', '.join(words)}]")
    if not isinstance(value, str) or not re.match(TOKEN_PATTERN, value):
        raise ValueError("not a method: write GET, POST and so on")
    if value in _REFUSED_METHODS:
        raise ValueError(f"{value} is always refused")
    if value != value.upper():
        raise ValueError(f"methods are written in capitals: {value.upper()}")
    return value


def _regex(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("should be a regular expression")
    compile_regex(value)
    return value


def _path_pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("should be a path, for example /users/* or /users/{id}")
    with _reported():
        PathPattern(value)
    return value


def _host_pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("should be a host name, for example app.example or *.app.example")
    if "/" in value:
        raise ValueError("should be a host name without scheme and path, for example app.example")
    with _reported():
        HostPattern(value)
    return value


@contextmanager
def _reported() -> Iterator[None]:
    """Convert the router's error, which names the pattern, to a problem that does not repeat it."""
    try:
        yield
    except RuleError as error:
        raise complete(str(error)) from None


def _field_match(value: object) -> str | RegexMatch:
    if isinstance(value, str | RegexMatch):
        return value
    if isinstance(value, Mapping) and list(value) == ["regex"]:
        return RegexMatch(_regex(value["regex"]))
    message = "should be text, '*' for any value, or {regex: PATTERN}"
    if isinstance(value, Mapping | list):
        raise complete(message, "to change header fields, write the policy 'headers'")
    raise ValueError(message)


def claimed_findings(headers: Any, host: str) -> Iterator[Finding]:
    """Yield a problem for every header of a matcher that untrusted clients cannot set.

    Args:
        headers: the value of the key `headers`, not validated.
        host: the key for hosts beside it.
    """
    for name in headers if isinstance(headers, Mapping) else ():
        field = str(name).lower().encode("utf-8")
        source, matcher = taken_from(field), verified_as(field)
        if source == ANYONE:
            continue
        if matcher is None and source == NOBODY:
            hint = "remove it: this header is removed from every request"
        elif matcher is None:
            hint = "name the proxy that sends it in trusted_proxies, and read it in a policy in Python"
        else:
            key = {"scheme": "scheme: https", "clients": "clients: [10.0.0.0/8]", "host": f"{host}: [app.example]"}
            hint = f"match what is verified: '{key[matcher]}'"
        yield Finding(("headers", name), f"clients cannot set {name}, so it would never match", hint)


def _python_reference(value: object) -> str | Callable[..., Any]:
    if callable(value) or (isinstance(value, str) and _REFERENCE.fullmatch(value)):
        return value
    raise ValueError("should be module:function")


_TEXT_SCHEMA: Final = WithJsonSchema({"type": "string"})

Method = Annotated[
    str, PlainValidator(_method), WithJsonSchema({"type": "string", "pattern": TOKEN_PATTERN.replace("A-Za-z", "A-Z")})
]
"""A method that can be routed."""

Regex = Annotated[str, PlainValidator(_regex), WithJsonSchema({"type": "string", "format": "regex"})]
"""A regular expression of Python's `re`."""

Path = Annotated[str, PlainValidator(_path_pattern), WithJsonSchema({"type": "string", "pattern": "^/"})]
"""A path with `{name}` for a segment and a final `*` for the path rest."""

Host = Annotated[str, PlainValidator(_host_pattern), _TEXT_SCHEMA]
"""A host name; a leading `*.` stands for one or more labels."""

FieldName = Annotated[str, Strict(), Field(pattern=TOKEN_PATTERN)]
"""The name of a header field."""

FieldValue = Annotated[str, Strict(), Field(pattern=r"^[\t\x20-\x7e\x80-\xff]*$")]
"""The value of a header field, without control characters, which could end the line (RFC 9110 5.5)."""

PythonReference = Annotated[
    str | Callable[..., Any],
    PlainValidator(_python_reference),
    WithJsonSchema({"type": "string", "format": "python"}),
    REFERENCE,
]
"""`module:function`, or in Python the function itself."""

FieldMatches = dict[
    str,
    Annotated[
        str | RegexMatch,
        PlainValidator(_field_match),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "properties": {"regex": {"type": "string"}}, "required": ["regex"]},
                ]
            }
        ),
    ],
]
"""Names, each with text, `*` for any value, or `{regex: PATTERN}`."""

Scheme = Literal["http", "https"]
"""The verified scheme of a request."""

ListenerNames = ListedSome[Text]
"""Listeners by name or address; `listener_refs.py` checks that they exist."""
