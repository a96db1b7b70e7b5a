"""What a real Envoy makes of one header that is removed, set and added at once: it is removed first, then set, then added."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.page_commands import run

ROOT = Path(__file__).parents[2]
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: order, namespace: default}
spec:
  hosts: [order.example]
  gateways: [front]
  http:
  - headers:
      request: {add: {x-both: added, x-added: added, x-back: added}, set: {x-both: set, x-set: set}, remove: [x-back, x-gone]}
      response: {add: {x-both: added, x-back: added}, set: {x-both: set}, remove: [x-back, x-gone]}
    route: [{destination: {host: web}}]
"""
# It says which headers the request had, and has every header itself that the route changes.
APPLICATION = """import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        for name in ("x-both", "x-back", "x-gone"):
            self.send_header(name, "application")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8081), Handler).serve_forever()
"""
WRITTEN = ("x-both", "x-set", "x-added", "x-back", "x-gone")


def values(headers: list[tuple[str, str]], name: str) -> str:
    return ",".join(value for written, value in headers if written == name)


def test_a_header_is_removed_then_set_then_added(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "examples" / "envoy" / "manifests" / "order.yaml").write_text(ROUTE)
    sent = " ".join(f"-H '{name}: client'" for name in WRITTEN)
    asked = "curl -sf -H 'host: order.example' http://127.0.0.12:8080/"

    ran = run(
        tmp_path,
        "",
        (
            "python application.py &",
            "navarch serve --files examples/envoy/manifests",
            "await 'curl -sf 127.0.0.1:15014/readyz'",
            "envoy -c examples/envoy/gateway.yaml --use-dynamic-base-id",
            f'await "{asked}"',
            f"{asked} {sent} -D response -o request",
        ),
    )

    assert ran.returncode == 0, ran.stderr
    request = [(name, value) for name, value in json.loads((tmp_path / "request").read_text())]
    lines = (tmp_path / "response").read_text().splitlines()[1:]
    response = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines) if value]
    assert {name: values(request, name) for name in WRITTEN} == {
        "x-both": "set,added",
        "x-set": "set",
        "x-added": "client,added",
        "x-back": "added",
        "x-gone": "",
    }
    assert [values(response, name) for name in ("x-both", "x-back", "x-gone")] == ["set,added", "added", ""]
