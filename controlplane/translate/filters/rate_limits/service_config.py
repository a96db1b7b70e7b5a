"""What Envoy's rate limit service is told to count: the descriptors that filters make, each with its limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controlplane.envoy.ratelimit_config_pb2 import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    RateLimitConfig,
    RateLimitDescriptor,
    RateLimitPolicy,
    RateLimitUnit,
)
from controlplane.ir.limits.rate_limits import Bucket, LimitRule
from controlplane.translate.filters.rate_limits.descriptors import RULE, value_key, value_of

_UNITS: Mapping[int, RateLimitUnit] = {1_000: SECOND, 60_000: MINUTE, 3_600_000: HOUR, 86_400_000: DAY}  # by their milliseconds


def service_config(domain: str, rules: Iterable[LimitRule]) -> RateLimitConfig:
    """Return the limits of ``rules``, which count in ``domain``."""
    return RateLimitConfig(name=domain, domain=domain, descriptors=[_descriptor(rule) for rule in rules])


def file_form(config: RateLimitConfig) -> Mapping[str, object]:
    """Return ``config`` as the service reads it from a file: https://github.com/envoyproxy/ratelimit#configuration."""
    return {"domain": config.domain, "descriptors": [_in_file(descriptor) for descriptor in config.descriptors]}


def _in_file(descriptor: RateLimitDescriptor) -> Mapping[str, object]:
    form: dict[str, object] = {"key": descriptor.key}
    if descriptor.value:
        form["value"] = descriptor.value
    if descriptor.HasField("rate_limit"):
        unit = RateLimitUnit.Name(descriptor.rate_limit.unit).lower()
        form["rate_limit"] = {"unit": unit, "requests_per_unit": descriptor.rate_limit.requests_per_unit}
    if descriptor.descriptors:
        form["descriptors"] = [_in_file(below) for below in descriptor.descriptors]
    return form


def _descriptor(rule: LimitRule) -> RateLimitDescriptor:
    if rule.by is None:
        return RateLimitDescriptor(key=RULE, value=rule.name, rate_limit=_policy(rule.bucket))
    return RateLimitDescriptor(key=RULE, value=rule.name, descriptors=_values(rule))


def _values(rule: LimitRule) -> Iterator[RateLimitDescriptor]:
    if rule.by is not None:
        key = value_key(rule.by)
        for value, bucket in rule.overrides:
            yield RateLimitDescriptor(key=key, value=value_of(rule.by, value), rate_limit=_policy(bucket))
        yield RateLimitDescriptor(key=key, rate_limit=_policy(rule.bucket))


def _policy(bucket: Bucket) -> RateLimitPolicy:
    return RateLimitPolicy(unit=_UNITS[bucket.per_ms], requests_per_unit=bucket.requests)
