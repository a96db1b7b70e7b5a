"""Names that no server answers for: an Envoy that starts does not wait for them for long, nor do later changes of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.page_commands import run

ROOT = Path(__file__).parents[2]
MANIFESTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: silent, namespace: default}}
spec: {{hosts: [silent.example], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: {resolution}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: both, namespace: default}}
spec:
  hosts: [both.example]
  gateways: [front]
  http:
  - {{match: [{{uri: {{prefix: /silent}}}}], route: [{{destination: {{host: silent.example}}}}]}}
  - {{directResponse: {{status: 200}}}}
"""
# A server of names that takes every question and answers none.
SILENCE = """import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.53", 53))
    time.sleep(600)
"""
# With Envoy's own timeouts and tries it is 123 s, by ours it is a few: the machine may be busy.
WITHOUT_LIMITS_S = 123


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN"])
def test_an_envoy_starts_though_a_name_is_not_answered(tmp_path: Path, resolution: str) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "silence.py").write_text(SILENCE)
    (tmp_path / "examples" / "envoy" / "manifests" / "silent.yaml").write_text(MANIFESTS.format(resolution=resolution))

    ran = run(
        tmp_path,
        "echo 'nameserver 127.0.0.53' > /etc/resolv.conf",
        (
            "python silence.py &",
            "navarch serve --files examples/envoy/manifests",
            "await 'curl -sf 127.0.0.1:15014/readyz'",
            "SECONDS=0",
            "envoy -c examples/envoy/gateway.yaml --use-dynamic-base-id",
            "await 'curl -sf -H \"host: both.example\" http://127.0.0.12:8080/'",
            "echo started: $SECONDS",
            "curl -s -o /dev/null -w 'unanswered: %{http_code}\\n' -H 'host: both.example' http://127.0.0.12:8080/silent",
        ),
    )

    assert ran.returncode == 0, ran.stderr
    started, unanswered = (line for line in ran.stdout.splitlines() if line.startswith(("started: ", "unanswered: ")))
    print(started, "s")
    assert int(started.removeprefix("started: ")) < WITHOUT_LIMITS_S / 2
    assert unanswered == "unanswered: 503"
