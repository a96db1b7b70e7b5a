"""``navarch bootstrap``."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from controlplane.cli.options import Patches, address, bootstrap_patches
from controlplane.model.hosts import is_ip
from controlplane.model.proxies import Interception, ProxyType

if TYPE_CHECKING:
    from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings
    from controlplane.bootstrap.statistics import Statistics
    from controlplane.bootstrap.xds_cluster import XdsCredentials
    from controlplane.objects.networking.workload_group import WorkloadGroup
    from controlplane.translate.patches.patch import EnvoyPatch

_ENVOY = "envoy.json"


class EnvoyType(StrEnum):
    """What an Envoy is."""

    SIDECAR = ProxyType.SIDECAR.value
    ROUTER = ProxyType.ROUTER.value


_Xds: TypeAlias = Annotated[
    list[str],
    typer.Option("--xds", metavar="HOST:PORT", help="Where the control plane is. Can be given several times."),
]
_Ip: TypeAlias = Annotated[str, typer.Option(metavar="IP", help="The address at which others reach the workload.")]
_Filename: TypeAlias = Annotated[
    str | None, typer.Option("--filename", "-f", metavar="PATH", help="A manifest with the WorkloadGroup that it registers itself with.")
]
_Name: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="What the proxy is called. Default: this machine's name.")]
_Namespace: TypeAlias = Annotated[str | None, typer.Option("--namespace", "-n", metavar="NS", help="Its namespace. Default: the group's.")]
_Account: TypeAlias = Annotated[
    str | None, typer.Option("--service-account", metavar="SA", help="The service account of its token. Default: the group's.")
]
_Labels: TypeAlias = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label of the workload, besides the group's. Several times.")
]
_Locality: TypeAlias = Annotated[str, typer.Option(metavar="REGION/ZONE/SUBZONE", help="Where it stands. Default: the group's.")]
_Type: TypeAlias = Annotated[EnvoyType, typer.Option("--type", help="Whether it stands beside a workload, or is a gateway.")]
_Mode: TypeAlias = Annotated[
    Interception, typer.Option("--interception", help="How connections come to it: by iptables, or (NONE) as listeners that clients name.")
]
_Token: TypeAlias = Annotated[str | None, typer.Option(metavar="FILE", help="The file with its token, on its machine; read when replaced.")]
_Roots: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE", help="The file with the roots that it believes, on its machine; read when replaced.")
]
_ServerName: TypeAlias = Annotated[
    str | None, typer.Option(metavar="DNS", help="The name in the control plane's certificate. Default: the host of the first --xds.")
]
_Out: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help=f"Write {_ENVOY}, and the two files that lead it to token and roots, into this folder.")
]
_Admin: TypeAlias = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where its admin API listens.")]
_Status: TypeAlias = Annotated[
    str, typer.Option(metavar="IP", help="Where it says that it is ready (15021) and serves metrics (15090); :: is IPv6 and IPv4.")
]
_Heap: TypeAlias = Annotated[
    int | None, typer.Option("--max-heap-mb", metavar="MIB", min=16, help="Its memory: it refuses requests when it comes near.")
]
_Connections: TypeAlias = Annotated[int, typer.Option("--max-connections", metavar="N", min=1, help="The connections that it takes.")]
_StatsPrefix: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--stats-prefix", metavar="TEXT", help="Also keep statistics whose names begin so, as cluster.outbound. Several times."),
]
_StatsSuffix: TypeAlias = Annotated[
    list[str] | None, typer.Option("--stats-suffix", metavar="TEXT", help="Also keep statistics whose names end so. Several times.")
]
_StatsRegexp: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--stats-regexp", metavar="RE2", help="Also keep those that are matched whole; .* is all. Several times."),
]
_Sotw: TypeAlias = Annotated[bool, typer.Option("--sotw", help="Be told everything of a type at each change, not what has changed.")]


def bootstrap(
    xds: _Xds,
    ip: _Ip,
    filename: _Filename = None,
    name: _Name = None,
    namespace: _Namespace = None,
    service_account: _Account = None,
    label: _Labels = None,
    locality: _Locality = "",
    proxy_type: _Type = EnvoyType.SIDECAR,
    interception: _Mode = Interception.REDIRECT,
    token: _Token = None,
    roots: _Roots = None,
    server_name: _ServerName = None,
    out: _Out = None,
    admin: _Admin = "127.0.0.1:15000",
    status: _Status = "0.0.0.0",
    max_heap_mb: _Heap = None,
    max_connections: _Connections = 50_000,
    stats_prefix: _StatsPrefix = None,
    stats_suffix: _StatsSuffix = None,
    stats_regexp: _StatsRegexp = None,
    sotw: _Sotw = False,
    patches: Patches = None,
) -> None:
    """Print the configuration that a stock Envoy is started with: who it is, and where its control plane is.

    With --token and --roots it comes by TLS and has an identity. Both files are read anew when they are replaced by renaming; Envoy is
    led to them by two small files, token-sds.json and roots-sds.json, which --out writes beside envoy.json.

    With the WorkloadGroup of a virtual machine it registers itself: a WorkloadEntry is there while it runs, and gets requests while the
    group's probe, which Envoy does itself, succeeds.

    For example:

      navarch bootstrap --xds 127.0.0.1:15010 --ip 127.0.0.11 --name client --namespace shop --label app=client --interception NONE

      navarch bootstrap -f group.yaml --xds navarch.example.com:15012 --ip 10.0.0.7 --token /etc/navarch/token
      --roots /etc/navarch/root-cert.pem --out /etc/navarch && envoy -c /etc/navarch/envoy.json
    """
    from controlplane.bootstrap.bootstrap import BootstrapSettings
    from controlplane.bootstrap.overload_manager import OverloadLimits
    from controlplane.bootstrap.status_listeners import StatusPorts
    from controlplane.bootstrap.xds_cluster import XdsServer

    node = _node(filename, name, _ip(ip, option="--ip"))
    node = _with_valid_names(_with_overrides(node, namespace, service_account, _labels_of(label or ()), locality))
    credentials = _credentials(xds, token, roots, server_name, out)
    if filename and not credentials:
        raise typer.BadParameter("expected --token and --roots: who registers itself has to show who it is")
    addresses = tuple(address(host_and_port, option="--xds") for host_and_port in xds)
    settings = BootstrapSettings(
        node=replace(node, type=ProxyType(proxy_type), interception=interception),
        control_plane=XdsServer(addresses=addresses, credentials=credentials, delta=not sotw),
        admin=address(admin, option="--admin"),
        status=StatusPorts(host=_ip(status, option="--status")),
        limits=OverloadLimits(heap_bytes=max_heap_mb << 20 if max_heap_mb else None, connections=max_connections),
        statistics=_statistics(stats_prefix, stats_suffix, stats_regexp),
    )
    _write_bootstrap(replace(settings, patches=_patches(patches, settings.node)), out)


def _write_bootstrap(settings: BootstrapSettings, out: Path | None) -> None:
    """Print the bootstrap by ``settings``, or write it into the folder ``out`` with the files that it needs."""
    from controlplane.bootstrap.bootstrap import bootstrap_and_faults
    from controlplane.bootstrap.xds_cluster import secret_files
    from controlplane.ca.file_store import naming

    made, faults = bootstrap_and_faults(settings)
    for fault in faults:
        typer.echo(f"navarch: {fault.ref.key} {fault.field}: {fault.message}", err=True)
    document = json.dumps(made, indent=2)
    credentials = settings.control_plane.credentials
    files = secret_files(credentials) if credentials else {}
    if out is None:
        typer.echo(document)
        if credentials:
            typer.echo(f"navarch: Envoy also needs {' and '.join(files)} in {credentials.secrets}, which --out writes", err=True)
        return
    out.mkdir(parents=True, exist_ok=True)
    for file, content in {_ENVOY: document, **files}.items():
        with naming(out / file):
            (out / file).write_text(content + "\n")
        typer.echo(str(out / file))


def _patches(paths: list[str] | None, node: BootstrapNode) -> tuple[EnvoyPatch, ...]:
    """Return the patches of the EnvoyFilters in ``paths`` that are for the proxy ``node``."""
    labels, gateway = dict(node.labels or ()), node.type is ProxyType.ROUTER
    return tuple(each.patch for each in bootstrap_patches(paths) if each.is_for(node.namespace, labels, gateway=gateway))


def _node(filename: str | None, name: str | None, ip: str) -> BootstrapNode:
    from controlplane.bootstrap.bootstrap import BootstrapNode
    from controlplane.bootstrap.virtual_machine import node_in_group

    node = BootstrapNode(name=name or socket.gethostname().lower(), namespace="default", ip=ip, labels=())
    return node_in_group(node, _group(filename)) if filename else node


def _with_overrides(
    node: BootstrapNode, namespace: str | None, account: str | None, labels: dict[str, str], locality: str
) -> BootstrapNode:
    """Return ``node`` with what was said on the command line."""
    return replace(
        node,
        namespace=namespace or node.namespace,
        service_account=account or node.service_account,
        labels=tuple(sorted({**dict(node.labels or ()), **labels}.items())),
        locality=locality or node.locality,
    )


def _with_valid_names(node: BootstrapNode) -> BootstrapNode:
    """Return ``node`` if the control plane would take its names: they are parts of its id."""
    from controlplane.objects.types.names import is_subdomain

    for option, value in (("--name", node.name), ("--namespace", node.namespace), ("--service-account", node.service_account)):
        has_dots = option != "--namespace"
        if value and not (is_subdomain(value) and (has_dots or "." not in value)):
            marks = ", '-' and '.'" if has_dots else " and '-'"
            raise typer.BadParameter(f"expected a name of lower-case letters, digits{marks}, found {value[:80]!r}", param_hint=option)
    return node


def _group(path: str) -> WorkloadGroup:
    from controlplane.objects.networking.workload_group import WorkloadGroup
    from controlplane.sources.files.once import read_manifests

    _, changes = read_manifests((path,), sys.stdin.buffer)
    groups = [change.object for change in changes if isinstance(change.object, WorkloadGroup)]
    if len(groups) != 1:
        hint = "navarch validate -f says what is wrong with it"
        raise typer.BadParameter(f"expected one good WorkloadGroup in {path}, found {len(groups)}; {hint}", param_hint="--filename")
    return groups[0]


def _credentials(xds: list[str], token: str | None, roots: str | None, server_name: str | None, out: Path | None) -> XdsCredentials | None:
    from controlplane.bootstrap.xds_cluster import XdsCredentials

    if not token and not roots:
        return None
    if not token or not roots:
        raise typer.BadParameter("expected --token and --roots together: one shows who it is, the other whom it believes")
    for option, path in (("--token", token), ("--roots", roots)):
        if not path.startswith("/"):
            raise typer.BadParameter(f"expected a path from the root of its machine, found {path!r}", param_hint=option)
    folder = str(out.resolve()) if out else str(Path(token).parent)
    return XdsCredentials(token=token, roots=roots, secrets=folder, server_name=server_name or xds[0].rpartition(":")[0].strip("[]"))


def _statistics(prefixes: list[str] | None, suffixes: list[str] | None, regexps: list[str] | None) -> Statistics:
    from controlplane.bootstrap.statistics import Statistics
    from controlplane.objects.types.regex import regex_error

    for option, texts in (("--stats-prefix", prefixes), ("--stats-suffix", suffixes), ("--stats-regexp", regexps)):
        if "" in (texts or ()):
            raise typer.BadParameter("expected a part of a name", param_hint=option)
    for error in filter(None, map(regex_error, regexps or ())):
        raise typer.BadParameter(error, param_hint="--stats-regexp")
    return Statistics(prefixes=tuple(prefixes or ()), suffixes=tuple(suffixes or ()), regexps=tuple(regexps or ()))


def _labels_of(labels: list[str] | tuple[()]) -> dict[str, str]:
    from controlplane.objects.types.names import label_error

    for pair in labels:
        name, equals, value = pair.partition("=")
        fault = label_error(name, value) if equals else f"expected NAME=VALUE, found {pair!r}"
        if fault:
            raise typer.BadParameter(fault, param_hint="--label")
    return dict(pair.split("=", 1) for pair in labels)


def _ip(value: str, *, option: str) -> str:
    if not is_ip(value):
        raise typer.BadParameter(f"expected an IP address, found {value!r}", param_hint=option)
    return str(ip_address(value))
