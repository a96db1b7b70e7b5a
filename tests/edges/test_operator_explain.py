"""Where traffic goes, by the command line: by manifests alone, and by a running control plane."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.envoy.type_urls import CDS
from tests.support.cli import navarch
from tests.support.control_plane import control_plane, delta, delta_request, next_delta
from tests.support.shop import SHOP

CLIENT = "sidecar~10.0.0.9~client.default~default.svc.cluster.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(SHOP)
    return tmp_path


def test_manifests_are_enough(folder: Path) -> None:
    found = navarch("explain", "-f", str(folder), "client.default", "GET", "http://web.shop/orders/7")

    assert found.returncode == 0
    assert found.stdout.startswith("GET http://web.shop/orders/7, by client.default: allowed\n")
    assert f"by VirtualService/shop/web spec.http[1] ({folder}/shop.yaml:50)\n" in found.stdout
    assert f"AuthorizationPolicy/shop/readers spec.rules[0] ({folder}/shop.yaml:62)\n" in found.stdout


def test_who_is_denied_is_told_by_the_exit_status_too(folder: Path) -> None:
    denied = navarch(
        "authz", "-f", str(folder), "web-1.shop", "POST", "/v1/x", "--port", "8080", "--from", "cluster.local/ns/default/sa/client"
    )
    allowed = navarch(
        "authz", "-f", str(folder), "web-1", "GET", "/v1/x", "--port", "8080", "--from", "cluster.local/ns/default/sa/client", "-o", "json"
    )

    assert (denied.returncode, allowed.returncode) == (1, 0)
    assert "not ns[shop]-policy[readers]-rule[0]: the method is POST, and not GET" in denied.stdout
    assert json.loads(allowed.stdout)["verdict"] == "allowed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("nobody", "GET", "http://web"),
            "navarch: no pod 'nobody' is in these manifests: there is client.default, web-1.shop, web-2.shop\n",
        ),
        (("client", "GET", "ftp://web"), "navarch: expected a URL as http://web.shop:8080/path, found 'ftp://web'\n"),
        (
            ("client", "GET"),
            "navarch: expected PROXY METHOD URL, or PROXY tcp HOST:PORT, or resource PROXY TYPE NAME; --help has examples\n",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    found = navarch("explain", "-f", str(folder), *arguments)

    assert (found.returncode, found.stderr, found.stdout) == (2, said, "")


async def test_a_running_control_plane_says_what_manifests_say_of_the_proxies_that_it_has(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=CLIENT))
        await next_delta(call)
        ask = partial(asyncio.to_thread, navarch, "explain", "--admin", running.at.admin)
        served = json.loads((await ask("client", "GET", "http://web.shop/orders/7", "-o", "json")).stdout)
        origins = (await ask("resource", "client", "cluster", "outbound|80|v1|web.shop.svc.cluster.local")).stdout
        async with httpx.AsyncClient(base_url=f"http://{running.at.admin}/v1") as client:
            query = {"proxy": CLIENT, "method": "GET", "target": "ftp://web"}
            refused = [await client.get("/explain", params=query), await client.get("/authz", params={**query, "proxy": "x"})]
    written = json.loads(navarch("explain", "-f", str(folder), "client", "GET", "http://web.shop/orders/7", "-o", "json").stdout)

    ours = [[step["chosen"] for step in way["steps"] if step["stage"] in {"route", "cluster"}] for way in served["ways"]]
    assert ours == [[step["chosen"] for step in way["steps"] if step["stage"] in {"route", "cluster"}] for way in written["ways"]]
    assert served["ways"][0]["otherSides"][0]["unknown"].startswith("no proxy is known at 10.0.0.1")
    assert f"DestinationRule/shop/web spec.subsets[0] ({folder}/shop.yaml:39)" in origins
    assert [answer.status_code for answer in refused] == [422, 422]
