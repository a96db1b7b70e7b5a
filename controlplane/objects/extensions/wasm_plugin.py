"""WasmPlugin: a filter of the user's own, in WebAssembly.

https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import WASM_PLUGIN, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Int, Model, Port, Struct, Text, Unsupported
from controlplane.objects.types.selectors import PolicyAttachment, SinglePolicyAttachment


class EnvVar(Model):
    """A variable of the module's environment, by its value or from the proxy's own environment."""

    name: Annotated[Text, Field(min_length=1, max_length=256)]
    value_from: Literal["INLINE", "HOST"] = "INLINE"
    value: Annotated[Text, Field(max_length=2048)] = ""


class VmConfig(Model):
    """The virtual machine that the module runs in."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=256)] = ()


class Wasm(Model):
    """A module: where it is from, and its settings."""

    url: Annotated[Text, Field(min_length=1)]
    sha256: Annotated[Text, Field(pattern=r"^$|^[a-f0-9]{64}$")] = ""
    image_pull_policy: Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"] = "UNSPECIFIED_POLICY"
    image_pull_secret: Annotated[Text, Field(min_length=1, max_length=253)] | None = None
    verification_key: Unsupported[Text] = ""
    plugin_config: Struct | None = None
    plugin_name: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = "FAIL_CLOSE"
    vm_config: VmConfig | None = None
    type: Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"] = "UNSPECIFIED_PLUGIN_TYPE"


class TrafficPort(Model):
    """A port by its number."""

    number: Port


class TrafficSelector(Model):
    """Connections by their direction and port: both must fit."""

    mode: Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"] = "CLIENT_AND_SERVER"
    ports: tuple[TrafficPort, ...] = ()


class FilterPlacement(PolicyAttachment):
    """Where a filter stands among the others, and which traffic goes through it."""

    priority: Int | None = None
    match: tuple[TrafficSelector, ...] = ()


class WasmPluginSpec(FilterPlacement, SinglePolicyAttachment, Wasm):
    """A module in the proxies of some workloads."""

    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED_PHASE"


class WasmPlugin(KubernetesObject):
    """A filter of the user's own, in WebAssembly."""

    group_kind: ClassVar[GroupKind] = WASM_PLUGIN

    spec: WasmPluginSpec
