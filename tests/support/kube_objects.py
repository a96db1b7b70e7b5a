"""Objects at an API server, and waiting until a control plane has seen them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_servers import ApiServer
from tests.support.control_plane import Running
from tests.support.kube_control_plane import names
from tests.support.waiting import at_most, until

CRDS = Path(__file__).parents[3] / "shared" / "cases" / "crds" / "customresourcedefinitions.gen.yaml"
HAS_CRDS = pytest.mark.skipif(not CRDS.exists(), reason="not run: Istio's CustomResourceDefinitions are not beside the repository")
NETWORKING = "/apis/networking.istio.io/v1"


def service(name: str, port: int = 80) -> dict[str, object]:
    ports = [{"name": "http", "port": port}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports}}


def route(name: str, host: str = "reviews", timeout: str = "1s") -> dict[str, object]:
    spec = {"hosts": [host], "http": [{"timeout": timeout, "route": [{"destination": {"host": host}}]}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}, "spec": spec}


def create(cluster: ApiServer, namespace: str, *objects: dict[str, object]) -> None:
    for each in objects:
        base = "/api/v1" if each["kind"] == "Service" else NETWORKING
        cluster.call("POST", f"{base}/namespaces/{namespace}/{str(each['kind']).lower()}s", each)


async def seen(running: Running, kind: str, namespace: str, *wanted: str, within_s: float = 2.0) -> None:
    """Wait until the objects of ``kind`` in ``namespace`` are the ones that are ``wanted``."""

    async def are() -> bool:
        return await names(running, kind, namespace) == set(wanted)

    await until(are, deadline_s=at_most(within_s))


def endpoint_slice(address: str, **more: str) -> dict[str, object]:
    """Return the EndpointSlice of the Service ``one``, with one endpoint."""
    metadata = {"name": "one-1", "labels": {"kubernetes.io/service-name": "one"}}
    listed = [{"addresses": [address], "conditions": {"ready": True}, **more}]
    head: dict[str, object] = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    return {**head, "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": listed}
