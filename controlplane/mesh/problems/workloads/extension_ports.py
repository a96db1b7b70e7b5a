"""Which WasmPlugins and TrafficExtensions are for requests, but on a port where there are none: their filters see nothing there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.ir.extensions.chains import ExtensionLevel
from controlplane.mesh.extensions.attached import ExtensionObject, extension_placement, wasm_of
from controlplane.mesh.problems.access import matching_workloads, services_for
from controlplane.mesh.registry.services import ServiceRef
from controlplane.mesh.registry.workload_services import workload_ports
from controlplane.mesh.routing.route_tables import http_ports, sniffed_ports
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.objects.extensions.wasm_plugin import TrafficSelector

_ALL_HOSTS = ("*/*",)
_MOST_NAMES = 3


def extension_port_problems(db: Database, extension: ExtensionObject) -> Iterator[Problem]:
    """Yield which ports of ``extension``, a filter of requests, carry none."""
    placement = extension_placement(db, extension.key)
    if placement is None or placement.filter.level is not ExtensionLevel.HTTP:
        return
    for position, selector in enumerate(extension.spec.match):
        for port_position, port in enumerate(selector.ports):
            if names := _connection_ports(db, extension, selector, port.number):
                advice = "one of type NETWORK sees connections" if wasm_of(extension) else "a module of type NETWORK sees connections"
                message = f"{', '.join(names)}: not HTTP. This filter is for requests, and sees nothing there; {advice}"
                path = f"spec.match[{position}].ports[{port_position}]"
                yield Problem(extension.key, path, Severity.WARNING, "NotHttp", message)


def _connection_ports(db: Database, extension: ExtensionObject, selector: TrafficSelector, number: int) -> list[str]:
    """Return, in words, which ports with ``number`` the filter is for by ``selector``; none where one of them carries requests."""
    found: dict[str, bool] = {}  # whether it may carry requests
    if selector.mode != "CLIENT":
        found |= _served(db, extension, number)
    if selector.mode != "SERVER" and not any(found.values()):
        found |= _called(db, extension.key.namespace, number)
    return [] if any(found.values()) else sorted(found)[:_MOST_NAMES]


def _served(db: Database, extension: ExtensionObject, number: int) -> dict[str, bool]:
    """Return the ports of services that lead to port ``number`` of the workloads of ``extension``."""
    return {
        f"port {port.number} of {mesh_service.host}": _may_be_http(port.protocol)
        for namespace, labels in matching_workloads(db, extension)
        for mesh_service in services_for(db, namespace, labels)
        for port in mesh_service.ports
        if number in workload_ports(db, ServiceRef(mesh_service.host, mesh_service.key), port)
    }


def _called(db: Database, namespace: str, number: int) -> dict[str, bool]:
    """Return the ports ``number`` of services that workloads of ``namespace`` may call."""
    if number in http_ports(db, namespace, _ALL_HOSTS) or any(number == port for _, port in sniffed_ports(db, namespace, _ALL_HOSTS)):
        return {f"port {number}": True}
    return {
        f"port {number} of {mesh_service.host}": False
        for mesh_service in services_for(db, namespace, ())
        if mesh_service.port(number) is not None
    }


def _may_be_http(protocol: Protocol) -> bool:
    return protocol.is_http or protocol is Protocol.UNSUPPORTED
