"""When the API server's writes depend on the webhook, and what becomes of its certificate."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.app.control_plane import ControlPlane
from controlplane.ca.certificates import authority, server_certificate
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.settings import KubernetesSettings, Settings
from controlplane.untyped import items, section
from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.control_plane import run_until_open
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import HAS_CRDS, create, route
from tests.support.processes import free_port
from tests.support.waiting import at_most, until
from tests.support.webhook_client import ANYWHERE, VALIDATORS, Asker, configuration, listening
from tests.support.webhook_server import review

SECRET = "/api/v1/namespaces/navarch-system/secrets/navarch-webhook-cert"


async def policy_is(cluster: Cluster, policy: str) -> bool:
    """Return whether the webhook is registered with our authority and the failure ``policy``."""
    [found] = items(await asyncio.to_thread(cluster.call, "GET", f"{VALIDATORS}/navarch-validator"), "webhooks")
    return bool(section(found, "clientConfig").get("caBundle")) and found["failurePolicy"] == policy


async def called_at(cluster: Cluster, port: int | str) -> None:
    """Have the API server call the webhook at ``port``."""

    def change() -> None:
        found = cluster.call("GET", f"{VALIDATORS}/navarch-validator")
        [hook] = items(found, "webhooks")
        section(hook, "clientConfig")["url"] = f"https://localhost:{port}/validate"
        cluster.call("PUT", f"{VALIDATORS}/navarch-validator", found)

    await until_no_conflict(change)


async def until_no_conflict(change: Callable[[], None]) -> None:
    """Do ``change``, again where the control plane was quicker."""

    async def done() -> bool:
        try:
            await asyncio.to_thread(change)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            return False
        return True

    await until(done)


def self_reviews(cluster: Cluster) -> int:
    """Return how many reviews the control plane has asked for, by the API server's audit log."""
    return sum("navarch-self-review" in line and "workloadentries" in line for line in cluster.audit.read_text().splitlines())


@HAS_CRDS
async def test_noise_on_the_port_makes_nobody_depend_on_a_webhook_that_the_api_server_does_not_reach(own: Cluster) -> None:
    namespace = own.namespace("noisy")
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        await asyncio.to_thread(own.call, "POST", VALIDATORS, configuration(free_port()))
        await until(lambda: policy_is(own, "Ignore"))
        ask = Asker(own, running)
        assert (await asyncio.to_thread(ask, b"{}", method="GET", path="/else"))[0] == 404
        good = review({**route("r"), "metadata": {"name": "r", "namespace": "x"}})
        assert (await asyncio.to_thread(ask, good))[0] == 200
        # Who asks as the control plane does, and has not gone through the API server, proves nothing.
        labels = {"navarch.io/self-review": "true"}
        entry = {"metadata": {"name": "navarch-self-review-1", "namespace": "x", "labels": labels}, "spec": {"address": "192.0.2.1"}}
        own_kind = {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry"}
        assert (await asyncio.to_thread(ask, review({**own_kind, **entry})))[0] == 200

        begun = await asyncio.to_thread(self_reviews, own)

        async def reviewed() -> bool:
            return await asyncio.to_thread(self_reviews, own) >= begun + 3

        await until(reviewed)
        create(own, namespace, route("free"))
        assert await policy_is(own, "Ignore")
    own.call("DELETE", f"{VALIDATORS}/navarch-validator")


@HAS_CRDS
async def test_others_depend_on_the_webhook_only_as_long_as_the_api_server_reaches_it(own: Cluster) -> None:
    namespace = own.namespace("depending")
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        assert running.at.webhook
        port = running.at.webhook.rpartition(":")[2]
        await asyncio.to_thread(own.call, "POST", VALIDATORS, configuration(port))
        await until(lambda: policy_is(own, "Fail"))  # nobody else has asked anything
        await called_at(own, free_port())
        began = time.monotonic()
        await until(lambda: policy_is(own, "Ignore"), deadline_s=at_most(20))
        print(f"taken back after {time.monotonic() - began:.1f} s")

        async def taken() -> bool:  # the API server takes a moment to know
            try:
                await asyncio.to_thread(create, own, namespace, route("free"))
            except urllib.error.HTTPError:
                return False
            return True

        await until(taken)
        await called_at(own, port)
        await until(lambda: policy_is(own, "Fail"))
        _, metrics = await running.get("/metrics")
    assert 'navarch_webhook_reached{configuration="navarch-validator"} 1.0' in metrics
    stored = own.kubectl("get", "workloadentries,configmaps", "-A")
    assert "navarch-self-review" not in stored
    own.call("DELETE", f"{VALIDATORS}/navarch-validator")


def spoilt() -> dict[str, dict[str, str]]:
    """Return contents of the webhook's Secret that no API server would accept."""
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    key = ec.generate_private_key(ec.SECP256R1())
    other = authority("another", ec.generate_private_key(ec.SECP256R1()), now, day)
    names = ("navarch.navarch-system.svc", "navarch.navarch-system.svc.cluster.local", "localhost")
    foreign = server_certificate(other, names, key, now, day)
    encoded = {
        name: base64.b64encode(content).decode()
        for name, content in {"certificate": foreign.certificate, "key": foreign.key, "noise": b"no certificate\n"}.items()
    }
    return {
        "no PEM": {"tls.crt": encoded["noise"]},
        "another's": {"tls.crt": encoded["certificate"], "tls.key": encoded["key"]},
        "without its key": {"tls.key": encoded["key"]},
        "empty": {"tls.crt": ""},
        "no key": {"tls.key": encoded["noise"]},
    }


@pytest.mark.parametrize("how", list(spoilt()))
async def test_a_bad_certificate_in_the_secret_is_repaired_like_a_missing_one(own: Cluster, how: str) -> None:
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        await listening(own)
        before = section(await asyncio.to_thread(own.call, "GET", SECRET), "data")
        change = spoilt()[how]
        await asyncio.to_thread(own.call, "PATCH", SECRET, {"data": change}, "application/merge-patch+json")

        async def repaired() -> bool:
            found = section(await asyncio.to_thread(own.call, "GET", SECRET), "data")
            return all(found[name] not in (change[name], before[name]) for name in change) and found["ca.crt"] == before["ca.crt"]

        await until(repaired)

        async def served() -> bool:  # by a certificate that who trusts the authority accepts
            return (await asyncio.to_thread(Asker(own, running), b"{}"))[0] == 400

        await until(served)
        assert (await running.get("/readyz"))[0] == 200


async def test_a_replica_that_starts_with_a_bad_certificate_is_ready_when_it_is_repaired(own: Cluster) -> None:
    async with serving(own.kubeconfig(), webhook=ANYWHERE):
        await listening(own)
    own.call("PATCH", SECRET, {"data": {"tls.crt": spoilt()["no PEM"]["tls.crt"]}}, "application/merge-patch+json")

    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        assert (await asyncio.to_thread(Asker(own, running), b"{}"))[0] == 400


async def test_a_replica_without_a_certificate_that_can_be_used_is_not_ready(own: Cluster, tmp_path: Path) -> None:
    async with Relay(own, tmp_path).listening() as relay:
        relay.refused = {SECRET: 403}
        settings = Settings(
            kubernetes=KubernetesSettings(kubeconfig=str(relay.kubeconfig), webhook=ANYWHERE, replica=True),
            xds=ANYWHERE,
            admin=ANYWHERE,
            grace_s=0.5,
        )
        async with connect(KubernetesAccess(str(relay.kubeconfig))) as client, run_until_open(ControlPlane(settings, client)) as running:

            async def without() -> bool:
                status, reason = await running.get("/readyz")
                return status == 503 and "there is no certificate for the webhooks: 403" in reason

            await until(without)
            relay.refused = {}
            await until(running.ready)
