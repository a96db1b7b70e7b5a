"""The program runs under exactly the rights of its manifests: nothing it does is forbidden, and nothing is granted that it does not use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from controlplane.settings import IdentitySettings, Settings
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.crd_definitions import define_all
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import CRDS, HAS_CRDS, create, route, service
from tests.support.pod_proxies import Workload, apply, secrets_of
from tests.support.rbac_rights import Right, rights, verdict
from tests.support.registered_machine import Machine
from tests.support.rendered_manifests import rendered
from tests.support.tls_secrets import gateway, pair, secret
from tests.support.waiting import until


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("own"), controllers=False)
    if CRDS.exists():
        define_all(cluster, CRDS)
    for kind in ("drills", "ratelimits"):  # of our own, beside Istio's
        cluster.kubectl("apply", "--server-side", "-f", f"manifests/crds/{kind}.navarch.dev.yaml")
    cluster.kubectl("apply", "--server-side", "-f", "manifests/mesh")
    cluster.kubectl("apply", "--server-side", "-k", "manifests/base")
    yield cluster
    cluster.stop()


async def written(cluster: Cluster, namespace: str) -> bool:
    """Return whether every object of ``namespace`` has a status."""
    found = json.loads(await asyncio.to_thread(cluster.kubectl, "-n", namespace, "get", OBJECTS, "-o", "json"))["items"]
    return all(each.get("status", {}).get("conditions") for each in found)


async def registered(cluster: Cluster) -> bool:
    """Return whether the API server knows whom to trust as the webhook."""
    hook = await asyncio.to_thread(cluster.kubectl, "get", "validatingwebhookconfiguration", "navarch-validator", "-o", "json")
    return bool(json.loads(hook)["webhooks"][0]["clientConfig"].get("caBundle"))


async def remade(cluster: Cluster) -> bool:
    """Return whether the webhook's certificate has its key again."""
    found = await asyncio.to_thread(cluster.call, "GET", "/api/v1/namespaces/navarch-system/secrets/navarch-webhook-cert")
    data = found["data"]
    return isinstance(data, dict) and bool(data["tls.key"])


async def cleared(cluster: Cluster) -> bool:
    """Return whether nothing is left of the replica that was there before."""
    return "before" not in await asyncio.to_thread(cluster.kubectl, "-n", "navarch-system", "get", "lease,configmap")


async def roots_are(cluster: Cluster, namespace: str, *, there: bool = True) -> bool:
    """Return whether the roots that pods mount are ``there``."""
    said = await asyncio.to_thread(cluster.kubectl, "-n", namespace, "get", "configmap", "istio-ca-root-cert", "-o", "json", check=False)
    return ("BEGIN CERTIFICATE" in said) if there else "NotFound" in said


async def a_proxy_comes(cluster: Cluster, running: Running, namespace: str) -> None:
    """Have a proxy connect with the token of a pod."""
    workload = await asyncio.to_thread(Workload.made, cluster, namespace, "client")
    assert set(await secrets_of(running, workload)) == {"default", "ROOTCA"}


async def a_gateway_comes(cluster: Cluster, running: Running) -> None:
    """Have a gateway connect that needs a certificate from a Secret and an authority from a ConfigMap."""
    found = pair()
    workload = await asyncio.to_thread(Workload.made, cluster, "istio-system", "front")
    workload.may_list_secrets()
    authority = {"kind": "ConfigMap", "metadata": {"name": "clients"}, "data": {"ca.crt": found.certificate.decode()}}
    apply(cluster, "istio-system", gateway(namespace="istio-system", mode="MUTUAL", caCertCredentialName="clients"))
    apply(cluster, "istio-system", secret(found, namespace="istio-system"))
    apply(cluster, "istio-system", {"apiVersion": "v1", **authority})

    async def has_them() -> bool:
        names = ("kubernetes://shop", "kubernetes://clients-cacert")
        return set(await secrets_of(running, workload, *names)) == set(names)

    await until(has_them)


async def a_machine_comes(cluster: Cluster, running: Running) -> None:
    """Have a proxy register itself from outside the cluster, as an instance of a group that changes, and go."""
    machine = await asyncio.to_thread(Machine, cluster, "machines")
    async with machine.connected(running):
        await machine.kept_by("before")
        machine.label("basket")
        await machine.labelled("basket")
    await machine.kept_by("")


MERGE = "application/merge-patch+json"
IDENTITY = IdentitySettings(xds_tls="127.0.0.1:0")
OBJECTS = "virtualservices,destinationrules,serviceentries,sidecars,workloadentries"


@HAS_CRDS
async def test_t68_nothing_is_forbidden_and_nothing_is_granted_that_is_not_used(own: Cluster) -> None:
    namespace = own.namespace("rights")
    bad = route("bad")
    two = [{"destination": {"host": "reviews"}, "weight": 0}, {"destination": {"host": "reviews"}, "weight": 0}]
    bad["spec"] = {"hosts": ["reviews"], "http": [{"route": two}]}
    create(own, namespace, service("reviews"), route("good"), bad)
    account = own.account("navarch-system", "navarch")
    injected = {"metadata": {"labels": {"istio-injection": "enabled"}}}
    own.call("PATCH", f"/api/v1/namespaces/{namespace}", injected, MERGE)
    async with serving(account, webhook="127.0.0.1:0", pod="before", more=Settings(identity=IDENTITY)) as running:
        await until(lambda: written(own, namespace))
        await until(lambda: registered(own))
        await until(lambda: roots_are(own, namespace))
        await a_proxy_comes(own, running, namespace)
        await a_gateway_comes(own, running)
        await a_machine_comes(own, running)
    nothing = {"data": {"tls.key": ""}}
    own.call("PATCH", "/api/v1/namespaces/navarch-system/secrets/navarch-webhook-cert", nothing, MERGE)
    own.call("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/istio-ca-root-cert", {"data": {"root-cert.pem": ""}}, MERGE)
    async with serving(account, webhook="127.0.0.1:0", pod="after", more=Settings(identity=IDENTITY)):
        await until(lambda: cleared(own))
        await until(lambda: written(own, namespace))

        await until(lambda: remade(own))
        await until(lambda: roots_are(own, namespace))
        own.call("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"istio-injection": None}}}, MERGE)
        await until(lambda: roots_are(own, namespace, there=False))

    manifests = rendered("base")
    granted = rights(manifests, account="navarch", namespace="navarch-system")
    spare = frozenset(each for each in granted if is_spare(each))
    found = verdict(own.audit, manifests, spare=spare)

    assert str(found) == ""


def is_spare(right: Right) -> bool:
    """Return whether ``right`` is for what this run has no occasion to do."""
    kind, _, sub = right.resource.partition("/")
    # One kind's status stands for those of all: the path is made by one function.
    return sub == "status" and kind != "virtualservices"
