"""``navarch translate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.operator.output import Form, Listing, OutputOption, show
from controlplane.cli.operator.problems import problem_listing
from controlplane.cli.options import Paths
from controlplane.model.proxies import BadNode, Proxy, proxy_from_node

if TYPE_CHECKING:
    from controlplane.objects.changes import Change
    from controlplane.objects.locations import LocatedProblem


def translate(
    filename: Paths,
    node: Annotated[
        str | None,
        typer.Option("--proxy", metavar="NODE_ID", help="The proxy's node id: sidecar~IP~POD.NAMESPACE~DOMAIN, or router~… for a gateway."),
    ] = None,
    pod: Annotated[
        str | None, typer.Option("--pod", metavar="NAME[.NAMESPACE]", help="For the sidecar of this Pod or WorkloadEntry of the manifests.")
    ] = None,
    metadata: Annotated[str, typer.Option(metavar="JSON", help="The node's metadata, as Istio's proxies send it.")] = "{}",
    no_identity: Annotated[bool, typer.Option("--no-identity", help="For a proxy that comes in the clear: without a certificate.")] = False,
    output: OutputOption = Form.TABLE,
) -> None:
    """Print the Envoy configuration that one proxy would be sent, with the identity of the SERVICE_ACCOUNT of its metadata.

    For example:

      navarch translate -f ./manifests --proxy sidecar~10.0.0.1~web.shop~ -o json --metadata '{"LABELS": {"app": "web"}}'

      navarch translate -f ./manifests --pod web-1.shop

      navarch translate -f ./manifests --proxy router~10.0.0.1~ingress.edge~ --metadata '{"LABELS": {"istio": "ingressgateway"}}'
    """
    from controlplane.mesh.snapshot import snapshot
    from controlplane.model.identity import BadIdentity
    from controlplane.objects.locations import located_problems
    from controlplane.sources.files.once import read_manifests

    folder, changes = read_manifests(filename, sys.stdin.buffer)
    if (pod is None) == (node is None):
        raise typer.BadParameter("expected one of --proxy and --pod", param_hint="--proxy")
    if pod is not None:
        node, metadata = node_of_pod(changes, pod)
    client, account = _proxy(node or "", metadata)
    try:
        configuration = snapshot(changes, client, None if no_identity else account)
    except BadIdentity as error:
        raise typer.BadParameter(f"SERVICE_ACCOUNT: {error}", param_hint="--metadata") from None
    _print(configuration.resources, located_problems(configuration.problems, [folder]), output)


def _print(resources: Mapping[str, Sequence[Mapping[str, object]]], problems: Sequence[LocatedProblem], output: Form) -> None:
    members = [(section, member) for section, found in resources.items() for member in found]
    rows = [(section, str(member.get("name") or member.get("clusterName") or "")) for section, member in members]
    told = [problem.row() for problem in problems]
    everything = {**{section: list(members) for section, members in resources.items()}, "problems": told}
    show(output, everything, Listing(head=("section", "name"), rows=rows))
    if told and output in {Form.TABLE, Form.WIDE}:
        show(output, told, problem_listing(told))


def node_of_pod(changes: Sequence[Change], name: str) -> tuple[str, str]:
    """Return node id and metadata of the sidecar of the Pod or WorkloadEntry ``name``, with its namespace or without, among ``changes``."""
    from controlplane.objects.kubernetes.core import Pod
    from controlplane.objects.networking.service_entry import WorkloadEntry

    there = [change.object for change in changes if isinstance(change.object, Pod | WorkloadEntry)]
    found = [each for each in there if name in {each.meta.name, f"{each.meta.name}.{each.meta.namespace}"}]
    if len(found) != 1:
        names = sorted(f"{each.meta.name}.{each.meta.namespace}" for each in found or there)
        one_of = f": {', '.join(names[:10])}" if names else ""
        expected = "which of them" if found else "a Pod or WorkloadEntry of the manifests"
        raise typer.BadParameter(f"expected {expected}{one_of}; found {name[:200]!r}", param_hint="--pod")
    [one] = found
    ip = next(iter(one.ips), "") if isinstance(one, Pod) else one.spec.address
    labels = one.meta.labels if isinstance(one, Pod) else {**one.meta.labels, **one.spec.labels}
    account = one.spec.service_account_name if isinstance(one, Pod) else one.spec.service_account
    namespace = one.meta.namespace
    told = {"LABELS": dict(labels), "SERVICE_ACCOUNT": account or "default"}
    return f"sidecar~{ip}~{one.meta.name}.{namespace}~{namespace}.svc.cluster.local", json.dumps(told)


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
