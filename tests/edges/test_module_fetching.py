"""Modules from web servers and registries: who is asked, with which password, and what is taken for a module."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from aiohttp import web

from controlplane.app.fetched.jwks import trusting
from controlplane.model.keys import Key
from controlplane.objects.extensions.modules import INLINE_BYTES, MOST_BYTES, ModuleSource, UnusableModule
from controlplane.sources.fetched.client import GuardedClient, GuardedRequest, SystemResolver, Unreachable, is_own_address
from controlplane.sources.fetched.url_policy import Forbidden, UrlPolicy, parse_allowed
from controlplane.sources.modules import fetch as module
from controlplane.sources.modules.fetch import ModuleFetcher
from controlplane.sources.modules.images import image_name
from controlplane.sources.modules.pull_secrets import NoPullSecret, registry_login
from tests.support.fakes.module_registry import OCI_INDEX, OCI_MANIFEST, ModuleRegistry, archive, digest, docker_config
from tests.support.fakes.small_modules import small_module

MODULE = small_module(b"one")
OTHER = small_module(b"other")
LOCAL = ("http://127.0.0.0/8",)
PASSWORD = "of-the-robot"


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[ModuleRegistry]:
    found = ModuleRegistry()
    async with found.published():
        yield found


@pytest_asyncio.fixture
async def private() -> AsyncIterator[ModuleRegistry]:
    found = ModuleRegistry(PASSWORD)
    async with found.published():
        yield found


def fetcher(*allow: str, secrets: Mapping[str, bytes] | None = None, served_at: str = "", patience_s: float = 20.0) -> ModuleFetcher:
    async def entries(key: Key) -> Mapping[str, bytes]:
        if secrets is None:
            raise NoPullSecret(f"there is no {key.name}")
        return secrets

    guard = UrlPolicy(map(parse_allowed, allow or LOCAL), is_own_address, content="modules", option="--wasm-allow")
    return ModuleFetcher(GuardedClient(guard, trusting(None), SystemResolver()), entries, served_at, patience_s)


def image(
    registry: ModuleRegistry, name: str = "plugins/one:1", *, sha256: str = "", namespace: str = "", secret: str = ""
) -> ModuleSource:
    return ModuleSource(f"oci://{registry.at}/{name}", sha256, namespace, secret)


def password(registry: ModuleRegistry, text: str = PASSWORD) -> Mapping[str, bytes]:
    return {".dockerconfigjson": base64.b64decode(docker_config(registry.at, text))}


async def test_artifacts_and_docker_images_have_the_same_module(registry: ModuleRegistry) -> None:
    registry.put("plugins/one", "1", MODULE)
    registry.put_docker("plugins/docker", "1", MODULE)
    fetch = fetcher()

    artifact, docker = await fetch(image(registry)), await fetch(image(registry, "plugins/docker:1"))

    assert artifact == docker
    assert (artifact.sha256, artifact.size, artifact.inline) == (digest(MODULE)[7:], len(MODULE), MODULE)
    assert docker.inline is artifact.inline


async def test_an_index_leads_to_the_image_for_wasm_else_to_that_for_amd64(registry: ModuleRegistry) -> None:
    one, other = registry.put("plugins/one", "wasm", MODULE), registry.put("plugins/one", "amd64", OTHER)
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": other, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": OCI_MANIFEST, "digest": one, "size": 1, "platform": {"os": "wasi", "architecture": "wasm"}},
    ]
    registry.put_manifest("plugins/one", "both", OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    registry.put_manifest("plugins/one", "one", OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries[:1]})

    found = [(await fetcher()(image(registry, f"plugins/one:{tag}"))).inline for tag in ("both", "one")]

    assert found == [MODULE, OTHER]


async def test_a_token_is_asked_for_with_the_password_of_this_registry_and_no_other(private: ModuleRegistry) -> None:
    private.put("plugins/one", "1", MODULE)
    source = image(private, namespace="shop", secret="registry")

    found = await fetcher(secrets=password(private))(source)

    assert found.inline == MODULE
    with pytest.raises(Unreachable, match="name a Secret with its password as imagePullSecret"):
        await fetcher()(image(private))
    with pytest.raises(Unreachable, match="the password of the imagePullSecret is not good for it"):
        await fetcher(secrets=password(private, "wrong"))(source)
    elsewhere = {".dockerconfigjson": base64.b64decode(docker_config("registry.example", PASSWORD))}
    with pytest.raises(Unreachable, match="expected a password for 127"):
        await fetcher(secrets=elsewhere)(source)
    with pytest.raises(Unreachable, match="the Secret registry of the namespace shop: there is no registry"):
        await fetcher()(source)


@pytest.mark.parametrize("secret", [{}, {".dockerconfigjson": b"{"}, {".dockerconfigjson": b"[]"}, {".dockerconfigjson": b'{"auths": 1}'}])
async def test_a_secret_that_cannot_be_read_is_told_without_its_content(private: ModuleRegistry, secret: Mapping[str, bytes]) -> None:
    with pytest.raises(Unreachable, match="the Secret registry of the namespace shop: expected"):
        await fetcher(secrets=secret)(image(private, namespace="shop", secret="registry"))


async def test_layers_that_are_kept_elsewhere_are_asked_for_there_without_the_token(private: ModuleRegistry) -> None:
    private.put("plugins/one", "1", MODULE)
    private.redirects = True
    elsewhere = ModuleRegistry()
    seen: list[str | None] = []

    async def blob(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=MODULE)

    elsewhere.answers["/blob"] = blob
    async with elsewhere.published("127.0.0.2") as at:

        async def away(_: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"http://{at}/blob")

        private.answers[f"/v2/plugins/one/blobs/{digest(MODULE)}"] = away
        source = image(private, namespace="shop", secret="registry")
        found = await fetcher(secrets=password(private))(source)
        with pytest.raises(Forbidden, match="--wasm-allow"):
            await fetcher("http://127.0.0.1", secrets=password(private))(source)

    assert (found.inline, seen) == (MODULE, [None])


async def test_redirects_have_an_end(registry: ModuleRegistry) -> None:
    async def round_and_round(request: web.Request) -> web.Response:
        raise web.HTTPFound(str(request.url))

    registry.answers["/one.wasm"] = round_and_round

    with pytest.raises(Forbidden, match="more than 3 redirects"):
        await fetcher()(ModuleSource(f"http://{registry.at}/one.wasm"))


async def test_a_digest_is_that_of_the_image_or_of_the_module(registry: ModuleRegistry) -> None:
    manifest = registry.put("plugins/one", "1", MODULE)
    registry.files["/one.wasm"] = MODULE
    fetch = fetcher()
    good = [image(registry, sha256=manifest[7:]), image(registry, sha256=digest(MODULE)[7:]), image(registry, f"plugins/one@{manifest}")]

    assert {(await fetch(source)).sha256 for source in good} == {digest(MODULE)[7:]}
    for wrong in (image(registry, sha256="0" * 64), ModuleSource(f"http://{registry.at}/one.wasm", "0" * 64)):
        with pytest.raises(UnusableModule, match="sha256 says 0000"):
            await fetch(wrong)


async def test_a_registry_that_answers_with_something_else_is_not_believed(registry: ModuleRegistry) -> None:
    manifest = registry.put("plugins/one", "1", MODULE)
    registry.blobs[digest(MODULE)] = OTHER[: len(MODULE)]
    with pytest.raises(UnusableModule, match="a layer that has not the digest"):
        await fetcher()(image(registry))

    registry.manifests[f"plugins/one/{manifest}"] = OCI_MANIFEST, b"{}"
    with pytest.raises(UnusableModule, match="a manifest that has not the digest"):
        await fetcher()(image(registry, f"plugins/one@{manifest}"))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (archive(MODULE, "other.wasm"), "a layer with a file plugin.wasm"),
        (gzip.compress(bytes(MOST_BYTES + 1), 1), "once it is decompressed"),
        (b"\x1f\x8bnothing", "a tar archive"),
        (b"nothing at all", "a tar archive"),
    ],
    ids=["no such file", "a bomb", "no gzip", "no tar"],
)
async def test_archives_without_a_module_are_told(registry: ModuleRegistry, layer: bytes, message: str) -> None:
    registry.blobs[digest(layer)] = layer
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(layer), "size": len(layer)}]
    registry.put_manifest("plugins/one", "1", OCI_MANIFEST, {"schemaVersion": 2, "layers": layers})

    with pytest.raises(UnusableModule, match=message):
        await fetcher()(image(registry))


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"layers": []},
        {"layers": [{"digest": "sha256:short", "size": 1}]},
        {"layers": [{"digest": digest(b""), "size": MOST_BYTES + 1}]},
        {"layers": [{"digest": digest(b""), "size": "many"}]},
        {"manifests": []},
        {"manifests": [{"digest": "../../etc/passwd", "platform": {"architecture": "wasm"}}]},
        [],
    ],
    ids=json.dumps,
)
async def test_manifests_of_no_use_are_told(registry: ModuleRegistry, manifest: object) -> None:
    registry.put_manifest("plugins/one", "1", OCI_MANIFEST, manifest)

    with pytest.raises(UnusableModule, match="expected"):
        await fetcher()(image(registry))


@pytest.mark.parametrize("name", ["", "UPPER/case:1", "a/b@sha256:short", "a/../b:1", "a/b:x/y", "a//b:1"])
async def test_names_that_are_no_images_are_asked_of_nobody(registry: ModuleRegistry, name: str) -> None:
    with pytest.raises(UnusableModule, match="expected an image such as oci://"):
        await fetcher()(ModuleSource(f"oci://{registry.at}/{name}"))

    assert registry.asked == []


async def test_a_tag_is_looked_up_again_and_the_layer_fetched_only_where_it_differs(registry: ModuleRegistry) -> None:
    registry.put("plugins/one", "latest", MODULE)
    registry.files["/one.wasm"] = MODULE
    fetch, tag, file = fetcher(), image(registry, "plugins/one"), ModuleSource(f"http://{registry.at}/one.wasm", always=True)
    first = [await fetch(tag), await fetch(file)]
    registry.asked.clear()

    again = [await fetch(tag), await fetch(file)]
    asked = list(registry.asked)
    registry.put("plugins/one", "latest", OTHER)
    registry.files["/one.wasm"] = OTHER
    moved = [await fetch(tag), await fetch(file)]

    assert again == first
    assert asked == ["/v2/plugins/one/manifests/latest", "/one.wasm"]
    assert [each.inline for each in moved] == [OTHER, OTHER]


async def test_there_is_a_bound_on_all_modules_together(registry: ModuleRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES_IN_ALL", len(MODULE) + len(OTHER) - 1)
    sources = [ModuleSource(f"http://{registry.at}/{name}") for name in ("one", "same", "other")]
    registry.files |= {"/one": MODULE, "/same": MODULE, "/other": OTHER}
    fetch = fetcher()
    await fetch(sources[0])
    await fetch(sources[1])

    with pytest.raises(UnusableModule, match="all modules together"):
        await fetch(sources[2])
    fetch.keep(sources[2:])
    assert (await fetch(sources[2])).inline == OTHER


async def test_a_large_module_is_not_in_what_goes_inline(registry: ModuleRegistry) -> None:
    registry.files["/large.wasm"] = large = small_module(bytes(INLINE_BYTES))
    source, fetch = ModuleSource(f"http://{registry.at}/large.wasm"), fetcher(served_at="navarch.example:15016")

    found = await fetch(source)

    assert (found.inline, found.served_at) == (None, "navarch.example:15016")
    with pytest.raises(UnusableModule, match=r"of more than 4194304 it has to be served to proxies, by --modules"):
        await fetcher()(source)
    assert fetch.content(found.sha256, [source]) == large
    assert fetch.content(found.sha256, []) is None


async def test_who_answers_too_late_has_not_answered(registry: ModuleRegistry) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    registry.answers["/slow"] = never

    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        await fetcher(patience_s=0.2)(ModuleSource(f"http://{registry.at}/slow"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "https://169.254.169.254/x", "oci://127.0.0.1:1/x:1", "oci://[::1]:1/x:1"])
async def test_nothing_inside_is_asked_that_the_operator_has_not_allowed(url: str) -> None:
    with pytest.raises((Forbidden, UnusableModule)):
        await fetcher("modules.example")(ModuleSource(url))


def test_what_is_shown_of_a_login_and_of_a_module_is_nothing_secret() -> None:
    entries = {".dockerconfigjson": base64.b64decode(docker_config("registry.example", PASSWORD))}
    login = registry_login(entries, image_name("oci://registry.example/a:1"))
    request = GuardedRequest(url="https://registry.example", max_bytes=1, headers={}, authorization=login.header)
    encoded = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()

    assert login.header == f"Basic {encoded}"
    assert encoded not in f"{login!r} {request!r}"
