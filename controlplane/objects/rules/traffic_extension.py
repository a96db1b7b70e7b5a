"""What TrafficExtensions must keep to.

https://istio.io/latest/docs/reference/config/proxy_extensions/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.rules.wasm_plugin import check_inserted, check_module
from controlplane.objects.traffic_extension import TrafficExtension


def check(value: TrafficExtension) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    yield from check_inserted(spec)
    if spec.wasm is not None and spec.lua is not None:
        yield common.conflict("spec", "expected one of wasm and lua, found both")
    if spec.wasm is None and spec.lua is None:
        yield common.required("spec", "one of wasm and lua")
    if spec.wasm is not None:
        yield from check_module("spec.wasm", spec.wasm)
