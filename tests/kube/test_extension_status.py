"""What became of objects that see, extend and limit stands in their status too, on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.cluster import Cluster
from tests.support.kube_control_plane import serving
from tests.support.waiting import at_most, until
from tests.support.with_cluster import knowing_our_kinds

Json = dict[str, object]


class Written(NamedTuple):
    """An object, where the API server has its kind, and what its condition ``Accepted`` is to say."""

    path: str
    kind: str
    spec: Json
    says: str

    @property
    def name(self) -> str:
        return f"{self.kind.lower()}-{'bad' if self.says else 'good'}"


TELEMETRIES, EXTENSIONS = "telemetry.istio.io/v1", "extensions.istio.io/v1alpha1"
RATE_LIMITS, NETWORKING = "navarch.dev/v1alpha1", "networking.istio.io/v1alpha3"
LOCAL: Json = {"rules": [{"limit": {"requests": 5, "per": "1m"}}]}
COUNTER: Json = {"service": {"host": "nowhere.example", "port": 8081}}
COUNTED: Json = {"selector": {"matchLabels": {"app": "web"}}, "metrics": [{"providers": [{"name": "prometheus"}]}]}
PATCHES: Json = {"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"connect_timeout": "1s"}}}]}
OBJECTS = (
    Written(f"{TELEMETRIES}:telemetries", "Telemetry", {"accessLogging": [{"providers": [{"name": "nobody"}]}]}, "nobody"),
    Written(f"{TELEMETRIES}:telemetries", "Telemetry", COUNTED, ""),
    Written(f"{EXTENSIONS}:wasmplugins", "WasmPlugin", {"url": "http://127.0.0.1:9/one.wasm"}, "the module cannot be fetched"),
    Written(f"{EXTENSIONS}:wasmplugins", "WasmPlugin", {"url": "file:///one.wasm"}, ""),
    Written(f"{RATE_LIMITS}:ratelimits", "RateLimit", {**LOCAL, "global": COUNTER}, "no service nowhere.example is known"),
    Written(f"{RATE_LIMITS}:ratelimits", "RateLimit", LOCAL, ""),
    Written(f"{NETWORKING}:envoyfilters", "EnvoyFilter", PATCHES, "only EnvoyFilters of the root namespace"),
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("own"))
    cluster.namespace("navarch-system")
    yield cluster
    cluster.stop()


def listed(each: Written, namespace: str) -> str:
    version, _, plural = each.path.partition(":")
    return f"/apis/{version}/namespaces/{namespace}/{plural}"


async def accepted(own: Cluster, namespace: str, each: Written) -> Json:
    """Return the condition ``Accepted`` of ``each``, nothing as long as there is none."""
    found = await asyncio.to_thread(own.call, "GET", f"{listed(each, namespace)}/{each.name}")
    status = found.get("status") or {}
    assert isinstance(status, dict)
    return next((condition for condition in status.get("conditions", []) if condition["type"] == "Accepted"), {})


async def test_what_is_wrong_with_each_kind_stands_in_its_status_and_the_others_are_accepted(own: Cluster) -> None:
    namespace = own.namespace("shop")
    for each in OBJECTS:
        head = {"apiVersion": each.path.partition(":")[0], "kind": each.kind, "metadata": {"name": each.name}}
        own.call("POST", listed(each, namespace), {**head, "spec": each.spec})

    async with serving(own.kubeconfig()):
        for each in OBJECTS:

            async def is_told(each: Written = each) -> bool:
                condition = await accepted(own, namespace, each)
                return bool(condition) and (each.says in str(condition["message"]) if each.says else condition["message"] == "")

            try:
                await until(is_told, deadline_s=at_most(20))
            except TimeoutError:
                raise AssertionError((each.name, await accepted(own, namespace, each))) from None
            assert (await accepted(own, namespace, each))["status"] == "True", each.name
