"""Connections by IPv6 that iptables take pass a real Envoy, inwards and outwards, beside those by IPv4 and without them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.status_listeners import StatusPorts
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.model.proxies import Interception, IpFamilies
from tests.support import network_namespaces as namespaces
from tests.support.processes import Process, envoy_binary, start
from tests.support.waiting import until

POD, POD_V6, NEAR, NEAR_V6 = "10.77.0.2", "fd77::2", "10.77.0.1", "fd77::1"
VIP, VIP_V6 = "10.99.0.5", "fd99::5"  # of the store: nobody has them, only an Envoy knows the way
XDS, ADMIN = "127.0.0.1:15010", "127.0.0.1:15014"
DECLARED, OTHER = 8000, 8001  # what a Service names, and what none does
NAVARCH = (sys.executable, "-m", "controlplane.cli.main")
MANIFESTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: {DECLARED}}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: store, namespace: default}}
spec:
  hosts: [store.example]
  addresses: [{VIP}, "{VIP_V6}"]
  ports:
  - {{number: 8080, name: http, protocol: HTTP, targetPort: {OTHER}}}
  - {{number: 9000, name: tcp, protocol: TCP, targetPort: {OTHER}}}
  resolution: STATIC
  endpoints: [{{address: "{NEAR_V6}"}}]
"""
# Says where it is, and from where it is asked.
SAYS = """
import http.server, socket, sys
class Says(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        said = f"{sys.argv[1]} {self.client_address[0].removeprefix('::ffff:')}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", int(sys.argv[2])), Says).serve_forever()
"""
ASKS = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.mark.parametrize("interception", [Interception.REDIRECT, Interception.TPROXY])
@pytest.mark.parametrize("families", [IpFamilies.BOTH, IpFamilies.V6], ids=lambda families: families.name)
async def test_connections_of_every_family_of_a_pod_pass_its_envoy(
    tmp_path: Path, families: IpFamilies, interception: Interception
) -> None:
    namespaces.needed()
    by = [(VIP_V6, POD_V6, NEAR_V6, "::6"), *([(VIP, POD, NEAR, "127.0.0.6")] if families is IpFamilies.BOTH else [])]
    async with world(tmp_path, families, interception) as (pod, outside):
        for vip, own, near, envoy in by:
            seen = near if interception is Interception.TPROXY else envoy

            assert await said(outside, own, DECLARED) == f"pod {seen}"
            assert await said(outside, own, OTHER) == f"pod {seen}"
            assert await said(pod, vip, 8080) == f"outside {POD_V6}"
            assert await said(pod, vip, 9000) == f"outside {POD_V6}"
            assert await said(pod, near, OTHER) == f"outside {own}"


@asynccontextmanager
async def world(folder: Path, families: IpFamilies, interception: Interception) -> AsyncIterator[tuple[str, str]]:
    """Yield the namespaces of a pod with its Envoy and its control plane, and of what is around it."""
    pod, outside = (f"nv{os.getpid()}-six-{end}" for end in ("pod", "out"))
    addresses = [POD, POD_V6] if families is IpFamilies.BOTH else [POD_V6]
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "all.yaml").write_text(MANIFESTS)
    settings = BootstrapSettings(
        node=BootstrapNode(
            name="web-1",
            namespace="default",
            ip=addresses[0],
            labels=(("app", "web"),),
            interception=interception,
            more=(("INSTANCE_IPS", ",".join(addresses)),),
        ),
        control_plane=XdsServer(addresses=(XDS,)),
        status=StatusPorts(host=addresses[0], additional_hosts=("127.0.0.1",)),  # as injection has it
    )
    async with AsyncExitStack() as stack:
        for name in (pod, outside):
            stack.enter_context(namespaces.namespace(name))
        namespaces.joined(pod, "eth0", outside, "eth0")
        _address(pod, addresses)
        _address(outside, [NEAR, NEAR_V6])
        namespaces.batch(pod, [f"route add default via {each}" for each in (NEAR, NEAR_V6)[-len(addresses) :]])
        within = partial(_within, stack, folder)
        for port in (DECLARED, OTHER):
            await within(pod, f"app-{port}", sys.executable, "-c", SAYS, "pod", str(port))
        await within(outside, "outside", sys.executable, "-c", SAYS, "outside", str(OTHER))
        await within(pod, "navarch", *NAVARCH, "serve", "--files", str(manifests), "--xds", XDS, "--admin", ADMIN)
        namespaces.run("ip", "netns", "exec", pod, *NAVARCH, "iptables", "-b", "*", "-i", "*", "-m", interception, "-d", "15021")
        told = ("--config-yaml", json.dumps(bootstrap(settings)), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
        envoy = await within(pod, "envoy", "setpriv", "--regid", "1337", "--clear-groups", envoy_binary(), *told)
        await until(partial(ready, pod, addresses[0]), "Envoy is ready", watched=envoy)
        yield pod, outside


def _address(name: str, addresses: list[str]) -> None:
    lines = [f"addr add {each}/64 dev eth0 nodad" if ":" in each else f"addr add {each}/24 dev eth0" for each in addresses]
    namespaces.batch(name, ["link set eth0 addrgenmode none", *lines, "link set eth0 up"])


async def _within(stack: AsyncExitStack, folder: Path, namespace: str, name: str, *command: str) -> Process:
    """Start ``command`` within ``namespace`` for as long as ``stack`` lasts."""
    process = await start(name, ["ip", "netns", "exec", namespace, *command], folder)
    stack.push_async_callback(process.stop)
    return process


async def ready(namespace: str, host: str) -> bool:
    """Return whether the Envoy of ``namespace`` says that it is ready, at ``host`` and to those beside it."""
    ways = [await said(namespace, each, 15021, "healthz/ready") for each in (host, "127.0.0.1")]
    return ways == ["LIVE", "LIVE"]


async def said(namespace: str, host: str, port: int, path: str = "") -> str:
    """Return what is answered to an application of ``namespace`` by ``port`` of ``host``, or what went wrong."""
    url = f"http://[{host}]:{port}/{path}" if ":" in host else f"http://{host}:{port}/{path}"
    asked = ("ip", "netns", "exec", namespace, sys.executable, "-c", ASKS, url)
    process = await asyncio.create_subprocess_exec(*asked, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    return (await process.communicate())[0].decode().strip().rpartition("\n")[2]
