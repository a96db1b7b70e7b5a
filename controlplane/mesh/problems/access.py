"""Problems of access policies among other objects: the providers they name, the workloads they select, and what is known there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.ir.access import AccessPolicy, PolicyAction
from controlplane.mesh.access.ext_authz import resolved_authorizer
from controlplane.mesh.access.istio_access import access_policy
from controlplane.mesh.access.policies import effective_policies
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import index
from controlplane.mesh.problems.gateways import gateway_workloads
from controlplane.mesh.registry.attachments import GATEWAY_LABEL, Attached, target_refs
from controlplane.mesh.registry.expression_limits import ANYWHERE, large_expression, strictest_limit
from controlplane.mesh.registry.mesh_settings import extension_provider, mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import declared_services, service
from controlplane.mesh.registry.workload_services import services_of_workload
from controlplane.model.keys import KUBERNETES_GATEWAY, POD, REQUEST_AUTHENTICATION, SERVICE
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import ProxyType
from controlplane.model.services import Labels, Service
from controlplane.objects.extensions.telemetry import Telemetry
from controlplane.objects.mesh.extension_providers import GrpcAuthorizer
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.types.regex import regex_size
from controlplane.translate.rbac.attributes import Needs
from controlplane.translate.rbac.expressions import expressions_of
from controlplane.translate.rbac.identities import Around
from controlplane.translate.rbac.terms import RuleTerms, terms_of

Workload = tuple[str, Labels]  # a namespace, and labels that some workload there has


def attachment_problems(db: Database, policy: Attached) -> Iterator[Problem]:
    """Yield the problems with the workloads that ``policy`` is for."""
    for path, ref in target_refs(policy.spec):
        if (ref.group, ref.kind) != KUBERNETES_GATEWAY:
            does = "of a waypoint" if isinstance(policy, Telemetry) else "enforced by a waypoint"
            message = f"{_what(policy)} for a {ref.kind} is {does}, and there are none: it holds nowhere by this"
            yield _problem(policy, f"{path}.kind", "NotTranslated", message)
    selector = policy.spec.selector
    if selector and selector.match_labels and index(db, namespaces_with(POD)) and not _workloads(db, policy):
        labels = ", ".join(f"{name}={label}" for name, label in sorted(selector.match_labels.items()))
        yield _problem(policy, "spec.selector", "NoWorkload", f"no pod has the labels {labels}: this {_what(policy)[2:]} holds nowhere")


def peer_authentication_problems(db: Database, policy: PeerAuthentication) -> Iterator[Problem]:
    """Yield the problems with the workloads that ``policy`` is for: with a selector it holds in its own namespace alone.

    https://istio.io/latest/docs/reference/config/security/peer_authentication/
    """
    if policy.spec.selector and policy.spec.selector.match_labels and policy.key.namespace == mesh_settings(db).root_namespace:
        message = "a policy with a selector holds in its own namespace alone, which is the root namespace: elsewhere nothing comes of it"
        yield Problem(policy.key, "spec.selector", Severity.WARNING, "Ineffective", message)


def authorization_problems(db: Database, authorization_policy: AuthorizationPolicy) -> Iterator[Problem]:
    """Yield what is wrong between ``authorization_policy`` and other objects."""
    yield from attachment_problems(db, authorization_policy)
    policy = access_policy(authorization_policy)
    if policy.action is PolicyAction.CUSTOM:
        yield from _provider_problems(db, authorization_policy, policy)
    workloads = matching_workloads(db, authorization_policy)
    for position, rule in enumerate(policy.rules):
        terms = terms_of(rule)
        for code, message in (*_rule_problems(db, policy, terms, workloads), *_large_expressions(db, policy, terms)):
            yield _problem(authorization_policy, f"spec.rules[{position}]", code, message)


def _provider_problems(db: Database, authorization_policy: AuthorizationPolicy, policy: AccessPolicy) -> Iterator[Problem]:
    path, effect = "spec.provider.name", "whatever fits is refused"
    provider = extension_provider(db, policy.provider)
    if provider is None or provider.authorizer is None:
        message = f"the mesh's settings have no extensionProvider {policy.provider!r} that authorizes: {effect}"
        yield _problem(authorization_policy, path, "UnknownProvider", message)
        return
    resolved = resolved_authorizer(db, policy.provider)
    if resolved is None:
        address = f"{provider.authorizer.service} with port {provider.authorizer.port}"
        yield _problem(authorization_policy, path, "UnknownHost", f"the provider is {address}, and no such service is known: {effect}")
        return
    mesh_service = service(db, resolved.target.ref)
    port = mesh_service.port(provider.authorizer.port) if mesh_service else None
    if isinstance(provider.authorizer, GrpcAuthorizer) and port and not port.protocol.is_http2:
        message = f"port {port.number} of {resolved.authorizer.host} is not said to be gRPC by its name or appProtocol: it never answers"
        yield _problem(authorization_policy, path, "WrongProtocol", message)


def _rule_problems(db: Database, policy: AccessPolicy, terms: RuleTerms, workloads: list[Workload]) -> Iterator[tuple[str, str]]:
    """Yield the codes and the messages for what a rule of ``policy`` asks for that cannot be known in one of ``workloads``."""
    effect = "it fits nothing" if policy.action is PolicyAction.ALLOW else "it fits as if it had not asked"
    if Needs.TOKEN in terms.needs:
        if policy.action is PolicyAction.CUSTOM:
            yield "NoTokens", f"the authorizer is asked before tokens are verified: where this rule asks for a token, {effect}"
        elif not any(_verifies_tokens(db, *workload) for workload in workloads):
            yield "NoTokens", "no RequestAuthentication holds for these workloads: no token is ever verified"
    if terms.needs - {Needs.NOTHING} and (ports := non_http_ports(db, workloads)):
        yield "NotHttp", f"{', '.join(ports)}: not HTTP. Where this rule asks for something of a request, {effect} there"
    if policy.action is PolicyAction.DENY and terms.names_peers and any(_takes_plaintext(db, *workload) for workload in workloads):
        yield "Plaintext", "who comes in plaintext has no identity, so this rule does not deny it: only PeerAuthentication with STRICT does"


def _large_expressions(db: Database, policy: AccessPolicy, terms: RuleTerms) -> Iterator[tuple[str, str]]:
    """Yield that a proxy of the namespaces of ``policy`` refuses an expression that a value of ``terms`` becomes."""
    sizes = [
        (value, regex_size(regex)) for value, regex in expressions_of(terms, Around(policy.namespace, mesh_settings(db).trust_domains))
    ]
    if not sizes:
        return
    namespace = ANYWHERE if policy.namespace == mesh_settings(db).root_namespace else policy.namespace
    limit = strictest_limit(db, ((namespace, kind) for kind in ProxyType))
    for value, size in sizes:
        if message := large_expression(size, limit):
            yield "LargeExpression", f"{value[:80]} becomes an expression: {message}"


def _verifies_tokens(db: Database, namespace: str, labels: Labels) -> bool:
    if labels:
        return bool(effective_policies(db, namespace, labels).authentications)
    return any(
        index(db, of_kind(REQUEST_AUTHENTICATION, policy_namespace)) for policy_namespace in (namespace, mesh_settings(db).root_namespace)
    )


def _takes_plaintext(db: Database, namespace: str, labels: Labels) -> bool:
    return peer_policies(db, namespace, labels).mode is not MutualTLSMode.STRICT


def non_http_ports(db: Database, workloads: list[Workload]) -> list[str]:
    """Return the ports of services at ``workloads`` that are not HTTP, in words, the first few."""
    port_names: set[str] = set()
    for namespace, labels in workloads:
        for mesh_service in services_for(db, namespace, labels):
            ports = (
                port
                for port in mesh_service.ports
                if not port.protocol.is_http and port.protocol not in (Protocol.UNSUPPORTED, Protocol.UDP)
            )
            port_names.update(f"port {port.number} of {mesh_service.host}" for port in ports)
    return sorted(port_names)[:3]


def services_for(db: Database, namespace: str, labels: Labels) -> Iterator[Service]:
    """Yield the services that lead to workloads of ``namespace`` with ``labels``; without labels all of the namespace."""
    if labels:
        yield from (mesh_service for ref in services_of_workload(db, namespace, labels, ()) if (mesh_service := service(db, ref)))
    elif namespace != mesh_settings(db).root_namespace:
        yield from (declared for key in index(db, of_kind(SERVICE, namespace)) for declared in declared_services(db, key))


def matching_workloads(db: Database, policy: Attached) -> list[Workload]:
    """Return where ``policy`` holds, as far as pods show it; otherwise as its selector says."""
    namespace = policy.key.namespace
    if refs := target_refs(policy.spec):
        return [(namespace, ((GATEWAY_LABEL, ref.name),)) for _, ref in refs if (ref.group, ref.kind) == KUBERNETES_GATEWAY]
    return _workloads(db, policy) or [(namespace, tuple(sorted(policy.spec.selector.match_labels.items())) if policy.spec.selector else ())]


def _workloads(db: Database, policy: Attached) -> list[Workload]:
    """Return the namespaces and the labels of the pods that the selector of ``policy`` selects."""
    labels = tuple(sorted(policy.spec.selector.match_labels.items())) if policy.spec.selector else ()
    namespace = policy.key.namespace
    everywhere = namespace == mesh_settings(db).root_namespace and not isinstance(policy, Telemetry)
    return [workload for workload in gateway_workloads(db, labels) if everywhere or workload[0] == namespace]


def _what(policy: Attached) -> str:
    return "a Telemetry" if isinstance(policy, Telemetry) else "a policy"


def _problem(policy: Attached, path: str, code: str, message: str) -> Problem:
    return Problem(policy.key, path, Severity.WARNING, code, message)
