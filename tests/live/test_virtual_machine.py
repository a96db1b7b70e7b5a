"""A workload outside Kubernetes: an Envoy by nothing but ``navarch bootstrap`` registers itself, is checked, serves, and disappears."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.processes import free_network, free_port
from tests.support.secure_control_plane import Secure, secure
from tests.support.virtual_machine import Machine
from tests.support.waiting import DEADLINE_S, until

CLUSTER = "outbound|9080||cart.default.svc.cluster.local"
PORTS = (9080, 15000, 15002, 15021, 15090)
GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: carts}
spec:
  metadata: {labels: {app: cart}}
  template: {serviceAccount: cart}
  probe: {periodSeconds: 1, failureThreshold: 1, httpGet: {path: /healthz, port: 8000}}
"""
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {{name: cart}}
spec: {{selector: {{app: cart}}, ports: [{{name: http, port: 9080}}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: cart}}
spec:
  workloadSelector: {{labels: {{app: cart}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {cart}, captureMode: NONE, defaultEndpoint: "127.0.0.1:{app}"}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {client}, captureMode: NONE, hosts: ["*/*"]}}
"""


@dataclass
class Mesh:
    """The machines ``cart`` and ``client``, and the application on the first."""

    plane: Secure
    cart: Machine
    client: Machine
    status: int = 200
    delay_s: float = 0.0

    async def entries(self) -> list[str]:
        """Return the names of the WorkloadEntries."""
        rows = await self.plane.running.json("/v1/objects?kind=WorkloadEntry")
        assert isinstance(rows, list)
        return [row["name"] for row in rows]

    async def asked(self) -> tuple[int, str]:
        """Return what the client's application gets from the cart, through its Envoy."""
        async with httpx.AsyncClient(proxy=f"http://{self.client.ip}:15002", timeout=2.0) as client:
            answer = await client.get("http://cart:9080/")
            return answer.status_code, answer.text

    async def gets(self, status: int) -> bool:
        """Return whether that is ``status`` now."""
        return (await self.asked())[0] == status

    async def app(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer as the application does: with who asks, and at ``/healthz`` with its health."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                who = next((line for line in head.splitlines() if line.lower().startswith("x-forwarded-client-cert")), "")
                await asyncio.sleep(self.delay_s)
                status = self.status if head.startswith("GET /healthz") else 200
                writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: {len(who)}\r\n\r\n{who}".encode())
        writer.close()


@contextlib.asynccontextmanager
async def mesh(folder: Path, *, load_interval_s: float = 10.0) -> AsyncIterator[Mesh]:
    """Yield the two machines, prepared; the client's Envoy runs."""
    network, app = free_network(PORTS), free_port()
    manifests = folder / "manifests"
    manifests.mkdir()
    ips = {"cart": f"{network}.11", "client": f"{network}.12"}
    (manifests / "mesh.yaml").write_text(MANIFESTS.format(**ips, app=app))
    (manifests / "group.yaml").write_text(GROUP.replace("8000", str(app)))
    async with secure(manifests, load_interval_s=load_interval_s) as plane:
        cart, client = (Machine(name, ip, folder / name, plane) for name, ip in ips.items())
        found = Mesh(plane, cart, client)
        server = await asyncio.start_server(found.app, "127.0.0.1", app)
        try:
            await cart.prepare("-f", str(manifests / "group.yaml"))
            await client.prepare("--label", "app=client", "--service-account", "client")
            await client.start()
            await until(client.ready, "the client is ready", watched=client.process)
            yield found
        finally:
            server.close()
            for each in (cart, client):
                if each.process:
                    await each.process.stop(kill=True)


async def test_it_registers_itself_is_checked_serves_and_disappears(tmp_path: Path) -> None:
    async with mesh(tmp_path) as found:
        assert await found.entries() == []
        assert await found.gets(503)

        await found.cart.start()
        await until(lambda: found.gets(200), "it gets requests", watched=found.cart.process)
        assert await found.entries() == [f"carts-{found.cart.ip}"]
        assert "URI=spiffe://cluster.local/ns/default/sa/client" in (await found.asked())[1]

        found.status = 500
        await until(lambda: found.gets(503), "it is sent nothing while it is not well")
        assert await found.entries() == [f"carts-{found.cart.ip}"]
        found.status = 200
        await until(lambda: found.gets(200), "it is well again")

        assert found.cart.process
        await found.cart.process.stop(kill=True)

        async def gone() -> bool:
            return not await found.entries()

        await until(gone)


async def test_what_a_bootstrap_prints_is_what_it_writes(tmp_path: Path) -> None:
    (tmp_path / "group.yaml").write_text(GROUP)
    told = ("--xds", "navarch.example.com:15012", "--ip", "10.0.0.7", "--name", "vm-1", "-f", str(tmp_path / "group.yaml"))
    command = (sys.executable, "-m", "controlplane.cli.main", "bootstrap", *told, "--token", "/own/token", "--roots", "/own/roots.pem")
    printed = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, complaint = await printed.communicate()
    written = await asyncio.create_subprocess_exec(*command, "--out", str(tmp_path / "vm"), stdout=asyncio.subprocess.PIPE)
    listed, _ = await written.communicate()

    said = json.loads(out)
    assert said["node"]["metadata"]["AUTO_REGISTER_GROUP"] == "carts"
    assert said["node"]["metadata"]["LABELS"] == {"app": "cart"}
    assert b"token-sds.json and roots-sds.json in /own, which --out writes" in complaint
    assert [Path(line).name for line in listed.decode().splitlines()] == ["envoy.json", "token-sds.json", "roots-sds.json"]
    assert json.loads((tmp_path / "vm" / "envoy.json").read_text())["node"] == said["node"]


async def test_what_it_sends_is_reported_and_forgotten_with_it(tmp_path: Path) -> None:
    async with mesh(tmp_path, load_interval_s=1.0) as found:
        await found.cart.start()
        await until(lambda: found.gets(200), "it gets requests", watched=found.cart.process)
        proxy = f"sidecar~{found.client.ip}~client-1.default~default.svc.cluster.local"
        for _ in range(30):
            await found.asked()

        async def told() -> bool:
            rows = await found.plane.running.json(f"/v1/load/{proxy}")
            assert isinstance(rows, list)
            return any(row["cluster"] == CLUSTER and row["requests"] >= 30 and row["estimatedLatencyMs"] is not None for row in rows)

        await until(told, "the traffic is told")
        _, page = await found.plane.running.get("/metrics")
        assert f'navarch_load_requests_total{{cluster="{CLUSTER}"}}' in page

        assert found.client.process
        await found.client.process.stop(kill=True)

        async def forgotten() -> bool:
            return await found.plane.running.json(f"/v1/load/{proxy}") == []

        await until(forgotten, "it is forgotten")


async def test_the_estimated_latency_is_about_what_requests_take(tmp_path: Path) -> None:
    async with mesh(tmp_path, load_interval_s=1.0) as found:
        await found.cart.start()
        await until(lambda: found.gets(200), "it gets requests", watched=found.cart.process)
        found.delay_s = 0.2
        stop = asyncio.Event()

        async def ask(client: httpx.AsyncClient) -> None:
            while not stop.is_set():
                assert (await client.get("http://cart:9080/")).is_success

        asking = httpx.AsyncClient(proxy=f"http://{found.client.ip}:15002", timeout=DEADLINE_S)
        async with asking, asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(ask(asking))

            async def told() -> bool:
                rows = await found.plane.running.json("/v1/load")
                assert isinstance(rows, list)
                return any(row["cluster"] == CLUSTER and row["requests"] > 200 for row in rows)

            await until(told, "many requests are told")
            stop.set()
        rows = await found.plane.running.json("/v1/load")
        assert isinstance(rows, list)
        [cart] = [row for row in rows if row["cluster"] == CLUSTER]
        print(f"requests take 200 ms and more; estimated {cart['estimatedLatencyMs']:.0f} ms from {cart['requests']} requests")
        assert 100 <= cart["estimatedLatencyMs"] <= 500
