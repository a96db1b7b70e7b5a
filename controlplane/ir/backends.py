"""Where requests are sent: each destination is a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.extras import NO_CHANGES, HeaderChanges
from controlplane.model.cluster_names import BLACK_HOLE, OUTBOUND, cluster_name


@dataclass(frozen=True, slots=True)
class ServiceBackend:
    """A port of a service, perhaps a ``subset`` of its endpoints."""

    host: str
    port: int
    subset: str = ""
    endpoint: str = ""  # the address of one that the client has chosen; empty: any
    missing: bool = False  # there is no such service, port or subset

    @property
    def cluster(self) -> str:
        """Return the name of the cluster that leads there, or nowhere."""
        return BLACK_HOLE if self.missing else cluster_name(OUTBOUND, self.port, self.subset, self.host)

    @property
    def destination(self) -> str:
        """Return it as users read it."""
        return f"{self.host}:{self.port}" + (f" subset {self.subset}" if self.subset else "")


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """An endpoint beside the proxy, by the ``cluster`` that leads there."""

    cluster: str


Backend = ServiceBackend | LocalBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A backend with its share of the requests, and what is changed of the headers on the way to it and back."""

    backend: Backend
    weight: int = 0  # of the sum of all; of a single one it says nothing
    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    authority: str = ""  # what the request's is set to, empty: as it was


@dataclass(frozen=True, slots=True)
class Mirror:
    """A backend that is sent a copy of some requests: ``per_million`` of them."""

    backend: Backend
    per_million: int
