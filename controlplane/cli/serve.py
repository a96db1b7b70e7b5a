"""``navarch serve``."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.options import Output, address, folder
from controlplane.settings import KubernetesSettings, Settings
from controlplane.telemetry import LogFormat, LogLevel, log_to_stderr

if TYPE_CHECKING:
    from controlplane.app import Addresses

_Folders: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="DIR", help="A folder of manifests to serve and to watch. Can be given several times.")
]
_Kubernetes: TypeAlias = Annotated[
    bool, typer.Option("--kubernetes", help="Serve what a Kubernetes API server has. What a folder gives too is taken from there.")
]
_Kubeconfig: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="How the API server is reached. Default: the pod's service account, or as kubectl does.")
]
_Context: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="The context of the kubeconfig.")]
_Namespaces: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NS", help="Read only this namespace of the cluster. Can be given several times.")
]
_WatchTimeout: TypeAlias = Annotated[
    float, typer.Option(metavar="SECONDS", min=2, help="A watch of the API server that has gone silent is given up after this long.")
]
_Webhook: TypeAlias = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Also answer the API server's validating webhook here, by HTTPS.")
]
_Xds: TypeAlias = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where proxies connect; port 0 takes any free one.")]
_Admin: TypeAlias = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the admin API listens.")]
_Health: TypeAlias = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Also serve /healthz, /readyz and /metrics here, and nothing else.")
]
_AdminHosts: TypeAlias = Annotated[
    list[str] | None, typer.Option("--admin-host", metavar="NAME", help="A host name by which the admin API may be called.")
]
_Format: TypeAlias = Annotated[LogFormat, typer.Option(help="How log lines look, on standard error.")]
_Level: TypeAlias = Annotated[LogLevel, typer.Option(help="From which level on log lines are written.")]
_Output: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="How the addresses are printed.")]


def serve(
    files: _Folders = None,
    kubernetes: _Kubernetes = False,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
    namespace: _Namespaces = None,
    watch_timeout: _WatchTimeout = 120.0,
    webhook: _Webhook = None,
    xds: _Xds = "127.0.0.1:15010",
    admin: _Admin = "127.0.0.1:15014",
    health: _Health = None,
    admin_hosts: _AdminHosts = None,
    log_format: _Format = LogFormat.TEXT,
    log_level: _Level = LogLevel.INFO,
    output: _Output = Output.TABLE,
) -> None:
    """Serve folders of manifests, a Kubernetes API server, or both, to every Envoy that connects.

    Ready when /readyz on the admin address answers 200. A save in a folder, or kubectl apply, reaches the proxies at once.

    For example:

      navarch serve --kubernetes --namespace shop

      navarch serve --files ./manifests --xds 0.0.0.0:15010 --log-format json
    """
    cluster = _cluster(kubeconfig, context, namespace, webhook, watch_timeout) if kubernetes else None
    if cluster is None and (kubeconfig or context or namespace):
        raise typer.BadParameter("--kubeconfig, --context and --namespace go with --kubernetes")
    if cluster is None and not files:
        raise typer.BadParameter("expected --files DIR, --kubernetes, or both: there is nothing to serve")
    settings = Settings(
        files=tuple(dict.fromkeys(folder(each, option="--files") for each in files or ())),
        kubernetes=cluster,
        xds=address(xds, option="--xds"),
        admin=address(admin, option="--admin"),
        health=address(health, option="--health") if health else None,
        admin_hosts=tuple(admin_hosts or ()),
    )
    _run(settings, output, log_format, log_level)


def _cluster(
    kubeconfig: str | None, context: str | None, namespaces: list[str] | None, webhook: str | None, watch_timeout: float
) -> KubernetesSettings:
    return KubernetesSettings(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(dict.fromkeys(namespaces or ())),
        webhook=address(webhook, option="--webhook") if webhook else None,
        watch_timeout_s=watch_timeout,
        pod=os.environ.get("POD_NAME") or socket.gethostname(),
        home=os.environ.get("POD_NAMESPACE") or "navarch-system",
    )


def _run(settings: Settings, output: Output, log_format: LogFormat, log_level: LogLevel) -> None:
    log_to_stderr(log_format, log_level)
    import asyncio

    import uvloop

    from controlplane.app import run_until_signalled
    from controlplane.kube.errors import NoAccess

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_signalled(settings, lambda addresses: _announce(addresses, output)))
    except NoAccess as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None


def _announce(addresses: Addresses, output: Output) -> None:
    found = {name: where for name, where in asdict(addresses).items() if where}
    if output is Output.JSON:
        typer.echo(json.dumps(found))
    else:
        typer.echo("navarch serves " + ", ".join(f"{name} at {where}" for name, where in found.items()))
