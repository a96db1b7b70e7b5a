"""Istio's samples and configs, applied with kubectl to a real API server that has our definitions, and what is said of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.objects.kinds import KINDS
from controlplane.objects.reading.documents import documents
from tests.support.cluster import Cluster
from tests.support.crd_definitions import define_all
from tests.support.kube_control_plane import serving
from tests.support.waiting import until

CASES = Path(__file__).parents[3] / "shared" / "cases"
BUILT_IN = {
    "v1",
    "apps/v1",
    "batch/v1",
    "policy/v1",
    "autoscaling/v2",
    "rbac.authorization.k8s.io/v1",
    "networking.k8s.io/v1",
    "discovery.k8s.io/v1",
}
GONE = {"PodSecurityPolicy"}  # from Kubernetes, since 1.25
ISTIO = {f"{group}/{version}" for (group, _), each in KINDS.items() if group.endswith(".istio.io") for version in each.versions}
Json = dict[str, object]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("own"), controllers=False)
    define_all(cluster)
    for name in ("navarch-system", "istio-system"):
        cluster.namespace(name)
    yield cluster
    cluster.stop()


def test_no_sample_is_missing() -> None:
    if not CASES.exists():
        pytest.skip("not run: shared/cases is not here")
    assert len(list(files())) > 100


async def test_all_that_the_server_knows_is_taken_and_accepted(own: Cluster) -> None:
    if not CASES.exists():
        pytest.skip("not run: shared/cases is not here")
    foreign: list[str] = []
    wrong: list[str] = []
    count = 0
    for at, path in enumerate(files()):
        known, others = sorted_out(path)
        foreign += [path.name] if others else []
        count += len(known)
        if said := await asyncio.to_thread(applied, own, f"sample-{at}", known):
            wrong.append(f"{path.name}: {said}")
    print(f"{count} documents applied; files with something foreign: {len(foreign)}: {', '.join(sorted(foreign))}")
    assert wrong == []

    async with serving(own.kubeconfig()) as running:

        async def all_told() -> bool:
            return all("conditions" in str(each.get("status")) for each in await asyncio.to_thread(istio_objects, own))

        await until(all_told)
        problems = await running.json("/v1/problems")
    assert isinstance(problems, list)
    assert [each for each in problems if each["severity"] == "error"] == []
    conditions = [each for value in istio_objects(own) for each in value["status"]["conditions"]]  # type: ignore[index]
    verdicts = Counter((each["type"], each["status"]) for each in conditions)
    print(dict(verdicts))
    assert verdicts["Accepted", "False"] == 0


def files() -> Iterator[Path]:
    """Yield the files of samples and configs."""
    for folder in ("samples", "configs"):
        yield from sorted((CASES / folder).rglob("*.yaml"))


def sorted_out(path: Path) -> tuple[list[Json], list[str]]:
    """Return the documents of ``path`` that the API server knows, and the kinds of the others."""
    known: list[Json] = []
    others: list[str] = []
    for document in documents(path.read_text()):
        data = dict(document.data or {})
        (known if data.get("apiVersion") in BUILT_IN | ISTIO and data.get("kind") not in GONE else others).append(data)  # type: ignore[arg-type]
    return known, others


def applied(cluster: Cluster, namespace: str, values: list[Json]) -> str:
    """Apply ``values`` with kubectl, those that name no namespace in ``namespace``; return what it complains of."""
    cluster.namespace(namespace)
    placed = [value for value in values if (named := _namespace(value)) and cluster.namespace(named)]
    said = []
    for chosen, where in ((placed, ()), ([value for value in values if value not in placed], ("-n", namespace))):
        if chosen:
            whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": chosen})
            command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig()), *where, "apply", "--validate=warn", "-f", "-"]
            ran = subprocess.run(command, input=whole, capture_output=True, text=True, timeout=300, check=False)
            said += [ran.stderr] if ran.returncode else []
    return "".join(said)


def _namespace(value: Json) -> str:
    metadata = value["metadata"]
    return str(metadata.get("namespace") or "") if isinstance(metadata, dict) else ""


def istio_objects(cluster: Cluster) -> list[Json]:
    """Return every object of Istio's kinds."""
    kinds = ",".join(f"{kind}.{group}" for (group, kind) in KINDS if group.endswith(".istio.io"))
    found: list[Json] = json.loads(cluster.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    return found
