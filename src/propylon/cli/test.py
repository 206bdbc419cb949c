"""`propylon test`: runs the tests of a configuration."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from propylon.cli._expectations import Result


@click.command()
@click.argument("target", metavar="FILE")
@click.option("-k", "words", metavar="WORDS", default="", help="Run only tests with these words in their names.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(target: str, words: str, as_json: bool) -> None:
    """Run the tests of FILE, or of module:attribute: requests with their expected results, below the key 'tests'.

    Every request passes the whole gateway, including its policies. Services are not contacted: a stand-in responds with
    200. The exit status is 0 if all tests pass.
    """
    from propylon.build.errors import BuildError
    from propylon.cli._expectations import name_of, run_tests
    from propylon.cli._output import count, echo_json
    from propylon.cli._target import base_dir_of, open_gateway

    gateway = open_gateway(target)
    tests = [each for each in gateway.config.tests if words.lower() in name_of(each).lower()]
    if not tests:
        found = (
            f"no test has {words!r} in its name"
            if gateway.config.tests
            else "it has no tests: write some below 'tests'"
        )
        raise click.ClickException(f"{target}: {found}")
    try:
        results = run_tests(gateway.config, base_dir_of(target), tests)
    except BuildError as error:  # starting a policy failed
        raise click.ClickException(f"{target}: {error}") from error
    failed = sum(1 for result in results if result.failures)
    if as_json:
        passed = len(results) - failed
        echo_json({"target": target, "passed": passed, "failed": failed, "tests": [each.as_dict() for each in results]})
    else:
        for result in results:
            _show(result)
        click.echo(f"{count(len(results), 'test')}, {f'{failed} failed' if failed else 'all as expected'}")
    sys.exit(1 if failed else 0)


def _show(result: "Result") -> None:
    click.echo(f"{'FAIL' if result.failures else 'ok  '} {result.name}")
    for failure in result.failures:
        click.echo(f"       {failure}")
