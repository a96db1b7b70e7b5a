"""What the filters of WasmPlugins and TrafficExtensions run, as ECDS has it, and which modules are to be fetched for that."""

from __future__ import annotations

from dataclasses import replace

from controlplane.envoy.type_urls import CDS, ECDS
from controlplane.incremental.database import Database, eager_query, query
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
from controlplane.mesh.extensions.attached import ExtensionObject, extension_placement, wasm_of
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.faults.places import fault_parts
from controlplane.mesh.inputs import index, modules, objects
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import ResourcePart, Stopgap
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.faults.faults import FaultId
from controlplane.model.keys import TRAFFIC_EXTENSION, WASM_PLUGIN, Key
from controlplane.objects.extensions.modules import FILE, ModuleSource, module_source, module_url
from controlplane.objects.extensions.traffic_extension import TrafficExtension
from controlplane.objects.extensions.wasm_plugin import Wasm
from controlplane.translate.clusters.modules import MODULES, modules_cluster
from controlplane.translate.filters.extensions.configs import extension_config
from controlplane.translate.filters.extensions.places import stand_in_config
from controlplane.xds.resource import Resource

_FAILURES = {"FAIL_CLOSE": FailurePolicy.CLOSE, "FAIL_OPEN": FailurePolicy.OPEN, "FAIL_RELOAD": FailurePolicy.RELOAD}


@query
def wanted_modules(db: Database) -> frozenset[ModuleSource]:
    """Return where the modules are that objects name, as far as they are fetched for proxies."""
    keys = (
        key
        for kind in (WASM_PLUGIN, TRAFFIC_EXTENSION)
        for marker in index(db, namespaces_with(kind))
        for key in index(db, of_kind(kind, marker.namespace))
    )
    return frozenset(source for key in keys if (source := wanted_module(db, key)))


@eager_query
def wanted_module(db: Database, key: Key) -> ModuleSource | None:
    """Return where the module is fetched from that the object ``key`` names."""
    extension = objects(db, key)
    wasm = wasm_of(extension) if isinstance(extension, ExtensionObject) else None
    return module_source(wasm, key.namespace) if wasm is not None else None


def extension_parts(db: Database, keys: tuple[Key, ...], *, identified: bool) -> frozenset[ResourcePart]:
    """Return what the filters of the objects ``keys`` run, and what leads to where large modules are served.

    Those are for proxies that are ``identified`` by a certificate.
    """
    addresses = {address for key in keys if identified and (address := served_at(db, key))}
    programs = (ResourcePart(extension_program, (key, identified)) for key in keys if FaultId.of(key) is None)
    of_faults = frozenset().union(*(fault_parts(db, key) for key in keys))
    return of_faults | frozenset((*programs, *(ResourcePart(cluster_of_modules, (address,)) for address in addresses)))


@query
def served_at(db: Database, key: Key) -> str:
    """Return the address where the module of the object ``key`` is served, empty where it goes with the configuration."""
    source = wanted_module(db, key)
    module = modules(db, source) if source else None
    return module.served_at if module else ""


@query
def cluster_of_modules(db: Database, address: str) -> Resource | None:
    """Return the cluster that leads to ``address``, where modules are served."""
    message = modules_cluster(address, connect_timeout_ms=mesh_settings(db).connect_timeout_ms)
    return checked_resource(CDS, message.name, message)


@query
def extension_program(
    db: Database,
    key: Key,
    identified: bool,  # noqa: FBT001 - a part of the key
) -> Resource | Stopgap | None:
    """Return what the filter of the object ``key`` runs; while its module is not there, what was published before stays.

    ``identified``: for proxies that have a certificate.
    """
    extension, placement = objects(db, key), extension_placement(db, key)
    if not isinstance(extension, ExtensionObject) or placement is None:
        return None
    program = _program_of(db, extension, identified=identified)
    if program is None:
        return Stopgap(None)
    name = placement.filter.name
    fallback = checked_resource(ECDS, name, stand_in_config(placement.filter))
    return replace(checked_resource(ECDS, name, extension_config(name, program)), fallback=fallback)


def _program_of(db: Database, extension: ExtensionObject, *, identified: bool) -> ExtensionProgram | None:
    """Return what ``extension`` runs, ``None`` while its module is not there."""
    wasm = wasm_of(extension)
    if wasm is None:
        lua = extension.spec.lua if isinstance(extension, TrafficExtension) else None
        return LuaProgram(lua.inline_code) if lua else None
    code = _code(db, wasm, extension.key.namespace, identified=identified)
    return _program(wasm, extension.key, code) if code else None


def _code(db: Database, wasm: Wasm, namespace: str, *, identified: bool) -> ModuleFile | InlineModule | ServedModule | None:
    source = module_source(wasm, namespace)
    if source is None:
        return ModuleFile(module_url(wasm).removeprefix(FILE))
    module = modules(db, source)
    if module is None:
        return None
    if module.inline is not None:
        return InlineModule(module.sha256, module.inline)
    url = f"https://{module.served_at}/modules/{module.sha256}.wasm"
    return ServedModule(module.sha256, url, MODULES) if identified else None


def _program(wasm: Wasm, key: Key, code: ModuleFile | InlineModule | ServedModule) -> WasmProgram:
    environment = wasm.vm_config.env if wasm.vm_config else ()
    return WasmProgram(
        plugin=f"{key.namespace}.{key.name}",
        code=code,
        level=ExtensionLevel.NETWORK if wasm.type == "NETWORK" else ExtensionLevel.HTTP,
        root_id=wasm.plugin_name or "",
        configuration=wasm.plugin_config,
        failure=_FAILURES[wasm.fail_strategy],
        variables=tuple(sorted((variable.name, variable.value) for variable in environment if variable.value_from == "INLINE")),
        host_variables=tuple(sorted(variable.name for variable in environment if variable.value_from == "HOST")),
    )
