"""`strip`, `rewrite` and `query_edit` of a route: changes of the path and the query on the way to a service."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.matching import Regex
from propylon.config.types import Listed, Text, one_or_more
from propylon.routing import rewrite
from propylon.routing.captures import Captures
from propylon.routing.query_edit import QueryEdit

_WAYS: Final = ("template", "prefix", "regex")


def _strip(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("should be the prefix to remove, such as /users")
    return value


Strip = Annotated[Text | None, BeforeValidator(_strip, json_schema_input_type=Text | None)]


class RewriteConfig(Model):
    """A new path: from a template, by replacing a prefix, or by a regular expression."""

    template: Text | None = Field(default=None, description="The path, with {name} for parameters of the route's path.")
    prefix: Text | None = Field(default=None, description="The prefix to replace with 'to'.")
    regex: Regex | None = Field(
        default=None, description="The pattern to replace with 'to', which may refer to groups: \\1."
    )
    to: str | None = Field(default=None, description="The replacement of the prefix or match.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """Exactly one form is required; `prefix` and `regex` require `to`."""
        ways = [way for way in _WAYS if data.get(way) is not None]
        if len(ways) != 1:
            yield Finding((), "a rewrite is a template, {prefix, to} or {regex, to}", "give one of them", needs=_WAYS)
        elif ways != ["template"] and data.get("to") is None:
            yield Finding((), f"{ways[0]!r} needs 'to'", "write what replaces it", needs=("to",))
        elif ways == ["template"] and data.get("to") is not None:
            yield Finding(("to",), "'to' is of no use with a template")


def _rewrite(value: Any) -> Any:
    """Accept a template alone."""
    if isinstance(value, str):
        return {"template": value}
    if isinstance(value, Mapping | RewriteConfig):
        return value
    raise ValueError("should be a template, {prefix, to} or {regex, to}")


Rewrite = Annotated[RewriteConfig, BeforeValidator(_rewrite, json_schema_input_type=str | RewriteConfig)]


class QueryEditConfig(Model):
    """Changes of the query before it is sent to the service, in this order: keep, remove, set, add."""

    keep: Listed[Text] | None = Field(
        default=None, description="Names of the only parameters that are sent; all by default, [] for none."
    )
    set: dict[Text, str] = Field(
        default={}, description="Parameters to set, each to its only value; {name} inserts a part of the request."
    )
    add: dict[Text, str] = Field(
        default={}, description="Parameters to add, beside those of the same name; {name} as in 'set'."
    )
    remove: Listed[Text] = Field(default=(), description="Names of parameters to remove.")

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A parameter cannot be removed and given a value."""
        removed = one_or_more(data.get("remove"))
        for index, name in enumerate(removed if isinstance(removed, list | tuple) else ()):
            if any(isinstance(given := data.get(key), Mapping) and name in given for key in ("set", "add")):
                yield Finding(
                    ("remove", index), f"{name!r} is removed and given a value", "use only 'set' to replace it"
                )


def strip_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """A prefix to strip must be a prefix of every path."""
    prefix, paths = data.get("strip"), data.get("path")
    if not isinstance(prefix, str):
        return
    try:
        rewrite.strip(prefix)
    except rewrite.RewriteError as error:
        yield Finding(("strip",), str(error))
        return
    for path in one_or_more(paths) if isinstance(paths, str | list | tuple) else ():
        if isinstance(path, str) and not f"{path}/".startswith(f"{prefix.rstrip('/')}/"):
            yield Finding(("strip",), f"the path {path!r} does not begin with {prefix!r}")


def rewrite_findings(data: Mapping[str, Any], captures: Captures) -> Iterator[Finding]:
    """Yield what the engine would refuse to compile; invalid parts are reported elsewhere."""
    try:
        change = RewriteConfig.model_validate(_rewrite(data["rewrite"]))
    except (KeyError, TypeError, AttributeError, ValueError):
        return
    try:
        if change.template is not None:
            rewrite.template(change.template, captures)
        elif change.prefix is not None:
            rewrite.replace_prefix(change.prefix, change.to or "")
        else:
            rewrite.replace_regex(change.regex or "", change.to or "")
    except rewrite.RewriteError as error:
        yield Finding(("rewrite",), str(error))


def query_edit_findings(edit: Any, captures: Captures) -> Iterator[Finding]:
    """Yield the values of a query edit that are no templates."""
    for key in ("set", "add"):
        values = edit.get(key) if isinstance(edit, Mapping) else getattr(edit, key, None)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            try:
                if name and isinstance(name, str) and isinstance(value, str):
                    QueryEdit({name: value}, {}, (), captures=captures)
            except rewrite.RewriteError as error:
                yield Finding(("query_edit", key, name), str(error))
