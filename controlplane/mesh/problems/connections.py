"""Routes for whole connections that no connection of a sidecar comes to, and ports whose connections nothing tells from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateways_of
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.services import declared_services, find_service, resolved_host, service
from controlplane.mesh.routing.virtual_services import virtual_services_for
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.model.services import ServicePort
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.networking.service_entry import ServiceEntry
from controlplane.objects.networking.virtual_service import TCPRoute, TLSRoute, VirtualService


def connection_route_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which ``tls`` and ``tcp`` routes of ``virtual_service`` are for no port of its hosts.

    Requests are routed by ``http`` wherever a port carries HTTP, and by ``tls`` wherever it carries TLS.
    https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
    """
    spec = virtual_service.spec
    if gateways_of(virtual_service) != {MESH_GATEWAY}:
        return  # a gateway's servers have ports of their own
    ports = [port for host in spec.hosts for port in _ports(db, virtual_service, host)]
    tls = {port.number for port in ports if port.protocol.is_tls}
    tcp = {port.number for port in ports if not (port.protocol.is_tls or port.protocol.is_http)}
    yield from _without_port(virtual_service, "tls", spec.tls, tls, "TLS or HTTPS")
    yield from _without_port(virtual_service, "tcp", spec.tcp, tcp, "neither HTTP nor TLS")


def _without_port(
    virtual_service: VirtualService, field: str, routes: Iterable[TLSRoute | TCPRoute], numbers: set[int], kind: str
) -> Iterator[Problem]:
    for position, route in enumerate(routes):
        wanted = {match.port for match in route.match} or {0}
        if not (numbers if 0 in wanted else numbers & wanted):
            which = "no port" if 0 in wanted else f"no port {', '.join(map(str, sorted(wanted)))}"
            message = f"its hosts have {which} that carries {kind}: no connection of a sidecar comes to this route"
            yield Problem(virtual_service.key, f"spec.{field}[{position}]", Severity.WARNING, "NoSuchPort", message)


def indistinct_port_problems(db: Database, service_object: KubernetesService | ServiceEntry) -> Iterator[Problem]:
    """Yield the ports of ``service_object`` for whole connections, where it is another name of something that is not of the mesh."""
    if not isinstance(service_object, KubernetesService):
        return
    key = service_object.key
    for declared in declared_services(db, key):
        if not declared.other_name or resolved_host(db, declared.host, key.namespace) != declared.host:
            continue
        rules = [objects(db, head.key) for head in virtual_services_for(db, declared.host)]
        routes = [route for rule in rules if isinstance(rule, VirtualService) for route in rule.spec.tcp]
        if any(match.destination_subnets for route in routes for match in route.match):
            continue  # connections to these blocks are told from others
        whole = [
            port.number
            for port in declared.ports
            if not (port.protocol.is_http or port.protocol.is_tls or port.protocol in (Protocol.UDP, Protocol.UNSUPPORTED))
        ]
        for position, port in enumerate(service_object.spec.ports):
            if port.port in whole:
                message = (
                    f"nothing tells connections to {declared.host} from others: they go where the client sends them, or nowhere, as"
                    " outboundTrafficPolicy says; a ServiceEntry with addresses is told by these"
                )
                yield Problem(key, f"spec.ports[{position}]", Severity.WARNING, "Ineffective", message)


def _ports(db: Database, virtual_service: VirtualService, host: str) -> tuple[ServicePort, ...]:
    namespace = virtual_service.key.namespace
    ref = find_service(db, qualified_host(host, namespace), namespace)
    mesh_service = service(db, ref) if ref else None
    return tuple(port for port in mesh_service.ports if port.protocol is not Protocol.UDP) if mesh_service else ()
