"""docs/troubleshooting.md: each symptom happens, its command says what the page says, and it is gone after the cure."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from controlplane.envoy.type_urls import CDS
from tests.support.cli import navarch
from tests.support.control_plane import DeltaCall, Running, control_plane, delta, delta_request, next_delta, status_of
from tests.support.refusing_client import refuse
from tests.support.shop import SHOP
from tests.support.waiting import until

_PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
_CLIENT = "sidecar~10.0.0.9~client.default~default.svc.cluster.local"
_WEB = "outbound|80||web.shop.svc.cluster.local"


class Symptom(NamedTuple):
    """A section of the page: its command, and what that says."""

    title: str
    command: str
    says: str


def symptoms() -> list[Symptom]:
    found = []
    for section in _PAGE.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        [command] = re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
        says = re.search(r"`([^`]+)`", text.partition(command)[2])
        assert says, title
        found.append(Symptom(title, command, says[1]))
    return found


class Written(NamedTuple):
    """Manifests with a symptom, and without; ``changed`` are what the page calls so."""

    ill: str
    well: str
    changed: str = ""


_POST = SHOP.replace("methods: [GET]", "methods: [GET, POST]")
BY_MANIFESTS: Mapping[str, Written] = {
    "What I have written has no effect": Written(SHOP.replace("port: 80,", "port: none,"), SHOP),
    "Some requests are answered 503": Written(SHOP.replace("- {name: v2, labels: {version: v2}}", ""), SHOP),
    "A request goes to the wrong place": Written(SHOP, SHOP.replace("exact: jane", "exact: joan")),
    "A request is answered 403, or its connection is closed": Written(SHOP, _POST),
    "I do not dare to apply a change": Written(
        SHOP, SHOP.replace("weight: 90", "weight: 50"), SHOP.replace("weight: 90", "weight: 50").replace("weight: 10}", "weight: 50}")
    ),
}


def test_each_section_is_tried() -> None:
    assert {each.title for each in symptoms()} == {*BY_MANIFESTS, *BY_CONTROL_PLANE}


@pytest.mark.parametrize("symptom", [each for each in symptoms() if each.title in BY_MANIFESTS], ids=lambda each: each.title)
def test_manifests_say_it(tmp_path: Path, symptom: Symptom) -> None:
    written = BY_MANIFESTS[symptom.title]
    for folder in ("manifests", "changed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "changed" / "all.yaml").write_text(written.changed)

    (tmp_path / "manifests" / "all.yaml").write_text(written.ill)
    ill = _run(symptom.command, tmp_path)
    (tmp_path / "manifests" / "all.yaml").write_text(written.changed or written.well)
    well = _run(symptom.command, tmp_path)

    assert symptom.says in ill, ill
    assert symptom.says not in well, well
    assert well


async def _late(running: Running, call: DeltaCall) -> Callable[[], Awaitable[None]]:
    await call.write(delta_request(CDS, node=_CLIENT))
    sent = await next_delta(call)

    async def answer() -> None:
        await call.write(delta_request(CDS, nonce=sent.nonce))

    return answer


async def _refusing(running: Running, call: DeltaCall) -> Callable[[], Awaitable[None]]:
    await refuse(call, {"id": _CLIENT}, CDS, _WEB, "no such field")

    async def take_back() -> None:
        call.cancel()
        await until(lambda: not running.plane._recorder.fleet.streams())

    return take_back


async def _unknown(running: Running, call: DeltaCall) -> Callable[[], Awaitable[None]]:
    await call.write(delta_request(CDS, node="client"))
    await status_of(call)
    before = (await running.get("/v1/refused-callers"))[1]

    async def come_rightly() -> None:
        async with delta(running.at.xds) as another:
            await another.write(delta_request(CDS, node=_CLIENT))
            await next_delta(another)
        # Who was refused stays on the list; nobody has come to it.
        assert (await running.get("/v1/refused-callers"))[1] == before

    return come_rightly


async def _nowhere(running: Running, call: DeltaCall) -> Callable[[], Awaitable[None]]:
    async def nothing() -> None:
        pass

    return nothing


BY_CONTROL_PLANE: Mapping[str, Callable[[Running, DeltaCall], Awaitable[Callable[[], Awaitable[None]]]]] = {
    "A change has not arrived": _late,
    "A proxy does not take what it is sent": _refusing,
    "A proxy does not connect": _unknown,
    "No control plane answers": _nowhere,
}


@pytest.mark.parametrize("symptom", [each for each in symptoms() if each.title in BY_CONTROL_PLANE], ids=lambda each: each.title)
async def test_a_control_plane_says_it(tmp_path: Path, symptom: Symptom) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "all.yaml").write_text(SHOP)
    async with _served(tmp_path) as (running, call):
        cure = await BY_CONTROL_PLANE[symptom.title](running, call)
        ill = await _asked(symptom.command, running, tmp_path)
        await cure()
        # The cure of the last two is another command line.
        well = await _asked(symptom.command.replace("--admin http://127.0.0.1:1", ""), running, tmp_path)

    assert symptom.says in ill, ill
    if symptom.title != "A proxy does not connect":
        assert symptom.says not in well, well


@contextlib.asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[Running, DeltaCall]]:
    async with control_plane(folder / "manifests") as running, delta(running.at.xds) as call:
        yield running, call


async def _asked(command: str, running: Running, folder: Path) -> str:
    if command.startswith("curl "):
        return (await running.get(command.rpartition("15014")[2]))[1]
    admin = "" if "--admin" in command else f" --admin http://{running.at.admin}"
    return await asyncio.to_thread(_run, f"{command}{admin}", folder)


def _run(command: str, folder: Path) -> str:
    """Return what ``command`` prints, where ``./`` is ``folder``."""
    program, *arguments = shlex.split(command)
    assert program == "navarch"
    ran = navarch(*(argument.replace("./", f"{folder}/", 1) if argument.startswith("./") else argument for argument in arguments))
    assert "Traceback" not in ran.stderr
    return (ran.stdout + ran.stderr) or "nothing"
