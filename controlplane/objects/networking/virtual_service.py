"""VirtualService: how requests to hosts are routed.

https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Base64Bytes, BeforeValidator, Field

from controlplane.model.keys import VIRTUAL_SERVICE, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import (
    EMPTY_MAP,
    Bool,
    Double,
    Duration,
    Host,
    Hosts,
    Int,
    Map,
    Model,
    Text,
    TextMap,
    Texts,
    UInt,
)

T = TypeVar("T")


def _without_nulls(value: object) -> object:
    return [item for item in value if item is not None] if isinstance(value, list) else value


# Nulls are passed over, as by Istio's validator; a null in any other list is an error.
Conditions = Annotated[tuple[T, ...], BeforeValidator(_without_nulls)]


class StringMatch(Model):
    """One of ``exact``, ``prefix`` and ``regex`` (RE2, the whole string)."""

    exact: Text | None = None
    prefix: Text | None = None
    regex: Text | None = None


class PortSelector(Model):
    """A port by its number."""

    number: UInt = 0


class Destination(Model):
    """Where requests go: a service, perhaps a subset of its endpoints, and its port."""

    host: Host
    subset: Text = ""
    port: PortSelector | None = None


class HeaderOperations(Model):
    """Headers to set, to add and to remove."""

    set: TextMap = EMPTY_MAP
    add: TextMap = EMPTY_MAP
    remove: Texts = ()


class Headers(Model):
    """Operations on the headers of requests and of responses."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPMatchRequest(Model):
    """Conditions on a request that must all hold."""

    name: Text = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: Map[StringMatch] = EMPTY_MAP
    port: UInt = 0
    source_labels: TextMap = EMPTY_MAP
    gateways: Texts = ()
    query_params: Map[StringMatch] = EMPTY_MAP
    ignore_uri_case: Bool = False
    without_headers: Map[StringMatch] = EMPTY_MAP
    source_namespace: Text = ""
    stat_prefix: Text = ""


class HTTPRouteDestination(Model):
    """One destination of a route with its share of the requests."""

    destination: Destination
    weight: Int = 0
    headers: Headers | None = None


class HTTPRedirect(Model):
    """An answer that sends the client elsewhere."""

    uri: Text = ""
    authority: Text = ""
    port: UInt | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: Text = ""
    redirect_code: UInt = 0
    prefix_rewrite: Text = ""


class HTTPBody(Model):
    """A body, as a string or as base64."""

    string: Text | None = None
    bytes: Base64Bytes | None = None


class HTTPDirectResponse(Model):
    """A fixed answer."""

    status: UInt
    body: HTTPBody | None = None


class Delegate(Model):
    """A VirtualService that has the rest of the routes."""

    name: Text = ""
    namespace: Text = ""


class RegexRewrite(Model):
    """A substitution in the path, by RE2."""

    match: Text = ""
    rewrite: Text = ""


class HTTPRewrite(Model):
    """What the request's path and authority become before it is forwarded."""

    uri: Text = ""
    authority: Text = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Model):
    """How often, when and where a failed request is tried again."""

    attempts: Int = 0
    per_try_timeout: Duration | None = None
    retry_on: Text = ""
    retry_remote_localities: Bool | None = None
    retry_ignore_previous_hosts: Bool | None = None
    backoff: Duration | None = None


class Percent(Model):
    """A share of requests in per cent."""

    value: Double = 0.0


class Delay(Model):
    """A wait before requests are forwarded."""

    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percent: Int = 0
    percentage: Percent | None = None


class Abort(Model):
    """An answer instead of forwarding."""

    http_status: Int | None = None
    grpc_status: Text | None = None
    http2_error: Text | None = Field(default=None, alias="http2Error")
    percentage: Percent | None = None


class HTTPFaultInjection(Model):
    """Faults to inject."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Model):
    """A destination that gets a copy of requests."""

    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Model):
    """Cross-origin resource sharing."""

    allow_origin: Texts = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: Texts = ()
    allow_headers: Texts = ()
    expose_headers: Texts = ()
    max_age: Duration | None = None
    allow_credentials: Bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class HTTPRoute(Model):
    """What to do with requests that one of ``match`` describes; without any, with all."""

    name: Text = ""
    match: Conditions[HTTPMatchRequest] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: UInt | None = None
    deprecated_mirror_percent: UInt | None = Field(default=None, alias="mirror_percent")
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class RouteDestination(Model):
    """One destination of connections with its share of them."""

    destination: Destination
    weight: Int = 0


class ConnectionMatch(Model):
    """Conditions on a connection."""

    destination_subnets: Texts = ()
    port: UInt = 0
    source_labels: TextMap = EMPTY_MAP
    gateways: Texts = ()
    source_namespace: Text = ""


class L4MatchAttributes(ConnectionMatch):
    """Conditions on a TCP connection."""

    source_subnet: Text = ""


class TLSMatchAttributes(ConnectionMatch):
    """Conditions on a TLS connection that is not terminated."""

    sni_hosts: Hosts


class TCPRoute(Model):
    """Where connections go."""

    match: Conditions[L4MatchAttributes] = ()
    route: tuple[RouteDestination, ...] = ()


class TLSRoute(Model):
    """Where TLS connections go."""

    match: Conditions[TLSMatchAttributes]
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Model):
    """The routes of some hosts."""

    hosts: Hosts = ()
    gateways: Texts = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: Texts = ()


class VirtualService(KubernetesObject):
    """How requests to hosts are routed."""

    group_kind: ClassVar[GroupKind] = VIRTUAL_SERVICE

    spec: Annotated[VirtualServiceSpec, Field()] = VirtualServiceSpec()
