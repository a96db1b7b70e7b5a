"""Every command for operators, with a control plane and two real Envoys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from controlplane.untyped import Json, items, text
from tests.support.operator_world import GATEWAY, SIDECAR, OperatorWorld, operator_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorWorld]:
    async with operator_world(tmp_path_factory.mktemp("operators")) as running:
        yield running


async def test_proxies_lists_who_is_connected_and_what_they_have(world: OperatorWorld) -> None:
    table = await world.navarch("proxies")
    alias = await world.navarch("ps")
    wide = await world.navarch("proxies", "-o", "wide")
    found = _rows(await world.json("proxies"))

    assert table.returncode == alias.returncode == 0
    assert [line.split("\t")[:3] for line in table.stdout.splitlines()] == [[GATEWAY, "router", "1.40.0"], [SIDECAR, "sidecar", "1.40.0"]]
    assert all(cell.startswith("SYNCED ") for line in table.stdout.splitlines() for cell in line.split("\t")[3:7])
    assert "spiffe://cluster.local/ns/default/sa/web" in wide.stdout
    assert [{each["type"]: each["state"] for each in items(row, "types")}["VirtualHost"] for row in found] == ["SYNCED", "SYNCED"]


async def test_a_proxy_holds_what_it_was_sent(world: OperatorWorld) -> None:
    for name, admin in (("front", world.front_admin), ("web.default", f"{world.envoy.ip}:15000")):
        found = await world.navarch("proxies", name, "--envoy", admin)

        assert found.returncode == 0, found.stdout
        assert found.stdout.splitlines()[-1] == f"The Envoy at {admin} holds exactly what it was sent."


async def test_a_proxy_that_holds_something_else_is_told_in_words(world: OperatorWorld) -> None:
    """The gateway is asked for, and the sidecar's Envoy answers."""
    found = await world.navarch("proxies", "front", "--envoy", f"{world.envoy.ip}:15000")

    lines = [line.split("\t") for line in found.stdout.splitlines()]
    assert found.returncode == 1
    assert ["clusters", "PassthroughCluster", "the Envoy has it, and it is not sent any more"] in lines


async def test_configuration_is_shown_the_same_from_both_sides(world: OperatorWorld) -> None:
    for name, admin in (("front", world.front_admin), ("web", f"{world.envoy.ip}:15000")):
        sent = _rows(await world.json("config", name))
        held = _rows(await world.json("config", name, "--envoy", admin))

        of_sent, of_held = (
            {(text(row, "kind"), *_cells(row).values()) for row in rows if row["kind"] != "secrets"} for rows in (sent, held)
        )
        assert {kind for kind, *_ in of_sent} == {"listeners", "routes", "clusters", "endpoints"}
        assert of_sent <= of_held


async def test_virtual_hosts_stand_in_their_tables(world: OperatorWorld) -> None:
    routes = _rows(await world.json("config", "web", "routes", "--subset", "v1"))
    hosts = {_cells(row)["VHOST NAME"] for row in routes}

    assert hosts == {"web.default.svc.cluster.local:9080", "shop.example:80"}
    assert {(_cells(row)["NAME"], _cells(row)["MATCH"], _cells(row)["VIRTUAL SERVICE"]) for row in routes} == {
        ("15002", "/v1* end-user=jason", "default/web")
    }


async def test_the_dump_of_any_envoy_is_shown_without_a_control_plane(world: OperatorWorld, tmp_path: Path) -> None:
    dump = tmp_path / "config_dump.json"
    async with httpx.AsyncClient() as client:
        dump.write_text((await client.get(f"http://{world.envoy.ip}:15000/config_dump?include_eds")).text)

    secrets = await world.navarch("config", "--file", str(dump), "secrets", "--name", "default")
    none = await world.navarch("config", "--file", str(dump), "clusters", "--port", "1")

    [cells] = [line.split("\t") for line in secrets.stdout.splitlines()]
    assert cells[:4] == ["default", "Cert Chain", "ACTIVE", "true"]
    assert none.stdout == "no clusters\n"


async def test_problems_are_those_of_the_control_plane(world: OperatorWorld) -> None:
    found = await world.navarch("problems", "--severity", "error")

    assert (found.returncode, found.stdout) == (0, "no problems\n")


def _rows(found: object) -> list[Json]:
    assert isinstance(found, list)
    return found


def _cells(row: Json) -> dict[str, str]:
    cells = row["cells"]
    assert isinstance(cells, dict)
    return cells
