"""What a control plane makes of the issuers that objects name, and what is shown of it."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path

from aiohttp import web

from controlplane.settings import JwksSettings
from tests.support.control_plane import Running, control_plane
from tests.support.fakes.issuer import KEYS, Issuer
from tests.support.waiting import until

LOCAL = ("127.0.0.0/8", "http://127.0.0.0/8", "http://127.0.0.1")


def believing(*uris: str) -> str:
    rules = "".join(f"  - {{issuer: https://issuer.example, jwksUri: '{uri}'}}\n" for uri in uris)
    head = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: issuers, namespace: shop}\nspec:\n  jwtRules:\n"
    return head + rules


async def _issuers(running: Running) -> list[dict[str, object]]:
    found = await running.json("/v1/issuers")
    assert isinstance(found, list)
    return found


async def _problems(running: Running) -> list[tuple[object, object]]:
    found = await running.json("/v1/problems")
    assert isinstance(found, list)
    return [(each["field"], each["message"]) for each in found if each["code"] == "NoKeys"]


async def _problem_free(running: Running) -> bool:
    return not await _problems(running)


async def test_a_control_plane_is_ready_when_the_keys_are_there_and_says_whose_are_not(tmp_path: Path) -> None:
    issuer = Issuer()
    async with issuer.published() as at:
        (tmp_path / "issuers.yaml").write_text(believing(at + KEYS, "https://127.0.0.1:1/secret?token=secret", "https://127.0.0.2/keys"))
        async with control_plane(tmp_path, jwks=JwksSettings(allow=("http://127.0.0.1",))) as running:
            rows = await _issuers(running)
            problems = await _problems(running)
            _, metrics = await running.get("/metrics")

    assert [(each["uri"], each["usable"]) for each in rows] == [
        (at + KEYS, True),
        ("https://127.0.0.1:1/secret", False),
        ("https://127.0.0.2/keys", False),
    ]
    fault, until = "the keys cannot be fetched: ", "; until they come, every token of this issuer is refused"
    refused = "127.0.0.2 is at a loopback address; the operator can allow such by --jwks-allow"
    assert problems == [
        ("spec.jwtRules[1].jwksUri", f"{fault}no connection: Connection refused{until}"),
        ("spec.jwtRules[2].jwksUri", f"{fault}{refused}{until}"),
    ]
    assert 'navarch_jwks_addresses{keys="fresh"} 1.0' in metrics
    assert 'navarch_jwks_addresses{keys="none"} 2.0' in metrics
    assert 'navarch_jwks_fetches_total{outcome="ok"} 1.0' in metrics
    assert 'navarch_jwks_fetches_total{outcome="forbidden"}' in metrics
    assert "secret" not in metrics


async def test_proxies_wait_at_the_start_for_keys_that_are_on_their_way(tmp_path: Path) -> None:
    issuer, gate = Issuer(), asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        await gate.wait()
        return web.json_response(issuer.keys)

    issuer.answers[KEYS] = late
    async with issuer.published() as at:
        (tmp_path / "issuers.yaml").write_text(believing(at + KEYS))
        starting = contextlib.AsyncExitStack()
        opening = asyncio.create_task(starting.enter_async_context(control_plane(tmp_path, jwks=JwksSettings(allow=("http://127.0.0.1",)))))
        await until(partial(_asked, issuer))
        waits = not opening.done()
        gate.set()
        running = await opening
        rows = await _issuers(running)
        await starting.aclose()

    assert waits
    assert [each["usable"] for each in rows] == [True]


async def _asked(issuer: Issuer) -> bool:
    return bool(issuer.asked)


async def test_a_rule_that_goes_takes_its_keys_with_it_and_one_that_is_mended_its_problem(tmp_path: Path) -> None:
    issuer, file = Issuer(), tmp_path / "issuers.yaml"
    async with issuer.published() as at:
        file.write_text(believing("https://127.0.0.2/keys"))
        async with control_plane(tmp_path, jwks=JwksSettings(allow=("http://127.0.0.1",))) as running:
            assert not await _problem_free(running)
            file.write_text(believing(at + KEYS))
            await until(partial(_problem_free, running))

            async def only() -> bool:
                return [(each["uri"], each["usable"]) for each in await _issuers(running)] == [(at + KEYS, True)]

            await until(only)
            file.unlink()

            async def none() -> bool:
                return not await _issuers(running)

            await until(none)
