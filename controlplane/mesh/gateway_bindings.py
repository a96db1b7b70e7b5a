"""Which Gateways a VirtualService is bound to.

https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService-gateways
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.virtual_service import ConnectionMatch, HTTPMatchRequest, VirtualService, VirtualServiceSpec

MESH_GATEWAY = "mesh"  # every sidecar


def gateway_name(written: str, namespace: str) -> str:
    """Return the Gateway that ``written`` means in an object of ``namespace``, as ``namespace/name``; every sidecar is ``mesh``.

    Besides ``namespace/name`` and a bare name there is the old form ``name.namespace.svc.cluster.local``.
    """
    if written == MESH_GATEWAY:
        return written
    gateway_namespace, slash, name = written.rpartition("/")
    if slash:
        return f"{namespace if gateway_namespace == '.' else gateway_namespace}/{name}"
    name, _, gateway_namespace = written.partition(".")
    return f"{gateway_namespace.partition('.')[0] or namespace}/{name}"


def gateways_of(virtual_service: VirtualService) -> frozenset[str]:
    """Return the Gateways that ``virtual_service`` is bound to, as a whole or in one of its matches."""
    written = [*virtual_service.spec.gateways, *(gateway for match in all_matches(virtual_service.spec) for gateway in match.gateways)]
    return frozenset(gateway_name(gateway, virtual_service.key.namespace) for gateway in written or (MESH_GATEWAY,))


def all_matches(spec: VirtualServiceSpec) -> Iterator[HTTPMatchRequest | ConnectionMatch]:
    """Yield every match of ``spec``, of whatever kind of route."""
    for http in spec.http:
        yield from http.match
    yield from connection_matches(spec)


def connection_matches(spec: VirtualServiceSpec) -> Iterator[ConnectionMatch]:
    """Yield every match of the routes of ``spec`` for whole connections."""
    for tls in spec.tls:
        yield from tls.match
    for tcp in spec.tcp:
        yield from tcp.match
