"""What is wrong between objects that are each valid: names that lead nowhere, and conflicts that one of them lost."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, Failed, query
from controlplane.mesh.access.credentials import problems_of_credentials
from controlplane.mesh.access.jwks import missing_keys
from controlplane.mesh.destinations.destination_rules import named_subsets
from controlplane.mesh.extensions.problems import extension_problems
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.gateway_bindings import MESH_GATEWAY
from controlplane.mesh.inputs import held_back, objects, plaintext_addresses
from controlplane.mesh.patches.problems import envoy_filter_problems
from controlplane.mesh.problems.access import attachment_problems, authorization_problems, peer_authentication_problems
from controlplane.mesh.problems.connections import connection_route_problems, indistinct_port_problems
from controlplane.mesh.problems.destination_rules import destination_rule_problems
from controlplane.mesh.problems.drills.drills import drill_problems
from controlplane.mesh.problems.drills.faults import fault_problems
from controlplane.mesh.problems.gateways import binding_problems, gateway_problems
from controlplane.mesh.problems.host_conflicts import foreign_hosts, host_conflicts, unused_declarers
from controlplane.mesh.problems.limits.rate_limits import rate_limit_problems
from controlplane.mesh.problems.precedence import listed
from controlplane.mesh.problems.sidecars import sidecar_problems
from controlplane.mesh.problems.telemetry.mesh_config import telemetry_settings_problems
from controlplane.mesh.problems.telemetry.telemetries import telemetry_problems
from controlplane.mesh.problems.unreachable import round_robin_problems, unreachable_endpoints
from controlplane.mesh.problems.virtual_services.callee_faults import callee_fault_problems
from controlplane.mesh.problems.virtual_services.conditions import condition_problems
from controlplane.mesh.problems.virtual_services.delegates import delegate_problems
from controlplane.mesh.problems.virtual_services.expressions import large_expressions
from controlplane.mesh.problems.virtual_services.token_claims import unverified_claims
from controlplane.mesh.problems.workloads.extension_ports import extension_port_problems
from controlplane.mesh.problems.workloads.injection import namespace_problems, pod_problems
from controlplane.mesh.problems.workloads.proxy_configs import proxy_config_problems
from controlplane.mesh.problems.workloads.shared_ports import service_port_problems
from controlplane.mesh.registry.endpoints import PEER_LABEL
from controlplane.mesh.registry.services import declared_services, find_services, resolved_host, service, service_ports, services_named
from controlplane.model.keys import Key
from controlplane.model.problems import HELD_BACK, Problem, Severity
from controlplane.objects.drills.drill import Drill
from controlplane.objects.extensions.telemetry import Telemetry
from controlplane.objects.extensions.traffic_extension import TrafficExtension
from controlplane.objects.extensions.wasm_plugin import WasmPlugin
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Namespace, Pod
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.objects.networking.claim_matches import is_claim
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.envoy_filter import EnvoyFilter
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.networking.proxy_config import ProxyConfig, unread_annotations
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry
from controlplane.objects.networking.sidecar import Sidecar
from controlplane.objects.networking.virtual_service import Destination, HTTPRoute, VirtualService
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.closed import ClosedRequestAuthentication
from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.security.rate_limit import RateLimit
from controlplane.objects.security.request_authentication import RequestAuthentication


@query
def problems_of(db: Database, key: Key) -> tuple[Problem, ...]:
    """Return what is wrong between the object ``key`` and the others."""
    match objects(db, key):
        case VirtualService() | Sidecar() as seen:
            return tuple(_virtual_service_problems(db, seen) if isinstance(seen, VirtualService) else sidecar_problems(db, seen))
        case DestinationRule() | Gateway() as naming:
            own = destination_rule_problems(db, naming) if isinstance(naming, DestinationRule) else gateway_problems(db, naming)
            return (*own, *problems_of_credentials(db, key))
        case RequestAuthentication() as authentication:
            no_keys = () if isinstance(authentication, ClosedRequestAuthentication) else missing_keys(db, authentication)
            return (*attachment_problems(db, authentication), *no_keys)
        case (
            AuthorizationPolicy()
            | PeerAuthentication()
            | RateLimit()
            | EnvoyFilter()
            | WasmPlugin()
            | TrafficExtension()
            | Drill() as policy
        ):
            return tuple(_policy_problems(db, policy))
        case Telemetry() | MeshConfig() as settings:
            return tuple(telemetry_problems(db, settings) if isinstance(settings, Telemetry) else telemetry_settings_problems(db, settings))
        case KubernetesService() | ServiceEntry() as service_object:
            found = (_service_problems, _port_problems, unreachable_endpoints, round_robin_problems, fault_problems)
            return tuple(problem for problems in found for problem in problems(db, service_object))
        case Namespace() | Pod() | WorkloadEntry() | EndpointSlice() | ProxyConfig() as of_workloads:
            return tuple(_problems_of_workloads(db, of_workloads))
        case _:
            return ()


def _extension_problems(db: Database, extension: WasmPlugin | TrafficExtension) -> Iterator[Problem]:
    yield from attachment_problems(db, extension)
    yield from extension_problems(db, extension)
    yield from extension_port_problems(db, extension)


def internal_problem(key: Key, failed: Failed) -> Problem:
    """Return ``failed``, an internal error, as a Problem of the object ``key`` that brought it to light."""
    message = f"this object could not be worked out: {failed.message}; its last good meaning stays"
    return Problem(key, "", Severity.ERROR, "Internal", message)


def _policy_problems(
    db: Database, policy: AuthorizationPolicy | PeerAuthentication | RateLimit | EnvoyFilter | WasmPlugin | TrafficExtension | Drill
) -> Iterator[Problem]:
    match policy:
        case AuthorizationPolicy():
            return authorization_problems(db, policy)
        case PeerAuthentication():
            return peer_authentication_problems(db, policy)
        case RateLimit():
            return rate_limit_problems(db, policy)
        case EnvoyFilter():
            return envoy_filter_problems(db, policy)
        case Drill():
            return drill_problems(db, policy)
        case WasmPlugin() | TrafficExtension():
            return _extension_problems(db, policy)


def _virtual_service_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    key = virtual_service.key
    yield from host_conflicts(db, virtual_service)
    yield from foreign_hosts(db, virtual_service)
    yield from _claims_in_mesh(virtual_service)
    yield from unverified_claims(db, virtual_service)
    yield from binding_problems(db, virtual_service)
    yield from connection_route_problems(db, virtual_service)
    yield from delegate_problems(db, virtual_service)
    yield from condition_problems(db, virtual_service)
    yield from callee_fault_problems(db, virtual_service)
    yield from large_expressions(db, virtual_service)
    hosts = frozenset(qualified_host(host, key.namespace) for host in virtual_service.spec.hosts)
    for path, destination in _destinations(virtual_service):
        yield from _destination_problems(db, key, path, destination, hosts)
    if held := held_back(db, key):
        yield Problem(key, "", Severity.WARNING, HELD_BACK, held.message)


def _claims_in_mesh(virtual_service: VirtualService) -> Iterator[Problem]:
    if MESH_GATEWAY not in virtual_service.spec.gateways:
        return
    for position, route in enumerate(virtual_service.spec.http):
        for match_position, match in enumerate(route.match):
            claims = [name for name in (*match.headers, *match.without_headers) if is_claim(name)]
            if claims and (not match.gateways or MESH_GATEWAY in match.gateways):
                message = f"only gateways know the claims of a token: for sidecars there is no {claims[0]}"
                yield Problem(
                    virtual_service.key, f"spec.http[{position}].match[{match_position}]", Severity.WARNING, "Ineffective", message
                )


def _destinations(virtual_service: VirtualService) -> Iterator[tuple[str, Destination]]:
    spec = virtual_service.spec
    for position, http in enumerate(spec.http):
        yield from _http_destinations(f"spec.http[{position}]", http)
    connections = [(f"spec.tls[{position}]", tls.route) for position, tls in enumerate(spec.tls)]
    connections += [(f"spec.tcp[{position}]", tcp.route) for position, tcp in enumerate(spec.tcp)]
    for path, routes in connections:
        for position, route_destination in enumerate(routes):
            yield f"{path}.route[{position}].destination", route_destination.destination


def _http_destinations(path: str, route: HTTPRoute) -> Iterator[tuple[str, Destination]]:
    for position, route_destination in enumerate(route.route):
        yield f"{path}.route[{position}].destination", route_destination.destination
    if route.mirror:
        yield f"{path}.mirror", route.mirror
    for position, mirror in enumerate(route.mirrors):
        yield f"{path}.mirrors[{position}].destination", mirror.destination


def _destination_problems(db: Database, key: Key, path: str, destination: Destination, hosts: frozenset[str]) -> Iterator[Problem]:
    """Yield what is wrong with ``destination``, written at ``path`` of the VirtualService ``key`` for ``hosts``."""
    host = qualified_host(destination.host, key.namespace)
    refs = find_services(db, host, key.namespace)
    ports = service_ports(db, refs)
    fate = "they will be answered 503" if held_back(db, key) else "requests there are answered 503"
    if not refs:
        becomes = fate if path.startswith("spec.http") else "connections there are closed"
        yield Problem(key, f"{path}.host", Severity.WARNING, "UnknownHost", f"no service {host} is known; {becomes}")
        return
    if destination.port and destination.port.number not in ports:
        port_text = ", ".join(map(str, ports)) or "none for TCP"
        message = f"{host} has no port {destination.port.number}; it has {port_text}"
        yield Problem(key, f"{path}.port", Severity.WARNING, "UnknownPort", message)
    if destination.port is None and len(ports) > 1 and host not in hosts:
        message = f"{host} has ports {', '.join(map(str, ports))}: without one of them here, requests go to the port that they came to"
        yield Problem(key, f"{path}.port", Severity.WARNING, "PortRequired", message)
    if destination.subset and destination.subset not in named_subsets(db, refs[0], key.namespace):
        message = f"no DestinationRule gives {host} a subset {destination.subset!r}"
        yield Problem(key, f"{path}.subset", Severity.WARNING, "UnknownSubset", message)


def _service_problems(db: Database, service_object: KubernetesService | ServiceEntry) -> Iterator[Problem]:
    key = service_object.key
    yield from indistinct_port_problems(db, service_object)
    for declared in declared_services(db, key):
        named = services_named(db, declared.host, key.namespace)
        ref = next((ref for ref in named if ref.key == key), None)
        if ref is None and named:
            yield Problem(
                key, "", Severity.WARNING, "Conflict", f"{declared.host} is declared by {named[0].key} too, which is used instead"
            )
        if named and named[0].key == key and (losers := unused_declarers(db, declared.host, key.namespace)):
            message = f"{declared.host} is declared by {listed(losers)} too: this one is used, as far as both say the same"
            yield Problem(key, "", Severity.WARNING, "Conflict", message)
        for position, number in _positions(service_object, ref.hidden if ref else ()):
            winner = next(other for other in named if (mesh_service := service(db, other)) and mesh_service.port(number))
            message = f"{winner.key} declares port {number} of {declared.host} too, and is used instead"
            yield Problem(key, f"spec.ports[{position}]", Severity.WARNING, "Conflict", message)
        if declared.other_name and resolved_host(db, declared.host, key.namespace) is None:
            message = f"{declared.host} is another name of itself, by way of {declared.other_name}: requests to it lead nowhere"
            yield Problem(key, "spec.externalName", Severity.WARNING, "Circle", message)


def _port_problems(db: Database, service_object: KubernetesService | ServiceEntry) -> Iterator[Problem]:
    if isinstance(service_object, KubernetesService):
        yield from service_port_problems(db, service_object)


def _positions(service_object: KubernetesService | ServiceEntry, numbers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield where ``service_object`` declares the ports ``numbers``, and the number."""
    match service_object:
        case KubernetesService():
            counted = [port.port if service_object.ports[port.port] is port else 0 for port in service_object.spec.ports]
        case ServiceEntry():
            counted = [port.number for port in service_object.spec.ports]
    yield from ((position, number) for position, number in enumerate(counted) if number in numbers)


def _problems_of_workloads(db: Database, found: Namespace | Pod | WorkloadEntry | EndpointSlice | ProxyConfig) -> Iterator[Problem]:
    match found:
        case Namespace():
            yield from namespace_problems(db, found)
        case ProxyConfig():
            yield from proxy_config_problems(db, found)
        case _:
            yield from _instance_problems(db, found)


def _instance_problems(db: Database, instance: Pod | WorkloadEntry | EndpointSlice) -> Iterator[Problem]:
    if not isinstance(instance, EndpointSlice):
        yield from _workload_problems(db, instance)
    if isinstance(instance, Pod):
        yield from pod_problems(db, instance)
        for name in unread_annotations(instance.meta.annotations):
            message = "this cannot be read: its proxy has the settings of the mesh instead"
            yield Problem(instance.key, f"metadata.annotations.{name}", Severity.WARNING, "Ineffective", message)
    if not isinstance(instance, Pod):
        yield from unreachable_endpoints(db, instance)


def _workload_problems(db: Database, workload: Pod | WorkloadEntry) -> Iterator[Problem]:
    key, (name, mutual), labels = workload.key, PEER_LABEL, dict(workload.meta.labels)
    addresses, field = (workload.ips, "metadata.labels") if isinstance(workload, Pod) else ((workload.spec.address,), "spec.labels")
    if isinstance(workload, WorkloadEntry):
        labels |= workload.spec.labels
    for address in addresses:
        if labels.get(name) == mutual and plaintext_addresses(db, (key.namespace, address)):
            message = f"its proxy at {address} came in the clear and has no identity: others speak plaintext to it, whatever {name} says"
            yield Problem(key, field, Severity.WARNING, "NoIdentity", message)
