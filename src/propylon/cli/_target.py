"""TARGET of the commands: a configuration file, `module:attribute` of a gateway built in Python, or service mode.

Service mode is used if there is no target and the environment has UPSTREAMS.

Rules of the file: an error is one sentence that names the target and says what to write; only exceptions in the user's
own module are shown with their traceback.
"""

import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from propylon.cli._output import fail_with_problems
from propylon.config.problems import ENVIRONMENT, ConfigError, Problem, suggest

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

    from propylon.config.load import Loaded
    from propylon.config.schema import GatewayConfig
    from propylon.gateway import Gateway

_REFERENCE: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)


def open_gateway(target: str | None) -> "Gateway":
    """Return the gateway of a target; on errors, print every problem and exit."""
    try:
        return read_gateway(target)
    except ConfigError as error:
        fail_with_problems(error.problems)


def read_gateway(target: str | None) -> "Gateway":
    """Return the gateway of a target, compiled.

    Raises `ConfigError` for problems of its configuration, `click.ClickException` for an invalid target.
    """
    from propylon.build.errors import BuildError
    from propylon.config.load import Loaded, placed
    from propylon.gateway import Gateway

    if target is None:
        gateway = Gateway.from_config(_from_environment(), read=lambda: Loaded(_from_environment()))
    elif (reference := module_reference(target)) is None:
        gateway = Gateway.load(file_of(target))
    else:
        gateway = gateway_of_module(target, *reference)
    try:
        gateway.snapshot()
    except ConfigError:
        raise
    except (ValueError, LookupError, ImportError, OSError) as error:
        if isinstance(error, BuildError):
            raise ConfigError(placed(gateway.loaded(), shown(target), error.messages)) from error
        raise ConfigError([Problem(shown(target), None, None, "", str(error))]) from error
    return gateway


def shown(target: str | None) -> str:
    """Return the name of a target in messages."""
    return ENVIRONMENT if target is None else target


def module_reference(target: str) -> tuple[str, str] | None:
    """Return module and attribute of `module:attribute`, or `None` if the target is a file."""
    match = _REFERENCE.fullmatch(target)
    return None if match is None or Path(target).exists() else (match[1], match[2])


def base_dir_of(target: str) -> Path:
    """Return the folder that files and modules of a target are relative to."""
    return Path() if module_reference(target) is not None else Path(target).parent


def file_of(target: str) -> Path:
    """Return the file of a target; raises `click.ClickException` if it is neither file nor `module:attribute`."""
    path = Path(target)
    if path.suffix == ".py":
        raise click.ClickException(f"{target} is Python: write module:attribute, for example {path.stem}:gateway")
    if not os.path.lexists(path) and path.suffix not in (".yaml", ".yml") and os.sep not in target:
        raise click.ClickException(
            f"{target!r} is neither a file nor module:attribute: write gateway.yaml, or app:gateway for app.py"
        )
    return path


def _from_environment() -> "GatewayConfig":
    from propylon.service_mode.load import SWITCH, is_wanted, load

    if not is_wanted(os.environ):
        raise click.UsageError(
            f"give a FILE or module:attribute, or set {SWITCH} for a gateway without a file, as in "
            f"""{SWITCH}='{{"users": ["http://127.0.0.1:3001"]}}'"""
        )
    return load(os.environ)


def gateway_of_module(target: str, module_name: str, attribute: str) -> "Gateway":
    """Return the gateway that a module has, not compiled. Raises `click.ClickException` if it has none."""
    from propylon.runtime.modules import Modules

    modules = Modules(os.getcwd())
    value: object = _imported(module_name)
    for part in attribute.split("."):
        known = [name for name in dir(value) if not name.startswith("_")]
        if not hasattr(value, part):
            hint = suggest(part, known) or f"it has {', '.join(known[:10]) or 'nothing'}"
            raise click.ClickException(f"{target}: {module_name} has no attribute {part!r}, {hint}")
        value = getattr(value, part)
    from propylon.gateway import Gateway

    if isinstance(value, Gateway):
        value.reload_from(lambda: _read_module(target, module_name, attribute), modules)
        return value
    raise click.ClickException(f"{target} is of type {type(value).__name__}, not a Gateway")


def _read_module(target: str, module_name: str, attribute: str) -> "Loaded":
    """Return the configuration of a module's gateway, imported again. Raises `ConfigError`, `BuildError`."""
    from propylon.build.errors import BuildError
    from propylon.config.reference import BrokenModuleError, import_object
    from propylon.gateway import Gateway

    try:
        value = import_object(f"{module_name}:{attribute}")
    except Exception as error:  # the user's module may raise anything
        why = error.why if isinstance(error, BrokenModuleError) else f"{type(error).__name__}: {error}"
        raise BuildError(f"{target} cannot be imported: {why}") from error
    if not isinstance(value, Gateway):
        raise BuildError(f"{target} is of type {type(value).__name__}, not a Gateway")
    return value.loaded()


def _imported(name: str) -> "ModuleType":
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            _show_traceback()
            raise click.ClickException(f"{name} cannot be imported: {error}") from None
        raise click.ClickException(
            f"there is no module {error.name!r} in {os.getcwd()} or on the Python path"
        ) from None
    except Exception as error:  # the user's module may raise anything
        _show_traceback()
        raise click.ClickException(f"{name} cannot be imported: {type(error).__name__}: {error}") from None


def _show_traceback() -> None:
    """Print the traceback from the user's module on."""
    kind, error, trace = sys.exc_info()
    while trace is not None and (_file(trace) == __file__ or "importlib" in _file(trace)):
        trace = trace.tb_next
    click.echo("".join(traceback.format_exception(kind, error, trace)).rstrip(), err=True)


def _file(trace: "TracebackType") -> str:
    return trace.tb_frame.f_code.co_filename
