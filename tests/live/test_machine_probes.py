"""Each kind of probe that a WorkloadGroup can have, done by the machine's own Envoy."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from controlplane.ca.certificates import authority, serving
from controlplane.demo.ports import free_network, free_port
from controlplane.demo.processes import until
from controlplane.serve.trust import make_key, now
from tests.edges.secure import HOUR, secure
from tests.live.machines import Machine
from tests.live.test_probes import NOT_SERVING, Application

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: carts}}
spec: {{template: {{serviceAccount: cart, labels: {{app: cart}}}}, probe: {{periodSeconds: 1, failureThreshold: 1, {probe}}}}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: cart}
spec: {workloadSelector: {labels: {app: cart}}, egress: [{hosts: ["./*"]}]}
"""
PROBES = {
    "http": "httpGet: {{path: /ready, port: {http}, httpHeaders: [{{name: x-probe, value: me}}]}}",
    "https": "httpGet: {{path: /ready, port: {tls}, scheme: HTTPS}}",
    "tcp": "tcpSocket: {{port: {tcp}}}",
    "grpc": "grpc: {{port: {grpc}, service: cart}}",
}


def certified(folder: Path) -> ssl.SSLContext:
    """Return what an application has that speaks TLS, with a certificate that nobody has to believe."""
    pair = serving(authority("own", make_key(), now(), HOUR), ("localhost",), make_key(), now(), HOUR)
    (folder / "own.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    return context


@pytest.mark.parametrize("kind", PROBES)
async def test_an_instance_gets_requests_while_its_probe_succeeds(tmp_path: Path, kind: str) -> None:
    app, tls, tcp = Application(), free_port(), free_port()
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    probe = PROBES[kind].format(http=app.http, tls=tls, tcp=tcp, grpc=app.grpc)
    (manifests / "group.yaml").write_text(GROUP.format(probe=probe))
    (manifests / "service.yaml").write_text(SERVICE)
    machine_ip = f"{free_network((15000, 15021, 15090))}.11"
    async with secure(manifests) as plane, app.running("127.0.0.1"):
        listening = [
            await asyncio.start_server(app.answer, "127.0.0.1", tls, ssl=certified(tmp_path)),
            await asyncio.start_server(app.answer, "127.0.0.1", tcp),
        ]
        machine = Machine("cart", machine_ip, tmp_path / "cart", plane)
        await machine.prepare("-f", str(manifests / "group.yaml"))
        await machine.start()
        try:
            await until("it is well", lambda: is_endpoint(machine), seconds=20, watched=machine.process)
            app.status, app.health = 500, NOT_SERVING
            listening.pop().close()

            async def is_none() -> bool:
                return not await is_endpoint(machine)

            await until("it is not well", is_none, seconds=10)
        finally:
            assert machine.process
            await machine.process.stop(kill=True)
            for each in listening:
                each.close()


async def is_endpoint(machine: Machine) -> bool:
    """Return whether the proxies that ask for the service of ``machine`` are sent to it: it is the one that asks here."""
    own = f"sidecar~{machine.ip}~cart-1.default~default.svc.cluster.local"
    status, body = await machine.plane.running.get(f"/v1/proxies/{own}/config/endpoints")
    return status == 200 and f'"{machine.ip}"' in body
