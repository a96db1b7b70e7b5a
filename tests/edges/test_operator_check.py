"""``navarch check`` of a cluster, whose API server is a fake."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.support.cli import navarch

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
HOOK = {"metadata": {"name": "navarch"}, "webhooks": [{"clientConfig": {"caBundle": "Cg=="}}]}
THERE = {
    "/version": {"gitVersion": "v1.33.1"},
    "/api/v1/namespaces/navarch-system": {},
    **{f"/apis/{group}.istio.io": {} for group in ("networking", "security", "telemetry", "extensions")},
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"status": {"allowed": True}},
    f"{WEBHOOKS}/mutatingwebhookconfigurations": {"items": [HOOK]},
    f"{WEBHOOKS}/validatingwebhookconfigurations": {"items": []},
    "/api/v1/namespaces/navarch-system/pods": {"items": []},
}


class _ApiServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = THERE.get(self.path.partition("?")[0])
        self.send_response(200 if found is not None else 404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found or {}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ApiServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "one", "user": {}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    yield str(tmp_path / "config")
    server.shutdown()
    server.server_close()


def test_what_a_cluster_lacks_is_named_with_its_cure(kubeconfig: str) -> None:
    found = navarch("check", "--kubeconfig", kubeconfig, "-o", "json")

    rows = {row["check"]: row for row in json.loads(found.stdout)}
    assert found.returncode == 1
    assert rows["the API server answers"]["found"] == "v1.33.1"
    assert {name for name, row in rows.items() if not row["passed"]} == {
        "kinds of navarch.dev are defined",
        "validatingwebhookconfigurations are registered",
        "a control plane answers",
    }
    assert rows["kinds of navarch.dev are defined"]["cure"] == "navarch crds | kubectl apply -f -"
    assert rows["a control plane answers"]["found"].startswith("no pod with app.kubernetes.io/name=navarch runs in navarch-system")
