"""`propylon cert`: a certificate for development."""

from pathlib import Path

import click


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Where the files are written, and where the authority is kept.",
)
@click.option("--force", is_flag=True, help="Replace a certificate of the same name; the authority stays.")
def command(names: tuple[str, ...], folder: Path, force: bool) -> None:
    """Make a TLS certificate for host names and IP addresses, signed by an authority of your own.

    For development: clients must trust the authority to accept the certificate.
    """
    from propylon.cli._authority import make_certificate

    made = make_certificate(names, folder, overwrite=force)
    click.echo(f"certificate {made.certificate} for {', '.join(names)}; key {made.key}")
    click.echo(f"\nTrust {made.authority}: curl --cacert {made.authority} …, or import it as an authority.")
    click.echo(f"Keep {made.authority.with_suffix('.key')} to yourself: it can make certificates for any name.")
    click.echo("\nIn the configuration:\n")
    click.echo("listen:")
    click.echo("  - address: 127.0.0.1:8443")
    click.echo(f"    tls: {{certificate: {made.certificate}, key: {made.key}}}")
