"""docs/operations.md lists every metric of ours, and the dashboard asks for no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from controlplane.admin.metrics import metrics_page
from controlplane.admin.schemas import IdentityRow, IssuerRow, RootRow, WaitingFor
from controlplane.admin.state import AdminState, KubernetesState
from controlplane.app.drills.service import Drills
from controlplane.app.faults.injector import FaultInjector
from controlplane.app.observability.observability import Observability
from controlplane.app.update_loop import UpdateLoop
from controlplane.mesh.mesh import Mesh
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.serve.xds.subscribers import Subscribers

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()
DASHBOARD = ROOT / "manifests" / "addons" / "grafana-control-plane.json"
ROWS = {
    name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels in re.findall(r"^\| `(navarch_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}

EXPIRY = 2_000_000_000.0
IDENTITY = IdentityRow(
    phase="steady",
    bundle="b",
    roots=(RootRow(root="r", signs=True, expires_at=EXPIRY, issuer_expires_at=EXPIRY),),
    waiting_for=WaitingFor(bundle=0, certificate=0),
    certificates=1,
    issued=1,
    requests={"issued": 1},
    first_expires_at=EXPIRY,
    refused={},
    credentials={"held": 1},
)


def everything() -> AdminState:
    """Return a control plane that has something of each sort to tell."""
    mesh = Mesh()
    parsed = parse(SERVICE)
    assert parsed.key
    mesh.apply(split([Change(parsed.key, parsed.object)])[0])
    updates = UpdateLoop(mesh, ())
    subscribers = Subscribers(mesh, updates.wake)
    subscribers.pushes.seconds.labels("Cluster").observe(1)
    kubernetes = KubernetesState(
        silences=lambda: {"pods": 1.0},
        leads=lambda: True,
        status_writes=lambda: 1,
        status_failures=lambda: 1,
        problems=tuple,
        reviews=lambda: {"allowed": 1},
        reached=lambda: {"navarch-injector": True},
    )
    drills = Drills(mesh, subscribers.sessions, FaultInjector(updates.submit, subscribers, lambda: updates.refreshes), tuple)
    drills.runs.finished["HELD"] = 1
    issuer = IssuerRow(uri="https://a", usable=True, age_s=1.0, failures=0, error=None, again_in_s=1.0)
    return AdminState(
        mesh=mesh,
        proxies=lambda _: iter(()),
        sessions=tuple,
        locations=tuple,
        not_ready=lambda: None,
        refreshes=lambda: 1,
        rejects=lambda: {"type.googleapis.com/envoy.config.cluster.v3.Cluster": 1},
        observed=drills.with_metrics(Observability(None, updates, subscribers).metrics),
        kubernetes=kubernetes,
        identity=lambda: IDENTITY,
        issuers=lambda: (issuer,),
        load_totals=lambda: {"web": (1, 1)},
        callers_refused=lambda: {"token": 1},
        fetches=lambda: {"fetched": 1},
        module_fetches=lambda: {"fetched": 1},
    )


def metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return type and labels of each metric."""
    text = b"".join(metrics_page(everything())).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.endswith("_created"):
            found[name] = (family.type, tuple(sorted({label for sample in family.samples for label in sample.labels if label != "le"})))
    return found


def test_the_page_lists_every_metric_with_its_type() -> None:
    found = metrics()

    assert {name: kind for name, (kind, _) in ROWS.items()} == {name: kind for name, (kind, _) in found.items()}


def test_the_page_lists_their_labels() -> None:
    silent = {"navarch_streams", "navarch_refused"}  # of which there is nothing here
    assert {name: labels for name, (_, labels) in ROWS.items() if name not in silent} == {
        name: labels for name, (_, labels) in metrics().items() if name not in silent
    }


def test_every_row_says_what_to_alert_on() -> None:
    rows = re.findall(r"^\| `navarch_\w+` \|[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|$", PAGE, re.MULTILINE)

    assert len(rows) == len(ROWS)
    assert all(meaning.strip() and alert.strip() for meaning, alert in rows)


def series() -> set[str]:
    """Return the names by which Prometheus has the metrics."""
    parts = ("_bucket", "_sum", "_count")
    return {f"{name}{part}" for name, (kind, _) in ROWS.items() for part in (parts if kind == "histogram" else ("",))}


def test_the_dashboard_asks_for_metrics_that_are_there() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [variable["query"] for variable in dashboard["templating"]["list"]]

    asked = {name for query in (*queries, *variables) for name in re.findall(r"\bnavarch_\w+", query)}

    assert len(asked) > 20
    assert asked - series() == set()
    assert all(re.search(r"\bnavarch_\w+", query) for query in queries)


def test_the_labels_that_the_dashboard_goes_by_are_there() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            [metric] = set(re.findall(r"\bnavarch_\w+", query))
            known = {name: labels for name, (_, labels) in ROWS.items() if metric.startswith(name)}
            labels = {label for of_one in known.values() for label in of_one} | {"le", "instance", "job"}
            grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}

            assert grouped <= labels, panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= grouped, panel["title"]
