"""What makes Envoy leave ``envoy_wasmcustom_`` out before the names of Istio's metrics: a WebAssembly module that does nothing.

Envoy's page for Prometheus leaves the prefix out of what WebAssembly modules count, and looks for it once a module is configured. This
one stands in an access log of listeners whose filter nothing passes, and is never asked. docs/telemetry.md has what it weighs.
"""

from __future__ import annotations

from base64 import b64decode

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.wasm.v3.wasm_pb2 import WasmAccessLog

from controlplane.envoy.packing import pack

NAME = "envoy.access_loggers.wasm"
# (module (memory (export "memory") 1)
#  (func (export "proxy_abi_version_0_2_1"))
#  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
#  (func (export "proxy_on_context_create") (param i32 i32))
#  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
#  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1))
_MODULE = b64decode(
    "AGFzbQEAAAABFARgAABgAX8Bf2ACf38AYAJ/fwF/AwYFAAECAwMFAwEAAQeCAQYGbWVtb3J5AgAXcHJveHlfYWJpX3ZlcnNpb25fMF8yXzEAABhwcm94eV9vbl9tZW1v"
    "cnlfYWxsb2NhdGUAARdwcm94eV9vbl9jb250ZXh0X2NyZWF0ZQACEXByb3h5X29uX3ZtX3N0YXJ0AAMScHJveHlfb25fY29uZmlndXJlAAQKFwUCAAsFAEGACAsCAAsE"
    "AEEBCwQAQQEL"
)


def namespace_module() -> AccessLog:
    """Return the access log by which Envoy loads the module."""
    module = WasmAccessLog(
        config={
            "name": "names",
            "fail_open": True,
            "vm_config": {"vm_id": "navarch.names", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": _MODULE}}},
        }
    )
    return AccessLog(name=NAME, filter={"log_type_filter": {"types": ["NotSet"]}}, typed_config=pack(module))
