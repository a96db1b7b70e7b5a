"""What ECDS says of users' own filters."""

from __future__ import annotations

from hashlib import blake2b
from typing import assert_never

from envoy.config.core.v3.base_pb2 import AsyncDataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.wasm.v3.wasm_pb2 import Wasm as NetworkWasm
from envoy.extensions.wasm.v3 import wasm_pb2
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from controlplane.envoy.packing import pack
from controlplane.ir.extensions.chains import ExtensionLevel
from controlplane.ir.extensions.programs import (
    ExtensionProgram,
    FailurePolicy,
    InlineModule,
    LuaProgram,
    ModuleFile,
    ServedModule,
    WasmProgram,
)

_RUNTIME = "envoy.wasm.runtime.v8"  # the only one that stock Envoy has, beside that of modules linked into it
_FETCH_S = 30
_RETRIES = 1000
_FAILURE = {
    FailurePolicy.CLOSE: wasm_pb2.FAIL_CLOSED,
    FailurePolicy.OPEN: wasm_pb2.FAIL_OPEN,
    FailurePolicy.RELOAD: wasm_pb2.FAIL_RELOAD,
}


def extension_config(name: str, program: ExtensionProgram) -> TypedExtensionConfig:
    """Return what the filter ``name`` runs: ``program``."""
    return TypedExtensionConfig(name=name, typed_config=pack(_filter(name, program)))


def _filter(name: str, program: ExtensionProgram) -> Message:
    match program:
        case LuaProgram():
            return Lua(default_source_code={"inline_string": program.code})
        case WasmProgram():
            config = _plugin(name, program)
            return NetworkWasm(config=config) if program.level is ExtensionLevel.NETWORK else Wasm(config=config)
        case _:
            assert_never(program)


def _plugin(name: str, program: WasmProgram) -> wasm_pb2.PluginConfig:
    config = wasm_pb2.PluginConfig(
        name=program.plugin,
        root_id=program.root_id,
        failure_policy=_FAILURE[program.failure],
        # Plugins with one id and one module share a machine: one that fails would take those of other namespaces with it.
        vm_config={"vm_id": _machine(name, program), "runtime": _RUNTIME, "code": _code(program.code)},
    )
    if program.configuration is not None:
        config.configuration.CopyFrom(pack(StringValue(value=program.configuration)))
    if program.variables or program.host_variables:
        environment = config.vm_config.environment_variables
        environment.host_env_keys.extend(program.host_variables)
        environment.key_values.update(dict(program.variables))
    return config


def _machine(name: str, program: WasmProgram) -> str:
    """Return the id of the machine that ``program`` runs in as ``name``: with other variables it is another one.

    Envoy 1.36 tells machines apart by id and module alone, and goes on with the variables of the first.
    """
    if not (program.variables or program.host_variables):
        return name
    digest = blake2b(repr((program.variables, program.host_variables)).encode(), digest_size=8).hexdigest()
    return f"{name}#{digest}"


def _code(code: ModuleFile | InlineModule | ServedModule) -> AsyncDataSource:
    match code:
        case ModuleFile():
            return AsyncDataSource(local={"filename": code.path})
        case InlineModule():
            return AsyncDataSource(local={"inline_bytes": code.content})
        case ServedModule():
            uri = {"uri": code.url, "cluster": code.cluster, "timeout": {"seconds": _FETCH_S}}
            # Envoy gives up after one retry, and then for good; its cluster may be warming still.
            back_off = {"base_interval": {"nanos": 500_000_000}, "max_interval": {"seconds": 10}}
            retries = {"retry_back_off": back_off, "num_retries": {"value": _RETRIES}}
            return AsyncDataSource(remote={"http_uri": uri, "sha256": code.sha256, "retry_policy": retries})
        case _:
            assert_never(code)
