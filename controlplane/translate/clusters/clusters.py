"""Clusters: what a proxy connects to."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import CaresDnsResolverConfig

from controlplane.envoy.packing import StructFields, pack, struct
from controlplane.ir.clusters import NO_POLICY, ClusterPolicy, ConnectionPool, OutboundCluster
from controlplane.ir.listeners import InboundPort
from controlplane.ir.telemetry.metrics import ServiceNames
from controlplane.model import cluster_names
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.services import Resolution
from controlplane.model.telemetry.label_formats import METADATA
from controlplane.translate.addresses import ADDRESS_KEY, UNIX, ads, milliseconds, socket_address
from controlplane.translate.clusters.endpoints import load_assignment
from controlplane.translate.clusters.traffic_policy import apply_policy, speaks_http2, unlimited
from controlplane.translate.clusters.upstream_tls import apply_tls
from controlplane.translate.faults.chosen_endpoints import RemainingEndpoints, choose_among_remaining
from controlplane.translate.telemetry.names import service_names

BLACK_HOLE = cluster_names.BLACK_HOLE
PASSTHROUGH = "PassthroughCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
# They mark connections that the proxy itself makes to the application; iptables let them pass.
_OWN_SOURCE, _OWN_SOURCE_V6 = "127.0.0.6", "::6"
_DNS_REFRESH_MS = 60_000
# A proxy that starts listens when every name has been answered or given up: by Envoy's own timeouts and tries, 123 s after it has asked.
_DNS_TIMEOUT_S, _DNS_TRIES = 1, 2  # the second waits twice as long
_DNS_FAILED_MS = 2_000  # from which it is asked again less and less often, up to _DNS_REFRESH_MS


def outbound_cluster(outbound: OutboundCluster, remaining: RemainingEndpoints | None = None) -> Cluster:
    """Return the cluster of ``outbound``, of which a drill may ask for the ``remaining`` endpoints only."""
    cluster = _cluster(outbound.name, outbound.connect_timeout_ms)
    _locate(cluster, outbound)
    service = {"host": outbound.host, "name": outbound.service, "namespace": outbound.namespace}
    istio: StructFields = {
        "services": [service],
        "default_original_port": outbound.port.number,
        "subset": outbound.subset,
        "config": outbound.rule,
    }
    cluster.metadata.CopyFrom(_metadata({name: field for name, field in istio.items() if field}))
    if outbound.named:
        names = service_names(ServiceNames(outbound.host, outbound.service, outbound.namespace))
        cluster.metadata.filter_metadata[METADATA].update(dict(names))
    apply_policy(cluster, outbound.policy, outbound.port.protocol)
    if remaining is not None:
        choose_among_remaining(cluster, remaining.id)
    http2 = speaks_http2(outbound.policy.pool, outbound.port.protocol)
    apply_tls(cluster, outbound.policy.tls, outbound.peer, outbound.port.protocol, http2=http2)
    return cluster


def _choose_by_address(cluster: Cluster, *, or_any: bool) -> None:
    """Have a request or connection that names an address go there or nowhere; one that names none goes to any endpoint.

    ``or_any``: where no endpoint has the address, one of them is taken, as of a subset that a route has asked for.

    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
    """
    subsets, selector = cluster.lb_subset_config, Cluster.LbSubsetConfig.LbSubsetSelector
    subsets.fallback_policy = Cluster.LbSubsetConfig.ANY_ENDPOINT
    subsets.subset_selectors.add(
        keys=[ADDRESS_KEY],
        single_host_per_subset=True,
        fallback_policy=selector.ANY_ENDPOINT if or_any else selector.NO_FALLBACK,
    )


def _locate(cluster: Cluster, outbound: OutboundCluster) -> None:
    match outbound.resolution:
        case Resolution.ENDPOINTS:
            cluster.type = Cluster.EDS
            cluster.eds_cluster_config.eds_config.CopyFrom(ads())
            cluster.eds_cluster_config.service_name = outbound.name
            if outbound.by_address:
                _choose_by_address(cluster, or_any=bool(outbound.subset))
        case Resolution.PASSTHROUGH:
            _original_destination(cluster)
        case Resolution.DNS | Resolution.DNS_ROUND_ROBIN:
            # Envoy refuses a LOGICAL_DNS cluster of none, or of several endpoints.
            logical = outbound.resolution is Resolution.DNS_ROUND_ROBIN and len(outbound.endpoints) == 1
            cluster.type = Cluster.LOGICAL_DNS if logical else Cluster.STRICT_DNS
            named_in = outbound.namespace if outbound.named else ""
            cluster.load_assignment.CopyFrom(load_assignment(outbound.name, outbound.endpoints, named_in=named_in))
            cluster.dns_refresh_rate.CopyFrom(milliseconds(_DNS_REFRESH_MS))
            cluster.dns_failure_refresh_rate.base_interval.CopyFrom(milliseconds(_DNS_FAILED_MS))
            cluster.dns_failure_refresh_rate.max_interval.CopyFrom(milliseconds(_DNS_REFRESH_MS))
            cluster.respect_dns_ttl = True
            cluster.dns_jitter.CopyFrom(milliseconds(100))
            cluster.dns_lookup_family = Cluster.V4_PREFERRED
            cares = CaresDnsResolverConfig(
                udp_max_queries={"value": 100}, query_timeout_seconds={"value": _DNS_TIMEOUT_S}, query_tries={"value": _DNS_TRIES}
            )
            cluster.typed_dns_resolver_config.CopyFrom(
                TypedExtensionConfig(name="envoy.network.dns_resolver.cares", typed_config=pack(cares))
            )


def inbound_cluster(port: InboundPort, pool: ConnectionPool, *, connect_timeout_ms: int) -> Cluster:
    """Return the cluster that leads to the application at ``port``, within the limits of ``pool``."""
    cluster = _cluster(port.cluster, connect_timeout_ms)
    if port.endpoint is None:
        _captured(cluster, port.families, transparent=port.transparent)
    else:
        _at(cluster, port.endpoint)
    if port.service is not None:
        named = port.service
        cluster.metadata.CopyFrom(_metadata({"services": [{"host": named.host, "name": named.name, "namespace": named.namespace}]}))
    apply_policy(cluster, ClusterPolicy(pool=pool), port.protocol)
    return cluster


def beside(name: str, endpoint: str, protocol: Protocol, *, connect_timeout_ms: int) -> Cluster:
    """Return the cluster ``name`` that leads to ``endpoint`` beside the proxy, ``HOST:PORT`` or ``unix://PATH``."""
    cluster = _cluster(name, connect_timeout_ms)
    _at(cluster, endpoint)
    apply_policy(cluster, NO_POLICY, protocol)
    return cluster


def black_hole(*, named: bool = False) -> Cluster:
    """Return the cluster that leads nowhere; ``named``: who has it counts by its name."""
    cluster = Cluster(name=BLACK_HOLE, type=Cluster.STATIC, connect_timeout={"seconds": 10})
    if named:
        _name(cluster)
    return cluster


def pass_through(*, connect_timeout_ms: int, named: bool = False) -> Cluster:
    """Return the cluster that leads where the connection was going; ``named`` as in :func:`black_hole`."""
    cluster = _cluster(PASSTHROUGH, connect_timeout_ms)
    if named:
        _name(cluster)
    _original_destination(cluster)
    apply_policy(cluster, NO_POLICY, Protocol.UNSUPPORTED)
    return cluster


def inbound_pass_through(families: IpFamilies = IpFamilies.V4, *, transparent: bool, connect_timeout_ms: int) -> Cluster:
    """Return the cluster for connections of ``families`` to ports that no service names; ``transparent`` as in :class:`InboundPort`."""
    cluster = _cluster(INBOUND_PASSTHROUGH, connect_timeout_ms)
    _captured(cluster, families, transparent=transparent)
    apply_policy(cluster, NO_POLICY, Protocol.UNSUPPORTED)
    return cluster


def _captured(cluster: Cluster, families: IpFamilies, *, transparent: bool) -> None:
    """Have ``cluster`` lead where the connection was going. What is ``transparent`` has the source that its listener gives it."""
    _original_destination(cluster)
    if not transparent:
        bind = cluster.upstream_bind_config
        source = _OWN_SOURCE_V6 if families is IpFamilies.V6 else _OWN_SOURCE
        bind.source_address.CopyFrom(socket_address(source, 0).socket_address)
        if families is IpFamilies.BOTH:
            bind.extra_source_addresses.add().address.CopyFrom(socket_address(_OWN_SOURCE_V6, 0).socket_address)


def _cluster(name: str, connect_timeout_ms: int) -> Cluster:
    return Cluster(
        name=name,
        alt_stat_name=f"{name};",
        connect_timeout=milliseconds(connect_timeout_ms),
        circuit_breakers={"thresholds": [unlimited()]},
        common_lb_config={"healthy_panic_threshold": {}},
        lb_policy=Cluster.LEAST_REQUEST,
    )


def _at(cluster: Cluster, endpoint: str) -> None:
    host, _, number = endpoint.rpartition(":")
    address = socket_address(endpoint, 0) if endpoint.startswith(UNIX) else socket_address(host, int(number))
    cluster.type = Cluster.STATIC
    cluster.load_assignment.cluster_name = cluster.name
    cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.CopyFrom(address)


def _original_destination(cluster: Cluster) -> None:
    cluster.type = Cluster.ORIGINAL_DST
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED


def _name(cluster: Cluster) -> None:
    """Have ``cluster``, which is of no service, counted by its own name, as Istio has it."""
    cluster.metadata.filter_metadata[METADATA].update({"service_name": cluster.name})


def _metadata(fields: StructFields) -> Metadata:
    return Metadata(filter_metadata={"istio": struct(fields)})
