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
    where, slash, name = written.rpartition("/")
    if slash:
        return f"{namespace if where == '.' else where}/{name}"
    name, _, where = written.partition(".")
    return f"{where.partition('.')[0] or namespace}/{name}"


def gateways_of(value: VirtualService) -> frozenset[str]:
    """Return the Gateways that ``value`` is bound to, as a whole or in one of its matches."""
    said = [*value.spec.gateways, *(each for match in all_matches(value.spec) for each in match.gateways)]
    return frozenset(gateway_name(each, value.key.namespace) for each in said or (MESH_GATEWAY,))


def all_matches(spec: VirtualServiceSpec) -> Iterator[HTTPMatchRequest | ConnectionMatch]:
    """Yield every match of ``spec``, of whatever kind of route."""
    for http in spec.http:
        yield from http.match
    for tls in spec.tls:
        yield from tls.match
    for tcp in spec.tcp:
        yield from tcp.match
