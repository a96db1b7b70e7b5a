"""Which of Envoy's messages there are, by name: their modules are imported when somebody first names one."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache

from google.protobuf import symbol_database
from google.protobuf.message import Message

from controlplane.envoy.type_urls import PREFIX

TYPED_STRUCTS = frozenset(("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"))
_NAME = re.compile(r"((?:envoy|xds|udpa)(?:\.[a-z0-9_]+)*\.v\d\w*)\.[A-Z]\w*(?:\.[A-Z]\w*)*", re.ASCII)
_WELL_KNOWN = "google.protobuf."
_WELL_KNOWN_MODULES = ("any", "duration", "empty", "struct", "timestamp", "wrappers")


@cache
def message_class(name: str) -> type[Message] | None:
    """Return the class of the message ``name``, ``envoy.extensions.filters.http.lua.v3.Lua`` say; ``None``: none is known here."""
    if name.startswith(_WELL_KNOWN):
        for module in _WELL_KNOWN_MODULES:
            importlib.import_module(f"google.protobuf.{module}_pb2")
    elif (match := _NAME.fullmatch(name)) is None or is_retired(name) or not _import_package(match.group(1)):
        return None
    try:
        found: type[Message] = symbol_database.Default().GetSymbol(name)
    except KeyError:
        return None
    return found


def is_retired(name: str) -> bool:
    """Return whether the message ``name`` is of the API that Envoys no longer take (v2)."""
    return any(part == "v2" or part.startswith("v2alpha") for part in name.split("."))


def type_name(type_url: str) -> str:
    """Return the name of the message that ``type_url`` says."""
    return type_url.removeprefix(PREFIX)


def _import_package(package: str) -> bool:
    """Import all messages of ``package``; return whether there are any."""
    try:
        folder = importlib.import_module(package).__path__
    except ImportError:
        return False
    for module in pkgutil.iter_modules(folder):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
    return True
