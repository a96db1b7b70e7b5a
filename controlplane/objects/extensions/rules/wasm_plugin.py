"""What WasmPlugins must keep to.

https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.extensions.wasm_plugin import EnvVar, FilterPlacement, TrafficSelector, Wasm, WasmPlugin
from controlplane.objects.types import rules, url_rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selector_rules import check_attachment


def check(plugin: WasmPlugin) -> Iterator[Finding]:
    """Yield what is wrong with ``plugin``."""
    yield from check_placement(plugin.spec)
    yield from check_module("spec", plugin.spec)


def check_placement(spec: FilterPlacement) -> Iterator[Finding]:
    """Yield what is wrong with where the filter ``spec`` stands and which traffic goes through it."""
    yield from check_attachment(spec)
    for index, match in enumerate(spec.match):
        yield from _ports(f"spec.match[{index}].ports", match)


def check_module(path: str, wasm: Wasm) -> Iterator[Finding]:
    """Yield what is wrong with the module ``wasm``."""
    yield from url_rules.module_url(f"{path}.url", wasm.url)
    seen: set[str] = set()
    for index, variable in enumerate(wasm.vm_config.env if wasm.vm_config else ()):
        variable_path = f"{path}.vmConfig.env[{index}]"
        if variable.name in seen:
            yield rules.conflict(f"{variable_path}.name", "expected each variable once")
        seen.add(variable.name)
        yield from _variable(variable_path, variable)


def _variable(path: str, variable: EnvVar) -> Iterator[Finding]:
    if variable.value_from == "HOST" and "value" in variable.model_fields_set:
        yield rules.conflict(f"{path}.value", "expected no value of a variable from the proxy's own environment")


def _ports(path: str, match: TrafficSelector) -> Iterator[Finding]:
    seen: set[int] = set()
    for index, port in enumerate(match.ports):
        if port.number in seen:
            yield rules.conflict(f"{path}[{index}].number", f"expected each port once, found {port.number} again")
        seen.add(port.number)
