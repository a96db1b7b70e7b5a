"""Which limits on requests hold for a workload or a gateway, from RateLimits to values of our own, and the services that count them.

A proxy with a global limit has the cluster of its rate limit service, whatever its Sidecar imports, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.incremental.database import Database, query
from controlplane.ir.access import AccessTerm, NamedAttribute, RequestHeader
from controlplane.ir.limits.rate_limits import (
    AddressValue,
    Bucket,
    CountedValue,
    GlobalCount,
    HeaderValue,
    LimitResponse,
    LimitRule,
    LocalCount,
    PrincipalValue,
    RequestLimits,
)
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.destinations.destination_rules import EVERY_CLIENT
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import find_services, service, service_ports
from controlplane.model.cluster_names import BLACK_HOLE
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol
from controlplane.model.trust_domains import principals_with_aliases
from controlplane.objects.security.rate_limit import (
    ClosedRateLimit,
    Limit,
    LocalCounting,
    PerValue,
    RateLimit,
    RateLimitRule,
    RequestCondition,
    SourceCondition,
)
from controlplane.objects.security.rules.rate_limit import rule_name
from controlplane.translate.filters.rate_limits.descriptors import condition_size

MOST_CHARACTERS = 65_536  # of all conditions of an object: they stand in every chain of the listener
_USE = "ratelimit"
_UNAVAILABLE = 503
_NOBODY_MS = 1000  # for the answer of nobody


@query
def request_limits(db: Database, key: Key) -> RequestLimits | None:
    """Return the limits of the RateLimit ``key``; ``None`` where it limits nothing, as there is nobody to count and it fails open."""
    rate_limit = objects(db, key)
    if isinstance(rate_limit, ClosedRateLimit):
        return _refusing(key)
    if not isinstance(rate_limit, RateLimit):
        return None
    spec = rate_limit.spec
    closed, enforced = spec.failure == "Closed", spec.mode == "Enforce"
    if limit_size(db, key) > MOST_CHARACTERS:
        return _refusing(key) if closed and enforced else None
    count: LocalCount | GlobalCount
    if spec.global_ is None:
        count = LocalCount((spec.local or LocalCounting()).max_buckets)
    else:
        target = limit_target(db, key)
        if target is None:
            return _refusing(key) if closed and enforced else None
        count = GlobalCount(
            domain=domain(key), cluster=target.name, host=target.ref.host, timeout_ms=spec.global_.timeout, closed=closed and enforced
        )
    return RequestLimits(
        namespace=key.namespace,
        name=key.name,
        rules=limit_rules(db, key),
        count=count,
        response=LimitResponse(
            status=spec.response.status,
            limit_headers=spec.response.limit_headers,
            headers=tuple((header.name, header.value) for header in spec.response.headers),
        ),
        enforced=enforced,
    )


def domain(key: Key) -> str:
    """Return the domain in which the rate limit service counts for the RateLimit ``key``."""
    return f"{key.namespace}/{key.name}"


@query
def limit_rules(db: Database, key: Key) -> tuple[LimitRule, ...]:
    """Return the rules of the RateLimit ``key``."""
    rate_limit = objects(db, key)
    if not isinstance(rate_limit, RateLimit):
        return ()
    trust_domains = mesh_settings(db).trust_domains
    return tuple(_rule(rule, position, trust_domains) for position, rule in enumerate(rate_limit.spec.rules))


@query
def limit_size(db: Database, key: Key) -> int:
    """Return how many characters the conditions of the RateLimit ``key`` have as expressions: Envoy refuses one of more than 100,000."""
    return sum(condition_size(rule) for rule in limit_rules(db, key))


@query
def limit_target(db: Database, key: Key) -> ClusterTarget | None:
    """Return who counts for the RateLimit ``key``; ``None`` where each proxy does, or where its namespace sees no such service."""
    rate_limit = objects(db, key)
    if not isinstance(rate_limit, RateLimit) or rate_limit.spec.global_ is None:
        return None
    written = rate_limit.spec.global_.service
    found = service_ports(db, find_services(db, qualified_host(written.host, key.namespace), key.namespace)).get(written.port)
    mesh_service = service(db, found) if found else None
    port = mesh_service.port(written.port) if mesh_service else None
    return ClusterTarget(found, written.port, "", EVERY_CLIENT, _USE) if found and port and port.protocol is not Protocol.UDP else None


def limit_targets(db: Database, keys: Iterable[Key]) -> frozenset[ClusterTarget]:
    """Return who counts for the RateLimits ``keys``."""
    return frozenset(target for key in keys if (target := limit_target(db, key)))


def _refusing(key: Key) -> RequestLimits:
    """Return limits that let nothing through: nobody counts, and without an answer requests are refused."""
    count = GlobalCount(domain=domain(key), cluster=BLACK_HOLE, host="", timeout_ms=_NOBODY_MS, closed=True)
    rule = LimitRule(name="0", terms=(), bucket=Bucket(1, _NOBODY_MS, 1))
    response = LimitResponse(status=_UNAVAILABLE, limit_headers=False)
    return RequestLimits(namespace=key.namespace, name=key.name, rules=(rule,), count=count, response=response)


def _rule(rule: RateLimitRule, position: int, trust_domains: tuple[str, ...]) -> LimitRule:
    plain = LimitRule(
        name=rule_name(rule, position),
        terms=tuple(_terms(rule.match, trust_domains)) if rule.match else (),
        bucket=_bucket_of(rule.limit),
    )
    if rule.per_value is None:
        return plain
    overrides = tuple((override.value, _bucket_of(override.limit)) for override in rule.per_value.overrides)
    return replace(plain, by=_value(rule.per_value), overrides=overrides)


def _bucket_of(limit: Limit) -> Bucket:
    return Bucket(limit.requests, limit.per, limit.burst or limit.requests)


def _value(per_value: PerValue) -> CountedValue:
    match per_value.source:
        case "Principal":
            return PrincipalValue()
        case "Address":
            return AddressValue()
        case None:
            return HeaderValue(per_value.header.lower())


def _terms(match: RequestCondition, trust_domains: tuple[str, ...]) -> Iterator[AccessTerm]:
    if match.paths:
        yield AccessTerm(NamedAttribute.PATH, match.paths)
    if match.methods:
        yield AccessTerm(NamedAttribute.METHOD, match.methods)
    for header in match.headers:
        yield AccessTerm(RequestHeader(header.name.lower()), header.values, header.not_values)
    if match.source:
        yield from _source_terms(match.source, trust_domains)


def _source_terms(source: SourceCondition, trust_domains: tuple[str, ...]) -> Iterator[AccessTerm]:
    if source.principals or source.not_principals:
        principals = principals_with_aliases(source.principals, trust_domains)
        yield AccessTerm(NamedAttribute.PRINCIPAL, principals, principals_with_aliases(source.not_principals, trust_domains))
    if source.namespaces or source.not_namespaces:
        namespaces = _principals_of(source.namespaces, trust_domains)
        yield AccessTerm(NamedAttribute.PRINCIPAL, namespaces, _principals_of(source.not_namespaces, trust_domains))


def _principals_of(namespaces: Iterable[str], trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return the principals of all that runs in ``namespaces``."""
    names = [name if name.endswith("*") else f"{name}/sa/*" for name in namespaces]
    return tuple(f"{trust_domain}/ns/{name}" for name in names for trust_domain in trust_domains)
