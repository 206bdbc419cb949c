"""The configuration as JSON Schema, so that editors complete and check the file.

Rules of the file: it is made from the models and from the `Config` of every policy that can be imported; nothing is
written here twice.
"""

from typing import Any, Final

from propylon.config.schema import GatewayConfig
from propylon.plugins import POLICIES, PluginBrokenError

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ACTIONS: Final = ("redirect", "respond")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file."""
    schema = GatewayConfig.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    entry = definitions["PolicyEntry"]
    settings = _settings(definitions)
    for action in _ACTIONS:
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
    return {"$schema": _DIALECT, "title": "Propylon gateway configuration", **schema}


def _settings(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of every policy's settings, and add what they share to the definitions."""
    found: dict[str, Any] = {}
    for name in POLICIES.names():
        try:
            module = POLICIES.find(name)
        except PluginBrokenError:
            found[name] = {}  # an optional dependency is missing here, and may be there where the file is used
            continue
        prefix = f"policy.{name}."
        schema = module.Config.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        for part, definition in schema.pop("$defs", {}).items():
            definitions[prefix + part] = definition
        description = (module.Policy.__doc__ or "").strip().partition("\n")[0]
        found[name] = {**schema, "title": name, **({"description": description} if description else {})}
    return found
