"""What the operator chose, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EnvoyFilters(StrEnum):
    """Which EnvoyFilters have an effect."""

    OFF = "off"
    ROOT = "root"  # those of the root namespace: whoever may write there may do everything to the mesh anyway
    ALL = "all"  # those of every namespace, on the proxies of that namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionSettings:
    """Which pods get a proxy, and what they get."""

    proxy_image: str = "envoyproxy/envoy:v1.40.0"  # stock Envoy, of any kind: no shell is needed in it
    init_image: str | None = None  # has `navarch iptables`; None: the control plane's own
    control_plane: str = "navarch.navarch-system.svc:15012"  # where proxies find it, as ``host:port``
    revision: str = "default"  # which control plane of several: namespaces and pods name one by istio.io/rev
    auto_inject: bool = True  # pods of a namespace that wants it get a proxy without asking
    never_inject: tuple[str, ...] = ()  # selectors, as kubectl has them: pods that get none unless they ask
    always_inject: tuple[str, ...] = ()  # pods that get one where auto_inject is off
    native_sidecars: bool | None = None  # None: where the cluster has them
    cni: bool = False  # something on the nodes redirects traffic: no init container with privileges is needed
    node_addresses: tuple[str, ...] = ()  # from which the kubelet probes, besides the node's own
    cluster: str = "Kubernetes"  # the cluster name in proxies' node metadata
    audience: str = "istio-ca"  # of their tokens


_INJECTION = InjectionSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Which API server is a source, and as what the control plane runs in its cluster."""

    kubeconfig: str | None = None  # None: the pod's service account, or what kubectl takes
    context: str | None = None
    namespaces: tuple[str, ...] = ()  # none: all
    watch_timeout_s: float = 120.0  # after which a silent watch is given up
    replica: bool = False  # whether it writes there, and may lead; else it only observes
    pod: str = "navarch"  # the name of this replica
    webhook: str | None = None  # where webhooks are served, by HTTPS; None: not served
    settle_s: float = 90.0  # until a ConfigMap has reached the pods that mount it
    system_namespace: str = "navarch-system"  # the namespace that the control plane keeps its own things in
    injection: InjectionSettings = _INJECTION  # of what the webhook puts into pods


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """How workloads get identities, and where proxies that have one connect; addresses are ``host:port``."""

    state: str | None = None  # the folder that the authority is kept in; None: a Secret of the cluster
    ca_certs: str | None = None  # the folder of a plugged-in authority, in the layout of Istio's ``cacerts``
    xds_tls: str | None = None  # where proxies authenticate by tokens
    xds_mtls: str | None = None  # where proxies authenticate by client certificates
    leaf_lifetime_s: float = 86_400.0
    connection_age_s: float = 1800.0  # after which a proxy has to authenticate again
    names: tuple[str, ...] = ()  # by which proxies call the control plane, besides localhost and istiod's
    audience: str = "istio-ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksSettings:
    """Where keys of token issuers are fetched from, besides public addresses by HTTPS."""

    allow: tuple[str, ...] = ()  # CIDRs, IP addresses, hosts and *.suffixes; after http://, without TLS too
    roots: str | None = None  # a PEM file of authorities that are trusted besides the system's
    refresh_s: float = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSettings:
    """Where modules of plugins are fetched from, besides public addresses by HTTPS."""

    allow: tuple[str, ...] = ()  # as that of JwksSettings
    roots: str | None = None  # likewise
    address: str | None = None  # where modules are served that are too large to go with the configuration; None: nowhere
    reached_at: str = ""  # by proxies, as HOST:PORT; empty: at that address


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """What proxies that have an identity report."""

    grace_s: float = 10.0  # for which a workload outside Kubernetes stays registered when its stream has ended
    load_interval_s: float = 10.0  # between two reports of a proxy's traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTraceSettings:
    """Where the control plane sends traces of its own."""

    endpoint: str  # the URL that takes OTLP by HTTP
    headers: tuple[tuple[str, str], ...] = ()  # of each request
    timeout_s: float = 10.0
    roots: str | None = None  # a PEM file of the authorities that are trusted; None: the system's


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTls:
    """How a registry is known, and by what it knows us: PEM files."""

    roots: str | None = None  # None: the system's
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None  # that its certificate says; None: the host of its URL

    @property
    def files(self) -> tuple[str | None, ...]:
        """Return the paths of the files, in a fixed order."""
        return (self.roots, self.certificate, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSettings:
    """Which services of a Consul there are in the mesh, and as what."""

    url: str
    tls: RegistryTls = RegistryTls()
    token_file: str | None = None
    datacenter: str | None = None  # None: the one of the agent
    namespace: str = "consul"  # in the mesh
    domain: str = "consul"  # below which Consul's DNS has them
    tags: tuple[str, ...] = ()  # services with one of these; none: whatever their tags
    names: tuple[str, ...] = ()  # and with a name like one of these patterns; none: whatever their name
    port: int | None = None  # of services whose instances do not say theirs
    stale: bool = False  # any server may answer, not the leader alone


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """Which keys of an etcd are services of the mesh, and as what."""

    urls: tuple[str, ...]  # of the members of one cluster
    prefix: str
    tls: RegistryTls = RegistryTls()
    user: str | None = None
    password_file: str | None = None
    namespace: str = "etcd"  # in the mesh
    domain: str = "etcd"  # host names end in it
    port: int | None = None  # of services whose instances do not say theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one control plane runs; addresses are ``host:port``, and port 0 is any free one."""

    files: tuple[str, ...] = ()  # folders of manifests
    kubernetes: KubernetesSettings | None = None
    consul: ConsulSettings | None = None
    etcd: EtcdSettings | None = None
    sync_timeout_s: float = 30.0  # after which nobody waits any longer for a registry that has not been read
    identity: IdentitySettings | None = None
    jwks: JwksSettings = JwksSettings()
    modules: ModuleSettings = ModuleSettings()
    reports: ReportSettings = ReportSettings()
    traces: OwnTraceSettings | None = None  # None: nothing is traced
    xds: str = "127.0.0.1:15010"  # plaintext: proxies have no identity there
    admin: str = "127.0.0.1:15014"
    health: str | None = None  # for a kubelet and Prometheus; None: not served
    drills: str | None = None  # the Unix socket at which `navarch drill` asks; None: nobody can
    admin_hosts: tuple[str, ...] = ()  # names by which the admin API may be called, besides those of the loopback interface
    hold_unknown_s: float = 10.0  # for which a published rule stays as it was when its new version leads to what is not there
    envoy_filters: EnvoyFilters = EnvoyFilters.ROOT  # whose have an effect
    grace_s: float = 5.0  # within which streams end at the stop

    @property
    def authenticates(self) -> bool:
        """Return whether there is an address where proxies have an identity; most connect there then."""
        return self.identity is not None and bool(self.identity.xds_tls or self.identity.xds_mtls)
