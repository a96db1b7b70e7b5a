"""The mesh that is served: services in namespaces, their endpoints, some with routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

PORT = 8080


@dataclass(frozen=True, slots=True)
class Size:
    """How big the mesh is."""

    proxies: int = 500
    namespaces: int = 20
    services: int = 1000
    endpoints: int = 10
    routes: int = 200
    scoped: bool = False  # by a Sidecar in each namespace, whose proxies see their own namespace alone
    observed: bool = False  # by a Telemetry of the root namespace: metrics and access logs of every proxy

    @property
    def visible(self) -> int:
        """Return how many services a proxy sees at least."""
        return self.services // self.namespaces if self.scoped else self.services


def everything(size: Size) -> Iterator[dict[str, object]]:
    """Yield every object of the mesh."""
    for number in range(size.namespaces if size.scoped else 0):
        yield scope(number, size)
    if size.observed:
        yield telemetry()
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
    """Return the EndpointSlice of one Service, whose first endpoint was ``moved`` so often."""
    addresses = [f"10.{2 + number // 250}.{number % 250}.{each + 1}" for each in range(size.endpoints)]
    addresses[0] = moved_address(moved) if moved else addresses[0]
    return _slice(number, size, addresses)


def rolled(number: int, size: Size, pods: int, replaced: int) -> dict[str, object]:
    """Return the EndpointSlice of one Service with so many ``pods``, of which the first ``replaced`` are new ones."""
    return _slice(number, size, [f"10.{210 if pod < replaced else 211}.0.{pod + 1}" for pod in range(pods)])


def replaced_address(pod: int) -> str:
    """Return the address of a new pod of ``rolled``."""
    return f"10.210.0.{pod + 1}"


def scope(number: int, size: Size) -> dict[str, object]:
    """Return the Sidecar of one namespace."""
    metadata = {"name": "default", "namespace": namespace_of(number, size)}
    return {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": metadata, "spec": {"egress": [{"hosts": ["./*"]}]}}


def telemetry() -> dict[str, object]:
    """Return the Telemetry by which every proxy counts and logs its requests."""
    spec = {"metrics": [{"providers": [{"name": "prometheus"}]}], "accessLogging": [{"providers": [{"name": "envoy"}]}]}
    metadata = {"name": "mesh", "namespace": "istio-system"}
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": metadata, "spec": spec}


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


def cluster(number: int, size: Size) -> str:
    """Return the name of a service's cluster, which is that of its assignment too."""
    return f"outbound|{PORT}||{host(number, size)}"


def virtual_host(number: int, size: Size) -> str:
    """Return the name of a service's virtual host."""
    return f"{PORT}/{host(number, size)}:{PORT}"


def timeout_mark(seconds: int) -> bytes:
    """Return how a route's timeout is written: the field ``RouteAction.timeout``, number 8."""
    duration = Duration(seconds=seconds).SerializeToString()
    return bytes((8 << 3 | 2, len(duration))) + duration


def _slice(number: int, size: Size, addresses: Sequence[str]) -> dict[str, object]:
    head = _head("discovery.k8s.io/v1", "EndpointSlice", number, size)
    head["metadata"] = {**_meta(number, size), "labels": {"kubernetes.io/service-name": f"s{number}"}}
    listed = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return {**head, "addressType": "IPv4", "ports": [{"name": "http", "port": PORT}], "endpoints": listed}


def _head(version: str, kind: str, number: int, size: Size) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": _meta(number, size)}


def _meta(number: int, size: Size) -> dict[str, object]:
    return {"name": f"s{number}", "namespace": namespace_of(number, size)}
