"""Envoy messages to bytes, to ``Any``, and to JSON."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cache

from google.protobuf import json_format, symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.type_urls import PREFIX

_MODULES = (
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.endpoint.v3.endpoint_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.filters.http.cors.v3.cors_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2",
    "envoy.extensions.filters.http.jwt_authn.v3.config_pb2",
    "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2",
    "envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2",
    "envoy.extensions.filters.listener.original_src.v3.original_src_pb2",
    "envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
    "envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.transport_sockets.tls.v3.secret_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
)

StructFields = Mapping[str, str | float | Sequence[Mapping[str, str]]]


def encode(message: Message) -> bytes:
    """Return ``message`` in a form that is the same for equal messages, within one release of protobuf."""
    return message.SerializeToString(deterministic=True)


def pack(message: Message) -> AnyMessage:
    """Return ``message`` in an ``Any``, encoded deterministically."""
    return AnyMessage(type_url=PREFIX + message.DESCRIPTOR.full_name, value=encode(message))


def struct(fields: StructFields) -> Struct:
    """Return the Struct of ``fields``."""
    message = Struct()
    message.update(dict(fields))
    return message


def expand(type_url: str, value: bytes) -> dict[str, object]:
    """Return the message ``value`` of ``type_url`` as proto3 JSON, in lowerCamelCase, with every ``Any`` expanded."""
    _import_messages()
    message = symbol_database.Default().GetSymbol(type_url.removeprefix(PREFIX)).FromString(value)
    document: dict[str, object] = json_format.MessageToDict(message)
    return document


@cache
def _import_messages() -> None:
    """Make the messages known that may stand in an ``Any``."""
    for module in _MODULES:
        importlib.import_module(module)
