"""``navarch translate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Output, Paths
from controlplane.cli.tables import print_table
from controlplane.cli.validate import print_problems
from controlplane.model.proxies import BadNode, Proxy, proxy_from_node

if TYPE_CHECKING:
    from controlplane.objects.locations import LocatedProblem


def translate(
    filename: Paths,
    node: Annotated[
        str,
        typer.Option("--proxy", metavar="NODE_ID", help="The proxy's node id: sidecar~IP~POD.NAMESPACE~DOMAIN, or router~… for a gateway."),
    ],
    metadata: Annotated[str, typer.Option(metavar="JSON", help="The node's metadata, as Istio's proxies send it.")] = "{}",
    no_identity: Annotated[bool, typer.Option("--no-identity", help="For a proxy that comes in the clear: without a certificate.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="Everything as JSON, or a table of what there is.")] = Output.TABLE,
) -> None:
    """Print the Envoy configuration that one proxy would be sent, with the identity of the SERVICE_ACCOUNT of its metadata.

    For example:

      navarch translate -f ./manifests --proxy sidecar~10.0.0.1~web.shop~ -o json

      navarch translate -f ./manifests --proxy sidecar~10.0.0.1~web.shop~ --metadata '{"LABELS": {"app": "web"}}'

      navarch translate -f ./manifests --proxy router~10.0.0.1~ingress.edge~ --metadata '{"LABELS": {"istio": "ingressgateway"}}'
    """
    client, account = _proxy(node, metadata)

    from controlplane.mesh.snapshot import snapshot
    from controlplane.model.identity import BadIdentity
    from controlplane.objects.locations import located_problems
    from controlplane.sources.files.once import read_manifests

    folder, changes = read_manifests(filename, sys.stdin.buffer)
    try:
        configuration = snapshot(changes, client, None if no_identity else account)
    except BadIdentity as error:
        raise typer.BadParameter(f"SERVICE_ACCOUNT: {error}", param_hint="--metadata") from None
    _print(configuration.resources, located_problems(configuration.problems, [folder]), output)


def _print(resources: Mapping[str, Sequence[Mapping[str, object]]], problems: Sequence[LocatedProblem], output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps({**resources, "problems": [problem.row() for problem in problems]}, indent=2))
        return
    rows = [
        (section, member.get("name") or member.get("clusterName") or "") for section, members in resources.items() for member in members
    ]
    print_table(("section", "name"), [(section, str(name)) for section, name in rows])
    if problems:
        print_problems(problems)


def _proxy(node: str, metadata: str) -> tuple[Proxy, str]:
    """Return the proxy, and its service account."""
    try:
        values = json.loads(metadata)
    except ValueError as error:
        raise typer.BadParameter(f"expected JSON: {error}", param_hint="--metadata") from None
    if not isinstance(values, dict):
        raise typer.BadParameter("expected a JSON object", param_hint="--metadata")
    try:
        account = values.get("SERVICE_ACCOUNT", "default")
        return proxy_from_node(node, values), account if isinstance(account, str) else ""
    except BadNode as error:
        raise typer.BadParameter(str(error), param_hint="--proxy") from None
