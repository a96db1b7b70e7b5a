"""What a cluster's objects mean: the last good one counts, of the settings of the mesh field by field."""

from __future__ import annotations

from controlplane.kube.resources import ApiResource
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.sources.kubernetes.store import ObjectStore
from tests.support.document_problems import document_problems

POLICIES = ApiResource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy")
CONFIG_MAPS = ApiResource("", "v1", "configmaps", "ConfigMap")


def test_settings_of_the_mesh_change_field_by_field() -> None:
    store = ObjectStore()

    def stored(settings: str) -> list[tuple[str, int]]:
        """Return what the settings are now, where they have changed."""
        metadata = {"name": "istio", "namespace": "istio-system"}
        document: dict[str, object] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": settings}}
        specs = [change.object.spec for change in store.update(CONFIG_MAPS, document) if isinstance(change.object, MeshConfig)]
        return [(spec.outbound_traffic_policy.mode, spec.proxy_http_port) for spec in specs]

    good = stored("{outboundTrafficPolicy: {mode: REGISTRY_ONLY}, proxyHttpPort: 2}")
    bad = stored("{outboundTrafficPolicy: {mode: SOME}, proxyHttpPort: 3}")
    same = stored("{outboundTrafficPolicy: {mode: OTHER}, proxyHttpPort: 3}")

    assert (good, bad, same) == ([("REGISTRY_ONLY", 2)], [("REGISTRY_ONLY", 3)], [])
    assert [problem.problem.field for problem in document_problems(store)] == ["data.mesh.outboundTrafficPolicy.mode"]


def test_a_policy_that_cannot_be_used_means_the_same_to_a_store_that_knew_a_good_one() -> None:
    before, anew = ObjectStore(), ObjectStore()

    def policy(action: str, address: str) -> dict[str, object]:
        spec = {"action": action, "rules": [{"from": [{"source": {"ipBlocks": [address]}}]}]}
        metadata = {"name": "lock", "namespace": "shop", "generation": 2}
        return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}

    list(before.update(POLICIES, policy("DENY", "10.0.0.0/8")))
    edited = list(before.update(POLICIES, policy("DENY", "10.0.0.0/88")))
    again = list(before.update(POLICIES, policy("DENY", "10.0.0.0/99")))
    watching = list(before.update(POLICIES, policy("AUDIT", "10.0.0.0/88")))

    assert edited == list(anew.update(POLICIES, policy("DENY", "10.0.0.0/88")))
    assert [change.object is not None for change in edited] == [True]
    assert again == []
    assert [change.object for change in watching] == [None]
    assert [problem.problem.code for problem in document_problems(anew)] == ["OutOfRange", "Closed"]
