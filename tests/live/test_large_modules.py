"""Modules that are too large to go with the configuration: an Envoy fetches them from its control plane, with its own certificate."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import httpx

from controlplane.objects.extensions.modules import INLINE_BYTES
from tests.support.extension_world import plugin
from tests.support.fakes.module_registry import ModuleRegistry
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.processes import free_port
from tests.support.waiting import until
from tests.support.wasm_modules import rust_module, with_size


async def test_a_large_module_is_fetched_by_the_proxy_and_by_nobody_without_a_certificate(tmp_path: Path) -> None:
    modules, registry = f"localhost:{free_port()}", ModuleRegistry()
    registry.files["/large.wasm"] = with_size(rust_module(), INLINE_BYTES + 1)
    async with (
        registry.published(),
        policy_world(tmp_path, "--wasm-allow", "http://127.0.0.0/8", "--modules", modules) as world,
    ):
        url = f"http://{registry.at}/large.wasm"
        world._save("plugins", json.dumps(plugin(url, name="large", pluginConfig={"value": "first"})))
        await until(lambda: _answered(world, "first"), "the large module is at work", watched=world.envoys["web"])
        fetched = "remote code fetch" in world.envoys["web"].log.read_text()

        world._save("plugins", json.dumps(plugin(url, name="large", pluginConfig={"value": "second"})))
        await until(lambda: _answered(world, "second"), "the changed filter is at work", watched=world.envoys["web"])

        refused = await _without_a_certificate(modules, world.authority.bundle.decode())

    assert fetched
    assert refused


async def _answered(world: PolicyWorld, value: str) -> bool:
    answer = await world.ask()
    return (answer.status, answer.headers.get("x-plugin")) == (200, value)


async def _without_a_certificate(address: str, roots: str) -> bool:
    context = ssl.create_default_context(cadata=roots)

    def ask() -> bool:
        try:
            httpx.get(f"https://{address}/modules/{'0' * 64}.wasm", verify=context)
        except httpx.TransportError:
            return True
        return False

    return await asyncio.to_thread(ask)
