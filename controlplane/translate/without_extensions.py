"""What is sent to a proxy whose build lacks some extensions: the same messages without them, which it would refuse as a whole.

What only adds something (a log, a span, a fault to be injected) is left out. Where an extension decides who may do what, or where something
goes, leaving it out would let through what is not to pass: the smallest part around it refuses then, or is not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ExtensionConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.wasm.v3.wasm_pb2 import VmConfig
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from xds.type.v3.typed_struct_pb2 import TypedStruct

from controlplane.envoy.extensions import OPTIONAL_MESSAGES, lacking_names
from controlplane.envoy.packing import TYPED_STRUCT, decode, encode, pack
from controlplane.ir.matches import EVERY_REQUEST
from controlplane.model.faults.faults import FILTER_PREFIX
from controlplane.translate.clusters.clusters import BLACK_HOLE
from controlplane.translate.filters.extensions.places import lets_pass
from controlplane.translate.filters.router import ROUTER
from controlplane.translate.listeners.network_filters import TCP_PROXY
from controlplane.translate.matches import route_match
from controlplane.translate.routes.virtual_hosts import broken_host

_FORBIDDEN, _UNAVAILABLE = 403, 503
_Place: TypeAlias = tuple[str, str]  # a message, and a field of it
_PER_FILTER = "typed_per_filter_config"  # of routes and what is around them: without its filter it means nothing
# Lists and fields that can do without any of what may stand in them.
_OPTIONAL_FIELDS = frozenset(
    (
        ("envoy.config.cluster.v3.Cluster", "typed_dns_resolver_config"),
        ("envoy.config.cluster.v3.LoadBalancingPolicy", "policies"),
        ("envoy.config.listener.v3.Listener", "access_log"),
        ("envoy.config.route.v3.RetryPolicy", "retry_host_predicate"),
        ("envoy.config.route.v3.RetryPolicy", "retry_priority"),
        ("envoy.extensions.filters.http.router.v3.Router", "upstream_log"),
        ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "access_log"),
        ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "tracing"),
        ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "access_log"),
    )
)
# Lists of filters, which can do without those that are optional.
_FILTERS = frozenset(
    (
        ("envoy.config.listener.v3.FilterChain", "filters"),
        ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "http_filters"),
    )
)


class Consequence(StrEnum):
    """What becomes of a message for want of an extension, in the words of Problems: ``it … RESOURCE``."""

    LEFT_OUT = "is left out of"
    REQUESTS_REFUSED = "decides about requests, which are all answered 403 by"
    CONNECTIONS_CLOSED = "decides about connections, which are all closed by"
    UNAVAILABLE = "decides where requests go, which are answered 503 by"
    UNREACHABLE = "is needed to reach the endpoints, of which none is sent, of"
    REFUSED = "decides about traffic, which is all refused by what stands in for"
    NOT_SENT = "is needed everywhere in what is not sent:"


class LeftOut(NamedTuple):
    """That ``extension`` is missing, and what becomes of the message for it."""

    extension: str
    consequence: Consequence


class Reduced(NamedTuple):
    """A message without the extensions that are missing; ``None``: nothing of it can be sent."""

    message: Message | None
    left_out: tuple[LeftOut, ...]


class _Entries(Protocol):
    """A list or a map of messages."""

    def __getitem__(self, key: object, /) -> Message: ...
    def __delitem__(self, key: object, /) -> None: ...


class _Missing(Exception):
    """``extension`` is missing where something cannot do without it."""

    def __init__(self, extension: str) -> None:
        super().__init__(extension)
        self.extension = extension


def names_any(value: bytes, lacking: frozenset[str]) -> bool:
    """Return whether the encoded message ``value`` may name one of the extensions ``lacking``: it is not looked into otherwise."""
    return any(name.encode() in value for name in lacking_names(lacking))


def without_extensions(message: Message, lacking: frozenset[str]) -> Reduced:
    """Return ``message``, which is changed, without the extensions ``lacking``, by name."""
    reduction = _Reduction(lacking_names(lacking))
    try:
        reduction.reduce(message)
    except _Missing as missing:
        return Reduced(None, (*reduction.left_out, LeftOut(missing.extension, Consequence.NOT_SENT)))
    return Reduced(message, tuple(reduction.left_out))


def in_its_place(stand_in: Message, extension: str) -> LeftOut:
    """Return what becomes of traffic where ``stand_in`` is sent for what needs ``extension``."""
    passes = isinstance(stand_in, TypedExtensionConfig) and lets_pass(stand_in.typed_config)
    return LeftOut(extension, Consequence.LEFT_OUT if passes else Consequence.REFUSED)


class _Reduction:
    """One pass over a message."""

    def __init__(self, lacking: Mapping[str, str]) -> None:
        """Reduce by the names that stand for what is ``lacking``, each with the name of its extension."""
        self._lacking = lacking
        self._texts = {name.encode(): extension for name, extension in lacking.items()}
        self.left_out: dict[LeftOut, None] = {}

    def reduce(self, message: Message) -> None:
        """Take out of ``message`` what is lacking; raises _Missing where it cannot do without."""
        try:
            self._reduce_fields(message)
        except _Missing as missing:
            closing = _CLOSING.get(message.DESCRIPTOR.full_name)
            if closing is None:
                raise
            closed, consequence = closing(message)
            message.CopyFrom(closed)
            self._reduce_fields(message)
            self.left_out[LeftOut(missing.extension, consequence)] = None

    def _reduce_fields(self, message: Message) -> None:
        match message:
            case AnyMessage():
                self._reduce_any(message)
            case TypedStruct():
                self._refuse(message.type_url)
                self._refuse_within(message.value.SerializeToString())
            case VmConfig():
                self._refuse(message.runtime)
            case ExtensionConfigSource():
                for type_url in message.type_urls:
                    self._refuse(type_url)
                self._reduce_any(message.default_config)
            case _:
                for field, _ in message.ListFields():
                    if field.message_type is not None:
                        self._reduce_field(message, field, field.message_type)

    def _reduce_field(self, message: Message, field: FieldDescriptor, inner: Descriptor) -> None:
        place = (message.DESCRIPTOR.full_name, field.name)
        value = getattr(message, field.name)
        if inner.GetOptions().map_entry:
            if inner.fields_by_name["value"].message_type is not None:
                self._reduce_entries(place, value, sorted(value))
        elif field.is_repeated:
            self._reduce_entries(place, value, reversed(range(len(value))))
        elif not self._can_keep(place, value):
            message.ClearField(field.name)

    def _reduce_entries(self, place: _Place, entries: _Entries, keys: Iterable[object]) -> None:
        for key in keys:
            if not self._can_keep(place, entries[key]):
                del entries[key]

    def _can_keep(self, place: _Place, part: Message) -> bool:
        """Take out of ``part`` what is lacking; return whether it can stay at ``place``. Raises _Missing where it cannot be left out."""
        try:
            self.reduce(part)
        except _Missing as missing:
            if not (place in _OPTIONAL_FIELDS or place[1] == _PER_FILTER or (place in _FILTERS and _is_optional(part))):
                raise
            self.left_out[LeftOut(missing.extension, Consequence.LEFT_OUT)] = None
            return False
        return True

    def _reduce_any(self, message: AnyMessage) -> None:
        self._refuse(message.type_url)
        if not any(name in message.value for name in self._texts):
            return
        try:
            inner = decode(message.type_url, message.value)
        except KeyError:  # nobody can look into it
            self._refuse_within(message.value)
            return
        self.reduce(inner)
        message.value = encode(inner)

    def _refuse_within(self, value: bytes) -> None:
        """Raise _Missing where ``value``, which cannot be reduced, names something."""
        for name, extension in self._texts.items():
            if name in value:
                raise _Missing(extension)

    def _refuse(self, name: str) -> None:
        if extension := self._lacking.get(name.rpartition("/")[2]):
            raise _Missing(extension)


def _is_optional(part: Message) -> bool:
    """Return whether ``part``, a filter, may be left out of those that it stands among."""
    if not isinstance(part, Filter | HttpFilter):
        return False
    if part.HasField("config_discovery"):
        return lets_pass(part.config_discovery.default_config)
    config = part.typed_config
    if part.name.startswith(FILTER_PREFIX) and part.HasField("config_discovery"):
        return True  # without it the drill injects nothing here
    message = TypedStruct.FromString(config.value).type_url if config.type_url == TYPED_STRUCT else config.type_url
    return message.rpartition("/")[2] in OPTIONAL_MESSAGES


def _closed_manager(message: Message) -> tuple[Message, Consequence]:
    """Return what answers every request that comes to ``message`` with 403, and still logs it."""
    manager = HttpConnectionManager(
        http_filters=[HttpFilter(name=ROUTER.name, typed_config=pack(Router()))],
        route_config=_closed_table("closed", _FORBIDDEN),
    )
    if isinstance(message, HttpConnectionManager):
        manager.stat_prefix = message.stat_prefix
        manager.codec_type = message.codec_type
        manager.http2_protocol_options.CopyFrom(message.http2_protocol_options)
        manager.access_log.extend(message.access_log)
    return manager, Consequence.REQUESTS_REFUSED


def _closed_chain(message: Message) -> tuple[Message, Consequence]:
    """Return what takes the connections of ``message`` and closes them: no endpoint is behind the cluster that they are sent to."""
    chain = FilterChain()
    proxy = TcpProxy(stat_prefix=BLACK_HOLE, cluster=BLACK_HOLE)
    if isinstance(message, FilterChain):
        chain.CopyFrom(message)
        del chain.filters[:]
    chain.filters.append(Filter(name=TCP_PROXY, typed_config=pack(proxy)))
    return chain, Consequence.CONNECTIONS_CLOSED


def _unavailable_host(message: Message) -> tuple[Message, Consequence]:
    host = broken_host()
    if isinstance(message, VirtualHost):
        host.name = message.name
        host.domains.extend(message.domains)
    return host, Consequence.UNAVAILABLE


def _unavailable_table(message: Message) -> tuple[Message, Consequence]:
    return _closed_table(message.name if isinstance(message, RouteConfiguration) else "", _UNAVAILABLE), Consequence.UNAVAILABLE


def _unreachable_cluster(message: Message) -> tuple[Message, Consequence]:
    """Return a cluster of the name of ``message`` without endpoints: requests to it are answered 503."""
    cluster = Cluster(type=Cluster.STATIC)
    if isinstance(message, Cluster):
        cluster.name = message.name
        cluster.load_assignment.cluster_name = message.name
    return cluster, Consequence.UNREACHABLE


def _closed_table(name: str, status: int) -> RouteConfiguration:
    route = Route(match=route_match(EVERY_REQUEST), direct_response={"status": status})
    return RouteConfiguration(name=name, virtual_hosts=[VirtualHost(name="closed", domains=["*"], routes=[route])])


# What stands for a message that cannot do without what is missing, by the smallest that can be told apart.
_CLOSING: Mapping[str, Callable[[Message], tuple[Message, Consequence]]] = {
    "envoy.config.cluster.v3.Cluster": _unreachable_cluster,
    "envoy.config.listener.v3.FilterChain": _closed_chain,
    "envoy.config.route.v3.RouteConfiguration": _unavailable_table,
    "envoy.config.route.v3.VirtualHost": _unavailable_host,
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": _closed_manager,
}
