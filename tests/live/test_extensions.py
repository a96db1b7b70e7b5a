"""Users' own filters on real Envoys, by both protocols: where their modules come from, what they do, and what becomes of failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.support.extension_world import (
    GATEWAY,
    HTTP,
    OTHER_HTTP,
    PASSWORD,
    ExtensionWorld,
    extension,
    extension_world,
    plugin,
    pull_secret,
)
from tests.support.fakes.module_registry import docker_config
from tests.support.processes import free_port
from tests.support.waiting import DEADLINE_S, until
from tests.support.wasm_modules import any_module, bare_module, rust_module

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LUA = "function envoy_on_response(handle) handle:headers():add('x-lua', '{value}') end"
OF_THE_HOST = "of-the-host"
_LISTENER_CHANGES = ("added", "modified", "removed", "in_place_updated", "create_failure", "total_filter_chains_draining")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExtensionWorld]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VALUE", OF_THE_HOST)  # which Envoys inherit, and show to plugins that ask for it
        async with extension_world(tmp_path_factory.mktemp("extensions")) as started:
            yield started


async def test_a_module_is_fetched_by_http(world: ExtensionWorld) -> None:
    module = any_module()
    world.registry.files["/header.wasm"] = module.content
    world.save(plugin(f"http://{world.registry.at}/header.wasm", sha256=module.sha256, pluginConfig={"value": "text"}))

    await world.until_asked((200, "text"))


async def test_a_module_is_a_file_of_the_proxys_own_machine(world: ExtensionWorld) -> None:
    module = any_module()
    (world.folder / "header.wasm").write_bytes(module.content)
    environment = {"env": [{"name": "VALUE", "value": "text"}]}
    world.save(plugin(f"file://{world.folder}/header.wasm", name="of-a-file", vmConfig=environment))

    await world.until_asked((200, "text"))


async def test_variables_are_written_in_the_object_or_are_the_proxys_own(world: ExtensionWorld) -> None:
    world.registry.files["/header.wasm"] = rust_module().content
    url = f"http://{world.registry.at}/header.wasm"
    world.save(plugin(url, name="variables", vmConfig={"env": [{"name": "VALUE", "valueFrom": "HOST"}]}))
    await world.until_asked((200, OF_THE_HOST))

    world.save(plugin(url, name="variables", vmConfig={"env": [{"name": "VALUE", "value": "of-the-object"}]}))
    await world.until_asked((200, "of-the-object"))


async def test_an_image_of_a_registry_is_fetched_and_does_what_its_configuration_says(world: ExtensionWorld) -> None:
    digest = world.registry.put("plugins/header", "1.0", rust_module().content)
    config = {"value": "of-an-image", "refuse": "/no"}
    world.save(plugin(f"oci://{world.registry.at}/plugins/header@{digest}", name="of-an-image", pluginConfig=config))

    await world.until_asked((200, "of-an-image"))
    await world.until_asked((403, "of-an-image"), "/no")


async def test_a_docker_image_is_fetched_with_the_password_of_a_secret_which_is_shown_nowhere(world: ExtensionWorld) -> None:
    module = any_module()
    world.private.put_docker("private/header", "2.0", module.content)
    world.private.redirects = True
    url = f"oci://{world.private.at}/private/header:2.0"
    world.save(plugin(url, name="private", imagePullSecret="registry", pluginConfig={"value": "text"}))
    await world.until_problem("NoModule", "the Secret registry of the namespace shop: there is none")

    world.save(pull_secret(docker_config(world.private.at, PASSWORD)), name="secret")
    await world.until_asked((200, "text"))

    assert world.plane.process
    said = world.plane.process.log.read_text()
    assert "modules fetched" in said
    for shown in (said, *[str(await world.plane.get(path)) for path in ("/v1/problems", "/v1/proxies")]):
        assert PASSWORD not in shown
        assert docker_config(world.private.at, PASSWORD)[20:60] not in shown


async def test_until_a_module_is_there_a_filter_refuses_or_lets_pass_as_its_fail_strategy_says(world: ExtensionWorld) -> None:
    world.registry.files["/header.wasm"] = any_module().content
    nobody = f"127.0.0.1:{free_port()}"
    world.save(
        plugin(f"http://{world.registry.at}/header.wasm", name="wrong-digest", sha256="0" * 64, match=_on(HTTP)),
        plugin(f"oci://{nobody}/plugins/header:1.0", name="no-registry", failStrategy="FAIL_OPEN", match=_on(OTHER_HTTP)),
    )

    await world.until_asked((503, None))
    await world.until_asked((200, None), port=OTHER_HTTP)

    await world.until_problem("NoModule", "and sha256 says 0000")
    await world.until_problem("NoModule", "no connection: Connection refused")
    for text in ("requests are answered 503", "traffic passes without it"):
        assert any(text in message for message in await world.problems("NoModule"))


async def test_a_module_that_comes_later_takes_its_place(world: ExtensionWorld) -> None:
    world.registry.files.pop("/later.wasm", None)
    world.save(plugin(f"http://{world.registry.at}/later.wasm", name="later", imagePullPolicy="Always", pluginConfig={"value": "text"}))
    await world.until_problem("NoModule", "it was answered with status 404")

    world.registry.files["/later.wasm"] = any_module().content

    await world.until_asked((200, "text"))
    await until(_no_problems(world), "the Problem is gone")


async def test_a_machine_that_has_failed_refuses_or_lets_pass_and_takes_no_other_with_it(world: ExtensionWorld) -> None:
    module = rust_module()
    world.registry.files["/header.wasm"] = module.content
    url, trap = f"http://{world.registry.at}/header.wasm", {"trap": "/trap", "value": "trapped"}
    world.save(
        plugin(url, name="closed", pluginConfig=trap, match=_on(HTTP)),
        plugin(url, name="open", pluginConfig=trap, failStrategy="FAIL_OPEN", match=_on(OTHER_HTTP)),
        plugin(url, name="bystander", pluginConfig={"value": "unharmed"}, priority=1),
    )
    await world.until_asked((200, "unharmed"), "/")
    await world.until_asked((200, "unharmed"), "/", port=OTHER_HTTP)

    for protocol in world.envoys:
        await world.ask(protocol, "/trap")
        await world.ask(protocol, "/trap", port=OTHER_HTTP)

    await world.until_asked((503, "unharmed"), "/")
    await world.until_asked((200, "unharmed"), "/", port=OTHER_HTTP)


async def test_a_machine_that_has_failed_is_started_again_where_the_strategy_is_to_reload(world: ExtensionWorld) -> None:
    world.registry.files["/header.wasm"] = rust_module().content
    trap = {"trap": "/trap", "value": "reloaded"}
    world.save(plugin(f"http://{world.registry.at}/header.wasm", name="reloaded", pluginConfig=trap, failStrategy="FAIL_RELOAD"))
    await world.until_asked((200, "reloaded"))

    for protocol in world.envoys:
        assert (await world.ask(protocol, "/trap")).status_code == 503

    await world.until_asked((200, "reloaded"))


async def test_a_filter_of_what_goes_through_a_gateway(world: ExtensionWorld) -> None:
    world.registry.files["/header.wasm"] = rust_module().content
    config = {"value": "of-the-gateway", "refuse": "/no"}
    selector = {"matchLabels": {"app": "front"}}
    async with world.gateway():
        world.save(
            plugin(f"http://{world.registry.at}/header.wasm", name="front", selector=selector, match=[], pluginConfig=config),
            extension(name="lua", selector=selector, match=[], lua={"inlineCode": _LUA.format(value="too")}),
        )

        await world.until_asked((200, "of-the-gateway"), at=(GATEWAY,))
        await world.until_asked((403, "of-the-gateway"), "/no", at=(GATEWAY,))
        await world.until_asked((200, "too"), header="x-lua", at=(GATEWAY,))


async def test_a_changed_filter_leaves_listeners_and_their_connections_alone(world: ExtensionWorld) -> None:
    module = rust_module()
    world.registry.files["/header.wasm"] = module.content
    url = f"http://{world.registry.at}/header.wasm"
    world.save(plugin(url, name="changing", pluginConfig={"value": "first"}))
    await world.until_asked((200, "first"))
    before = {protocol: await _listener_changes(world, protocol) for protocol in world.envoys}
    async with contextlib.AsyncExitStack() as stack:
        connections = {protocol: await stack.enter_async_context(_connection(world.ip(protocol))) for protocol in world.envoys}
        first = {protocol: await _asked_on(connection) for protocol, connection in connections.items()}

        world.registry.put("plugins/header", "3.0", module.content)
        world.save(plugin(f"oci://{world.registry.at}/plugins/header:3.0", name="changing", pluginConfig={"value": "second"}))
        await world.until_asked((200, "second"))

        second = {protocol: await _asked_on(connection) for protocol, connection in connections.items()}

    assert set(first.values()) == {"first"}
    assert set(second.values()) == {"second"}
    assert all(counters["listener_manager.listener_added"] for counters in before.values())
    assert {protocol: await _listener_changes(world, protocol) for protocol in world.envoys} == before


async def test_a_program_in_lua_and_one_that_is_wrong_beside_it(world: ExtensionWorld) -> None:
    world.save(
        extension(name="lua", lua={"inlineCode": _LUA.format(value="one")}, match=_on(HTTP)),
        extension(name="wrong", lua={"inlineCode": "function function"}, match=_on(OTHER_HTTP)),
    )

    await world.until_asked((200, "one"), header="x-lua")
    await world.until_asked((503, None), port=OTHER_HTTP)

    world.save(
        extension(name="lua", lua={"inlineCode": _LUA.format(value="two")}, match=_on(HTTP)),
        extension(name="wrong", lua={"inlineCode": "function function ()"}, match=_on(OTHER_HTTP)),
    )
    await world.until_asked((200, "two"), header="x-lua")
    await world.until_problem("Refused", "'<name>' expected near 'function'")
    refused = {str(each["object"]) for each in await world.plane.get("/v1/problems") if each["code"] == "Refused"}
    assert refused == {"TrafficExtension/shop/wrong"}

    world.save(extension(name="other", lua={"inlineCode": _LUA.format(value="three")}, match=_on(OTHER_HTTP)))
    await world.until_asked((200, "three"), header="x-lua", port=OTHER_HTTP)


async def test_a_filter_of_connections(world: ExtensionWorld) -> None:
    world.registry.files["/header.wasm"] = rust_module().content
    url = f"http://{world.registry.at}/header.wasm"
    world.save(plugin(url, name="bytes", type="NETWORK", pluginConfig={"network": "refuse"}))

    for protocol in world.envoys:

        async def closes(protocol: str = protocol) -> bool:
            return await world.talk(protocol, b"refuse this") == b""

        await until(closes, f"{protocol} closes connections")
        assert await world.talk(protocol, b"take this") == b"take this"


async def test_a_module_that_no_envoy_can_load_is_not_sent(world: ExtensionWorld) -> None:
    world.registry.files["/bare.wasm"] = bare_module()
    world.save(plugin(f"http://{world.registry.at}/bare.wasm", name="bare", failStrategy="FAIL_OPEN"))

    await world.until_problem("NoModule", "expected a module that exports proxy_abi_version_")
    await world.until_asked((200, None))


async def test_a_new_control_plane_that_cannot_fetch_a_module_takes_it_from_nobody(world: ExtensionWorld) -> None:
    module = any_module()
    world.registry.files["/kept.wasm"] = module.content
    world.save(plugin(f"http://{world.registry.at}/kept.wasm", name="kept", pluginConfig={"value": "text"}))
    await world.until_asked((200, "text"))
    connected = {protocol: await world.counter(protocol, "listener_manager.lds.update_attempt") for protocol in world.envoys}

    del world.registry.files["/kept.wasm"]
    await world.restart()
    await world.until_problem("NoModule", "it was answered with status 404")
    for protocol, attempts in connected.items():

        async def reconnected(protocol: str = protocol, attempts: int = attempts) -> bool:
            return await world.counter(protocol, "listener_manager.lds.update_attempt") > attempts

        await until(reconnected, f"{protocol} has come back")

    await world.until_asked((200, "text"))


def _on(port: int) -> list[dict[str, object]]:
    return [{"mode": "SERVER", "ports": [{"number": port}]}]


def _no_problems(world: ExtensionWorld) -> Callable[[], Awaitable[bool]]:
    async def none() -> bool:
        return not await world.problems("NoModule")

    return none


async def _listener_changes(world: ExtensionWorld, protocol: str) -> dict[str, int]:
    names = [f"listener_manager.listener_{name}" if "total" not in name else f"listener_manager.{name}" for name in _LISTENER_CHANGES]
    return {name: await world.counter(protocol, name) for name in names}


@contextlib.asynccontextmanager
async def _connection(ip: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(ip, HTTP)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _asked_on(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    """Return which ``x-plugin`` the answer to a request on ``connection`` has."""
    reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\nhost: web.shop\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        else:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
    assert headers.get("connection") != "close"
    return headers.get("x-plugin", "")
