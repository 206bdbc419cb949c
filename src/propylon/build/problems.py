"""Every reason why a configuration cannot be built, also of one that is not valid as a whole.

Building stops at the first error. Only then the parts that can fail are built one by one: policies, services, the
certificates of listeners. A part that is not valid is left out, as its problems are known from the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from propylon.build.errors import BuildError
from propylon.build.policies import check_entry
from propylon.build.policies_at_work import NO_POLICIES
from propylon.build.service import NOTHING_RUNS, BuildContext, build_service
from propylon.config.extensions import validated
from propylon.config.load import placed_in
from propylon.config.problems import ConfigError
from propylon.config.schema import GatewayConfig, PolicyEntry, ServiceConfig
from propylon.config.schema.listener import Listeners
from propylon.config.schema.route import ANSWERS
from propylon.inbound.tls import Identities
from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PARTS_OF_SERVICES: Final = ("tls", "balance", "discover")


def with_build_problems(error: ConfigError, base_dir: Path) -> ConfigError:
    """Return an error of validation with the problems of building besides.

    Args:
        base_dir: the folder of the configuration.
    """
    source = error.source
    if source is None or not isinstance(source.data, Mapping):
        return error
    known = [problem.path for problem in error.problems]
    placed = [placed_in(source, message) for message in build_problems(source.data, base_dir, error.context)]
    found = [each for each in placed if not any(f"{path}.".startswith(f"{each.path}.") for path in known)]
    return ConfigError([*error.problems, *found], error.files)


def build_problems(config: Any, base_dir: Path, context: Any = None) -> list[str]:
    """Return every reason, each beginning with its path of keys.

    Args:
        config: the validated configuration, or the data of one that is not valid.
        base_dir: the folder of the configuration.
        context: the context of validation, for data.
    """
    parts = _Parts(base_dir, context)
    found = [*parts.listeners(_get(config, "listen")), *parts.policies("policies", _get(config, "policies"))]
    services = _get(config, "services")
    for name, service in services.items() if isinstance(services, Mapping) else ():
        found += parts.service(str(name), service)
        found += parts.policies(f"services.{name}.policies", _get(service, "policies"))
    routes = _get(config, "routes")
    for number, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        found += parts.policies(f"routes.{number}.policies", _get(route, "policies"))
        found += parts.actions(f"routes.{number}", route)
        found += parts.actions(f"routes.{number}.fallback", _get(route, "fallback"))
    return found


class _Parts:
    """Builds parts of a configuration; each method yields why that fails."""

    def __init__(self, base_dir: Path, context: Any) -> None:
        self._context = context
        self._build = BuildContext(GatewayConfig(), NOTHING_RUNS, base_dir, NO_POLICIES.same_code)

    def listeners(self, listen: Any) -> Iterator[str]:
        """Read the certificates of listeners."""
        items = listen if isinstance(listen, list | tuple) else [listen]
        for number, item in enumerate(items):
            found = _valid(partial(_LISTENERS.validate_python, context=self._context), [item])
            if found is not None and found[0].tls is not None:
                try:
                    Identities(found[0].tls)
                except TlsError as error:
                    yield f"listen.{number}.tls: {error}"

    def policies(self, where: str, entries: Any) -> Iterator[str]:
        """Create the policies of a list."""
        for number, item in enumerate(entries if isinstance(entries, list | tuple) else ()):
            entry = _valid(partial(PolicyEntry.model_validate, context=self._context), item)
            yield from self._entry(entry, f"{where}.{number}")

    def actions(self, where: str, keys: Any) -> Iterator[str]:
        """Create the policies of keys that are short for one."""
        for name in ANSWERS:
            value = _get(keys, name)
            if value is not None:
                made = value if isinstance(value, PolicyEntry) else None
                entry = made or _valid(partial(PolicyEntry.named, name, context=self._context), value)
                yield from self._entry(entry, where)

    def service(self, name: str, service: Any) -> Iterator[str]:
        """Create what can fail of a service, each part by itself."""
        for key in _PARTS_OF_SERVICES:
            value = _get(service, key)
            if value is None:
                continue
            rest = {} if key == "discover" else {"endpoints": ["https://localhost"]}
            keys = {key: value, **rest}
            config = _valid(partial(ServiceConfig.model_validate, context=self._context), keys)
            try:
                if config is not None:
                    build_service(name, config, self._build)
            except BuildError as error:
                yield from error.messages

    def _entry(self, entry: PolicyEntry | None, where: str) -> Iterator[str]:
        try:
            if entry is not None:
                check_entry(entry, where)
        except BuildError as error:
            yield from error.messages


_LISTENERS: Final[TypeAdapter[Any]] = TypeAdapter(Listeners)


def _valid(validate: Callable[[Any], Any], data: Any) -> Any:
    """Return a part, or `None` if it is not valid."""
    try:
        return validated(validate, data)
    except Exception:  # validators of other packages may raise anything
        return None


def _get(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
