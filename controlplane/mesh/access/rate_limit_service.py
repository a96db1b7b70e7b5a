"""What a rate limit service is told to count: the domains of all RateLimits that name a service of its namespace."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy.type_urls import RATE_LIMIT_CONFIG
from controlplane.incremental.database import Database, query
from controlplane.mesh.access.rate_limits import domain, limit_rules, limit_target
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import index
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart
from controlplane.model.keys import RATE_LIMIT, Key, in_key_order
from controlplane.translate.filters.rate_limits.service_config import service_config
from controlplane.xds.resource import Resource


class RateLimitServiceScope(NamedTuple):
    """What the configuration of rate limit services depends on: those of one namespace share it."""

    namespace: str


@query
def rate_limit_service_parts(db: Database, scope: RateLimitServiceScope) -> Members:
    """Return the domains of ``scope``."""
    return frozenset(ResourcePart(rate_limit_config, (key,)) for key in counted_rate_limits(db) if counts_in(db, key) == scope.namespace)


@query
def counted_rate_limits(db: Database) -> tuple[Key, ...]:
    """Return all RateLimits, sorted."""
    namespaces = (marker.namespace for marker in index(db, namespaces_with(RATE_LIMIT)))
    return in_key_order(key for namespace in namespaces for key in index(db, of_kind(RATE_LIMIT, namespace)))


@query
def counts_in(db: Database, key: Key) -> str | None:
    """Return the namespace of the service that counts for the RateLimit ``key``; ``None`` where proxies do, or nobody."""
    target = limit_target(db, key)
    return target.ref.key.namespace if target else None


@query
def rate_limit_config(db: Database, key: Key) -> Resource | None:
    """Return the domain of the RateLimit ``key``."""
    message = service_config(domain(key), limit_rules(db, key))
    return checked_resource(RATE_LIMIT_CONFIG, message.name, message)
