"""The command `propylon`: its subcommands are the modules of this package."""

import importlib
import pkgutil
from typing import Any

import click

import propylon.cli
from propylon.version import __version__


class Commands(click.Group):
    """A group with one module for each command, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the modules that are commands."""
        found = pkgutil.iter_modules(propylon.cli.__path__)
        return sorted(module.name for module in found if module.name != "main" and not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; return `None` for an unknown one."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module: Any = importlib.import_module(f"propylon.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a suggestion to click's error for an unknown command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from propylon.config.problems import suggest

            hint = suggest(args[0], self.list_commands(ctx))
            if hint is None or hint in error.message or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}, {hint}", ctx) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="propylon", message="%(prog)s %(version)s")
def main() -> None:
    """An API gateway for people who program in Python."""
