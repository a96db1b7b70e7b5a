"""The filters that count requests: one for each object that limits them, after those that decide who may do what.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rate_limit_filter
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import HeaderValueOption, RuntimeFractionalPercent
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import LocalRateLimitDescriptor, XRateLimitHeadersRFCVersion
from envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from envoy.extensions.filters.http.ratelimit.v3.rate_limit_pb2 import RateLimit
from envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from envoy.type.v3.token_bucket_pb2 import TokenBucket
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from xds.type.v3.typed_struct_pb2 import TypedStruct

from controlplane.envoy.packing import TYPED_STRUCT, of_typed_struct, typed_struct
from controlplane.ir.limits.rate_limits import Bucket, GlobalCount, LimitRule, LocalCount, RequestLimits
from controlplane.translate.addresses import ALWAYS, fraction, milliseconds
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.filters.rate_limits.descriptors import RULE, actions_of, value_key, value_of

_UNAVAILABLE = StatusCode.ServiceUnavailable


def _local(chain: Chain) -> Iterator[Message]:
    for limits in chain.limits:
        if isinstance(limits.count, LocalCount):
            yield _with_retry_after(limits, _local_filter(limits, limits.count))


def _local_filter(limits: RequestLimits, count: LocalCount) -> LocalRateLimit:
    descriptors = [descriptor for rule in limits.rules for descriptor in _descriptors(rule)]
    message = LocalRateLimit(
        stat_prefix=_stat_prefix(limits),
        status=_status(limits.response.status),
        filter_enabled=_share(ALWAYS),
        filter_enforced=_share(ALWAYS if limits.enforced else 0),
        response_headers_to_add=_headers(limits),
        descriptors=descriptors,
        rate_limits=[actions_of(rule) for rule in limits.rules],
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors={"value": count.max_buckets},
    )
    if limits.response.limit_headers:
        message.enable_x_ratelimit_headers = XRateLimitHeadersRFCVersion.DRAFT_VERSION_03
    return message


def _descriptors(rule: LimitRule) -> Iterator[LocalRateLimitDescriptor]:
    entries = [{"key": RULE, "value": rule.name}]
    if rule.by is None:
        yield LocalRateLimitDescriptor(entries=entries, token_bucket=_bucket(rule.bucket))
        return
    key = value_key(rule.by)
    for value, bucket in rule.overrides:
        entry = {"key": key, "value": value_of(rule.by, value)}
        yield LocalRateLimitDescriptor(entries=[*entries, entry], token_bucket=_bucket(bucket))
    yield LocalRateLimitDescriptor(entries=[*entries, {"key": key}], token_bucket=_bucket(rule.bucket))


def _bucket(bucket: Bucket) -> TokenBucket:
    return TokenBucket(max_tokens=bucket.burst, tokens_per_fill={"value": bucket.requests}, fill_interval=milliseconds(bucket.per_ms))


def _global(chain: Chain) -> Iterator[Message]:
    for limits in chain.limits:
        if isinstance(limits.count, GlobalCount):
            yield _with_retry_after(limits, _global_filter(limits, limits.count))


def _global_filter(limits: RequestLimits, count: GlobalCount) -> RateLimit:
    message = RateLimit(
        domain=count.domain,
        stat_prefix=_stat_prefix(limits),
        timeout=milliseconds(count.timeout_ms),
        failure_mode_deny=count.closed,
        rate_limited_as_resource_exhausted=True,
        rate_limit_service={
            "grpc_service": {"envoy_grpc": {"cluster_name": count.cluster, "authority": count.host}},
            "transport_api_version": "V3",
        },
        rate_limited_status=_status(limits.response.status),
        response_headers_to_add=_headers(limits),
        rate_limits=[actions_of(rule) for rule in limits.rules],
    )
    if count.closed:
        message.status_on_error.code = _UNAVAILABLE
    if not limits.enforced:
        message.filter_enforced.CopyFrom(_share(0))
    if limits.response.limit_headers:
        message.enable_x_ratelimit_headers = RateLimit.DRAFT_VERSION_03
    return message


def _with_retry_after(limits: RequestLimits, message: LocalRateLimit | RateLimit) -> Message:
    """Return ``message`` with a field that Envoy has from 1.40 on, and our classes of its messages not yet; older ones pass over it."""
    if not limits.response.limit_headers:
        return message
    return typed_struct(message.DESCRIPTOR.full_name, {**MessageToDict(message), "enableRetryAfterHeader": True})


def _stat_prefix(limits: RequestLimits) -> str:
    return f"{limits.namespace}/{limits.name}".replace(".", "_")


def _share(per_million: int) -> RuntimeFractionalPercent:
    return RuntimeFractionalPercent(default_value=fraction(per_million))


def _headers(limits: RequestLimits) -> list[HeaderValueOption]:
    return [
        HeaderValueOption(header={"key": name, "value": value}, append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
        for name, value in limits.response.headers
    ]


def _status(code: int) -> HttpStatus:
    return HttpStatus(code=StatusCode.Name(code))


def rate_limit_of(config: AnyMessage) -> RateLimit:
    """Return what ``config``, of a filter that asks the rate limit service, says."""
    if config.type_url != TYPED_STRUCT:
        return RateLimit.FromString(config.value)
    message = of_typed_struct(TypedStruct.FromString(config.value))
    if not isinstance(message, RateLimit):
        raise TypeError(f"expected a RateLimit, found {type(message).__name__}")
    return message


LOCAL_RATELIMIT = HttpFilter("envoy.filters.http.local_ratelimit", _local)
RATELIMIT = HttpFilter("envoy.filters.http.ratelimit", _global)
