"""A mesh of three workloads, into which faults of drills are put."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.envoy.type_urls import ECDS, EDS, LDS, PUSH_ORDER
from controlplane.mesh.facts import FaultChange
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.faults.faults import (
    ALL_WORKLOADS,
    DrillFault,
    FaultId,
    FaultSide,
    FaultStage,
    StagedFault,
    WorkloadSelection,
)
from controlplane.model.faults.kinds import (
    AnswerHttp,
    FaultKind,
)
from controlplane.model.identity import Identity
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.sources.files.once import read_manifests
from controlplane.xds.stream import Variant

UNAVAILABLE = AnswerHttp(503)
HOST = "cart.shop.svc.cluster.local"
CLUSTER = f"outbound|80||{HOST}"
ID = FaultId("shop", "slow-cart", "delay")
_POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}, istio-locality: eu.{zone}}}}}
spec: {{serviceAccountName: {app}}}
status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], phase: Running}}
"""
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.0.0.80
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90, targetPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.0.0.81, selector: {app: cart}, ports: [{name: http, port: 81, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
""" + "".join(
    _POD.format(name=f"{app}-{number}", namespace=namespace, app=app, zone=f"z{number}", ip=f"10.1.{net}.{number}")
    for app, namespace, net in (("cart", "shop", 1), ("web", "shop", 2), ("bank", "bank", 3))
    for number in (1, 2, 3)
)


class World:
    """A mesh with a sidecar of each of three workloads."""

    def __init__(self, *, identified: bool = True) -> None:
        self.mesh = Mesh()
        _, changes = read_manifests(["-"], io.BytesIO(MANIFESTS.encode()))
        for_mesh, _ = split(changes)
        self.mesh.apply(for_mesh)
        self.sessions = {
            name: self._connect(name, namespace, ip, identified=identified)
            for name, namespace, ip in (("cart", "shop", "10.1.1.1"), ("web", "shop", "10.1.2.1"), ("bank", "bank", "10.1.3.1"))
        }
        self.mesh.refresh()

    def _connect(self, name: str, namespace: str, ip: str, *, identified: bool) -> Session:
        node = f"sidecar~{ip}~{name}-1.{namespace}~{namespace}.svc.cluster.local"
        proxy = proxy_from_node(node, {"LABELS": {"app": name}})
        return self.mesh.connect(
            replace(proxy, identity=Identity("cluster.local", namespace, name)) if identified else proxy, Variant.DELTA
        )

    def put(self, fault: DrillFault, stage: FaultStage | None = FaultStage.IN_FORCE) -> Published:
        self.mesh.apply([FaultChange(fault.id, StagedFault(fault, stage) if stage else None)])
        published = self.mesh.refresh()
        assert not published.failed
        return published

    def kept(self) -> int:
        """Return how many values the database has."""
        graph = self.mesh.database.graph
        return sum(map(len, graph.nodes.values())) + sum(map(len, graph.cells.values()))

    def views(self) -> dict[str, dict[tuple[str, str], bytes]]:
        return {
            name: {(type_url, each.name): each.frame for type_url in PUSH_ORDER for each in session.view.resources(type_url)}
            for name, session in self.sessions.items()
        }

    def filters(self, name: str) -> dict[str, Mapping[str, object]]:
        """Return what the filters of drills do at the proxy ``name``."""
        found: dict[str, Mapping[str, object]] = {}
        for each in self.sessions[name].view.resources(ECDS):
            config = TypedExtensionConfig.FromString(each.value).typed_config
            found[each.name] = {"type": config.type_url.rpartition(".")[2], "bytes": len(config.value), "ttl": each.ttl_ms}
        return found

    def chains_with(self, name: str, wanted: str) -> list[str]:
        found = self.sessions[name].view.resources(LDS)
        return sorted(each.name for each in found if (ECDS, wanted) in each.uses)

    def ports_with(self, name: str, wanted: str) -> set[int]:
        """Return the ports of inbound chains whose requests pass the filter ``wanted``."""
        resource = self.sessions[name].view.get(LDS, "virtualInbound")
        assert resource
        chains = Listener.FromString(resource.value).filter_chains
        passing = [each for each in chains if any(wanted.encode() in one.typed_config.value for one in each.filters)]
        return {each.filter_chain_match.destination_port.value for each in passing}

    def assignment(self, name: str, cluster: str = CLUSTER) -> set[str]:
        """Return the addresses of the endpoints that remain, as the proxy ``name`` is told."""
        resource = self.sessions[name].view.get(EDS, cluster)
        assert resource
        message = ClusterLoadAssignment.FromString(resource.value)
        marked = [each for locality in message.endpoints for each in locality.lb_endpoints if "envoy.lb" in each.metadata.filter_metadata]
        return {each.endpoint.address.socket_address.address for each in marked}


def fault(kind: FaultKind = UNAVAILABLE, side: FaultSide = FaultSide.CALLEE, caller: WorkloadSelection = ALL_WORKLOADS) -> DrillFault:
    return DrillFault(id=ID, kind=kind, host=HOST, side=side, caller=caller)


def touched(published: Published) -> set[tuple[str, str]]:
    return {
        (type_url, name)
        for _, change in published.changes
        for type_url, names in (*change.updated.items(), *change.removed.items())
        for name in names
    }
