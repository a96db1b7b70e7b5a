"""IdentityServer where a real API server keeps the authority, knows tokens, and has the roots for pods."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import urllib.error
from pathlib import Path

import pytest

from controlplane.app.identity import authority_store
from controlplane.ca.manager import AuthorityManager
from controlplane.ca.rotation import load_state, new_issuer, prepare
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.kube.reflector import ReflectorTiming
from controlplane.serve.identity import make_key, now
from controlplane.writeback.root_certificates import RootCertificateInputs, root_certificates
from tests.support.ca_command import navarch_ca
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.kube_control_plane import HOME, SECRET, identities
from tests.support.waiting import until

ROOTS = "istio-ca-root-cert"
ADMIN = "application/merge-patch+json"


async def call(cluster: Cluster, method: str, path: str, body: object = None, content_type: str = "application/json") -> dict[str, object]:
    return await asyncio.to_thread(cluster.call, method, path, body, content_type)


async def identity_of(running: Running) -> dict[str, object]:
    found = await running.json("/v1/identity")
    assert isinstance(found, dict)
    return found


async def stored(cluster: Cluster) -> bytes:
    found = await call(cluster, "GET", SECRET)
    data = found["data"]
    assert isinstance(data, dict)
    return base64.b64decode(data["authority.json"])


async def map_in(cluster: Cluster, namespace: str) -> dict[str, object] | None:
    """Return the roots of ``namespace`` as an object, ``None`` where there is none."""
    try:
        return await call(cluster, "GET", f"/api/v1/namespaces/{namespace}/configmaps/{ROOTS}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


async def has_roots(cluster: Cluster, namespace: str) -> bool:
    """Return whether ``namespace`` has the roots that are trusted now."""
    found = await map_in(cluster, namespace)
    return found is not None and found["data"] == {"root-cert.pem": load_state(await stored(cluster)).bundle.decode()}


def labelled(cluster: Cluster, namespace: str, **labels: str | None) -> str:
    cluster.namespace(namespace)
    named = {name.replace("_", "-"): value for name, value in labels.items()}
    cluster.call("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": named}}, ADMIN)
    return namespace


@pytest.mark.parametrize("time", range(5))
async def test_s34_t75_replicas_that_begin_at_once_have_one_root(home: Cluster, time: int) -> None:
    del time
    async with identities(home, "one") as one, identities(home, "two") as two, identities(home, "three") as three:
        found = [await identity_of(each) for each in (one, two, three)]

    assert len({str(each["roots"]) for each in found}) == 1
    assert load_state(await stored(home)).bundle_id == found[0]["bundle"]


async def test_the_roots_are_in_every_namespace_with_injection_and_repaired_and_taken_away(home: Cluster) -> None:
    other = labelled(home, "roots-none")
    namespace = labelled(home, "roots-labelled", istio_injection="enabled")
    pods = labelled(home, "roots-pods")
    pod = {
        "metadata": {"name": "one", "labels": {"sidecar.istio.io/inject": "true"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    home.call("POST", f"/api/v1/namespaces/{pods}/pods", pod)
    async with identities(home):
        await until(lambda: has_roots(home, namespace))
        await until(lambda: has_roots(home, pods))
        assert await map_in(home, other) is None

        edit = {"data": {"root-cert.pem": "nothing"}, "metadata": {"labels": {"navarch.io/root-cert": None}}}
        await call(home, "PATCH", f"/api/v1/namespaces/{namespace}/configmaps/{ROOTS}", edit, ADMIN)
        await until(lambda: has_roots(home, namespace))
        await call(home, "DELETE", f"/api/v1/namespaces/{namespace}/configmaps/{ROOTS}")
        await until(lambda: has_roots(home, namespace))

        await asyncio.to_thread(labelled, home, namespace, istio_injection=None)

        async def gone() -> bool:
            return await map_in(home, namespace) is None

        await until(gone)


async def test_what_istiod_keeps_is_left_alone_and_so_no_root_is_activated(home: Cluster) -> None:
    namespace = labelled(home, "roots-of-istiod", istio_injection="enabled")
    theirs = {"metadata": {"name": ROOTS, "labels": {"istio.io/config": "true"}}, "data": {"root-cert.pem": "theirs"}}
    home.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", theirs)
    async with identities(home) as running:

        async def waits() -> bool:
            return (await identity_of(running))["waitingFor"] == {"bundle": 0, "certificate": 0, "namespaces": 1}

        await until(waits)

    found = await map_in(home, namespace)
    assert found is not None
    assert found["data"] == {"root-cert.pem": "theirs"}
    labelled(home, namespace, istio_injection=None)


async def test_navarch_ca_rotates_the_root_of_a_cluster_once_everybody_has_it(home: Cluster) -> None:
    namespace = labelled(home, "rotated", istio_injection="enabled")
    async with identities(home, "one"), identities(home, "two"):
        await until(lambda: has_roots(home, namespace))
        before = load_state(await stored(home))

        assert await navarch_ca(home, "activate") == (1, "navarch: expected a root that is prepared; the rotation is steady\n")
        status, said = await navarch_ca(home, "prepare")
        assert (status, said.partition(";")[0]) == (0, "prepared")
        assert await navarch_ca(home, "retire") != (0, "")

        async def done(phase: str) -> bool:
            return (await navarch_ca(home, phase))[0] == 0

        await until(lambda: done("activate"))
        assert await has_roots(home, namespace)
        await until(lambda: done("retire"))
        await until(lambda: has_roots(home, namespace))

        status, said = await navarch_ca(home, "show", "-o", "json")
        after = load_state(await stored(home))
        assert status == 0
        assert json.loads(said)["phase"] == "steady"
        assert (await navarch_ca(home, "root"))[1] == after.bundle.decode()
        assert after.signing.fingerprint != before.signing.fingerprint
    labelled(home, namespace, istio_injection=None)


async def renew(home: Cluster, lease: str) -> None:
    """Renew ``lease`` again and again, until cancelled: who lives is told by that."""
    for turn in itertools.count():
        spec = {"renewTime": f"2099-01-01T00:00:00.{turn:06}Z"}
        await call(home, "PATCH", lease, {"spec": spec}, "application/merge-patch+json")
        await asyncio.sleep(0.5)  # the rate of renewals


async def test_a_replica_that_has_said_nothing_yet_is_waited_for(home: Cluster) -> None:
    async with identities(home, "one"):
        await navarch_ca(home, "prepare")
        lease = {
            "metadata": {"name": "navarch-replica-silent"},
            "spec": {"holderIdentity": "silent", "renewTime": "2099-01-01T00:00:00.000000Z"},
        }
        path = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"
        await call(home, "POST", path, lease)
        renewing = asyncio.create_task(renew(home, f"{path}/navarch-replica-silent"))
        try:
            status, said = await navarch_ca(home, "activate")
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await call(home, "DELETE", f"{path}/navarch-replica-silent")

    assert status == 1
    assert "silent has not said yet" in said or "another state" in said


async def test_an_authority_is_exported_as_files_that_can_be_plugged_in(home: Cluster, tmp_path: Path) -> None:
    assert (await navarch_ca(home, "show"))[0] == 2
    async with identities(home):
        pass

    status, _ = await navarch_ca(home, "export", str(tmp_path / "cacerts"))

    assert status == 0
    assert {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "cacerts").iterdir()} == dict.fromkeys(
        ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"), 0o600
    )
    assert (tmp_path / "cacerts" / "root-cert.pem").read_bytes() == load_state(await stored(home)).bundle


class Leader:
    """Whether a right is held; it counts how often it was asked for."""

    def __init__(self, *, held: bool) -> None:
        self.asked = 0
        self._held = held

    @property
    def is_leader(self) -> bool:
        self.asked += 1
        return self._held


@pytest.mark.parametrize("why", ["does not lead any more", "does not know the namespaces yet"])
async def test_t75_roots_are_neither_written_nor_removed_by_who(home: Cluster, why: str) -> None:
    namespace = labelled(home, "roots-of-others")
    leader, looks = Leader(held=why != "does not lead any more"), 0

    def injected() -> frozenset[str] | None:
        nonlocal looks
        looks += 1
        return frozenset((namespace,)) if why == "does not lead any more" else None

    path = f"/api/v1/namespaces/{namespace}/configmaps"
    there = {"metadata": {"name": ROOTS, "labels": {"navarch.io/root-cert": "true"}}, "data": {"root-cert.pem": "before"}}
    home.call("POST", path, there)
    async with connect(KubernetesAccess(str(home.kubeconfig()))) as client:
        wanted = RootCertificateInputs(namespaces=injected, bundle=lambda: "ours", clock=now)
        kept = root_certificates(client, leader, wanted, (), ReflectorTiming(), lambda: 0.5)
        task = asyncio.create_task(kept.run())

        async def looked_often() -> bool:
            return looks > 3

        await until(looked_often)
        task.cancel()

    assert kept.writes == 0
    assert (found := await map_in(home, namespace)) is not None
    assert found["data"] == {"root-cert.pem": "before"}
    home.call("DELETE", f"{path}/{ROOTS}")


async def test_t75_two_who_begin_an_authority_at_once_twenty_times_begin_one_each_time(home: Cluster) -> None:
    async with connect(KubernetesAccess(str(home.kubeconfig()))) as client:
        for _ in range(20):
            with contextlib.suppress(urllib.error.HTTPError):
                await call(home, "DELETE", SECRET)
            one, two = (AuthorityManager(authority_store(client, HOME), make_key, now) for _ in range(2))

            await asyncio.gather(one.open(), two.open())

            assert one.state.bundle == two.state.bundle == load_state(await stored(home)).bundle


async def test_t75_two_who_change_the_authority_at_once_do_not_both(home: Cluster) -> None:
    async with connect(KubernetesAccess(str(home.kubeconfig()))) as client:
        one, two = (AuthorityManager(authority_store(client, HOME), make_key, now) for _ in range(2))
        await asyncio.gather(one.open(), two.open())

        done = await asyncio.gather(
            *(each.step(lambda found: prepare(found, new_issuer(make_key(), now()))) for each in (one, two)), return_exceptions=True
        )

    assert sorted(type(each).__name__ for each in done) == ["AuthorityState", "OutOfOrder"]
    assert len(load_state(await stored(home)).issuers) == 2
