"""Istio's samples and feature manifests, each in turn, to a real Envoy in either protocol: nothing is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.demo.ports import free_port, owners
from controlplane.demo.processes import control_plane, envoy, until
from controlplane.objects.documents import documents
from controlplane.objects.parse import parse

CASES = Path(__file__).parents[3] / "shared" / "cases"
IP = "127.9.9.9"
LABELS = {"app": "productpage", "version": "v1"}
CAPTURE_PORTS = (15001, 15006)


def manifests() -> Iterator[tuple[Path, int, set[str]]]:
    """Yield each file with how many documents it has, and which of them are objects in effect."""
    for folder in ("samples", "configs"):
        for path in sorted((CASES / folder).rglob("*")):
            if path.suffix in (".yaml", ".yml", ".json"):
                found = documents(path.read_text())
                keys = {str(parsed.key) for each in found if each.data and (parsed := parse(each.data)).object is not None}
                yield path, len(found), keys


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_every_sample_is_accepted(tmp_path: Path, *, delta: bool) -> None:
    files = list(manifests())
    if not files:
        pytest.skip("shared/cases is not here: Istio's samples were not run")
    if any(owners("0.0.0.0", port) for port in CAPTURE_PORTS):
        pytest.skip(f"somebody listens on {CAPTURE_PORTS}: Envoy would share them without an error, so nothing was run")
    folder = tmp_path / "manifests"
    folder.mkdir()
    xds, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    plane = await control_plane(folder, tmp_path, xds=xds, admin=admin)
    client = httpx.AsyncClient(base_url=f"http://{admin}", timeout=10)
    proxy = None
    try:

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await until("ready", ready, seconds=20, watched=plane)
        proxy = await envoy("productpage", IP, LABELS, tmp_path, xds=xds, delta=delta, mode="REDIRECT")
        refused: dict[str, object] = {}
        for path, _, objects in files:
            target = folder / f"case{path.suffix}"
            draft = folder / "draft~"
            draft.write_text(path.read_text())
            draft.rename(target)

            async def settled(wanted: set[str] = objects) -> bool:
                listed = {each["object"] for each in (await client.get("/v1/objects")).json()}
                rows = (await client.get("/v1/proxies")).json()
                return listed == wanted and len(rows) == 1 and rows[0]["synced"]

            await until(f"{path.name} has reached Envoy", settled, seconds=20, watched=proxy)
            [row] = (await client.get("/v1/proxies")).json()
            errors = [(each["type"], each["error"]) for stream in row["connections"] for each in stream["types"] if each["error"]]
            if errors:
                refused[str(path.relative_to(CASES))] = errors
            target.unlink()
        print(f"{len(files)} files, {sum(count for _, count, _ in files)} documents, {len(refused)} refused")
        assert refused == {}, json.dumps(refused, indent=1)
        assert all(owners("0.0.0.0", port) for port in CAPTURE_PORTS)
    finally:
        if proxy is not None:
            await proxy.stop()
        await client.aclose()
        await plane.stop()
