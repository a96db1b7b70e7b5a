"""From AuthorizationPolicies, RequestAuthentications and authorizers to values of our own.

https://istio.io/latest/docs/reference/config/security/authorization-policy/
https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from controlplane.ir.access import (
    AccessAttribute,
    AccessPolicy,
    AccessRule,
    AccessTerm,
    AccessTerms,
    ExternalAuthorizer,
    FilterMetadata,
    ForwardedBody,
    GrpcAuthorization,
    HttpAuthorization,
    NamedAttribute,
    PolicyAction,
    RequestHeader,
    TokenClaim,
    TokenIssuer,
)
from controlplane.objects.mesh.extension_providers import GrpcAuthorizer, HttpAuthorizer, RequestBody
from controlplane.objects.security.authorization_policy import (
    AuthorizationCondition,
    AuthorizationOperation,
    AuthorizationPolicy,
    AuthorizationRule,
    AuthorizationSource,
)
from controlplane.objects.security.request_authentication import JWTRule
from controlplane.objects.security.rules.authorization_policy import is_dry_run

_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_HEADERS = "request.headers["
_CLAIMS = "request.auth.claims["
_EXPERIMENTAL = "experimental."
_CONDITIONS: Mapping[str, AccessAttribute] = {
    "source.ip": NamedAttribute.PEER_IP,
    "remote.ip": NamedAttribute.CLIENT_IP,
    "source.namespace": NamedAttribute.NAMESPACE,
    "source.principal": NamedAttribute.PRINCIPAL,
    "source.serviceAccount": NamedAttribute.ACCOUNT,
    "source.trustDomain": NamedAttribute.TRUST_DOMAIN,
    "request.auth.principal": NamedAttribute.REQUEST_PRINCIPAL,
    "request.auth.audiences": TokenClaim(("aud",)),
    "request.auth.presenter": TokenClaim(("azp",)),
    "destination.ip": NamedAttribute.DESTINATION_IP,
    "destination.port": NamedAttribute.PORT,
    "connection.sni": NamedAttribute.SERVER_NAME,
}
_PATIENCE_MS = 600_000  # Istio's default
_FORBIDDEN = 403


def access_policy(policy: AuthorizationPolicy) -> AccessPolicy:
    """Return the rules of ``policy``."""
    spec = policy.spec
    return AccessPolicy(
        namespace=policy.key.namespace,
        name=policy.key.name,
        action=PolicyAction(spec.action),
        rules=tuple(_rule(rule) for rule in spec.rules),
        dry_run=is_dry_run(policy),
        provider=spec.provider.name if spec.provider else "",
    )


def token_issuer(rule: JWTRule, keys: str | None) -> TokenIssuer:
    """Return the issuer of ``rule``, whose key set is ``keys``."""
    return TokenIssuer(
        issuer=rule.issuer,
        keys=keys,
        audiences=rule.audiences,
        from_headers=tuple((header.name, header.prefix) for header in rule.from_headers),
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        forward=rule.forward_original_token,
        payload_header=rule.output_payload_to_header,
        claim_headers=tuple((output.header, output.claim) for output in rule.output_claim_to_headers),
        space_delimited=rule.space_delimited_claims,
    )


def external_authorizer(name: str, host: str, cluster: str, authorizer: HttpAuthorizer | GrpcAuthorizer) -> ExternalAuthorizer:
    """Return how to call ``authorizer``, which the mesh's settings call ``name``."""
    status = authorizer.status_on_error
    body = authorizer.include_request_body_in_check
    return ExternalAuthorizer(
        name=name,
        host=host,
        port=authorizer.port,
        cluster=cluster,
        protocol=_http(authorizer) if isinstance(authorizer, HttpAuthorizer) else GrpcAuthorization(),
        timeout_ms=authorizer.timeout or _PATIENCE_MS,
        fail_open=authorizer.fail_open,
        clear_route_cache=authorizer.clear_route_cache,
        status_on_error=(int(status) if status.isdecimal() else _FORBIDDEN) if status else None,
        body=_body(body) if body else None,
    )


def _http(authorizer: HttpAuthorizer) -> HttpAuthorization:
    return HttpAuthorization(
        path_prefix=authorizer.path_prefix,
        headers=(*authorizer.include_headers_in_check, *authorizer.include_request_headers_in_check),
        added_headers=tuple(sorted(authorizer.include_additional_headers_in_check.items())),
        to_application=authorizer.headers_to_upstream_on_allow,
        to_client=authorizer.headers_to_downstream_on_allow,
        to_refused=authorizer.headers_to_downstream_on_deny,
    )


def _body(request_body: RequestBody) -> ForwardedBody:
    return ForwardedBody(request_body.max_request_bytes, request_body.allow_partial_message, request_body.pack_as_bytes)


def _rule(rule: AuthorizationRule) -> AccessRule:
    return AccessRule(
        sources=tuple(_source(rule_from.source or AuthorizationSource()) for rule_from in rule.from_),
        operations=tuple(_operation(rule_to.operation or AuthorizationOperation()) for rule_to in rule.to),
        when=tuple(_condition(condition) for condition in rule.when),
        understood=rule.is_understood,
    )


def _source(source: AuthorizationSource) -> AccessTerms:
    return _written_terms(
        AccessTerm(NamedAttribute.PRINCIPAL, source.principals, source.not_principals),
        AccessTerm(NamedAttribute.REQUEST_PRINCIPAL, source.request_principals, source.not_request_principals),
        AccessTerm(NamedAttribute.NAMESPACE, source.namespaces, source.not_namespaces),
        AccessTerm(NamedAttribute.ACCOUNT, source.service_accounts, source.not_service_accounts),
        AccessTerm(NamedAttribute.TRUST_DOMAIN, source.trust_domains, source.not_trust_domains),
        AccessTerm(NamedAttribute.PEER_IP, source.ip_blocks, source.not_ip_blocks),
        AccessTerm(NamedAttribute.CLIENT_IP, source.remote_ip_blocks, source.not_remote_ip_blocks),
    )


def _operation(operation: AuthorizationOperation) -> AccessTerms:
    return _written_terms(
        AccessTerm(NamedAttribute.HOST, operation.hosts, operation.not_hosts),
        AccessTerm(NamedAttribute.METHOD, operation.methods, operation.not_methods),
        AccessTerm(NamedAttribute.PATH, operation.paths, operation.not_paths),
        AccessTerm(NamedAttribute.PORT, operation.ports, operation.not_ports),
    )


def _written_terms(*terms: AccessTerm) -> AccessTerms:
    return tuple(term for term in terms if term.values or term.others)


def _condition(condition: AuthorizationCondition) -> AccessTerm:
    return AccessTerm(_attribute(condition.key), condition.values, condition.not_values)


def _attribute(key: str) -> AccessAttribute:
    """Return what ``key`` means in ``when``."""
    if key.startswith(_HEADERS):
        return RequestHeader(key.removeprefix(_HEADERS)[:-1])
    if key.startswith(_CLAIMS):
        return TokenClaim(tuple(_BRACKETED.findall(key)))
    if key.startswith(_EXPERIMENTAL):
        name = key.removeprefix(_EXPERIMENTAL)
        return FilterMetadata(name.partition("[")[0], tuple(_BRACKETED.findall(name)))
    return _CONDITIONS[key]
