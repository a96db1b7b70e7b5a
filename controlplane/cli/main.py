"""The command ``navarch``: its subcommands, and what it says when a file or a port cannot be opened."""

from __future__ import annotations

import errno
import sys

import typer

from controlplane.cli.bootstrap import bootstrap
from controlplane.cli.ca import app as ca
from controlplane.cli.crds import crds
from controlplane.cli.demo import demo
from controlplane.cli.drill.commands import app as drill
from controlplane.cli.inject import inject
from controlplane.cli.iptables import iptables
from controlplane.cli.limits.ratelimit_config import ratelimit_config
from controlplane.cli.serve import serve
from controlplane.cli.token import token
from controlplane.cli.translate import translate
from controlplane.cli.validate import validate
from controlplane.cli.version import version

app = typer.Typer(
    name="navarch",
    help="A service-mesh control plane that speaks Istio's API and drives stock Envoy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in (serve, translate, validate, inject, demo, bootstrap, iptables, token, crds, ratelimit_config, version):
    app.command()(command)
app.add_typer(ca)
app.add_typer(drill)


def main() -> None:
    """Run the command line of this process: exit status 2 says that it was asked for something that cannot be."""
    try:
        app()
    except OSError as error:  # a file that is not there, a port that is taken
        # Whoever writes a file names it.
        where = error.filename or ("standard output" if error.errno == errno.ENOSPC else "")
        typer.echo(f"navarch: {where + ': ' if where else ''}{error.strerror or error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
