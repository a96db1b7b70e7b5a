"""Every golden case is accepted by a real Envoy: one start for those without iptables, one for those with, one for gateways."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from controlplane.demo.bootstrap import Credentials
from controlplane.demo.ports import free_network, free_port, owners
from controlplane.demo.processes import Process, Replica, Sidecar, envoy, serve, until
from controlplane.demo.stores import Folder
from tests.edges.certificates import write_files
from tests.golden.cases import FOLDER, IP, Case, cases

PORTS = (9080, 15000, 15002, 8080, 8443)
CAPTURE_PORTS = (15001, 15006)
ROUTER = "router"
CERTIFICATES = "/etc/certs"  # where cases have files
# Stands beside the objects of a case: when Envoy knows this host, it has been sent what came with it.
MARKER = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: marker, namespace: default}
spec:
  hosts: [%s.marker.example]
  resolution: STATIC
  ports: [{number: 8888, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: marker, namespace: default}
spec: {servers: [{port: {number: 8888, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: marker, namespace: default}
spec:
  hosts: [marker.example]
  gateways: [marker]
  http: [{route: [{destination: {host: %s.marker.example}}]}]
"""


@pytest.mark.parametrize("mode", ["NONE", "REDIRECT", ROUTER])
async def test_every_golden_case_is_accepted(tmp_path: Path, mode: str) -> None:
    if mode == "REDIRECT" and any(owners("0.0.0.0", port) for port in CAPTURE_PORTS):
        pytest.skip(f"somebody listens on {CAPTURE_PORTS}: Envoy would share them without an error, so nothing was run")
    chosen = [case for case in cases() if mode_of(case) == mode]
    ip = f"{free_network(PORTS)}.21"
    store = Folder(tmp_path / "manifests")
    write_files(tmp_path / "certs", "file.example")
    replica = Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(3)))
    plane = await serve(replica, store.serve("navarch"), tmp_path)
    client = httpx.AsyncClient(timeout=5.0)

    async def ask(url: str) -> httpx.Response | None:
        try:
            return await client.get(url)
        except httpx.TransportError:
            return None

    async def ready() -> bool:
        found = await ask(f"http://{replica.admin}/readyz")
        return bool(found and found.is_success)

    async def refused() -> dict[str, int] | None:
        found = await ask(f"http://{ip}:15000/stats?filter=update_rejected&format=json")
        return {each["name"]: each["value"] for each in found.json()["stats"] if each.get("value")} if found else None

    async def has_all_of(name: str) -> bool:
        known = await ask(f"http://{ip}:15000/clusters")
        rows = await ask(f"http://{replica.admin}/v1/proxies")
        return bool(known and f"|{name}.marker.example::" in known.text and rows and [each["synced"] for each in rows.json()] == [True])

    proxy: Process | None = None
    try:
        await until("the control plane is ready", ready, seconds=20, watched=plane)
        proxy = await start(mode, ip, store, tmp_path, replica)
        for case in chosen:
            (store.folder / "case.yaml~").write_text(shown(case, ip, tmp_path / "certs"))
            (store.folder / "case.yaml~").rename(store.folder / "case.yaml")
            await until(f"{case.name} has reached Envoy", partial(has_all_of, case.name), seconds=20, watched=proxy)

            assert await refused() == {}, case.name
    finally:
        await client.aclose()
        if proxy:
            await proxy.stop()
        await plane.stop()
    print(f"{len(chosen)} cases")
    assert chosen


def mode_of(case: Case) -> str:
    """Return to which of the Envoys ``case`` is shown."""
    return ROUTER if case.gateway else str(case.metadata.get("INTERCEPTION_MODE", "REDIRECT"))


async def start(mode: str, ip: str, store: Folder, folder: Path, replica: Replica) -> Process:
    """Start the Envoy for ``mode`` at ``ip``; a gateway has an identity, so that it is shown TLS as well."""
    if mode != ROUTER:
        return await envoy(Sidecar(name="client-1", ip=ip, labels={"app": "client"}, interception=mode), folder, replica.xds)
    store.namespace = "edge"
    credentials = Credentials(folder / "credentials")
    credentials.write(token=await store.token("ingress"), roots=await store.roots())
    labels = {"istio": "ingressgateway"}
    router = Sidecar(name="ingress-1", ip=ip, labels=labels, namespace="edge", account="ingress", credentials=credentials, kind=ROUTER)
    return await envoy(router, folder, replica.xds_tls)


def shown(case: Case, ip: str, certificates: Path) -> str:
    """Return the manifests of ``case`` for a proxy at ``ip``: gateways bind that address alone, as others are on this machine too."""
    text = (FOLDER / case.name / "in.yaml").read_text().replace(IP, ip).replace(CERTIFICATES, str(certificates))
    text += MARKER % (case.name, case.name)
    if not case.gateway:
        return text
    documents = [each for each in yaml.safe_load_all(text) if each]
    for each in documents:
        if each["kind"] == "Gateway":
            each["spec"]["servers"] = [_bound(server, ip) for server in each["spec"]["servers"]]
    return yaml.safe_dump_all(documents)


def _bound(server: Mapping[str, object], ip: str) -> dict[str, object]:
    return {**server, "bind": server.get("bind", ip)}
