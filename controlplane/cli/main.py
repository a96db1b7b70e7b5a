"""The command ``navarch``: which commands there are, and how what the operator got wrong is told."""

from __future__ import annotations

import sys

import click
import typer

from controlplane.cli import serve, translate, validate, version
from controlplane.cli import demo as demonstration

app = typer.Typer(
    name="navarch",
    help="A service-mesh control plane that speaks Istio's API and drives stock Envoy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("translate")(translate.translate)
app.command("validate")(validate.validate)
app.command("demo")(demonstration.demo)
app.command("version")(version.version)


def main() -> None:
    """Run the command line of this process."""
    try:
        status = app(standalone_mode=False)
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as mistake:
        mistake.show()
        status = mistake.exit_code
    except click.Abort:
        status = 130
    except OSError as error:
        print(f"navarch: {error}", file=sys.stderr)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
