"""Which AuthorizationPolicies and RequestAuthentications hold for a workload or a gateway, and the filters made from them.

https://istio.io/latest/docs/reference/config/security/authorization-policy/
https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.access import ChainAccess, TokenIssuer
from controlplane.ir.limits.rate_limits import RequestLimits
from controlplane.mesh.access.ext_authz import ResolvedAuthorizer, provider_name, resolved_authorizer
from controlplane.mesh.access.istio_access import access_policy, token_issuer
from controlplane.mesh.access.rate_limits import request_limits
from controlplane.mesh.extensions.attached import TrafficSide, chain_extensions, extensions_of
from controlplane.mesh.inputs import jwks, objects
from controlplane.mesh.registry.attachments import attached_policies
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.keys import AUTHORIZATION_POLICY, RATE_LIMIT, REQUEST_AUTHENTICATION, Key
from controlplane.model.services import Labels
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.request_authentication import JWTRule, RequestAuthentication
from controlplane.translate.filters.encoded import EncodedFilters, encoded_filters


class EffectivePolicies(NamedTuple):
    """The policies that hold for some workloads: equal for those that share everything that is made of it."""

    authorizations: tuple[Key, ...] = ()
    authentications: tuple[Key, ...] = ()
    rate_limits: tuple[Key, ...] = ()
    extensions: tuple[Key, ...] = ()
    requested_faults: bool = False  # workloads make faults that requests ask for


@query
def effective_policies(db: Database, namespace: str, labels: Labels, side: TrafficSide = TrafficSide.SERVER) -> EffectivePolicies:
    """Return the policies for a workload or gateway of ``namespace`` with ``labels``: its namespace's, and the root namespace's.

    What a gateway takes is on the ``side`` of clients.
    """
    return EffectivePolicies(
        attached_policies(db, AUTHORIZATION_POLICY, namespace, labels),
        attached_policies(db, REQUEST_AUTHENTICATION, namespace, labels),
        attached_policies(db, RATE_LIMIT, namespace, labels),
        extensions_of(db, namespace, labels, side),
    )


@query
def access_of(db: Database, policies: EffectivePolicies) -> ChainAccess:
    """Return what ``policies`` declare, with the authorizers and issuers that they name."""
    policy_objects = (objects(db, key) for key in policies.authorizations)
    authorizations = tuple(access_policy(policy) for policy in policy_objects if isinstance(policy, AuthorizationPolicy))
    issuers = (issuer for key in policies.authentications for issuer in token_issuers(db, key))
    return ChainAccess(
        policies=authorizations,
        authorizers=tuple(resolved.authorizer for resolved in external_authorizers(db, policies)),
        issuers=tuple(sorted(dict.fromkeys(issuers), key=lambda issuer: issuer.issuer)),
        trust_domains=trust_domains(db),
    )


@query
def inbound_filters(db: Database, policies: EffectivePolicies) -> EncodedFilters:
    """Return the filters in front of workloads for which ``policies`` hold."""
    extensions = chain_extensions(db, policies.extensions, TrafficSide.SERVER)
    limits = limits_of(db, policies.rate_limits)
    return encoded_filters(access_of(db, policies), limits, extensions, inbound=True, requested_faults=policies.requested_faults)


@query
def gateway_filters(db: Database, policies: EffectivePolicies) -> EncodedFilters:
    """Return the filters of gateways for which ``policies`` hold."""
    extensions = chain_extensions(db, policies.extensions, TrafficSide.CLIENT)
    return encoded_filters(access_of(db, policies), limits_of(db, policies.rate_limits), extensions, inbound=False)


def limits_of(db: Database, keys: tuple[Key, ...]) -> tuple[RequestLimits, ...]:
    """Return the limits of the RateLimits ``keys``."""
    return tuple(limits for key in keys if (limits := request_limits(db, key)))


@query
def external_authorizers(db: Database, policies: EffectivePolicies) -> tuple[ResolvedAuthorizer, ...]:
    """Return the authorizers that ``policies`` refer to, as far as they exist, sorted by name."""
    names = {name for key in policies.authorizations if (name := provider_name(db, key))}
    return tuple(authorizer for name in sorted(names) if (authorizer := resolved_authorizer(db, name)))


@query
def token_issuers(db: Database, key: Key) -> tuple[TokenIssuer, ...]:
    """Return the issuers that the RequestAuthentication ``key`` names, each with its keys, as far as these are known and can be used."""
    authentication = objects(db, key)
    if not isinstance(authentication, RequestAuthentication):
        return ()
    return tuple(token_issuer(rule, _keys(db, rule)) for rule in authentication.spec.jwt_rules)


def _keys(db: Database, rule: JWTRule) -> str | None:
    address = rule.jwks_url
    return rule.inline_keys().text if address is None else jwks(db, address)


@query
def trust_domains(db: Database) -> tuple[str, ...]:
    """Return the trust domain of the mesh, and its aliases."""
    return mesh_settings(db).trust_domains
