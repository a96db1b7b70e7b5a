"""A workload of several pods, each of which can be made and ended by itself: there is no Deployment."""

from __future__ import annotations

from controlplane.untyped import items, number, section
from tests.support.pod_mesh import SHOP, Mesh
from tests.support.waiting import wait_until

URL = "http://web:9080/"
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.7.6, selector: {app: web}, ports: [{name: http, port: 9080}]}
"""
_POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web, version: v1}}}}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 30
  containers:
  - name: web
    image: app:1
    ports: [{{containerPort: 9080}}]
    env: [{{name: APP, value: web}}, {{name: VERSION, value: {name}}}]
    readinessProbe: {{httpGet: {{path: /health, port: 9080}}}}
"""


def begin(mesh: Mesh, count: int = 3) -> None:
    """Have ``count`` pods of the workload, ready, and known to the client's Envoy."""
    names = [f"web-{number}" for number in range(1, count + 1)]
    mesh.apply("---".join((_SERVICE, *(_POD.format(name=name) for name in names))))
    mesh.until_ready(*names)
    wait_until(lambda: known(mesh) == count, "the client's Envoy knows them")


def end(mesh: Mesh) -> None:
    """Delete the workload."""
    mesh.delete("pods", "-l", "app=web")
    mesh.delete("service/web")


def replace(mesh: Mesh, old: str, new: str) -> None:
    """Make the pod ``new``, and when it is ready, delete ``old``, as a rolling update does."""
    mesh.apply(_POD.format(name=new))
    mesh.until_ready(new)
    mesh.delete(f"pod/{old}")


def known(mesh: Mesh) -> int:
    """Return how many healthy hosts of the workload the client's Envoy has."""
    return mesh.counter("client", f"outbound|9080||web.{SHOP}.svc.cluster.local", "membership_healthy")


def outcomes(found: dict[str, object]) -> dict[str, int]:
    """Return how often each came of a load."""
    return {name: number(section(found, "outcomes"), name) for name in section(found, "outcomes")}


def failures(found: dict[str, object]) -> str:
    """Return what failed of a load, to be read."""
    return f"{found['outcomes']} {found['failed']} {items(found, 'failed')}"
