"""``navarch serve``."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Output, address, folder
from controlplane.settings import KubernetesSettings, Settings
from controlplane.telemetry import LogFormat, log_to_stderr

if TYPE_CHECKING:
    from controlplane.app import Addresses


def serve(
    files: Annotated[
        list[str] | None,
        typer.Option("--files", metavar="DIR", help="A folder of manifests to serve and to watch. Can be given several times."),
    ] = None,
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", help="Serve what a Kubernetes API server has. An object that is in a folder too is taken from there."),
    ] = False,
    kubeconfig: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="How the API server is reached; without it the pod's service account, or as kubectl does."),
    ] = None,
    context: Annotated[str | None, typer.Option(metavar="NAME", help="The context of the kubeconfig.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option(metavar="NS", help="Read only this namespace of the cluster. Can be given several times.")
    ] = None,
    xds: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where proxies connect; port 0 takes any free one.")] = "127.0.0.1:15010",
    admin: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the admin API listens.")] = "127.0.0.1:15014",
    health: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Also serve /healthz, /readyz and /metrics here, and nothing else.")
    ] = None,
    admin_host: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A host name by which the admin API may be called.")] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look, on standard error.")] = LogFormat.TEXT,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the addresses are printed.")] = Output.TABLE,
) -> None:
    """Serve folders of manifests, a Kubernetes API server, or both, to every Envoy that connects.

    Ready when /readyz on the admin address answers 200. A save in a folder, or kubectl apply, reaches the proxies at once.

    For example:

      navarch serve --files ./manifests

      navarch serve --kubernetes --namespace shop

      navarch serve --files ./manifests --xds 0.0.0.0:15010 --log-format json
    """
    if not files and not kubernetes:
        raise typer.BadParameter("expected --files DIR, --kubernetes, or both: there is nothing to serve")
    if not kubernetes and (kubeconfig or context or namespace):
        raise typer.BadParameter("--kubeconfig, --context and --namespace go with --kubernetes")
    chosen = KubernetesSettings(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(dict.fromkeys(namespace or ())),
        pod=os.environ.get("POD_NAME") or socket.gethostname(),
        home=os.environ.get("POD_NAMESPACE") or "navarch-system",
    )
    settings = Settings(
        files=tuple(dict.fromkeys(folder(each, option="--files") for each in files or ())),
        kubernetes=chosen if kubernetes else None,
        xds=address(xds, option="--xds"),
        admin=address(admin, option="--admin"),
        health=address(health, option="--health") if health else None,
        admin_hosts=tuple(admin_host or ()),
    )
    log_to_stderr(log_format)

    import asyncio

    import uvloop

    from controlplane.app import run_until_signalled

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_signalled(settings, lambda addresses: _announce(addresses, output)))


def _announce(addresses: Addresses, output: Output) -> None:
    found = {name: where for name, where in asdict(addresses).items() if where}
    if output is Output.JSON:
        typer.echo(json.dumps(found))
    else:
        typer.echo("navarch serves " + ", ".join(f"{name} at {where}" for name, where in found.items()))
