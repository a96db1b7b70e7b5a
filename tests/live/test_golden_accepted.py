"""Every golden case is accepted by a real Envoy, the oldest and the newest (``make prove``: each version).

Of each one start for those without iptables, one for those with, both with and without an identity, one for each set of addresses that a
case names, one for gateways.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from controlplane.bootstrap.statistics import Statistics
from controlplane.model.proxies import Interception, ProxyType
from tests.support.capture_ports import capture_ports
from tests.support.certificates import write_files
from tests.support.envoy_versions import VERSIONS, envoy_of
from tests.support.envoys import CredentialFiles
from tests.support.envoys import FolderStore as Folder
from tests.support.fakes.small_modules import loadable_module
from tests.support.processes import EnvoySpec, Process, Replica, free_network, free_port, start_envoy, start_replica
from tests.support.proofs import ends
from tests.support.translate_cases import FOLDER, IP, Case, cases
from tests.support.waiting import DEADLINE_S, until

PORTS = (8080, 8443, 9080, 15000, 15002, 15021)
ROUTER = ProxyType.ROUTER.value
NONE = Interception.NONE.value
IDENTIFIED = "with an identity, "  # before how its connections are captured
AT = " at "  # before the addresses that its node says it has
DUAL_STACK, IPV6 = f"REDIRECT{AT}10.1.0.7,fd00:1::7", f"REDIRECT{AT}fd00:1::7"
_REFUSALS = Statistics(suffixes=(".update_rejected",))
CERTIFICATES = "/etc/certs"  # where cases have files, of plugins too
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


@pytest.mark.parametrize("mode", [NONE, "REDIRECT", "TPROXY", f"{IDENTIFIED}{NONE}", f"{IDENTIFIED}REDIRECT", DUAL_STACK, IPV6, ROUTER])
@pytest.mark.parametrize("version", ends(VERSIONS))
async def test_every_golden_case_is_accepted(tmp_path: Path, version: str, mode: str) -> None:
    if mode == "TPROXY" and os.geteuid() != 0:
        pytest.skip("not run: a socket for connections to others needs root")
    if AT in mode and not has_ipv6():
        pytest.skip("not run: this machine has no IPv6, and Envoy refuses listeners for it")
    envoy = envoy_of(version)
    chosen = [case for case in cases() if mode_of(case) == mode]
    bench = Bench(tmp_path, envoy)
    with contextlib.nullcontext() if mode.endswith((NONE, ROUTER)) else capture_ports():
        try:
            await bench.start(mode)
            for case in chosen:
                bench.show(case)
                await until(partial(bench.has_all_of, case.name), f"{case.name} has reached Envoy", watched=bench.processes[-1])

                assert await bench.refused() == {}, case.name
        finally:
            await bench.stop()
    print(f"Envoy {version}: {len(chosen)} cases")
    assert chosen


class Bench:
    """A control plane and an Envoy, to which cases are shown one after the other."""

    def __init__(self, folder: Path, envoy: str) -> None:
        self.folder = folder
        self.envoy = envoy
        self.ip = f"{free_network(PORTS)}.21"
        self.store = Folder(folder / "manifests")
        self.client = httpx.AsyncClient(timeout=DEADLINE_S)
        self.processes: list[Process] = []
        self.replica = Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(3)))

    async def start(self, mode: str) -> None:
        """Start both; a gateway has an identity, so that it is shown TLS as well."""
        write_files(self.folder / "certs", "file.example")
        (self.folder / "certs" / "plugin.wasm").write_bytes(loadable_module())
        plane = await start_replica(self.replica, self.store.serve("navarch"), self.folder)
        self.processes.append(plane)
        await until(self._ready, "the control plane is ready", watched=plane)
        captured, _, ips = (NONE if mode == ROUTER else mode.removeprefix(IDENTIFIED)).partition(AT)
        more = (("INSTANCE_IPS", ips),) if ips else ()
        sidecar = EnvoySpec(
            name="client-1",
            ip=self.ip,
            labels={"app": "client"},
            interception=captured,
            more=more,
            binary=self.envoy,
            statistics=_REFUSALS,
        )
        where = self.replica.xds
        if mode == ROUTER:
            self.store.namespace = "edge"
            labels = {"istio": "ingressgateway"}
            sidecar = replace(sidecar, name="ingress-1", labels=labels, namespace="edge", account="ingress", kind=ProxyType.ROUTER)
        if mode == ROUTER or mode.startswith(IDENTIFIED):
            account = "ingress" if mode == ROUTER else "client"
            held = CredentialFiles(self.folder / "credentials")
            held.write(token=await self.store.token(account), roots=await self.store.roots())
            sidecar, where = replace(sidecar, account=account, credentials=held), self.replica.xds_tls
        self.processes.append(await start_envoy(sidecar, self.folder, where))

    async def stop(self) -> None:
        for process in reversed(self.processes):
            await process.stop()
        await self.client.aclose()

    def show(self, case: Case) -> None:
        """Save the manifests of ``case`` in the place of those before."""
        draft = self.store.folder / "case.yaml~"
        draft.write_text(shown(case, self.ip, self.folder / "certs"))
        draft.rename(self.store.folder / "case.yaml")

    async def refused(self) -> dict[str, int] | None:
        """Return how often the Envoy has refused something, by statistic."""
        found = await self._ask(f"http://{self.ip}:15000/stats?filter=update_rejected&format=json")
        return {each["name"]: each["value"] for each in found.json()["stats"] if each.get("value")} if found else None

    async def has_all_of(self, name: str) -> bool:
        """Return whether the Envoy has what came with the marker of the case ``name``."""
        known = await self._ask(f"http://{self.ip}:15000/clusters")
        rows = await self._ask(f"http://{self.replica.admin}/v1/proxies")
        return bool(known and f"|{name}.marker.example::" in known.text and rows and [each["synced"] for each in rows.json()] == [True])

    async def _ready(self) -> bool:
        found = await self._ask(f"http://{self.replica.admin}/readyz")
        return bool(found and found.is_success)

    async def _ask(self, url: str) -> httpx.Response | None:
        try:
            return await self.client.get(url)
        except httpx.TransportError:
            return None


def has_ipv6() -> bool:
    """Return whether this machine can listen by IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def mode_of(case: Case) -> str:
    """Return to which of the Envoys ``case`` is shown."""
    captured = str(case.metadata.get("INTERCEPTION_MODE", "REDIRECT"))
    if ips := case.metadata.get("INSTANCE_IPS"):
        captured += f"{AT}{ips}"
    return ROUTER if case.gateway else f"{IDENTIFIED if case.account else ''}{captured}"


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
