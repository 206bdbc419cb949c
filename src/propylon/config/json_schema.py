"""The configuration as JSON Schema, for completion and validation in editors.

Rules of the file: the schema is generated from the models and from the `Config` of every policy and balancing algorithm
that can be imported; it repeats nothing by hand.
"""

from typing import Any, Final

from propylon.config.schema import GatewayConfig
from propylon.config.schema.route import ANSWERS
from propylon.plugins import BALANCERS, POLICIES, PluginBrokenError, Plugins

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file."""
    schema = GatewayConfig.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    entry = definitions["PolicyEntry"]
    settings = _settings(definitions, POLICIES, "Policy")
    for action in ANSWERS:
        if action in settings:
            route_key = definitions["RouteConfig"]["properties"][action]
            route_key.pop("type", None)
            route_key.update(settings[action])
    named = {
        "type": "object",
        "properties": {**settings, "when": entry["properties"]["when"], "unless": entry["properties"]["unless"]},
        "additionalProperties": False,
    }
    definitions["PolicyEntry"] = {"anyOf": [{"type": "string", "enum": POLICIES.names()}, named]}
    one_of_them = {
        "type": "object",
        "properties": _settings(definitions, BALANCERS, "Balancer"),
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    definitions["BalanceEntry"] = {"anyOf": [{"type": "string", "enum": BALANCERS.names()}, one_of_them]}
    return {"$schema": _DIALECT, "title": "Propylon gateway configuration", **schema}


def _settings(definitions: dict[str, Any], plugins: Plugins, part: str) -> dict[str, Any]:
    """Return the schemas of the settings of all modules of a kind, and add their shared definitions to `definitions`.

    Args:
        part: the class of such a module besides `Config`; the first line of its docstring is the description.
    """
    found: dict[str, Any] = {}
    for name in plugins.names():
        try:
            module = plugins.find(name)
        except PluginBrokenError:
            found[name] = {}  # an optional dependency is missing here, but may be installed where the file is used
            continue
        prefix = f"{part.lower()}.{name}."
        schema = module.Config.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        for shared, definition in schema.pop("$defs", {}).items():
            definitions[prefix + shared] = definition
        description = (getattr(module, part).__doc__ or "").strip().partition("\n")[0]
        found[name] = {**schema, "title": name, **({"description": description} if description else {})}
    return found
