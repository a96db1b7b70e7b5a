"""The external authorizers of CUSTOM AuthorizationPolicies, and the services that they are."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.ir.access import ExternalAuthorizer
from controlplane.mesh.access.istio_access import external_authorizer
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.destinations.provider_clusters import provider_target
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.mesh_settings import extension_provider
from controlplane.model.keys import Key
from controlplane.objects.security.authorization_policy import AuthorizationPolicy

_USE = "authorizer"


class ResolvedAuthorizer(NamedTuple):
    """An authorizer, and the port of a service that it is."""

    authorizer: ExternalAuthorizer
    target: ClusterTarget


@query
def resolved_authorizer(db: Database, name: str) -> ResolvedAuthorizer | None:
    """Return the authorizer that the settings of the mesh call ``name``, ``None`` where there is none, or no such service."""
    provider = extension_provider(db, name)
    if provider is None or provider.authorizer is None:
        return None
    target = provider_target(db, provider.authorizer.service, provider.authorizer.port, _USE)
    if target is None:
        return None
    host = provider.authorizer.service.rpartition("/")[2]
    return ResolvedAuthorizer(external_authorizer(name, host, target.name, provider.authorizer), target)


@eager_query
def provider_name(db: Database, key: Key) -> str | None:
    """Return the name of the provider that the AuthorizationPolicy ``key`` refers to, ``None`` where it refers to none."""
    policy = objects(db, key)
    if not isinstance(policy, AuthorizationPolicy) or policy.spec.action != "CUSTOM":
        return None
    return policy.spec.provider.name if policy.spec.provider else None
