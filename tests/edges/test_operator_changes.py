"""What a change would do, and when it has come to everybody, by the command line."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.cli import navarch
from tests.support.control_plane import control_plane, delta, delta_request, next_delta
from tests.support.shop import CHANGED, SHOP

CLIENT = "sidecar~10.0.0.9~client.default~default.svc.cluster.local"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "before", tmp_path / "after"
    for folder, text in zip(found, (SHOP, CHANGED), strict=True):
        folder.mkdir()
        (folder / "shop.yaml").write_text(text)
    return found


def test_two_folders_are_compared_in_words_and_as_a_difference(folders: tuple[Path, Path]) -> None:
    before, after = map(str, folders)

    words = navarch("plan", "--from", before, "-f", after)
    difference = navarch("plan", "--from", before, "-f", after, "--diff")
    nothing = navarch("plan", "--from", before, "-f", before)

    assert words.returncode == 2
    assert words.stdout.startswith("2 objects would change: AuthorizationPolicy/shop/readers, VirtualService/shop/web\n")
    assert "  drains   virtualInbound: connections of its chains 0.0.0.0_8080, virtualInbound-catchall-http\n" in words.stdout
    rerouted = "90 % outbound|80|v1|web.shop.svc.cluster.local, 10 % outbound|80|v2|web.shop.svc.cluster.local -> 50 % outbound|80|v1|"
    assert f"  reroutes GET http://web.shop.svc.cluster.local/orders at port 80: {rerouted}" in words.stdout
    assert '-              "weight": 90\n' in difference.stdout
    assert (nothing.returncode, nothing.stdout) == (0, "nothing would change\n")


def test_what_is_no_manifest_makes_no_plan(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")

    found = navarch("plan", "--from", str(tmp_path), "-f", str(tmp_path))

    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("navarch: there is no object in ")


async def test_a_running_control_plane_says_what_would_change_and_changes_nothing(folders: tuple[Path, Path]) -> None:
    before, after = folders
    async with control_plane(before) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=CLIENT))
        await next_delta(call)
        ask = partial(asyncio.to_thread, navarch, "plan", "--admin", running.at.admin, "-o", "json")
        changes = await ask("-f", str(after))
        same = await ask("-f", str(before))
        pages = [await running.get(f"/v1/proxies/{CLIENT}/config/virtualhosts") for _ in range(2)]
        async with httpx.AsyncClient(base_url=f"http://{running.at.admin}/v1", timeout=60) as client:
            refused = [
                await client.post("/plan", content=content)
                for content in (b"kind: {", b"\xff", SHOP.replace("port: 80,", "port: none,").encode())
            ]

    plan = json.loads(changes.stdout)
    assert (changes.returncode, same.returncode) == (2, 0)
    assert plan["objects"] == ["AuthorizationPolicy/shop/readers", "VirtualService/shop/web"]
    [group] = plan["proxies"]
    assert group["proxies"] == [CLIENT]
    assert group["resources"] == [{"type": "virtualhost", "name": "80/web.shop.svc.cluster.local:80", "change": "changed"}]
    assert pages[0] == pages[1]
    assert [answer.status_code for answer in refused] == [422, 422, 422]
    assert refused[2].json()["detail"].startswith("Service/shop/web spec.ports[0].port: ")


async def test_it_is_waited_until_the_proxy_that_needs_it_has_accepted(folders: tuple[Path, Path]) -> None:
    before, _ = folders
    changed = SHOP.replace("- {addresses: [10.0.0.2]", "- {addresses: [10.0.0.3]")
    async with control_plane(before) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=CLIENT))
        clusters = await next_delta(call)
        await call.write(delta_request(CDS, nonce=clusters.nonce))
        names = tuple(each.name for each in clusters.resources if each.name.startswith("outbound"))
        await call.write(delta_request(EDS, names=names))
        endpoints = await next_delta(call)
        await call.write(delta_request(EDS, nonce=endpoints.nonce))
        (before / "shop.yaml").write_text(changed)
        sent = await next_delta(call)
        wait = partial(asyncio.to_thread, navarch, "wait", "--admin", running.at.admin, "-f", str(before), "-o", "json")
        lacking = await wait("--timeout", "100ms")
        accepted = await wait("--for", "accepted", "--timeout", "30s")
        waiting = asyncio.create_task(wait("--timeout", "60s"))
        await call.write(delta_request(EDS, nonce=sent.nonce))
        programmed = await waiting

    assert (lacking.returncode, accepted.returncode, programmed.returncode) == (1, 0, 0)
    rows = {row["object"]: row for row in json.loads(lacking.stdout)}
    slices = rows["EndpointSlice/shop/web-1"]
    assert (slices["accepted"], slices["programmed"], slices["needed"], slices["have"]) == (True, False, 1, 0)
    assert slices["waiting"][0]["proxy"] == CLIENT
    assert slices["waiting"][0]["resource"].startswith("ClusterLoadAssignment outbound|80|")


async def test_another_version_than_the_one_that_is_written_is_waited_out(folders: tuple[Path, Path]) -> None:
    before, after = folders
    async with control_plane(before) as running:
        ask = partial(asyncio.to_thread, navarch, "wait", "--admin", running.at.admin, "--timeout", "100ms")
        other = await ask("-f", str(after))
        by_name = await ask("virtualservice/web", "-n", "shop")
        missing = await ask("VirtualService/shop/nobody", "--for", "accepted")
        mistaken = await ask("web")

    assert other.returncode == 1
    assert "VirtualService/shop/web\tnot accepted\t0/0\tanother version is served\n" in other.stdout
    assert (by_name.returncode, by_name.stdout) == (0, "VirtualService/shop/web\tprogrammed\t0/0\t\n")
    assert (missing.returncode, missing.stdout) == (1, "VirtualService/shop/nobody\tnot accepted\t0/0\tit is not served\n")
    assert (mistaken.returncode, mistaken.stderr) == (2, "navarch: expected KIND/NAME or KIND/NAMESPACE/NAME, found 'web'\n")
