"""``navarch serve``."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import replace
from typing import Annotated, TypeAlias

import typer

from controlplane.cli.fetching import (
    JwksAllow,
    JwksRefresh,
    JwksRoots,
    WasmAllow,
    WasmReached,
    WasmRoots,
    WasmServe,
    allowed,
    module_settings,
)
from controlplane.cli.options import Output, Traces, address, folder, injection_settings, plaintext_address, trace_settings
from controlplane.cli.serving import consul_options, etcd_options
from controlplane.cli.serving.registry_options import SyncTimeout
from controlplane.cli.serving.run import run
from controlplane.settings import EnvoyFilters, IdentitySettings, JwksSettings, KubernetesSettings, ReportSettings, Settings
from controlplane.telemetry import LogFormat, LogLevel

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?")  # of a Lease, with something before it

_Folders: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="DIR", help="A folder of manifests to serve and to watch. Can be given several times.")
]
_Kubernetes: TypeAlias = Annotated[
    bool, typer.Option("--kubernetes", help="Serve what a Kubernetes API server has. What a folder gives too is taken from there.")
]
_Replica: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--replica",
        help="With --kubernetes: be one of the cluster's control planes, which write there (status, the webhooks' registration, roots, …), "
        "by the name POD_NAME. Without it nothing is written there.",
    ),
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
_Webhook: TypeAlias = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Also answer the API server's webhooks here, by HTTPS.")]
_Injection: TypeAlias = Annotated[
    str | None, typer.Option("--injection", metavar="FILE", help="Settings of what the webhook puts into pods, as YAML.")
]
_State: TypeAlias = Annotated[
    str | None, typer.Option(metavar="DIR", help="Keep the authority and its keys in this folder; with --kubernetes a Secret does.")
]
_PluggedIn: TypeAlias = Annotated[
    str | None, typer.Option("--ca-certs", metavar="DIR", help="Sign by the authority of these files: ca-cert.pem, … or tls.crt, …")
]
_XdsTls: TypeAlias = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where proxies connect by TLS and show a token.")]
_XdsMtls: TypeAlias = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where proxies connect by TLS and show a certificate.")]
_Names: TypeAlias = Annotated[
    list[str] | None, typer.Option("--name", metavar="DNS", help="A name by which proxies call us. Can be given several times.")
]
_LeafTtl: TypeAlias = Annotated[
    float, typer.Option("--leaf-ttl", metavar="SECONDS", min=10, max=7_776_000, help="How long certificates of workloads are good.")
]
_Grace: TypeAlias = Annotated[
    float,
    typer.Option(
        "--registration-grace", metavar="SECONDS", min=0, help="How long a virtual machine stays registered when its stream has ended."
    ),
]
_Interval: TypeAlias = Annotated[
    float, typer.Option("--load-interval", metavar="SECONDS", min=1, help="How often proxies with an identity report their traffic.")
]
_MaxAge: TypeAlias = Annotated[
    float, typer.Option("--max-connection-age", metavar="SECONDS", min=10, help="How long a proxy is believed to be who it said it is.")
]
_Insecure: TypeAlias = Annotated[bool, typer.Option("--insecure", help="Let --xds, which is in the clear, listen beyond this machine.")]
_Xds: TypeAlias = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where proxies connect in the clear, and get nothing secret; port 0 takes any free one.")
]
_Drills: TypeAlias = Annotated[str | None, typer.Option(metavar="SOCKET", help="A Unix socket at which drills are run, by this user.")]
_Admin: TypeAlias = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the admin API listens.")]
_Health: TypeAlias = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Also serve /healthz, /readyz and /metrics here, and nothing else.")
]
_AdminHosts: TypeAlias = Annotated[
    list[str] | None, typer.Option("--admin-host", metavar="NAME", help="A host name by which the admin API may be called.")
]
_HoldUnknown: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=600,
        help="How long a rule that is in effect stays as it was when its new version names a host, port or subset that is not there. "
        "0: it is answered 503 at once.",
    ),
]
_EnvoyFilters: TypeAlias = Annotated[
    EnvoyFilters, typer.Option("--envoy-filters", help="Whose EnvoyFilters have an effect: nobody's, the root namespace's, or everybody's.")
]
_Format: TypeAlias = Annotated[LogFormat, typer.Option(help="How log lines look, on standard error.")]
_Level: TypeAlias = Annotated[LogLevel, typer.Option(help="From which level on log lines are written.")]
_Output: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="How the addresses are printed.")]


def serve(
    files: _Folders = None,
    kubernetes: _Kubernetes = False,
    replica: _Replica = False,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
    namespace: _Namespaces = None,
    watch_timeout: _WatchTimeout = 120.0,
    consul: consul_options.Url = None,
    consul_token_file: consul_options.TokenFile = None,
    consul_ca: consul_options.Roots = None,
    consul_cert: consul_options.Certificate = None,
    consul_key: consul_options.PrivateKey = None,
    consul_server_name: consul_options.ServerName = None,
    consul_datacenter: consul_options.Datacenter = None,
    consul_namespace: consul_options.Namespace = "consul",
    consul_domain: consul_options.Domain = "consul",
    consul_tag: consul_options.Tags = None,
    consul_service: consul_options.Names = None,
    consul_port: consul_options.Port = None,
    consul_stale: consul_options.Stale = False,
    etcd: etcd_options.Urls = None,
    etcd_prefix: etcd_options.Prefix = None,
    etcd_user: etcd_options.User = None,
    etcd_password_file: etcd_options.PasswordFile = None,
    etcd_ca: etcd_options.Roots = None,
    etcd_cert: etcd_options.Certificate = None,
    etcd_key: etcd_options.PrivateKey = None,
    etcd_server_name: etcd_options.ServerName = None,
    etcd_namespace: etcd_options.Namespace = "etcd",
    etcd_domain: etcd_options.Domain = "etcd",
    etcd_port: etcd_options.Port = None,
    sync_timeout: SyncTimeout = 30,
    webhook: _Webhook = None,
    injection: _Injection = None,
    xds: _Xds = "127.0.0.1:15010",
    insecure: _Insecure = False,
    xds_tls: _XdsTls = None,
    xds_mtls: _XdsMtls = None,
    state: _State = None,
    ca_certs: _PluggedIn = None,
    name: _Names = None,
    leaf_ttl: _LeafTtl = 86_400,
    max_connection_age: _MaxAge = 1800,
    registration_grace: _Grace = 10,
    load_interval: _Interval = 10,
    hold_unknown: _HoldUnknown = 10,
    envoy_filters: _EnvoyFilters = EnvoyFilters.ROOT,
    jwks_allow: JwksAllow = None,
    jwks_roots: JwksRoots = None,
    jwks_refresh: JwksRefresh = 1200,
    wasm_allow: WasmAllow = None,
    wasm_roots: WasmRoots = None,
    modules: WasmServe = None,
    modules_at: WasmReached = None,
    admin: _Admin = "127.0.0.1:15014",
    health: _Health = None,
    drills: _Drills = None,
    admin_hosts: _AdminHosts = None,
    traces: Traces = None,
    log_format: _Format = LogFormat.TEXT,
    log_level: _Level = LogLevel.INFO,
    output: _Output = Output.TABLE,
) -> None:
    """Serve folders of manifests, a Kubernetes API server, a Consul, an etcd, or several of these, to every Envoy that connects.

    Ready when /readyz on the admin address answers 200. A save in a folder, or kubectl apply, reaches the proxies at once.

    For example:

      navarch serve --kubernetes --namespace shop

      navarch serve --files ./manifests --consul http://127.0.0.1:8500

      navarch serve --files ./manifests --state ./state --xds-tls 0.0.0.0:15012 --log-format json
    """
    cluster = _cluster(kubeconfig, context, namespace, webhook, watch_timeout, wanted=kubernetes, replica=replica)
    if injection and not (cluster and cluster.webhook):
        raise typer.BadParameter("--injection goes with --webhook")
    if injection and cluster:
        cluster = replace(cluster, injection=injection_settings(injection))
    consul_tls = (consul_ca, consul_cert, consul_key, consul_server_name)
    of_consul = consul_options.settings(
        (consul, consul_token_file, consul_datacenter, consul_port),
        consul_tls,
        (consul_namespace, consul_domain),
        (consul_tag, consul_service),
        stale=consul_stale,
    )
    etcd_tls = (etcd_ca, etcd_cert, etcd_key, etcd_server_name)
    of_etcd = etcd_options.settings(
        etcd, (etcd_prefix, etcd_port), etcd_tls, (etcd_user, etcd_password_file), (etcd_namespace, etcd_domain)
    )
    settings = Settings(
        files=_folders(files, alone=not (cluster or of_consul or of_etcd)),
        kubernetes=cluster,
        consul=of_consul,
        etcd=of_etcd,
        sync_timeout_s=sync_timeout,
        identity=_identity(xds_tls, xds_mtls, state, ca_certs, name, (leaf_ttl, max_connection_age), kubernetes=kubernetes),
        reports=ReportSettings(grace_s=registration_grace, load_interval_s=load_interval),
        jwks=JwksSettings(allow=allowed(jwks_allow, "--jwks-allow"), roots=jwks_roots, refresh_s=jwks_refresh),
        modules=module_settings(wasm_allow, wasm_roots, modules, modules_at, identified=bool(xds_tls or xds_mtls)),
        hold_unknown_s=hold_unknown,
        envoy_filters=envoy_filters,
        traces=trace_settings(traces, os.environ),
        xds=plaintext_address(xds, insecure=insecure),
        admin=address(admin, option="--admin"),
        health=address(health, option="--health") if health else None,
        drills=drills,
        admin_hosts=tuple(admin_hosts or ()),
    )
    run(settings, output, log_format, log_level)


def _folders(files: list[str] | None, *, alone: bool) -> tuple[str, ...]:
    if alone and not files:
        raise typer.BadParameter("expected --files DIR, --kubernetes, --consul URL or --etcd URL: there is nothing to serve")
    return tuple(dict.fromkeys(folder(path, option="--files") for path in files or ()))


def _cluster(
    kubeconfig: str | None,
    context: str | None,
    namespaces: list[str] | None,
    webhook: str | None,
    watch_timeout: float,
    *,
    wanted: bool,
    replica: bool,
) -> KubernetesSettings | None:
    if not wanted:
        if kubeconfig or context or namespaces or replica:
            raise typer.BadParameter("--kubeconfig, --context, --namespace and --replica go with --kubernetes")
        return None
    if webhook and not replica:
        raise typer.BadParameter("--webhook goes with --replica: only a replica keeps its certificate, and tells the API server of it")
    pod = os.environ.get("POD_NAME") or socket.gethostname()
    if replica and not _NAME.fullmatch(pod):
        raise typer.BadParameter(f"expected the name of a pod in POD_NAME (lower-case letters, digits, '-' and '.'), found {pod[:200]!r}")
    return KubernetesSettings(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(dict.fromkeys(namespaces or ())),
        webhook=address(webhook, option="--webhook") if webhook else None,
        watch_timeout_s=watch_timeout,
        replica=replica,
        pod=pod,
        system_namespace=os.environ.get("POD_NAMESPACE") or "navarch-system",
    )


def _identity(
    by_token: str | None,
    by_certificate: str | None,
    state: str | None,
    plugged_in: str | None,
    names: list[str] | None,
    seconds: tuple[float, float],
    *,
    kubernetes: bool,
) -> IdentitySettings | None:
    if not by_token and not by_certificate:
        return None
    if not state and not kubernetes:
        raise typer.BadParameter("expected --state DIR: without a Kubernetes API server, a folder keeps the keys")
    return IdentitySettings(
        state=state,
        ca_certs=folder(plugged_in, option="--ca-certs") if plugged_in else None,
        xds_tls=address(by_token, option="--xds-tls") if by_token else None,
        xds_mtls=address(by_certificate, option="--xds-mtls") if by_certificate else None,
        leaf_lifetime_s=seconds[0],
        connection_age_s=seconds[1],
        names=tuple(names or ()),
    )
