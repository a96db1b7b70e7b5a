"""The filter that forwards requests: the last of every chain."""

from __future__ import annotations

from envoy.extensions.filters.http.router.v3.router_pb2 import Router

from controlplane.translate.filters.base import HttpFilter, always

ROUTER = HttpFilter("envoy.filters.http.router", always(Router()))
