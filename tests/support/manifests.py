"""Small manifests, as many tests need them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

NETWORKING = "networking.istio.io/v1"


def service(name: str, port: object = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  ports:\n  - port: {port}\n    name: http\n"
    )


def workload(name: str, app: str, address: str = "127.0.0.9") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec: {{address: {address}, labels: {{app: {app}}}}}\n"
    )


def selecting(name: str, app: str, port: int = 80) -> str:
    return f"{service(name, port)}  selector: {{app: {app}}}\n"


def document(kind: str, name: str, namespace: str = "default", /, **spec: object) -> str:
    return json.dumps({"apiVersion": NETWORKING, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def outside(host: str, number: int, protocol: str, *endpoints: str, addresses: Sequence[str] = (), **more: object) -> str:
    """Return a ServiceEntry for one port of ``host``; without ``endpoints`` its clients choose the address."""
    return document(
        "ServiceEntry",
        f"{host.replace('*', 'any').replace('.', '-').lower()}-{number}",
        hosts=[host],
        location="MESH_EXTERNAL",
        addresses=addresses,
        ports=[{"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol}],
        resolution="STATIC" if endpoints else "NONE",
        endpoints=[{"address": each} for each in endpoints],
        **more,
    )


def backed(name: str, namespace: str, vip: str, port: Mapping[str, object], *endpoints: str, target: int = 0) -> str:
    """Return a Service with one ``port`` at the address ``vip`` (``None``: headless), and its EndpointSlice."""
    metadata = {"name": name, "namespace": namespace}
    named = {"name": port["name"]} if "name" in port else {}
    documents: tuple[dict[str, object], ...] = (
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": vip, "ports": [port]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv6" if any(":" in each for each in endpoints) else "IPv4",
            "ports": [{**named, "port": target or port["port"]}],
            "endpoints": [{"addresses": [each]} for each in endpoints],
        },
    )
    return "\n---\n".join(json.dumps(each) for each in documents)
