"""A virtual machine as a network namespace: rules of iptables, an Envoy as user 1337 by ``navarch bootstrap``, an application."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support import network_namespaces as namespaces
from tests.support.processes import Process, free_network, start
from tests.support.secure_control_plane import Secure, secure
from tests.support.single_envoy import TcpRelay
from tests.support.virtual_machine import Machine
from tests.support.waiting import until

ENVOY = Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"
GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: carts}
spec:
  metadata: {labels: {app: cart}}
  template: {serviceAccount: cart}
  probe: {periodSeconds: 1, failureThreshold: 1, httpGet: {path: /healthz, port: 8080}}
"""
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {{name: cart}}
spec: {{selector: {{app: cart}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: proxy}}, bind: {client}, captureMode: NONE, hosts: ["*/*"]}}
"""
# An application that listens at 8080 and tells whose certificate came with a request; it is well while the file of its argument is there.
APPLICATION = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        well = self.path != "/healthz" or os.path.exists(sys.argv[1])
        said = self.headers.get("x-forwarded-client-cert", "").encode()
        self.send_response(200 if well else 500)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""


@dataclass
class Apart:
    """The machine ``cart`` in the namespace ``name``, and ``client``, which is not in it."""

    name: str
    plane: Secure
    cart: Machine
    client: Machine
    folder: Path
    application: Process | None = None

    async def start(self) -> None:
        """Begin the machine: its rules, its application, its Envoy."""
        within = ("ip", "netns", "exec", self.name)
        rules = await asyncio.create_subprocess_exec(*within, sys.executable, "-m", "controlplane.cli.main", "iptables")
        assert await rules.wait() == 0
        (self.folder / "well").touch()
        command = [*within, sys.executable, "-c", APPLICATION, str(self.folder / "well")]
        self.application = await start("application", command, self.folder)
        await self.cart.start()

    async def gets(self, status: int) -> bool:
        """Return whether the client's application gets ``status`` from the cart, through both Envoys."""
        return (await self.asked())[0] == status

    async def asked(self) -> tuple[int, str]:
        """Return what it gets."""
        async with httpx.AsyncClient(proxy=f"http://{self.client.ip}:15002", timeout=2.0) as client:
            answer = await client.get("http://cart/")
            return answer.status_code, answer.text

    async def stop(self) -> None:
        """End all processes."""
        for each in (self.application, self.cart.process, self.client.process):
            if each:
                await each.stop(kill=True)


@contextlib.asynccontextmanager
async def apart() -> AsyncIterator[Apart]:
    """Yield the machine, not begun yet; the client's Envoy runs."""
    namespaces.needed()
    folder = Path(tempfile.mkdtemp(prefix="navarch-vm-"))  # the user 1337 has to get there
    folder.chmod(0o755)
    manifests = folder / "manifests"
    manifests.mkdir()
    name, block = f"navarch-vm-{os.getpid()}", f"10.98.{os.getpid() % 250}"
    client_ip = f"{free_network((15000, 15002, 15021, 15090))}.12"
    (manifests / "mesh.yaml").write_text(MANIFESTS.format(client=client_ip))
    (manifests / "group.yaml").write_text(GROUP)
    try:
        with namespaces.namespace(name):
            namespaces.joined(name, "eth0", str(os.getpid()), f"nv{os.getpid()}")
            namespaces.batch(name, [f"addr add {block}.2/30 dev eth0", "link set eth0 up", f"route add default via {block}.1"])
            namespaces.run("ip", "addr", "add", f"{block}.1/30", "dev", f"nv{os.getpid()}")
            namespaces.run("ip", "link", "set", f"nv{os.getpid()}", "up")
            async with (
                secure(manifests) as plane,
                TcpRelay(int(str(plane.running.at.xds_tls).rpartition(":")[2])).open(f"{block}.1") as xds,
            ):
                by = ("ip", "netns", "exec", name, "setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", str(ENVOY))
                cart = Machine("cart", f"{block}.2", folder / "cart", plane, xds=xds, interception="REDIRECT", command=by)
                found = Apart(name, plane, cart, Machine("client", client_ip, folder / "client", plane), folder)
                try:
                    await cart.prepare("-f", str(manifests / "group.yaml"))
                    await found.client.prepare("--label", "app=client", "--service-account", "client")
                    await found.client.start()
                    await until(found.client.ready, "the client is ready", watched=found.client.process)
                    yield found
                finally:
                    await found.stop()
    finally:
        shutil.rmtree(folder)


async def test_a_machine_registers_serves_under_strict_mutual_tls_and_disappears() -> None:
    async with apart() as found:
        assert await found.gets(503)

        await found.start()
        await until(lambda: found.gets(200), "it gets requests", watched=found.cart.process)
        assert "URI=spiffe://cluster.local/ns/default/sa/client" in (await found.asked())[1]

        with contextlib.suppress(httpx.HTTPError):  # no certificate, no answer
            async with httpx.AsyncClient(timeout=2.0) as stranger:
                assert (await stranger.get(f"http://{found.cart.ip}:8080/")).status_code >= 400

        (found.folder / "well").unlink()
        await until(lambda: found.gets(503), "it is sent nothing while it is not well")
        (found.folder / "well").touch()
        await until(lambda: found.gets(200), "it is well again")

        assert found.cart.process
        await found.cart.process.stop(kill=True)

        async def gone() -> bool:
            return not await found.plane.running.json("/v1/objects?kind=WorkloadEntry")

        await until(gone)
