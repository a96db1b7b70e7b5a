"""Envoy messages to bytes, to ``Any``, and to JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from google.protobuf import json_format, symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from xds.type.v3.typed_struct_pb2 import TypedStruct

from controlplane.envoy.type_urls import PREFIX

_MODULES = (
    "controlplane.envoy.ratelimit_config_pb2",
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.core.v3.extension_pb2",
    "envoy.config.endpoint.v3.endpoint_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.access_loggers.file.v3.file_pb2",
    "envoy.extensions.access_loggers.filters.cel.v3.cel_pb2",
    "envoy.extensions.access_loggers.grpc.v3.als_pb2",
    "envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2",
    "envoy.extensions.common.matching.v3.extension_matcher_pb2",
    "envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2",
    "envoy.extensions.filters.http.adaptive_concurrency.v3.adaptive_concurrency_pb2",
    "envoy.extensions.filters.http.cors.v3.cors_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2",
    "envoy.extensions.filters.http.jwt_authn.v3.config_pb2",
    "envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2",
    "envoy.extensions.filters.http.ratelimit.v3.rate_limit_pb2",
    "envoy.extensions.filters.http.lua.v3.lua_pb2",
    "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.http.set_metadata.v3.set_metadata_pb2",
    "envoy.extensions.filters.http.wasm.v3.wasm_pb2",
    "envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2",
    "envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2",
    "envoy.extensions.filters.listener.original_src.v3.original_src_pb2",
    "envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
    "envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.formatter.req_without_query.v3.req_without_query_pb2",
    "envoy.extensions.filters.network.wasm.v3.wasm_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.rate_limit_descriptors.expr.v3.expr_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.transport_sockets.tls.v3.secret_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "xds.type.v3.typed_struct_pb2",
)

TYPED_STRUCT = PREFIX + TypedStruct.DESCRIPTOR.full_name
StructFields = Mapping[str, str | float | Sequence[Mapping[str, str]]]
Fields = dict[str, object]  # of a message, as proto3 JSON with the names of fields
_PIECE_BYTES = 4 << 10  # of a message, encoded: it takes some 1 ms to make JSON of
_WELL_KNOWN = "google.protobuf"


def encode(message: Message) -> bytes:
    """Return ``message`` in a form that is the same for equal messages, within one release of protobuf."""
    return message.SerializeToString(deterministic=True)


def pack(message: Message) -> AnyMessage:
    """Return ``message`` in an ``Any``, encoded deterministically."""
    return AnyMessage(type_url=PREFIX + message.DESCRIPTOR.full_name, value=encode(message))


def typed_struct(message_name: str, fields: Fields) -> TypedStruct:
    """Return a message of Envoy's that has ``fields``, by their names in JSON, for one that the Python classes lack or know only in part.

    A ``Value`` among them is taken as it is: what stands in many messages is made once.

    https://www.envoyproxy.io/docs/envoy/latest/api-v3/xds/type/v3/typed_struct.proto
    """
    typed = TypedStruct(type_url=PREFIX + message_name)
    _fill(typed.value, fields)
    return typed


def json_value(content: object) -> Value:
    """Return ``content``, as of JSON, as a ``Value``."""
    value = Value()
    _set(value, content)
    return value


def _fill(message: Struct, fields: Mapping[str, object]) -> None:
    """Set the fields of ``message`` to ``fields``: in a quarter of the time that ``ParseDict`` takes."""
    for name, content in fields.items():
        _set(message.fields[name], content)


def _set(value: Value, content: object) -> None:
    match content:
        case str():
            value.string_value = content
        case bool():
            value.bool_value = content
        case int() | float():
            value.number_value = content
        case Mapping():
            value.struct_value.SetInParent()
            _fill(value.struct_value, content)
        case list() | tuple():
            value.list_value.SetInParent()
            for inner in content:
                _set(value.list_value.values.add(), inner)
        case Value():
            value.CopyFrom(content)
        case _:
            raise TypeError(f"nothing that JSON has: {type(content).__name__}")


def of_typed_struct(typed: TypedStruct) -> Message:
    """Return the message that ``typed`` stands for, less the fields that its class does not have."""
    _import_messages()
    kind = symbol_database.Default().GetSymbol(typed.type_url.removeprefix(PREFIX))
    message: Message = json_format.ParseDict(json_format.MessageToDict(typed.value), kind(), ignore_unknown_fields=True)
    return message


def struct(fields: StructFields) -> Struct:
    """Return the Struct of ``fields``."""
    message = Struct()
    _fill(message, fields)
    return message


def expand(type_url: str, value: bytes) -> dict[str, object]:
    """Return the message ``value`` of ``type_url`` as proto3 JSON, in lowerCamelCase, with every ``Any`` expanded."""
    document: dict[str, object] = json_format.MessageToDict(decode(type_url, value))
    return document


def json_pieces(type_url: str, value: bytes) -> Iterator[bytes]:
    """Yield what ``expand`` returns as text, in pieces of which each takes about a millisecond, however large the message is."""
    yield from _pieces(decode(type_url, value))


def decode(type_url: str, value: bytes) -> Message:
    """Return the message ``value`` of ``type_url``; raises KeyError for one that nobody knows."""
    _import_messages()
    message: Message = symbol_database.Default().GetSymbol(type_url.removeprefix(PREFIX)).FromString(value)
    return message


def _pieces(message: Message) -> Iterator[bytes]:
    if message.ByteSize() <= _PIECE_BYTES or message.DESCRIPTOR.file.package == _WELL_KNOWN:
        yield from _any_pieces(message) if isinstance(message, AnyMessage) else (_text(message),)
        return
    parts = [
        (field, value) for field, value in message.ListFields() if field.message_type and not field.message_type.GetOptions().map_entry
    ]
    rest = type(message)()
    rest.CopyFrom(message)
    for field, _ in parts:
        rest.ClearField(field.name)
    text = _text(rest).removesuffix(b"}")
    for field, value in parts:
        yield text + (b"" if text == b"{" else b",") + f'"{field.json_name}":'.encode()
        yield from _list_pieces(value) if field.is_repeated else _pieces(value)
        text = b""
    yield text + b"}"


def _list_pieces(messages: Iterable[Message]) -> Iterator[bytes]:
    before = b"["
    for message in messages:
        yield before
        yield from _pieces(message)
        before = b","
    yield b"]"


def _any_pieces(message: AnyMessage) -> Iterator[bytes]:
    inner = decode(message.type_url, message.value) if message.ByteSize() > _PIECE_BYTES else None
    if inner is None or inner.DESCRIPTOR.file.package == _WELL_KNOWN:  # of which JSON has forms of their own
        yield _text(message)
        return
    pieces = _pieces(inner)
    first = next(pieces).removeprefix(b"{")
    yield f'{{"@type":{json.dumps(message.type_url)}'.encode() + (b"" if first == b"}" else b",") + first
    yield from pieces


def _text(message: Message) -> bytes:
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _import_messages() -> None:
    """Make the messages known that may stand in an ``Any``."""
    for module in _MODULES:
        importlib.import_module(module)
