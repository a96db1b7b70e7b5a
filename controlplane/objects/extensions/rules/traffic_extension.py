"""What TrafficExtensions must keep to.

https://istio.io/latest/docs/reference/config/proxy_extensions/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.extensions.rules.wasm_plugin import check_module, check_placement
from controlplane.objects.extensions.traffic_extension import TrafficExtension
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding


def check(extension: TrafficExtension) -> Iterator[Finding]:
    """Yield what is wrong with ``extension``."""
    spec = extension.spec
    yield from check_placement(spec)
    if spec.wasm is not None and spec.lua is not None:
        yield rules.conflict("spec", "expected one of wasm and lua, found both")
    if spec.wasm is None and spec.lua is None:
        yield rules.required("spec", "one of wasm and lua")
    if spec.wasm is not None:
        yield from check_module("spec.wasm", spec.wasm)
