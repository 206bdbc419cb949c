"""`propylon version`: the installed version."""

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the versions of Python and of dependencies.")
def command(as_json: bool) -> None:
    """Show the version."""
    from propylon.version import __version__

    if not as_json:
        click.echo(f"propylon {__version__}")
        return
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from propylon.cli._output import echo_json

    found: dict[str, str | None] = {"propylon": __version__, "python": platform.python_version()}
    for package in ("uvloop", "orjson", "pydantic", "PyYAML"):
        try:
            found[package.lower()] = version(package)
        except PackageNotFoundError:
            found[package.lower()] = None
    echo_json(found)
