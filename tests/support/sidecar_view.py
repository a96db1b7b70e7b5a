"""What a sidecar gets for manifests, and how to look at it; with a few manifests that several tests share."""

from __future__ import annotations

import io
from collections.abc import Mapping

from controlplane.mesh.snapshot import Snapshot, snapshot
from controlplane.model.proxies import proxy_from_node
from controlplane.sources.files.once import read_manifests
from controlplane.untyped import items, section, text


def world(manifests: str, namespace: str = "default", ip: str = "10.9.9.9", **labels: str) -> Snapshot:
    """Return what a sidecar of ``namespace`` at ``ip`` gets for ``manifests``."""
    _, changes = read_manifests(["-"], io.BytesIO(manifests.encode()))
    node = f"sidecar~{ip}~c-0.{namespace}~{namespace}.svc.cluster.local"
    return snapshot(changes, proxy_from_node(node, {"LABELS": {"app": "c", **labels}}))


def clusters_by_domain(seen: Snapshot, table: str) -> Mapping[str, str]:
    """Return where the last route of each domain of ``table`` leads; every domain is there once."""
    found: dict[str, str] = {}
    for each in seen.resources["routes"]:
        for host in items(each, "virtualHosts") if each["name"] == table else ():
            domains = host["domains"]
            assert isinstance(domains, list)
            for domain in domains:
                assert domain not in found
                found[domain] = text(section(items(host, "routes")[-1], "route"), "cluster")
    return found


def names(seen: Snapshot, kind: str) -> set[str]:
    return {text(each, "name") for each in seen.resources[kind]}


def endpoints(seen: Snapshot, cluster: str) -> list[str]:
    of_dns = [section(each, "loadAssignment") for each in seen.resources["clusters"] if each["name"] == cluster]
    assignments = [each for each in seen.resources["endpoints"] if each["clusterName"] == cluster] or of_dns
    sockets = [
        section(section(section(endpoint, "endpoint"), "address"), "socketAddress")
        for each in assignments
        for locality in items(each, "endpoints")
        for endpoint in items(locality, "lbEndpoints")
    ]
    return [f"{socket['address']}:{socket['portValue']}" for socket in sockets]


def problems(seen: Snapshot) -> list[tuple[str, str, str]]:
    return [(str(each.object), each.field, each.code) for each in seen.problems]


REAL = """
apiVersion: v1
kind: Service
metadata: {name: real, namespace: shop}
spec: {clusterIP: 10.40.0.9, ports: [{name: http, port: 80, targetPort: 8088}, {name: tcp, port: 90}]}
---
"""
NICK = """
apiVersion: v1
kind: Service
metadata: {name: nick, namespace: default}
spec: {type: ExternalName, externalName: Real.Shop.svc.cluster.local., ports: [{name: tcp-other, port: 4242}]}
---
"""
CHAIN = """
apiVersion: v1
kind: Service
metadata: {name: far, namespace: default}
spec: {type: ExternalName, externalName: nick.default.svc.cluster.local}
---
"""


def route(name: str, hosts: str, destination: str, **metadata: str) -> str:
    written = "".join(f", {key}: {value}" for key, value in metadata.items())
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}{written}}}
spec: {{hosts: {hosts}, http: [{{route: [{{destination: {destination}}}]}}]}}
---
"""


def entry(name: str, host: str, ports: str, more: str = "resolution: DNS", **metadata: str) -> str:
    written = "".join(f", {key}: {value}" for key, value in metadata.items())
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}{written}}}
spec: {{hosts: ["{host}"], ports: [{ports}], {more}}}
---
"""


HTTP_80, HTTP_81, TCP_90 = (
    "{number: 80, name: http, protocol: HTTP}",
    "{number: 81, name: http-b, protocol: HTTP}",
    "{number: 90, name: tcp, protocol: TCP}",
)
