"""TrafficExtension: a filter of the user's own, in WebAssembly or in Lua.

https://istio.io/latest/docs/reference/config/proxy_extensions/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import TRAFFIC_EXTENSION, GroupKind
from controlplane.objects.extensions.wasm_plugin import FilterPlacement, Wasm
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Model, Text


class Lua(Model):
    """A program in Lua."""

    inline_code: Annotated[Text, Field(min_length=1, max_length=65536)]


class TrafficExtensionSpec(FilterPlacement):
    """Exactly one of ``wasm`` and ``lua``, in the proxies of some workloads."""

    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    wasm: Wasm | None = None
    lua: Lua | None = None


class TrafficExtension(KubernetesObject):
    """A filter of the user's own, in WebAssembly or in Lua."""

    group_kind: ClassVar[GroupKind] = TRAFFIC_EXTENSION

    spec: TrafficExtensionSpec
