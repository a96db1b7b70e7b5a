"""What WasmPlugins must keep to.

https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.extensions.wasm_plugin import EnvVar, FilterPlacement, TrafficSelector, Wasm, WasmPlugin
from controlplane.objects.types import rules, url_rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selector_rules import check_attachment


def check(value: WasmPlugin) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    yield from check_placement(value.spec)
    yield from check_module("spec", value.spec)


def check_placement(spec: FilterPlacement) -> Iterator[Finding]:
    """Yield what is wrong with where the filter ``spec`` stands and which traffic goes through it."""
    yield from check_attachment(spec)
    for at, match in enumerate(spec.match):
        yield from _ports(f"spec.match[{at}].ports", match)


def check_module(path: str, wasm: Wasm) -> Iterator[Finding]:
    """Yield what is wrong with the module ``wasm``."""
    yield from url_rules.module_url(f"{path}.url", wasm.url)
    seen: set[str] = set()
    for at, variable in enumerate(wasm.vm_config.env if wasm.vm_config else ()):
        here = f"{path}.vmConfig.env[{at}]"
        if variable.name in seen:
            yield rules.conflict(f"{here}.name", "expected each variable once")
        seen.add(variable.name)
        yield from _variable(here, variable)


def _variable(path: str, variable: EnvVar) -> Iterator[Finding]:
    if variable.value_from == "HOST" and "value" in variable.model_fields_set:
        yield rules.conflict(f"{path}.value", "expected no value of a variable from the proxy's own environment")


def _ports(path: str, match: TrafficSelector) -> Iterator[Finding]:
    seen: set[int] = set()
    for at, port in enumerate(match.ports):
        if port.number in seen:
            yield rules.conflict(f"{path}[{at}].number", f"expected each port once, found {port.number} again")
        seen.add(port.number)
