"""Routes for whole connections that no connection of a sidecar comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateways_of
from controlplane.mesh.inputs import qualified_host
from controlplane.mesh.registry.services import find_service, service
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.model.services import ServicePort
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


def _ports(db: Database, virtual_service: VirtualService, host: str) -> tuple[ServicePort, ...]:
    namespace = virtual_service.key.namespace
    ref = find_service(db, qualified_host(host, namespace), namespace)
    mesh_service = service(db, ref) if ref else None
    return tuple(port for port in mesh_service.ports if port.protocol is not Protocol.UDP) if mesh_service else ()
