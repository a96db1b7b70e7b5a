"""What a proxy refuses stands in the status of the object that made it, whatever its type, on a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, SDS, VHDS
from controlplane.untyped import Json, items, section, text
from tests.support.cluster import Cluster
from tests.support.control_plane import DeltaCall, Running, delta, next_delta
from tests.support.kube_control_plane import HOME, identities
from tests.support.manifests import document
from tests.support.pod_proxies import Workload, ads, apply
from tests.support.refusing_client import refuse
from tests.support.secure_control_plane import asking
from tests.support.tls_secrets import pair, secret
from tests.support.waiting import until
from tests.support.with_cluster import knowing_our_kinds

PORTS = [{"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 90, "name": "tcp", "protocol": "TCP"}]
CREDENTIAL = "kubernetes://shop"
CASES = {
    "Listener": (LDS, "10.9.0.1_90", "virtualservices/routes", "spec"),
    "Cluster": (CDS, "outbound|80|v1|{host}", "destinationrules/policy", "spec.subsets[1]"),
    "ClusterLoadAssignment": (EDS, "outbound|80||{host}", "serviceentries/shop", "spec.endpoints"),
    "VirtualHost": (VHDS, "80/{host}:80", "virtualservices/routes", "spec.http"),
    "Secret": (SDS, CREDENTIAL, "gateways/front", "spec.servers[0].tls.credentialName"),
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("refused"))
    cluster.namespace(HOME)
    yield cluster
    cluster.stop()


def objects(namespace: str) -> list[str]:
    """Return what the resources that are refused are made from."""
    host, endpoints = f"{namespace}.behind", [{"address": "10.1.1.1"}]
    http = [{"route": [{"destination": {"host": host, "port": {"number": 80}}}]}]
    tcp = [{"match": [{"port": 90}], "route": [{"destination": {"host": host, "port": {"number": 90}}}]}]
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v0", "v1")]
    tls = {"mode": "SIMPLE", "credentialName": "shop"}
    server = {"port": {"number": 443, "protocol": "HTTPS", "name": "https"}, "hosts": ["shop.example.com"], "tls": tls}
    entry = {"hosts": [host], "addresses": ["10.9.0.1"], "ports": PORTS, "resolution": "STATIC", "endpoints": endpoints}
    return [
        document("ServiceEntry", "shop", namespace, **entry, exportTo=["."]),
        document("DestinationRule", "policy", namespace, host=host, subsets=subsets, exportTo=["."]),
        document("VirtualService", "routes", namespace, hosts=[host], http=http, tcp=tcp, exportTo=["."]),
        document("Gateway", "front", namespace, selector={"app": namespace}, servers=[server]),
        json.dumps(secret(pair(), namespace=namespace)),
    ]


async def programmed(cluster: Cluster, namespace: str, path: str) -> Json:
    """Return the condition ``Programmed`` of an object, and nothing where it has none of its present generation."""
    found: Json = await asyncio.to_thread(cluster.call, "GET", f"/apis/networking.istio.io/v1/namespaces/{namespace}/{path}")
    generation = section(found, "metadata")["generation"]
    conditions = {text(each, "type"): each for each in items(section(found, "status"), "conditions")}
    condition = conditions.get("Programmed", {})
    return condition if condition.get("observedGeneration") == generation else {}


@asynccontextmanager
async def proxy(running: Running, front: Workload, type_url: str) -> AsyncIterator[tuple[DeltaCall, dict[str, object]]]:
    """Yield a stream and the node of a proxy that asks for resources of the type: a sidecar's, or a gateway's with a token."""
    namespace = front.namespace
    if type_url == SDS:
        router = {"id": f"router~10.0.0.1~{front.pod}.{namespace}~{namespace}.svc.cluster.local"}
        labelled = {"NAMESPACE": namespace, "SERVICE_ACCOUNT": front.account, "LABELS": {"app": namespace}}
        async with ads(running, front.token()) as call:
            yield call, {**router, "metadata": labelled}
    else:
        async with delta(running.at.xds) as call:
            yield call, {"id": f"sidecar~10.0.0.1~web-1.{namespace}~{namespace}.svc.cluster.local"}


@pytest.mark.parametrize("kind", CASES)
async def test_a_refusal_stands_in_the_status_of_its_object(own: Cluster, kind: str) -> None:
    type_url, bad, path, field = CASES[kind]
    front = Workload.made(own, f"of-{kind.lower()}", "front")
    front.may_list_secrets()
    bad = bad.format(host=f"{front.namespace}.behind")
    for each in objects(front.namespace):
        apply(own, front.namespace, json.loads(each))
    async with identities(own) as running, proxy(running, front, type_url) as (call, node):

        async def given() -> bool:
            listed = await running.json("/v1/objects?kind=VirtualService")
            return isinstance(listed, list) and any(each["namespace"] == front.namespace for each in listed)

        await until(given)
        await refuse(call, node, type_url, bad, "no such thing")

        async def told() -> bool:
            return (await programmed(own, front.namespace, path)).get("reason") == "Refused"

        await until(told, "the status says that it is refused")
        condition = await programmed(own, front.namespace, path)
        rows = await running.json("/v1/problems")
        if type_url == SDS:  # made good beside the object itself, which does not change by that
            await asyncio.to_thread(apply, own, front.namespace, secret(pair(), namespace=front.namespace))
            mended = await next_delta(call)
            await call.write(asking(SDS, nonce=mended.nonce))

            async def taken_back() -> bool:
                return (await programmed(own, front.namespace, path)).get("reason") == "Programmed"

            await until(taken_back, "the status says that it is refused no more")

    assert isinstance(rows, list)
    refused = [(row["object"].partition("/")[2], row["field"]) for row in rows if row["code"] == "Refused"]
    print(f"{kind}: {path} {condition['status']} {condition['reason']} {condition['message']}")
    assert refused == [(f"{front.namespace}/{path.partition('/')[2]}", field)]
    assert condition["status"] == "False"
    assert f"refused {kind} {bad}: {field}: no such thing" in str(condition["message"])
