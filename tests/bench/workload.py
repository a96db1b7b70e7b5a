"""The mesh that is served: services in namespaces, their endpoints, some with routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PORT = 8080


@dataclass(frozen=True, slots=True)
class Size:
    """How big the mesh is."""

    proxies: int = 500
    namespaces: int = 20
    services: int = 1000
    endpoints: int = 10
    routes: int = 200


def everything(size: Size) -> Iterator[dict[str, object]]:
    """Yield every object of the mesh."""
    for number in range(size.services):
        yield service(number, size)
        yield endpoints(number, size)
    for number in range(size.routes):
        yield route(number, size, timeout_s=10)


def service(number: int, size: Size) -> dict[str, object]:
    """Return one Service."""
    spec = {"clusterIP": f"10.97.{number // 250}.{number % 250 + 1}", "selector": {"app": f"s{number}"}}
    return {**_head("v1", "Service", number, size), "spec": {**spec, "ports": [{"name": "http", "port": PORT}]}}


def endpoints(number: int, size: Size, moved: int = 0) -> dict[str, object]:
    """Return the EndpointSlice of one Service."""
    head = _head("discovery.k8s.io/v1", "EndpointSlice", number, size)
    head["metadata"] = {**_meta(number, size), "labels": {"kubernetes.io/service-name": f"s{number}"}}
    addresses = [f"10.{2 + number // 250}.{number % 250}.{each + 1}" for each in range(size.endpoints)]
    addresses[0] = moved_address(moved) if moved else addresses[0]
    ready = {"ready": True}
    listed = [{"addresses": [address], "conditions": ready} for address in addresses]
    return {**head, "addressType": "IPv4", "ports": [{"name": "http", "port": PORT}], "endpoints": listed}


def route(number: int, size: Size, timeout_s: int) -> dict[str, object]:
    """Return the VirtualService of one Service."""
    rule = {"timeout": f"{timeout_s}s", "route": [{"destination": {"host": f"s{number}"}}]}
    return {**_head("networking.istio.io/v1", "VirtualService", number, size), "spec": {"hosts": [f"s{number}"], "http": [rule]}}


def moved_address(moved: int) -> str:
    """Return the address that the first endpoint has after it was ``moved`` so often."""
    return f"10.200.{moved // 250}.{moved % 250 + 1}"


def namespace_of(number: int, size: Size) -> str:
    """Return the namespace of a service or a proxy."""
    return f"ns{number % size.namespaces}"


def host(number: int, size: Size) -> str:
    """Return the full name of a service."""
    return f"s{number}.{namespace_of(number, size)}.svc.cluster.local"


def _head(version: str, kind: str, number: int, size: Size) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": _meta(number, size)}


def _meta(number: int, size: Size) -> dict[str, object]:
    return {"name": f"s{number}", "namespace": namespace_of(number, size)}
