"""Filters that are encoded already: made once for every chain of every listener on which the same policies hold."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.core.v3.config_source_pb2 import ExtensionConfigSource
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.envoy.packing import encode
from controlplane.ir.access import ChainAccess
from controlplane.ir.extensions.chains import ChainExtension
from controlplane.ir.limits.rate_limits import RequestLimits
from controlplane.translate.filters.base import Chain
from controlplane.translate.filters.network import network_filters
from controlplane.translate.filters.order import filters_of


@dataclass(frozen=True, slots=True)
class EncodedFilter:
    """A filter, encoded: its message in ``value``, or where that has no ``type_url``, how it is asked for.

    ``ports`` are those of the connections that it is for, ``None`` all.
    """

    name: str
    type_url: str
    value: bytes
    ports: frozenset[int] | None = None

    @property
    def is_discovered(self) -> bool:
        """Return whether it is asked for by ECDS."""
        return not self.type_url

    def http(self) -> HttpFilter:
        """Return it as a filter of requests."""
        if self.is_discovered:
            return HttpFilter(name=self.name, config_discovery=ExtensionConfigSource.FromString(self.value))
        return HttpFilter(name=self.name, typed_config=AnyMessage(type_url=self.type_url, value=self.value))

    def network(self) -> Filter:
        """Return it as a filter of connections."""
        if self.is_discovered:
            return Filter(name=self.name, config_discovery=ExtensionConfigSource.FromString(self.value))
        return Filter(name=self.name, typed_config=AnyMessage(type_url=self.type_url, value=self.value))


@dataclass(frozen=True, slots=True)
class EncodedFilters:
    """The filters of requests, and those of connections that are sent on whole, each in their order."""

    of_requests: tuple[EncodedFilter, ...]
    of_connections: tuple[EncodedFilter, ...]

    def relevant(self, port: int | None) -> int | None:
        """Return ``port`` where some filter is for it in particular; the filters of all others are the same."""
        return port if any(port in each.ports for each in (*self.of_requests, *self.of_connections) if each.ports) else None

    def http(self, port: int | None) -> list[HttpFilter]:
        """Return the filters that requests in connections to ``port`` pass, the router last."""
        return [encoded.http() for encoded in self.of_requests if encoded.ports is None or port in encoded.ports]

    def network(self, port: int | None) -> list[Filter]:
        """Return the filters that connections to ``port`` pass before they are sent on."""
        return [encoded.network() for encoded in self.of_connections if encoded.ports is None or port in encoded.ports]

    def before_http(self, port: int | None) -> list[Filter]:
        """Return the filters that connections to ``port`` pass before they are taken for requests: users' own."""
        discovered = (encoded for encoded in self.of_connections if encoded.is_discovered)
        return [encoded.network() for encoded in discovered if encoded.ports is None or port in encoded.ports]


def encoded_filters(
    access: ChainAccess,
    limits: tuple[RequestLimits, ...] = (),
    extensions: tuple[ChainExtension, ...] = (),
    *,
    inbound: bool,
    requested_faults: bool = False,
) -> EncodedFilters:
    """Return what has to be passed where ``access`` and ``limits`` hold: on the way to a workload (``inbound``), or through a gateway.

    ``requested_faults``: requests may ask for faults.
    """
    ports = {extension.name: extension.ports for extension in extensions}
    chain = Chain(inbound=inbound, access=access, limits=limits, extensions=extensions, requested_faults=requested_faults)
    return EncodedFilters(
        tuple(_encoded(message, ports) for message in filters_of(chain)),
        tuple(_encoded(message, ports) for message in network_filters(access, extensions)),
    )


def _encoded(message: HttpFilter | Filter, ports: dict[str, frozenset[int] | None]) -> EncodedFilter:
    if message.HasField("config_discovery"):
        return EncodedFilter(message.name, "", encode(message.config_discovery), ports[message.name])
    return EncodedFilter(message.name, message.typed_config.type_url, message.typed_config.value)
