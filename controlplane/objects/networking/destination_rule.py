"""DestinationRule: what happens to requests once they are routed.

https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import DESTINATION_RULE, GroupKind
from controlplane.objects.networking.virtual_service import PortSelector
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import (
    EMPTY_MAP,
    Bool,
    Double,
    Duration,
    DurationOrZero,
    Host,
    Int,
    Long,
    Map,
    Model,
    Text,
    TextMap,
    Texts,
    UInt,
    Unsupported,
)


class CookieAttribute(Model):
    """An attribute of a cookie that we set."""

    name: Text
    value: Text = ""


class HTTPCookie(Model):
    """A cookie to hash by, made where it is missing and ``ttl`` is set."""

    name: Text
    path: Text = ""
    ttl: DurationOrZero | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Model):
    """A ring-hash load balancer."""

    minimum_ring_size: Long = 0


class MagLev(Model):
    """A Maglev load balancer."""

    table_size: Long = 0


class ConsistentHashLB(Model):
    """What requests are hashed by, so that equal ones go to the same endpoint."""

    http_header_name: Text | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: Bool | None = None
    http_query_parameter_name: Text | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: Long = 0


class Distribute(Model):
    """Shares of the traffic of one locality."""

    from_: Text = Field(default="", alias="from")
    to: Map[UInt] = EMPTY_MAP


class Failover(Model):
    """Where the traffic of one region goes when it has no endpoints."""

    from_: Text = Field(default="", alias="from")
    to: Text = ""


class LocalityLoadBalancerSetting(Model):
    """How localities share traffic."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: Texts = ()
    enabled: Bool | None = None


class ZoneAwareSetting(Model):
    """How zones share traffic."""

    enabled: Bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: Texts = ()
    min_cluster_size: Annotated[UInt, Field(ge=1)] | None = None


class Warmup(Model):
    """How a new endpoint comes to its full share."""

    duration: Duration
    minimum_percent: Annotated[Double, Field(ge=0, le=100)] | None = None
    aggression: Annotated[Double, Field(ge=0)] | None = None


class LoadBalancerSettings(Model):
    """How an endpoint is chosen."""

    simple: Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"] | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: Unsupported[LocalityLoadBalancerSetting | None] = None
    zone_aware_lb_setting: Unsupported[ZoneAwareSetting | None] = None
    warmup_duration_secs: Unsupported[Duration | None] = None
    warmup: Unsupported[Warmup | None] = None


class TcpKeepalive(Model):
    """TCP keep-alive probes."""

    probes: UInt | None = None
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Model):
    """Limits on connections."""

    max_connections: Int = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: DurationOrZero | None = None


class Http2KeepAlive(Model):
    """HTTP/2 pings on idle connections."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Model):
    """Limits on requests."""

    http1_max_pending_requests: Int = 0
    http2_max_requests: Int = 0
    max_requests_per_connection: Int = 0
    max_retries: Int = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    use_client_protocol: Bool = False
    max_concurrent_streams: Int = 0
    http2_keep_alive: Http2KeepAlive | None = None


class ConnectionPoolSettings(Model):
    """Limits on connections and requests to a service."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Model):
    """When an endpoint that fails is left out, and for how long."""

    split_external_local_origin_errors: Bool = False
    consecutive_local_origin_failures: UInt | None = None
    consecutive_gateway_errors: UInt | None = None
    consecutive5xx_errors: UInt | None = Field(default=None, alias="consecutive5xxErrors")
    consecutive_errors: Int = 0
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int = 0
    min_health_percent: Int = 0
    outlier_detection_http_error_codes: Unsupported[tuple[Annotated[UInt, Field(ge=100, le=599)], ...]] = ()


class ClientTLSSettings(Model):
    """TLS to a service."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    client_certificate: Text = ""
    private_key: Text = ""
    ca_certificates: Text = ""
    credential_name: Text = ""
    subject_alt_names: Texts = ()
    sni: Text = ""
    insecure_skip_verify: Bool | None = None
    ca_crl: Text = ""


class PortTrafficPolicy(Model):
    """The policy of one port, in place of the whole service's."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Model):
    """A tunnel through a proxy."""

    protocol: Text = ""
    target_host: Text
    target_port: UInt


class ProxyProtocol(Model):
    """The PROXY protocol's version."""

    version: Literal["V1", "V2"] = "V1"


class RetryBudget(Model):
    """How many retries there may be at a time, as a share of the requests."""

    percent: Annotated[Double, Field(ge=0, le=100)] | None = None
    min_retry_concurrency: UInt = 0
    budget_interval: DurationOrZero | None = None


class TrafficPolicy(Model):
    """The policy of a service or of a subset."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Field(max_length=4096)] = ()
    tunnel: Unsupported[TunnelSettings | None] = None
    proxy_protocol: Unsupported[ProxyProtocol | None] = None
    retry_budget: Unsupported[RetryBudget | None] = None


class Subset(Model):
    """A named part of the endpoints, by their labels."""

    name: Text
    labels: TextMap = EMPTY_MAP
    traffic_policy: TrafficPolicy | None = None


class MatchLabels(Model):
    """Workloads by their labels."""

    match_labels: Annotated[Map[Annotated[Text, Field(max_length=63)]], Field(max_length=4096)] = EMPTY_MAP


class DestinationRuleSpec(Model):
    """The policies of one host."""

    host: Host
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: Texts = ()
    workload_selector: MatchLabels | None = None


class DestinationRule(KubernetesObject):
    """What happens to requests to a host once they are routed."""

    group_kind: ClassVar[GroupKind] = DESTINATION_RULE

    spec: DestinationRuleSpec
