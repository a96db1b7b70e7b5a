"""Every golden case is accepted by a real Envoy: one start for those without iptables, one for those with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.demo.ports import free_network, free_port, owners
from controlplane.demo.processes import Sidecar, control_plane, envoy, until
from tests.golden.cases import FOLDER, IP, Case, cases

PORTS = (9080, 15000, 15002)
CAPTURE_PORTS = (15001, 15006)
# Stands beside the objects of a case: when Envoy knows this host, it has been sent what came with it.
MARKER = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: marker, namespace: default}
spec:
  hosts: [%s.marker.example]
  resolution: STATIC
  ports: [{number: 8888, name: http, protocol: HTTP}]
"""


@pytest.mark.parametrize("mode", ["NONE", "REDIRECT"])
async def test_every_golden_case_is_accepted(tmp_path: Path, mode: str) -> None:
    if mode == "REDIRECT" and any(owners("0.0.0.0", port) for port in CAPTURE_PORTS):
        pytest.skip(f"somebody listens on {CAPTURE_PORTS}: Envoy would share them without an error, so nothing was run")
    chosen = [case for case in cases() if case.metadata.get("INTERCEPTION_MODE", "REDIRECT") == mode]
    ip = f"{free_network(PORTS)}.21"
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    xds, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    plane = await control_plane(manifests, tmp_path, xds=xds, admin=admin)
    sidecar = Sidecar(name="client-1", ip=ip, labels={"app": "client"}, interception=mode)
    proxy = await envoy(sidecar, tmp_path, xds)
    client = httpx.AsyncClient(timeout=5.0)

    async def ask(url: str) -> httpx.Response | None:
        try:
            return await client.get(url)
        except httpx.TransportError:
            return None

    async def refused() -> dict[str, int] | None:
        found = await ask(f"http://{ip}:15000/stats?filter=update_rejected&format=json")
        return {each["name"]: each["value"] for each in found.json()["stats"] if each.get("value")} if found else None

    async def has_all_of(name: str) -> bool:
        known = await ask(f"http://{ip}:15000/clusters")
        rows = await ask(f"http://{admin}/v1/proxies")
        return bool(known and f"|{name}.marker.example::" in known.text and rows and [each["synced"] for each in rows.json()] == [True])

    try:
        for case in chosen:
            show(case, ip, manifests)
            await until(f"{case.name} has reached Envoy", partial(has_all_of, case.name), seconds=20, watched=proxy)

            assert await refused() == {}, case.name
    finally:
        await client.aclose()
        await proxy.stop()
        await plane.stop()
    print(f"{len(chosen)} cases")
    assert chosen


def show(case: Case, ip: str, folder: Path) -> None:
    """Save the manifests of ``case``, whose proxy is at ``ip``, in the place of those before."""
    draft = folder / "draft~"
    draft.write_text((FOLDER / case.name / "in.yaml").read_text().replace(IP, ip) + MARKER % case.name)
    draft.rename(folder / "case.yaml")
