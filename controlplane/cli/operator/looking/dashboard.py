"""``navarch dashboard``."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import CommandFailed

_Open = Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser, or only print its address.")]


@asks_admin
def dashboard(target: AdminTarget, browser: _Open = True) -> None:
    """Open the page of a control plane in a browser, and print its address.

    For example:

      navarch dashboard

      navarch dashboard --no-open --admin 127.0.0.1:15014
    """
    if target.in_cluster:
        forward = f"kubectl port-forward --namespace {target.system_namespace} deployment/navarch 15014"
        raise CommandFailed(f"a page has to be reached by a browser: run `{forward}`, and then navarch dashboard")
    client = target.client
    client.rows("/v1/problems")  # somebody answers there
    address = f"{client.name}/"
    typer.echo(address)
    if browser:
        import webbrowser

        webbrowser.open(address)
