"""When modules are fetched: what cannot change once, what may change again, and at once when a Secret has come."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from controlplane.app.fetched.modules import Modules
from controlplane.mesh.facts import FetchedModule
from controlplane.model.keys import SECRET
from controlplane.objects.changes import CredentialChange
from controlplane.objects.extensions.modules import Module, ModuleSource
from controlplane.objects.kubernetes.secrets import Secret
from controlplane.serve.sds.secret_stores import FileSecrets
from controlplane.settings import ModuleSettings
from tests.support.fakes.module_registry import ModuleRegistry, docker_config
from tests.support.fakes.small_modules import small_module
from tests.support.waiting import until

PASSWORD = "of-the-robot"


@dataclass
class Place:
    """What was submitted last of each source, and what fetches."""

    modules: Modules
    files: FileSecrets
    found: dict[ModuleSource, FetchedModule] = field(default_factory=dict)

    def submit(self, source: str, facts: Iterable[FetchedModule]) -> None:
        assert source == "modules"
        self.found.update({fact.source: fact for fact in facts})

    def module(self, source: ModuleSource) -> Module | None:
        return self.found[source].module if source in self.found else None


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Place]:
    files = FileSecrets()
    place = Place(Modules(ModuleSettings(allow=("http://127.0.0.0/8",)), files, None), files)
    task = asyncio.create_task(place.modules.run(place.submit))
    try:
        yield place
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_two_sources_want_is_fetched_once_each_and_forgotten_with_them() -> None:
    registry = ModuleRegistry()
    registry.files["/one.wasm"] = small_module(b"one")
    async with registry.published(), running() as place:
        source, missing = (ModuleSource(f"http://{registry.at}/{name}.wasm") for name in ("one", "missing"))
        place.modules.want({source, missing})
        await until(lambda: place.module(source) and missing in place.found)
        failure = place.found[missing].failure
        place.modules.want({missing})
        await until(lambda: place.module(source) is None)

    assert failure == "it was answered with status 404"
    assert registry.asked.count("/one.wasm") == 1


async def test_a_secret_that_comes_has_the_module_fetched_at_once() -> None:
    registry = ModuleRegistry(PASSWORD)
    registry.put("plugins/one", "1", small_module(b"one"))
    async with registry.published(), running() as place:
        source = ModuleSource(f"oci://{registry.at}/plugins/one:1", namespace="shop", secret="registry")
        place.modules.want({source})
        await until(lambda: source in place.found)
        before = place.found[source]
        config = base64.b64decode(docker_config(registry.at, PASSWORD)).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry", "namespace": "shop"},
            "stringData": {".dockerconfigjson": config},
        }
        place.files.apply([CredentialChange(SECRET.key("shop", "registry"), Secret.model_validate(document))])
        await until(lambda: place.module(source))

    assert before.module is None
    assert "the Secret registry of the namespace shop: there is none" in before.failure
    assert not place.found[source].failure
