"""Which of Envoy's extensions our translation can name, and which of them a proxy's build lacks, by what its node says.

An Envoy refuses a whole listener, cluster or route table for one extension that it does not know. Which it has, it says in
``Node.extensions``, with those that ``--disable-extensions`` has switched off. What becomes of a message where one is missing is decided in
``translate/without_extensions.py``.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#envoy-v3-api-msg-config-core-v3-extension
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from envoy.config.core.v3.base_pb2 import Node
from envoy.type.v3.semantic_version_pb2 import SemanticVersion

_PREFIX = "envoy.extensions."
NOTHING_LACKING: frozenset[str] = frozenset()


class Extension(NamedTuple):
    """An extension by its ``name``, and the messages that configure it; without any it is named by a field of other messages.

    An ``optional`` filter may be left out of the filters that it stands among: requests and connections go on without what it does. Of any
    other the purpose is to decide about them, so that nothing passes where it is missing. Stock Envoys have it ``since`` a version.
    """

    name: str
    messages: tuple[str, ...] = ()
    optional: bool = False
    since: tuple[int, int] = (1, 36)


def _extension(name: str, *messages: str, optional: bool = False, since: tuple[int, int] = (1, 36)) -> Extension:
    return Extension(name, tuple(_PREFIX + message for message in messages), optional, since)


EXTENSIONS = (
    _extension("envoy.access_loggers.extension_filters.cel", "access_loggers.filters.cel.v3.ExpressionFilter"),
    _extension("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog"),
    _extension("envoy.access_loggers.http_grpc", "access_loggers.grpc.v3.HttpGrpcAccessLogConfig"),
    _extension("envoy.access_loggers.open_telemetry", "access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"),
    _extension(
        "envoy.access_loggers.stats",
        "access_loggers.stats.v3.Config",
        "matching.actions.transform_stat.v3.TransformStat",  # what it can do, which no node lists
        since=(1, 37),
    ),
    _extension("envoy.access_loggers.stderr", "access_loggers.stream.v3.StderrAccessLog"),
    _extension("envoy.access_loggers.stdout", "access_loggers.stream.v3.StdoutAccessLog"),
    _extension("envoy.access_loggers.tcp_grpc", "access_loggers.grpc.v3.TcpGrpcAccessLogConfig"),
    _extension("envoy.access_loggers.wasm", "access_loggers.wasm.v3.WasmAccessLog"),
    _extension("envoy.filters.http.adaptive_concurrency", "filters.http.adaptive_concurrency.v3.AdaptiveConcurrency", optional=True),
    _extension("envoy.filters.http.cors", "filters.http.cors.v3.Cors", "filters.http.cors.v3.CorsPolicy", optional=True),
    _extension("envoy.filters.http.ext_authz", "filters.http.ext_authz.v3.ExtAuthz", "filters.http.ext_authz.v3.ExtAuthzPerRoute"),
    _extension("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", optional=True),
    _extension("envoy.filters.http.header_to_metadata", "filters.http.header_to_metadata.v3.Config"),
    _extension("envoy.filters.http.jwt_authn", "filters.http.jwt_authn.v3.JwtAuthentication", "filters.http.jwt_authn.v3.PerRouteConfig"),
    _extension("envoy.filters.http.local_ratelimit", "filters.http.local_ratelimit.v3.LocalRateLimit", optional=True),
    _extension("envoy.filters.http.lua", "filters.http.lua.v3.Lua", "filters.http.lua.v3.LuaPerRoute"),
    _extension("envoy.filters.http.match_delegate", "common.matching.v3.ExtensionWithMatcher", optional=True),
    _extension(
        "envoy.filters.http.ratelimit",
        "filters.http.ratelimit.v3.RateLimit",
        "filters.http.ratelimit.v3.RateLimitPerRoute",
        optional=True,
    ),
    _extension("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", "filters.http.rbac.v3.RBACPerRoute"),
    _extension("envoy.filters.http.router", "filters.http.router.v3.Router"),
    _extension("envoy.filters.http.set_filter_state", "filters.http.set_filter_state.v3.Config"),
    _extension("envoy.filters.http.set_metadata", "filters.http.set_metadata.v3.Config", optional=True),
    _extension("envoy.filters.http.wasm", "filters.http.wasm.v3.Wasm"),
    _extension("envoy.filters.listener.http_inspector", "filters.listener.http_inspector.v3.HttpInspector"),
    _extension("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst"),
    _extension("envoy.filters.listener.original_src", "filters.listener.original_src.v3.OriginalSrc"),
    _extension("envoy.filters.listener.proxy_protocol", "filters.listener.proxy_protocol.v3.ProxyProtocol"),
    _extension("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector"),
    _extension("envoy.filters.network.echo", "filters.network.echo.v3.Echo"),
    _extension("envoy.filters.network.ext_authz", "filters.network.ext_authz.v3.ExtAuthz"),
    _extension("envoy.filters.network.http_connection_manager", "filters.network.http_connection_manager.v3.HttpConnectionManager"),
    _extension("envoy.filters.network.local_ratelimit", "filters.network.local_ratelimit.v3.LocalRateLimit", optional=True),
    _extension("envoy.filters.network.rbac", "filters.network.rbac.v3.RBAC"),
    _extension("envoy.filters.network.set_filter_state", "filters.network.set_filter_state.v3.Config", optional=True),
    _extension("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy"),
    _extension("envoy.filters.network.wasm", "filters.network.wasm.v3.Wasm"),
    _extension("envoy.formatter.cel", "formatter.cel.v3.Cel"),
    _extension("envoy.formatter.metadata", "formatter.metadata.v3.Metadata"),
    _extension("envoy.formatter.req_without_query", "formatter.req_without_query.v3.ReqWithoutQuery"),
    _extension("envoy.http.early_header_mutation.header_mutation", "http.early_header_mutation.header_mutation.v3.HeaderMutation"),
    _extension("envoy.matching.inputs.request_headers"),
    _extension("envoy.network.dns_resolver.cares", "network.dns_resolver.cares.v3.CaresDnsResolverConfig"),
    _extension("envoy.rate_limit_descriptors.expr", "rate_limit_descriptors.expr.v3.Descriptor"),
    _extension("envoy.request_id.uuid", "request_id.uuid.v3.UuidRequestIdConfig"),
    _extension("envoy.retry_host_predicates.previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate"),
    _extension("envoy.retry_priorities.previous_priorities", "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"),
    Extension("envoy.tracers.opentelemetry", ("envoy.config.trace.v3.OpenTelemetryConfig",)),
    _extension(
        "envoy.tracers.opentelemetry.resource_detectors.environment",
        "tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig",
    ),
    Extension("envoy.tracers.zipkin", ("envoy.config.trace.v3.ZipkinConfig",)),
    _extension("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer"),
    _extension(
        "envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", "transport_sockets.tls.v3.UpstreamTlsContext"
    ),
    _extension("envoy.upstreams.http.http_protocol_options", "upstreams.http.v3.HttpProtocolOptions"),
    Extension("envoy.wasm.runtime.v8"),
    _extension("stat_tag_value_input", "matching.common_inputs.stats.v3.StatTagValueInput", since=(1, 38)),
)
# The messages of filters that may be left out.
OPTIONAL_MESSAGES = frozenset(message for extension in EXTENSIONS if extension.optional for message in extension.messages)
_BY_NAME = {extension.name: extension for extension in EXTENSIONS}


@cache
def lacking_names(lacking: frozenset[str]) -> Mapping[str, str]:
    """Return by what names messages refer to the extensions ``lacking``, each with the name of its extension."""
    return {message: name for name in sorted(lacking) for message in (_BY_NAME[name].messages or (name,))}


def lacking_extensions(node: Node) -> frozenset[str]:
    """Return the names of those of ``EXTENSIONS`` that the build of ``node`` lacks, or has switched off.

    A node that says nothing of extensions is taken for a stock Envoy of its version.
    """
    if not node.extensions:
        return _lacking_of_stock(node.user_agent_build_version.version)
    present: set[str] = set()
    disabled: set[str] = set()
    for extension in node.extensions:
        (disabled if extension.disabled else present).add(extension.name)
    lacking = (_BY_NAME.keys() - present) | (_BY_NAME.keys() & disabled)
    if not lacking:
        return NOTHING_LACKING
    # A build may call an extension otherwise: it goes by the message.
    known = {message for extension in node.extensions if not extension.disabled for message in extension.type_urls}
    return frozenset(name for name in lacking if name in disabled or known.isdisjoint(_BY_NAME[name].messages))


def _lacking_of_stock(version: SemanticVersion) -> frozenset[str]:
    said = (version.major_number, version.minor_number)
    return frozenset(extension.name for extension in EXTENSIONS if said < extension.since) if version.major_number else NOTHING_LACKING
