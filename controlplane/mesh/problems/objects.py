"""What is wrong between objects that are each valid: names that lead nowhere, and conflicts that somebody lost."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, Failed, query
from controlplane.mesh.access.credentials import problems_of_credentials
from controlplane.mesh.access.jwks import missing_keys
from controlplane.mesh.destinations.destination_rules import client_namespace_for_rules, subset_labels
from controlplane.mesh.gateway_bindings import MESH_GATEWAY
from controlplane.mesh.inputs import about_host, index, objects, plaintext_addresses, qualified_host
from controlplane.mesh.problems.access import attachment_problems, authorization_problems, peer_authentication_problems
from controlplane.mesh.problems.gateways import binding_problems, gateway_problems
from controlplane.mesh.problems.unreachable import unreachable_endpoints
from controlplane.mesh.registry.endpoints import PEER_LABEL
from controlplane.mesh.registry.services import declared_services, declarers, find_service, service
from controlplane.mesh.routing.virtual_services import virtual_services_for
from controlplane.model.keys import DESTINATION_RULE, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Pod
from controlplane.objects.networking.claim_matches import is_claim
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry
from controlplane.objects.networking.virtual_service import Destination, HTTPRoute, VirtualService
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.security.request_authentication import RequestAuthentication


@query
def problems_of(db: Database, key: Key) -> tuple[Problem, ...]:
    """Return what is wrong between the object ``key`` and the others."""
    match objects(db, key):
        case VirtualService() as value:
            return tuple(_of_virtual_service(db, value))
        case DestinationRule() as value:
            return (*_rule_problems(db, value), *problems_of_credentials(db, key))
        case RequestAuthentication() as value:
            return (*attachment_problems(db, value), *missing_keys(db, value))
        case AuthorizationPolicy() | PeerAuthentication() as value:
            return tuple(
                authorization_problems(db, value) if isinstance(value, AuthorizationPolicy) else peer_authentication_problems(db, value)
            )
        case Gateway() as value:
            return (*gateway_problems(db, value), *problems_of_credentials(db, key))
        case KubernetesService() | ServiceEntry() as value:
            return (*_service_problems(db, key), *unreachable_endpoints(db, value))
        case Pod() | WorkloadEntry() | EndpointSlice() as value:
            return tuple(_of_instances(db, value))
        case _:
            return ()


def internal_problem(key: Key, failed: Failed) -> Problem:
    """Return ``failed``, a fault of ours, as a Problem of the object ``key`` that brought it to light."""
    message = f"this object could not be worked out: {failed.message}; its last good meaning stays"
    return Problem(key, "", Severity.ERROR, "Internal", message)


def _of_virtual_service(db: Database, value: VirtualService) -> Iterator[Problem]:
    key = value.key
    for at, host in enumerate(value.spec.hosts):
        name = qualified_host(host, key.namespace)
        rivals = [each for each in virtual_services_for(db, name) if name in each.hosts]
        if len(rivals) > 1 and rivals[0].key != key and key in {each.key for each in rivals}:
            message = f"{host} is routed by {rivals[0].key}, which is older: this object's routes for it are not used"
            yield Problem(key, f"spec.hosts[{at}]", Severity.WARNING, "Conflict", message)
    yield from _claims_in_mesh(value)
    yield from binding_problems(db, value)
    for path, destination in _destinations(value):
        yield from _of_destination(db, key, path, destination)


def _claims_in_mesh(value: VirtualService) -> Iterator[Problem]:
    if MESH_GATEWAY not in value.spec.gateways:
        return
    for at, route in enumerate(value.spec.http):
        for place, match in enumerate(route.match):
            claims = [name for name in (*match.headers, *match.without_headers) if is_claim(name)]
            if claims and (not match.gateways or MESH_GATEWAY in match.gateways):
                message = f"only gateways know the claims of a token: for sidecars there is no {claims[0]}"
                yield Problem(value.key, f"spec.http[{at}].match[{place}]", Severity.WARNING, "Ineffective", message)


def _destinations(value: VirtualService) -> Iterator[tuple[str, Destination]]:
    spec = value.spec
    for at, http in enumerate(spec.http):
        yield from _of_requests(f"spec.http[{at}]", http)
    connections = [(f"spec.tls[{at}]", tls.route) for at, tls in enumerate(spec.tls)]
    connections += [(f"spec.tcp[{at}]", tcp.route) for at, tcp in enumerate(spec.tcp)]
    for path, routes in connections:
        for at, each in enumerate(routes):
            yield f"{path}.route[{at}].destination", each.destination


def _of_requests(path: str, route: HTTPRoute) -> Iterator[tuple[str, Destination]]:
    for at, each in enumerate(route.route):
        yield f"{path}.route[{at}].destination", each.destination
    if route.mirror:
        yield f"{path}.mirror", route.mirror
    for at, mirror in enumerate(route.mirrors):
        yield f"{path}.mirrors[{at}].destination", mirror.destination


def _of_destination(db: Database, key: Key, path: str, destination: Destination) -> Iterator[Problem]:
    host = qualified_host(destination.host, key.namespace)
    ref = find_service(db, host, key.namespace)
    known = ref and service(db, ref)
    if ref is None or not known:
        yield Problem(key, f"{path}.host", Severity.WARNING, "UnknownHost", f"no service {host} is known; requests there are answered 503")
        return
    ports = [port.number for port in known.ports]
    if destination.port and destination.port.number not in ports:
        has = ", ".join(map(str, ports))
        message = f"{host} has no port {destination.port.number}; it has {has}"
        yield Problem(key, f"{path}.port", Severity.WARNING, "UnknownPort", message)
    if destination.subset and subset_labels(db, ref, client_namespace_for_rules(db, ref, key.namespace), destination.subset) is None:
        message = f"no DestinationRule gives {host} a subset {destination.subset!r}"
        yield Problem(key, f"{path}.subset", Severity.WARNING, "UnknownSubset", message)


def _rule_problems(db: Database, value: DestinationRule) -> Iterator[Problem]:
    key = value.key
    host = qualified_host(value.spec.host, key.namespace)
    if not host.startswith("*") and find_service(db, host, key.namespace) is None:
        yield Problem(key, "spec.host", Severity.WARNING, "UnknownHost", f"no service {host} is known: this rule applies to nothing")
    names = {each.name for each in value.spec.subsets}
    for other in sorted(index(db, about_host(DESTINATION_RULE, host)) - {key}):
        peer = objects(db, other)
        if not isinstance(peer, DestinationRule) or other.namespace != key.namespace:
            continue
        twice = names & {each.name for each in peer.spec.subsets}
        if twice and (peer.meta.created, other) < (value.meta.created, key):
            message = f"{other}, which is older, names subset {', '.join(sorted(twice))} of {host} too"
            yield Problem(key, "spec.subsets", Severity.WARNING, "Conflict", message)


def _service_problems(db: Database, key: Key) -> Iterator[Problem]:
    for each in declared_services(db, key):
        others = [other for other in declarers(db, each.host) if other != key]
        if others and (winner := find_service(db, each.host, key.namespace)) and winner.key != key:
            yield Problem(key, "", Severity.WARNING, "Conflict", f"{each.host} is declared by {winner.key} too, which is used instead")


def _of_instances(db: Database, value: Pod | WorkloadEntry | EndpointSlice) -> Iterator[Problem]:
    if not isinstance(value, EndpointSlice):
        yield from _of_workload(db, value)
    if not isinstance(value, Pod):
        yield from unreachable_endpoints(db, value)


def _of_workload(db: Database, value: Pod | WorkloadEntry) -> Iterator[Problem]:
    key, (name, mutual), labels = value.key, PEER_LABEL, dict(value.meta.labels)
    addresses, field = (value.ips, "metadata.labels") if isinstance(value, Pod) else ((value.spec.address,), "spec.labels")
    if isinstance(value, WorkloadEntry):
        labels |= value.spec.labels
    for address in addresses:
        if labels.get(name) == mutual and plaintext_addresses(db, (key.namespace, address)):
            message = f"its proxy at {address} came in the clear and has no identity: others speak plaintext to it, whatever {name} says"
            yield Problem(key, field, Severity.WARNING, "NoIdentity", message)
