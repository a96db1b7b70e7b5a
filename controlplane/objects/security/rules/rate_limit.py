"""What RateLimits must keep to.

A rule counts all requests that its conditions do not exclude, so a condition that was left empty is an error, as a limit for everybody is
easily an outage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from controlplane.objects.security.rate_limit import (
    GlobalCounting,
    HeaderCondition,
    Limit,
    PerValue,
    RateLimit,
    RateLimitRule,
    RateLimitSpec,
    SourceCondition,
)
from controlplane.objects.security.rules.values import (
    method_reason,
    namespace_reason,
    never_matching,
    path_reason,
    principal_reason,
    star_reason,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import host_error, is_header, is_label
from controlplane.objects.types.selector_rules import WORKLOAD_TARGETS, check_attachment

GLOBAL_PERIODS_MS = {1_000: "SECOND", 60_000: "MINUTE", 3_600_000: "HOUR", 86_400_000: "DAY"}  # as Envoy's rate limit service calls them
_SHORTEST_MS = 50  # Envoy's, of a bucket: https://github.com/envoyproxy/envoy/blob/main/source/extensions/filters/common/local_ratelimit
_PSEUDO = ":"
# That Envoy has names for: https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/v3/http_status.proto
_STATUSES = frozenset((*range(400, 418), *range(421, 425), 426, 428, 429, 431, *range(500, 509), 510, 511))
NEVER_DECIDES = "NeverDecides"


def check(rate_limit: RateLimit) -> Iterator[Finding]:
    """Yield what is wrong with ``rate_limit``."""
    spec = rate_limit.spec
    yield from check_attachment(spec, WORKLOAD_TARGETS)
    yield from _counting(spec)
    if not spec.rules:
        yield rules.required("spec.rules", "at least one rule")
    if spec.response.status not in _STATUSES:
        yield rules.out_of_range("spec.response.status", "a status such as 429 or 503", spec.response.status)
    for index, header in enumerate(spec.response.headers):
        path = f"spec.response.headers[{index}]"
        yield from _header_name(f"{path}.name", header.name)
        yield from rules.single_line(path, value=header.value)
    for index, rule in enumerate(spec.rules):
        yield from _rule(f"spec.rules[{index}]", rule, spec.global_)
    yield from _names(spec.rules)
    yield from _idle_rules(spec)


def rule_name(rule: RateLimitRule, position: int) -> str:
    """Return what ``rule`` is called, which stands at ``position``."""
    return rule.name or str(position)


def _counting(spec: RateLimitSpec) -> Iterator[Finding]:
    if spec.global_ is None:
        return
    if spec.local is not None:
        yield rules.conflict("spec", "expected one of local and global")
    if error := host_error(spec.global_.service.host, wildcard=False):
        yield Finding("spec.global.service.host", rules.OUT_OF_RANGE, error)


def _names(all_rules: Sequence[RateLimitRule]) -> Iterator[Finding]:
    taken: set[str] = set()
    for index, rule in enumerate(all_rules):
        name, path = rule_name(rule, index), f"spec.rules[{index}].name"
        if rule.name and not is_label(rule.name):
            yield rules.out_of_range(path, "a name of letters, digits and '-'", rule.name)
        if name in taken:
            yield rules.conflict(path, f"expected a name of its own, found {name} again")
        taken.add(name)


def _rule(path: str, rule: RateLimitRule, counting: GlobalCounting | None) -> Iterator[Finding]:
    if rule.match is not None:
        if not rule.match.model_fields_set:
            yield rules.required(f"{path}.match", "a condition; without match the rule counts all requests")
        yield from _path_values(f"{path}.match", rule.match.paths)
        yield from never_matching(f"{path}.match", (("methods", rule.match.methods, method_reason),))
        for index, header in enumerate(rule.match.headers):
            yield from _header(f"{path}.match.headers[{index}]", header)
        if rule.match.source is not None:
            yield from _source(f"{path}.match.source", rule.match.source)
    if rule.per_value is not None:
        yield from _per_value(f"{path}.perValue", rule.per_value, counting)
    yield from _limit(f"{path}.limit", rule.limit, counting)


def _path_values(path: str, paths: Sequence[str]) -> Iterator[Finding]:
    for index, value in enumerate(paths):
        if "{" in value or "}" in value:
            yield rules.out_of_range(f"{path}.paths[{index}]", "a path, PREFIX*, *SUFFIX or *: there are no templates here", value)
    yield from never_matching(path, (("paths", [value for value in paths if "{" not in value], path_reason),))


def _header(path: str, header: HeaderCondition) -> Iterator[Finding]:
    yield from _header_name(f"{path}.name", header.name)
    yield from never_matching(path, (("values", header.values, star_reason), ("notValues", header.not_values, star_reason)))
    if header.values and (both := set(header.values) & set(header.not_values)):
        yield rules.conflict(f"{path}.notValues", f"expected other values than in values, found {min(both)} in both")


def _header_name(path: str, name: str) -> Iterator[Finding]:
    if not is_header(name) or name.startswith(_PSEUDO):
        yield rules.out_of_range(path, "the name of a header", name)


def _source(path: str, source: SourceCondition) -> Iterator[Finding]:
    if not (source.principals or source.not_principals or source.namespaces or source.not_namespaces):
        yield rules.required(path, "a condition on where requests are from")
    for name, values in (("namespaces", source.namespaces), ("notNamespaces", source.not_namespaces)):
        for index, value in enumerate(values):
            if value.startswith("*") and value != "*":
                yield rules.out_of_range(f"{path}.{name}[{index}]", "a namespace, NAME* or *", value)
    yield from never_matching(
        path,
        (
            ("principals", source.principals, principal_reason),
            ("notPrincipals", source.not_principals, principal_reason),
            ("namespaces", source.namespaces, namespace_reason),
            ("notNamespaces", source.not_namespaces, namespace_reason),
        ),
    )


def _per_value(path: str, per_value: PerValue, counting: GlobalCounting | None) -> Iterator[Finding]:
    if bool(per_value.header) == (per_value.source is not None):
        yield rules.required(path, "one of header and source")
    if per_value.header:
        yield from _header_name(f"{path}.header", per_value.header)
    seen: set[str] = set()
    for index, override in enumerate(per_value.overrides):
        yield from rules.single_line(f"{path}.overrides[{index}]", value=override.value)
        yield from _limit(f"{path}.overrides[{index}].limit", override.limit, counting)
        if override.value in seen:
            yield rules.conflict(f"{path}.overrides[{index}].value", f"expected each value once, found {override.value[:80]} again")
        seen.add(override.value)


def _limit(path: str, limit: Limit, counting: GlobalCounting | None) -> Iterator[Finding]:
    if counting is None:
        if limit.per < _SHORTEST_MS:
            yield rules.out_of_range(f"{path}.per", f"at least {_SHORTEST_MS}ms", f"{limit.per}ms")
        if limit.burst is not None and limit.burst < limit.requests:
            yield rules.out_of_range(f"{path}.burst", f"at least the {limit.requests} of requests", limit.burst)
        return
    if limit.per not in GLOBAL_PERIODS_MS:
        yield rules.out_of_range(f"{path}.per", "1s, 1m, 1h or 24h, as the rate limit service counts in these", f"{limit.per}ms")
    if limit.burst is not None:
        yield rules.conflict(f"{path}.burst", "expected no burst with global: the rate limit service counts in fixed periods")


def _idle_rules(spec: RateLimitSpec) -> Iterator[Finding]:
    """Yield, as warnings, which rules refuse no request that another one does not refuse as well."""
    for (first, one), (second, other) in combinations(enumerate(spec.rules), 2):
        if one.match == other.match and one.per_value == other.per_value:
            for idle, index, by in ((other, second, first), (one, first, second)):
                if _within(spec.rules[by].limit, idle.limit):
                    message = f"rules[{by}] counts the same requests and has no more room: this rule never refuses one by itself"
                    yield rules.warning(f"spec.rules[{index}]", NEVER_DECIDES, message)
                    break


def _within(limit: Limit, other: Limit) -> bool:
    """Return whether ``limit`` always has at most as much room as ``other``, counting the same."""
    return (limit.burst or limit.requests) <= (other.burst or other.requests) and limit.requests * other.per <= other.requests * limit.per
