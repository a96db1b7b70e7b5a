"""Filters that are encoded already: made once for every chain of every listener on which the same policies hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.ir.access import ChainAccess
from controlplane.ir.limits.rate_limits import RequestLimits
from controlplane.translate.filters.base import Chain
from controlplane.translate.filters.network import network_filters
from controlplane.translate.filters.order import filters_of


@dataclass(frozen=True, slots=True)
class EncodedFilter:
    """A filter, encoded."""

    name: str
    type_url: str
    value: bytes

    @property
    def config(self) -> AnyMessage:
        """Return its message."""
        return AnyMessage(type_url=self.type_url, value=self.value)


@dataclass(frozen=True, slots=True)
class EncodedFilters:
    """The filters of requests, and those of connections that are sent on whole, each in their order."""

    of_requests: tuple[EncodedFilter, ...]
    of_connections: tuple[EncodedFilter, ...]

    def http(self) -> list[HttpFilter]:
        """Return the filters that requests pass, the router last."""
        return [HttpFilter(name=encoded.name, typed_config=encoded.config) for encoded in self.of_requests]

    def network(self) -> list[Filter]:
        """Return the filters that connections pass before they are sent on."""
        return [Filter(name=encoded.name, typed_config=encoded.config) for encoded in self.of_connections]


def encoded_filters(access: ChainAccess, limits: tuple[RequestLimits, ...] = (), *, inbound: bool) -> EncodedFilters:
    """Return what has to be passed where ``access`` and ``limits`` hold: on the way to a workload (``inbound``), or through a gateway."""
    return EncodedFilters(_encoded(filters_of(Chain(inbound=inbound, access=access, limits=limits))), _encoded(network_filters(access)))


def _encoded(filters: Iterable[HttpFilter | Filter]) -> tuple[EncodedFilter, ...]:
    return tuple(EncodedFilter(message.name, message.typed_config.type_url, message.typed_config.value) for message in filters)
