"""The command operators of formats that Envoy knows only where their extension is named."""

from __future__ import annotations

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.formatter.req_without_query.v3.req_without_query_pb2 import ReqWithoutQuery

from controlplane.envoy.packing import pack

_WITHOUT_QUERY = "%REQ_WITHOUT_QUERY("


def formatters_of(text: str) -> list[TypedExtensionConfig]:
    """Return the extensions that the formats in ``text`` need."""
    if _WITHOUT_QUERY not in text:
        return []
    return [TypedExtensionConfig(name="envoy.formatter.req_without_query", typed_config=pack(ReqWithoutQuery()))]
