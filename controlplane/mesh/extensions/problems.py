"""What is wrong with WasmPlugins and TrafficExtensions among what there is: modules that cannot be fetched, and fields without effect."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.extensions.attached import ExtensionObject, wasm_of
from controlplane.mesh.inputs import module_failure, modules
from controlplane.mesh.registry.attachments import target_refs
from controlplane.model.keys import KUBERNETES_GATEWAY
from controlplane.model.problems import Problem, Severity
from controlplane.objects.extensions.modules import ModuleSource, module_source
from controlplane.objects.extensions.wasm_plugin import Wasm, WasmPlugin


def extension_problems(db: Database, extension: ExtensionObject) -> Iterator[Problem]:
    """Yield what is wrong with ``extension``."""
    spec = extension.spec
    gateways = [ref for _, ref in target_refs(spec) if (ref.group, ref.kind) == KUBERNETES_GATEWAY]
    if gateways and spec.match and all(selector.mode == "SERVER" for selector in spec.match):
        message = "what goes through a gateway is on the side of clients: with SERVER alone nothing passes this"
        yield _problem(extension, "spec.match", "Ineffective", message)
    wasm = wasm_of(extension)
    if wasm is None:
        return
    path = "spec" if isinstance(extension, WasmPlugin) else "spec.wasm"
    source = module_source(wasm, extension.key.namespace)
    yield from _without_effect(extension, wasm, path, source)
    if source is not None and (failure := module_failure(db, source)):
        consequence = "the one fetched last is used" if modules(db, source) else _until_there(wasm)
        yield _problem(extension, f"{path}.url", "NoModule", f"the module cannot be fetched: {failure}; {consequence}")


def _without_effect(extension: ExtensionObject, wasm: Wasm, path: str, source: ModuleSource | None) -> Iterator[Problem]:
    where = "a file of the proxy's own machine" if source is None else "a file of a web server"
    if source is None and wasm.sha256:
        yield _problem(extension, f"{path}.sha256", "Ineffective", f"this is {where}: nobody compares its digest")
    if source is None and wasm.image_pull_policy != "UNSPECIFIED_POLICY":
        yield _problem(extension, f"{path}.imagePullPolicy", "Ineffective", f"this is {where}: it is read when the filter is made")
    if (source is None or not source.is_image) and wasm.image_pull_secret:
        yield _problem(extension, f"{path}.imagePullSecret", "Ineffective", f"this is {where}: only registries are told a password")


def _until_there(wasm: Wasm) -> str:
    if wasm.fail_strategy == "FAIL_OPEN":
        return "until it comes, traffic passes without it, but for proxies that have an earlier one"
    what = "connections are closed" if wasm.type == "NETWORK" else "requests are answered 503"
    return f"until it comes, {what}, but by proxies that have an earlier one"


def _problem(extension: ExtensionObject, path: str, code: str, message: str) -> Problem:
    return Problem(extension.key, path, Severity.WARNING, code, message)
