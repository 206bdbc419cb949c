"""`propylon diff`: the changes from one configuration to another."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from propylon.config.load import Loaded


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def command(old: str, new: str, as_json: bool) -> None:
    """Describe the changes from the configuration OLD to NEW.

    Each is a file, or module:attribute of a gateway built in Python. One of them may be a pipe, as in: propylon diff
    <(git show HEAD:gateway.yaml) gateway.yaml. Secrets are not shown. The exit status is 0 without changes, 1 with
    changes, and 2 if one of them cannot be read.
    """
    from propylon.cli._output import count, echo_json
    from propylon.config.changes import changes
    from propylon.config.problems import ConfigError

    try:
        found = changes(_read(old, beside=new), _read(new, beside=old))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        click.echo(count(len(error.problems), "problem"), err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    if as_json:
        echo_json({"old": old, "new": new, "changes": [change.as_dict() for change in found]})
    else:
        for change in found:
            click.echo(str(change))
        click.echo(count(len(found), "change") if found else "nothing is different")
    sys.exit(1 if found else 0)


def _read(name: str, beside: str) -> "Loaded":
    """Read one of the two; relative paths in a pipe refer to the folder of the other one."""
    from propylon.cli._target import base_dir_of, file_of, gateway_of_module, module_reference
    from propylon.config.load import load

    if (reference := module_reference(name)) is not None:
        return gateway_of_module(name, *reference).loaded()
    path = Path(name)
    is_pipe = path.exists() and not path.is_file() and not path.is_dir()
    return load(path, base_dir=base_dir_of(beside)) if is_pipe else load(file_of(name))
