"""Istio's samples and feature manifests, each in turn, to a real Envoy in either protocol: nothing is refused."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.ca.certificates import authority, key_pem, workload_certificate
from controlplane.model.identity import Identity
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents
from controlplane.serve.identity import make_key
from tests.support.capture_ports import CAPTURE_PORTS, capture_ports
from tests.support.processes import EnvoySpec, Process, free_port, port_owners, start_control_plane, start_envoy
from tests.support.waiting import DEADLINE_S, until

CASES = Path(__file__).parents[3] / "shared" / "cases"
IP = "127.9.9.9"
LABELS = {"app": "productpage", "version": "v1"}
KEPT_APART = (ConfigMap, Secret)  # certificates and authorities: they are no part of the mesh
CERTIFICATES = Path("tests/testdata/certs/default")  # what the samples call files of their proxies


def manifests() -> Iterator[tuple[Path, int, set[str]]]:
    """Yield each file with how many documents it has, and which of them are objects in effect."""
    for folder in ("samples", "configs"):
        for path in sorted((CASES / folder).rglob("*")):
            if path.suffix in (".yaml", ".yml", ".json"):
                found = documents(path.read_text())
                objects = [parse(each.data) for each in found if each.data]
                yield path, len(found), {str(each.key) for each in objects if each.object and not isinstance(each.object, KEPT_APART)}


def give_certificates(folder: Path) -> None:
    """Write the files in ``folder`` that a DestinationRule of the samples expects at its proxies."""
    now, lifetime = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    issuer, key = authority("samples", make_key(), now, lifetime), make_key()
    chain = workload_certificate(issuer, Identity("cluster.local", "default", "default"), key.public_key(), now, lifetime)
    folder.mkdir(parents=True)
    for name, content in (("cert-chain.pem", chain), ("key.pem", key_pem(key)), ("root-cert.pem", issuer.pem)):
        (folder / name).write_bytes(content)


class Bench:
    """A control plane and one captured Envoy, to which files are shown one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.xds, self.admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.client = httpx.AsyncClient(base_url=f"http://{self.admin}", timeout=DEADLINE_S)
        self.processes: list[Process] = []

    async def start(self, *, delta: bool) -> None:
        plane = await start_control_plane(self.manifests, self.folder, xds=self.xds, admin=self.admin)
        self.processes.append(plane)
        await until(self._ready, "ready", watched=plane)
        give_certificates(self.folder / CERTIFICATES)
        sidecar = EnvoySpec(name="productpage", ip=IP, labels=LABELS, interception="REDIRECT", delta=delta)
        self.processes.append(await start_envoy(sidecar, self.folder, self.xds))

    async def stop(self) -> None:
        for process in reversed(self.processes):
            await process.stop()
        await self.client.aclose()

    def show(self, path: Path) -> Path:
        """Copy ``path`` into the folder that is served, whole, by renaming."""
        target = self.manifests / f"case{path.suffix}"
        draft = self.manifests / "draft~"
        draft.write_bytes(path.read_bytes())
        return draft.rename(target)

    async def errors_of(self, path: Path, objects: set[str]) -> list[tuple[str, str]]:
        """Show ``path``, wait until its ``objects`` have reached Envoy, and return what Envoy refused of it."""
        target = self.show(path)

        async def settled() -> bool:
            rows = (await self.client.get("/v1/proxies")).json()
            return await self._objects() == objects and len(rows) == 1 and bool(rows[0]["synced"])

        async def gone() -> bool:
            return not await self._objects()

        await until(settled, f"{path.name} has reached Envoy", watched=self.processes[-1])
        [row] = (await self.client.get("/v1/proxies")).json()
        target.unlink()
        # The next file has the same name: what cannot be read of it would leave the objects of this one.
        await until(gone, f"{path.name} is gone", watched=self.processes[-1])
        return [(each["type"], each["error"]) for stream in row["connections"] for each in stream["types"] if each["error"]]

    async def _objects(self) -> set[str]:
        return {each["object"] for each in (await self.client.get("/v1/objects")).json()}

    async def _ready(self) -> bool:
        try:
            return (await self.client.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_every_sample_is_accepted(tmp_path: Path, *, delta: bool) -> None:
    files = list(manifests())
    if not files:
        pytest.skip("shared/cases is not here: Istio's samples were not run")
    bench = Bench(tmp_path)
    with capture_ports():
        try:
            await bench.start(delta=delta)

            refused = {path.name: errors for path, _, objects in files if (errors := await bench.errors_of(path, objects))}

            print(f"{len(files)} files, {sum(count for _, count, _ in files)} documents, {len(refused)} refused")
            assert refused == {}, json.dumps(refused, indent=1)
            assert all(len(port_owners("0.0.0.0", port)) == 1 for port in CAPTURE_PORTS)
        finally:
            await bench.stop()
