"""The command ``navarch``: its subcommands, each imported when it is asked for, and what it says when something cannot be done."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from controlplane.cli.operator.failures import CommandFailed

# The module of each command, below controlplane.cli: in it a function of the command's name, or an ``app`` of several.
COMMANDS: Mapping[str, str] = {
    "serve": "serve",
    "translate": "translate",
    "validate": "validate",
    "inject": "inject",
    "demo": "demo",
    "bootstrap": "bootstrap",
    "iptables": "iptables",
    "token": "token",
    "crds": "crds",
    "manifests": "manifests",
    "ratelimit-config": "limits.ratelimit_config",
    "drill": "drill.commands",
    "proxies": "operator.proxies.proxies",
    "config": "operator.config.config",
    "problems": "operator.problems",
    "explain": "operator.explaining.explain",
    "authz": "operator.explaining.authz",
    "plan": "operator.changing.plan",
    "wait": "operator.changing.wait",
    "check": "operator.looking.check",
    "objects": "operator.looking.objects",
    "describe": "operator.looking.describe",
    "history": "operator.looking.history",
    "rollback": "operator.looking.rollback",
    "log": "operator.proxies.log",
    "bug-report": "operator.looking.bug_report",
    "dashboard": "operator.looking.dashboard",
    "version": "version",
    "ca": "ca",
}
ALIASES: Mapping[str, str] = {"ps": "proxies"}
_SETTINGS: dict[str, object] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class LazyGroup(TyperGroup):
    """A group of commands whose modules are imported when a command is asked for; help asks for all."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names of all commands, in the order of help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return the command ``cmd_name``, ``None`` if there is none."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            for each in COMMANDS:  # what was meant is looked for among those that are there
                self.get_command(ctx, each)
            return None
        if name not in self.commands:
            self.commands[name] = _command(name)
        found = self.commands[name]
        return found if isinstance(found, TyperCommand | TyperGroup) else None


def _command(name: str) -> TyperCommand | TyperGroup:
    module = importlib.import_module(f"controlplane.cli.{COMMANDS[name]}")
    group = getattr(module, "app", None)
    if not isinstance(group, typer.Typer):
        group = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)
        group.command(name)(getattr(module, name.replace("-", "_")))
    command = get_command(group)
    if not isinstance(command, TyperCommand | TyperGroup):
        raise TypeError(f"{name} is no command of Typer")
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    name="navarch",
    help="A service-mesh control plane that speaks Istio's API and drives stock Envoy.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)


def _print_version(*, asked: bool) -> None:
    if asked:
        from controlplane.cli.version import version

        version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _print_version(asked=value), is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    del version


def main() -> None:
    """Run the command line of this process; a mistake ends it with a sentence and an exit status (``operator/failures.py``)."""
    try:
        app(prog_name="navarch")
    except CommandFailed as error:
        typer.echo(f"navarch: {error}", err=True)
        sys.exit(error.status)
    except OSError as error:  # a file that is not there, a port that is taken
        # Whoever writes a file names it.
        where = error.filename or ("standard output" if error.errno == errno.ENOSPC else "")
        typer.echo(f"navarch: {where + ': ' if where else ''}{error.strerror or error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
