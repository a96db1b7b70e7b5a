"""``navarch demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Keep the manifests in a namespace of a Kubernetes API server, by kubectl apply.")
    ] = False,
    kubeconfig: Annotated[str | None, typer.Option(metavar="FILE", help="How the API server is reached. Default: as kubectl does.")] = None,
    context: Annotated[str | None, typer.Option(metavar="NAME", help="The context of the kubeconfig.")] = None,
    consul: Annotated[bool, typer.Option("--consul", help="Also register workloads in the Consul on the PATH, or NAVARCH_CONSUL.")] = False,
    drill: Annotated[
        bool, typer.Option("--drill", help="Instead of the story: break an instance, and show what retries and ejections make of it.")
    ] = False,
    envoy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, resolve_path=True, help="The Envoy to run. Default: the installed one."),
    ] = None,
) -> None:
    """Run a small mesh on this machine and prove what it claims.

    A control plane, workloads and real Envoys; no root, no cluster. Exits 0 only if every claim held. With --kubernetes the same story is
    told by kubectl apply, in the namespace navarch-demo, which is made before and deleted after.

    For example:

      navarch demo

      navarch demo --consul

      navarch demo --drill

      navarch demo --kubernetes --context kind-kind

      navarch demo --envoy /opt/envoy-1.36/envoy
    """
    from controlplane.demo.drills.run import run_demo_drill
    from controlplane.demo.run import run
    from controlplane.demo.stores import ClusterManifests

    if not kubernetes and (kubeconfig or context):
        raise typer.BadParameter("--kubeconfig and --context go with --kubernetes")
    if kubernetes and consul:
        raise typer.BadParameter("--consul goes with a folder of manifests, not with --kubernetes")
    if drill:
        if kubernetes or consul or keep:
            raise typer.BadParameter("--drill goes with --json and --envoy alone")
        raise typer.Exit(run_demo_drill(envoy=str(envoy or ""), as_json=as_json))
    store = ClusterManifests(kubeconfig, context) if kubernetes else None
    raise typer.Exit(run(store, envoy=str(envoy or ""), consul=consul, keep=keep, as_json=as_json))
