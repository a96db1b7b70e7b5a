"""Problems of RateLimits among other objects: the service that is to count, what they are for, and what can be known of requests there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.access.rate_limits import MOST_CHARACTERS, limit_size, limit_target
from controlplane.mesh.facets import namespaces_with, qualified_host
from controlplane.mesh.inputs import index
from controlplane.mesh.problems.access import Workload, non_http_ports
from controlplane.mesh.problems.gateways import gateway_workloads
from controlplane.mesh.registry.attachments import GATEWAY_LABEL, target_labels, target_refs
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import find_services, service, service_ports
from controlplane.model.keys import GATEWAY, KUBERNETES_GATEWAY, POD, GroupKind
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.problems import Problem, Severity
from controlplane.objects.security.rate_limit import GlobalCounting, RateLimit

_GATEWAYS = (GATEWAY, KUBERNETES_GATEWAY)


def rate_limit_problems(db: Database, rate_limit: RateLimit) -> Iterator[Problem]:
    """Yield what is wrong between ``rate_limit`` and other objects."""
    yield from _attachment_problems(db, rate_limit)
    if rate_limit.spec.global_ is not None:
        yield from _server_problems(db, rate_limit, rate_limit.spec.global_)
    if limit_size(db, rate_limit.key) > MOST_CHARACTERS:
        message = f"the conditions of all rules are more than {MOST_CHARACTERS} characters as an expression: {_effect(rate_limit)}"
        yield _problem(rate_limit, "spec.rules", "LargeExpression", message)
    workloads = _workloads(db, rate_limit)
    if ports := non_http_ports(db, workloads):
        message = f"{', '.join(ports)}: not HTTP. Connections there have no requests that could be counted: they are not limited"
        yield _problem(rate_limit, "spec", "NotHttp", message)
    yield from _source_problems(db, rate_limit, workloads)


def _attachment_problems(db: Database, rate_limit: RateLimit) -> Iterator[Problem]:
    for path, ref in target_refs(rate_limit.spec):
        if GroupKind(ref.group, ref.kind) != KUBERNETES_GATEWAY and not target_labels(db, rate_limit.key.namespace, ref):
            message = f"{rate_limit.key.namespace} has no {ref.kind} {ref.name} that selects workloads: nothing is limited by this"
            yield _problem(rate_limit, path, "UnknownTarget", message)
    selector = rate_limit.spec.selector
    if selector and selector.match_labels and index(db, namespaces_with(POD)) and not _selected(db, rate_limit):
        labels = ", ".join(f"{name}={label}" for name, label in sorted(selector.match_labels.items()))
        yield _problem(rate_limit, "spec.selector", "NoWorkload", f"no pod has the labels {labels}: nothing is limited by this")


def _server_problems(db: Database, rate_limit: RateLimit, counting: GlobalCounting) -> Iterator[Problem]:
    path, number = "spec.global.service", counting.service.port
    host = qualified_host(counting.service.host, rate_limit.key.namespace)
    ports = service_ports(db, find_services(db, host, rate_limit.key.namespace))
    if not ports:
        message = f"no service {host} is known in {rate_limit.key.namespace}: {_effect(rate_limit)}"
        yield _problem(rate_limit, f"{path}.host", "UnknownHost", message)
        return
    target = limit_target(db, rate_limit.key)
    mesh_service = service(db, target.ref) if target else None
    port = mesh_service.port(number) if mesh_service else None
    if port is None:
        message = f"{host} has no port {number}; it has {', '.join(map(str, ports))}: {_effect(rate_limit)}"
        yield _problem(rate_limit, f"{path}.port", "UnknownPort", message)
    elif not port.protocol.is_http2:
        message = f"port {number} of {host} is not said to be gRPC by its name or appProtocol: it never answers"
        yield _problem(rate_limit, f"{path}.port", "WrongProtocol", message)


def _source_problems(db: Database, rate_limit: RateLimit, workloads: list[Workload]) -> Iterator[Problem]:
    """Yield which rules ask who a request is from where nobody can be known."""
    at_gateways = any(GroupKind(ref.group, ref.kind) in _GATEWAYS for _, ref in target_refs(rate_limit.spec))
    if at_gateways:
        reason = "clients of a gateway have no identity of the mesh"
    elif workloads and all(peer_policies(db, *workload).mode is MutualTLSMode.DISABLE for workload in workloads):
        reason = "PeerAuthentication has these workloads take no mutual TLS, so that nobody has an identity"
    else:
        return
    for position, rule in enumerate(rate_limit.spec.rules):
        source = rule.match.source if rule.match else None
        if source and (source.principals or source.namespaces):
            yield _problem(rate_limit, f"spec.rules[{position}].match.source", "NeverMatches", f"{reason}: this rule counts nothing")
        if rule.per_value and rule.per_value.source == "Principal":
            message = f"{reason}: all requests share one limit"
            yield _problem(rate_limit, f"spec.rules[{position}].perValue.source", "Ineffective", message)


def _workloads(db: Database, rate_limit: RateLimit) -> list[Workload]:
    """Return where ``rate_limit`` holds, as far as pods show it; otherwise as it says itself."""
    namespace = rate_limit.key.namespace
    if refs := target_refs(rate_limit.spec):
        return [(namespace, labels) for _, ref in refs if (labels := target_labels(db, namespace, ref)) and labels[0][0] != GATEWAY_LABEL]
    selector = rate_limit.spec.selector
    return _selected(db, rate_limit) or [(namespace, tuple(sorted(selector.match_labels.items())) if selector else ())]


def _selected(db: Database, rate_limit: RateLimit) -> list[Workload]:
    """Return the namespaces and the labels of the pods that ``rate_limit`` selects."""
    selector, namespace = rate_limit.spec.selector, rate_limit.key.namespace
    labels = tuple(sorted(selector.match_labels.items())) if selector else ()
    return [workload for workload in gateway_workloads(db, labels) if namespace in (workload[0], mesh_settings(db).root_namespace)]


def _effect(rate_limit: RateLimit) -> str:
    if rate_limit.spec.mode == "DryRun":
        return "nothing is counted"
    return "every request is answered 503, as it fails closed" if rate_limit.spec.failure == "Closed" else "nothing is limited"


def _problem(rate_limit: RateLimit, path: str, code: str, message: str) -> Problem:
    return Problem(rate_limit.key, path, Severity.WARNING, code, message)
