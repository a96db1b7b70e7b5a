"""Runs a control plane until a signal comes, and says where it can be reached."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from controlplane.cli.options import Output
from controlplane.settings import Settings
from controlplane.telemetry import LogFormat, LogLevel, log_to_stderr

if TYPE_CHECKING:
    from controlplane.app.control_plane import Addresses


def run(settings: Settings, output: Output, log_format: LogFormat, log_level: LogLevel) -> None:
    """Serve by ``settings``; mistakes in them end the command with status 2."""
    for number in (signal.SIGTERM, signal.SIGINT):  # until there is an event loop that minds them: what follows takes a while
        signal.signal(number, _stop_early)

    import asyncio

    import uvloop

    from controlplane.app.control_plane import run_until_signalled
    from controlplane.errors import NavarchError
    from controlplane.serve.core_log import core_lines_in_log

    try:
        with core_lines_in_log():
            log_to_stderr(log_format, log_level)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run_until_signalled(settings, lambda addresses: _announce(addresses, output)))
    except NavarchError as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None


def _stop_early(*_: object) -> None:
    typer.echo("navarch: stopped before anything was served", err=True)
    raise SystemExit(0)


def _announce(addresses: Addresses, output: Output) -> None:
    by_name = {name: listen_address for name, listen_address in asdict(addresses).items() if listen_address}
    if output is Output.JSON:
        typer.echo(json.dumps(by_name))
    else:
        typer.echo("navarch serves " + ", ".join(f"{name} at {listen_address}" for name, listen_address in by_name.items()))
