"""Every command for operators, with a control plane and two real Envoys."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml

from controlplane.untyped import Json, items, text
from tests.support.cli import navarch
from tests.support.operator_world import GATEWAY, SIDECAR, OperatorWorld, operator_world
from tests.support.waiting import until

EXTRA = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: extra, namespace: default}}
spec: {{host: web, subsets: [{{name: v2, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {weight}}}}}}}}}]}}
"""
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


async def test_rows_say_which_object_file_and_line_they_come_from(world: OperatorWorld) -> None:
    [route, *_] = _rows(await world.json("config", "web", "routes", "--subset", "v1"))
    [cluster] = _rows(await world.json("config", "web", "clusters", "--subset", "v1"))

    shop = str(world.folder / "shop.yaml")
    assert next((each["object"], each["file"]) for each in items(route, "origins")) == ("VirtualService/default/web", shop)
    assert [(each["object"], each["file"]) for each in items(cluster, "origins")][:2] == [
        ("DestinationRule/default/web", shop),
        ("Service/default/web", str(world.folder / "web.yaml")),
    ]
    assert all(isinstance(each["line"], int) for each in (*items(route, "origins"), *items(cluster, "origins")))


async def test_objects_are_listed_and_described(world: OperatorWorld) -> None:
    listed = await world.navarch("objects", "destinationrule")
    described = await world.navarch("describe", "VirtualService/default/web")
    nobody = await world.navarch("describe", "VirtualService/default/nobody")

    assert listed.stdout.split("\t")[:3] == ["DestinationRule", "default", "web"]
    assert "object\tis in effect\t" in described.stdout
    assert "proxies\t2 of 2 that need it have accepted it" in described.stdout
    assert (nobody.returncode, nobody.stderr) == (2, "navarch: there is no VirtualService/default/nobody in effect\n")


async def test_pods_and_services_are_described(world: OperatorWorld) -> None:
    pod = await world.navarch("describe", "pod", "web-1")
    service = await world.navarch("describe", "service", "web")

    lines = [line.split("\t") for line in pod.stdout.splitlines()]
    assert ["identity", "spiffe://cluster.local/ns/default/sa/web", ""] in lines
    assert ["port", "9080: mTLS STRICT", ""] in lines
    assert ["PeerAuthentication", "default/strict"] in [line[:2] for line in lines]
    about = {line.split("\t")[0] for line in service.stdout.splitlines()}
    assert {"seen by", "endpoints", "route", "VirtualService", "DestinationRule", "Service"} <= about
    assert f"port 9080, subset v1: {world.envoy.ip}:9080 HEALTHY" in service.stdout


async def test_changes_are_listed_compared_and_could_be_taken_back(world: OperatorWorld) -> None:
    extra = world.folder / "extra.yaml"
    before = _rows(await world.json("history", "--limit", "1"))[0]["number"]
    extra.write_text(EXTRA.format(weight=1))
    await _until_change(world, before, 1)
    extra.write_text(EXTRA.format(weight=2))
    await _until_change(world, before, 2)
    listed = await world.navarch("history")
    one = await world.navarch("history", str(int(str(before)) + 2))
    diff = await world.navarch("history", "diff", str(int(str(before)) + 1), str(int(str(before)) + 2))
    back = await world.navarch("rollback", str(int(str(before)) + 1))
    away = await world.navarch("rollback", str(before))
    extra.unlink()
    await _until_change(world, before, 3)

    [line] = [line.split("\t") for line in listed.stdout.splitlines() if line.startswith(f"{int(str(before)) + 2}\t")]
    assert line[2] == "DestinationRule/default/extra changed"
    assert "DestinationRule/default/extra\tchanged" in one.stdout
    changed = [line.replace(" ", "") for line in diff.stdout.splitlines() if line[0] in "+-"]
    assert changed[2:] == ["-maxConnections:1", "+maxConnections:2"]
    assert yaml.safe_load(back.stdout) == yaml.safe_load(EXTRA.format(weight=1))
    assert away.stdout == ""
    assert away.stderr == f"DestinationRule/default/extra came after change {before}: delete it\n"


async def test_a_proxy_can_be_told_to_log_more(world: OperatorWorld) -> None:
    admin = ("--envoy", world.front_admin)
    before = await world.json("log", "front", *admin, "--logger", "rbac")
    changed = await world.json("log", "front", *admin, "--logger", "rbac", "--level", "debug")
    unknown = await world.navarch("log", "front")

    assert (before, changed) == ({"rbac": "warning"}, {"rbac": "debug"})
    assert (unknown.returncode, "--envoy HOST:PORT says it" in unknown.stderr) == (2, True)


async def test_what_is_well_is_checked(world: OperatorWorld) -> None:
    found = await world.navarch("check")
    nowhere = await asyncio.to_thread(navarch, "check", "--admin", "127.0.0.1:1")

    lines = {line.split("\t")[1]: line.split("\t")[0] for line in found.stdout.splitlines()}
    assert (found.returncode, set(lines.values())) == (0, {"√"}), found.stdout
    assert {"every proxy has accepted everything", "its clock is right", "roots that are trusted are good"} <= lines.keys()
    assert (nowhere.returncode, nowhere.stdout.split("\t")[0]) == (1, "×")


async def test_the_page_is_named(world: OperatorWorld) -> None:
    found = await world.navarch("dashboard", "--no-open")

    assert found.stdout == f"http://{world.admin}/\n"


async def test_a_bug_report_has_everything_but_secrets(world: OperatorWorld, tmp_path: Path) -> None:
    found = await world.navarch("bug-report", "--to", str(tmp_path / "report.tar.gz"))
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        contents = {name: file.read().decode() for name, file in files.items() if file}

    planted = ("planted-header", "planted-word", "PRIVATE KEY", world.envoy.files["token"], world.envoy.files["root-cert.pem"][40:80])
    assert found.returncode == 0
    assert {name.rpartition("/")[2] for name in contents} >= {"objects.json", "problems.json", "metrics.txt", "clusters.json"}
    assert "VirtualService/default/web" in "".join(contents.values())
    assert [(name, word) for name, content in contents.items() for word in planted if word in content] == []


async def test_the_configuration_of_a_pod_can_be_made_of_manifests_alone(world: OperatorWorld) -> None:
    offline = await asyncio.to_thread(navarch, "translate", "-f", str(world.folder), "--pod", "web-1", "-o", "yaml")
    nobody = await asyncio.to_thread(navarch, "translate", "-f", str(world.folder), "--pod", "nobody")
    valid = await asyncio.to_thread(navarch, "validate", str(world.folder), "--severity", "error", "-n", "default")

    names = {each["name"] for each in yaml.safe_load(offline.stdout)["clusters"]}
    assert names >= {
        _cells(row)["SERVICE FQDN"] and f"outbound|9080||{_cells(row)['SERVICE FQDN']}"
        for row in _rows(await world.json("config", "web", "clusters", "--direction", "outbound"))
    }
    assert (nobody.returncode, "web-1.default" in nobody.stderr) == (2, True)
    assert (valid.returncode, valid.stdout) == (0, "no problems\n")


async def _until_change(world: OperatorWorld, before: object, further: int) -> None:
    async def is_there() -> bool:
        row = _rows(await world.envoy.plane.running.json("/v1/history?limit=1"))[0]
        return row["number"] == int(str(before)) + further and row["waiting"] == 0

    await until(is_there, "the change is with everybody")


def _rows(found: object) -> list[Json]:
    assert isinstance(found, list)
    return found


def _cells(row: Json) -> dict[str, str]:
    cells = row["cells"]
    assert isinstance(cells, dict)
    return cells
