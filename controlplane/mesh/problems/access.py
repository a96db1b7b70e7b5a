"""What is wrong with policies of access as they stand among other objects: whom they name, whom they are for, what can be known there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.ir.access import AccessPolicy, PolicyAction
from controlplane.mesh.access.ext_authz import resolved_authorizer
from controlplane.mesh.access.istio_access import access_policy
from controlplane.mesh.access.policies import GATEWAY, GATEWAY_LABEL, effective_policies, target_refs
from controlplane.mesh.inputs import index, namespaces_with, of_kind
from controlplane.mesh.problems.gateways import gateway_workloads
from controlplane.mesh.registry.mesh_settings import extension_provider, mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import declared_services, service
from controlplane.mesh.registry.workload_services import services_of_workload
from controlplane.model.keys import POD, REQUEST_AUTHENTICATION, SERVICE
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.model.services import Labels, Service
from controlplane.objects.mesh.extension_providers import GrpcAuthorizer
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.security.request_authentication import RequestAuthentication
from controlplane.translate.rbac.attributes import Needs
from controlplane.translate.rbac.terms import RuleTerms, terms_of

Attached = AuthorizationPolicy | RequestAuthentication
_Place = tuple[str, Labels]  # a namespace, and labels that some workload there has


def attachment_problems(db: Database, value: Attached) -> Iterator[Problem]:
    """Yield what is wrong with whom ``value`` is for."""
    for path, each in target_refs(value.spec):
        if (each.group, each.kind) != GATEWAY:
            message = f"a policy for a {each.kind} is enforced by a waypoint, and there are none: it holds nowhere by this"
            yield _problem(value, f"{path}.kind", "NotTranslated", message)
    selector = value.spec.selector
    if selector and selector.match_labels and index(db, namespaces_with(POD)) and not _workloads(db, value):
        said = ", ".join(f"{name}={label}" for name, label in sorted(selector.match_labels.items()))
        yield _problem(value, "spec.selector", "NoWorkload", f"no pod has the labels {said}: this policy holds nowhere")


def peer_authentication_problems(db: Database, value: PeerAuthentication) -> Iterator[Problem]:
    """Yield what is wrong with whom ``value`` is for: unlike other policies, one with a selector holds in its own namespace alone.

    https://istio.io/latest/docs/reference/config/security/peer_authentication/
    """
    if value.spec.selector and value.spec.selector.match_labels and value.key.namespace == mesh_settings(db).root_namespace:
        message = "a policy with a selector holds in its own namespace alone, which is the root namespace: elsewhere nothing comes of it"
        yield Problem(value.key, "spec.selector", Severity.WARNING, "Ineffective", message)


def authorization_problems(db: Database, value: AuthorizationPolicy) -> Iterator[Problem]:
    """Yield what is wrong between ``value`` and other objects."""
    yield from attachment_problems(db, value)
    policy = access_policy(value)
    if policy.action is PolicyAction.CUSTOM:
        yield from _of_provider(db, value, policy)
    places = _matching_workloads(db, value)
    for at, rule in enumerate(policy.rules):
        for code, message in _of_rule(db, policy, terms_of(rule), places):
            yield _problem(value, f"spec.rules[{at}]", code, message)


def _of_provider(db: Database, value: AuthorizationPolicy, policy: AccessPolicy) -> Iterator[Problem]:
    path, refused = "spec.provider.name", "whatever fits is refused"
    given = extension_provider(db, policy.provider)
    if given is None or given.authorizer is None:
        message = f"the mesh's settings have no extensionProvider {policy.provider!r} that authorizes: {refused}"
        yield _problem(value, path, "UnknownProvider", message)
        return
    found = resolved_authorizer(db, policy.provider)
    if found is None:
        where = f"{given.authorizer.service} with port {given.authorizer.port}"
        yield _problem(value, path, "UnknownHost", f"the provider is {where}, and no such service is known: {refused}")
        return
    known = service(db, found.ref)
    port = known.port(given.authorizer.port) if known else None
    if isinstance(given.authorizer, GrpcAuthorizer) and port and not port.protocol.is_http2:
        message = f"port {port.number} of {found.authorizer.host} is not said to be gRPC by its name or appProtocol: it never answers"
        yield _problem(value, path, "WrongProtocol", message)


def _of_rule(db: Database, policy: AccessPolicy, terms: RuleTerms, places: list[_Place]) -> Iterator[tuple[str, str]]:
    """Yield the codes and the words for what a rule of ``policy`` asks for that cannot be known in one of ``places``."""
    dropped = "it fits nothing" if policy.action is PolicyAction.ALLOW else "it fits as if it had not asked"
    if Needs.TOKEN in terms.needs:
        if policy.action is PolicyAction.CUSTOM:
            yield "NoTokens", f"the authorizer is asked before tokens are verified: where this rule asks for a token, {dropped}"
        elif not any(_verifies(db, *each) for each in places):
            yield "NoTokens", "no RequestAuthentication holds for these workloads: no token is ever verified"
    if terms.needs - {Needs.NOTHING} and (ports := _without_requests(db, places)):
        yield "NotHttp", f"{', '.join(ports)}: not HTTP. Where this rule asks for something of a request, {dropped} there"
    if policy.action is PolicyAction.DENY and terms.names_peers and any(_takes_plaintext(db, *each) for each in places):
        yield "Plaintext", "who comes in plaintext has no identity, so this rule does not deny it: only PeerAuthentication with STRICT does"


def _verifies(db: Database, namespace: str, labels: Labels) -> bool:
    if labels:
        return bool(effective_policies(db, namespace, labels).authentications)
    return any(index(db, of_kind(REQUEST_AUTHENTICATION, each)) for each in (namespace, mesh_settings(db).root_namespace))


def _takes_plaintext(db: Database, namespace: str, labels: Labels) -> bool:
    return peer_policies(db, namespace, labels).mode is not MutualTLSMode.STRICT


def _without_requests(db: Database, places: list[_Place]) -> list[str]:
    """Return the ports of services at ``places`` that are not HTTP, in words, the first few."""
    found: set[str] = set()
    for namespace, labels in places:
        for each in _services(db, namespace, labels):
            ports = (port for port in each.ports if not port.protocol.is_http and port.protocol not in (Protocol.UNSUPPORTED, Protocol.UDP))
            found.update(f"port {port.number} of {each.host}" for port in ports)
    return sorted(found)[:3]


def _services(db: Database, namespace: str, labels: Labels) -> Iterator[Service]:
    """Yield the services that lead to workloads of ``namespace`` with ``labels``; without labels all of the namespace."""
    if labels:
        yield from (known for ref in services_of_workload(db, namespace, labels, ()) if (known := service(db, ref)))
    elif namespace != mesh_settings(db).root_namespace:
        yield from (each for key in index(db, of_kind(SERVICE, namespace)) for each in declared_services(db, key))


def _matching_workloads(db: Database, value: Attached) -> list[_Place]:
    """Return where ``value`` holds, as far as pods show it; otherwise as its selector says."""
    namespace = value.key.namespace
    if refs := target_refs(value.spec):
        return [(namespace, ((GATEWAY_LABEL, each.name),)) for _, each in refs if (each.group, each.kind) == GATEWAY]
    return _workloads(db, value) or [(namespace, tuple(sorted(value.spec.selector.match_labels.items())) if value.spec.selector else ())]


def _workloads(db: Database, value: Attached) -> list[_Place]:
    """Return the namespaces and the labels of the pods that the selector of ``value`` selects."""
    labels = tuple(sorted(value.spec.selector.match_labels.items())) if value.spec.selector else ()
    own = value.key.namespace
    return [each for each in gateway_workloads(db, labels) if own in (each[0], mesh_settings(db).root_namespace)]


def _problem(value: Attached, path: str, code: str, message: str) -> Problem:
    return Problem(value.key, path, Severity.WARNING, code, message)
