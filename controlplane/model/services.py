"""Services and their endpoints, whoever they come from: a Service, a ServiceEntry, later a Consul catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol

Labels = tuple[tuple[str, str], ...]  # sorted pairs: hashable, and equal whatever the order they were written in


class Resolution(StrEnum):
    """How a client finds the endpoints of a service."""

    ENDPOINTS = "endpoints"  # from us, by EDS
    DNS = "dns"  # all addresses of the name (STRICT_DNS)
    DNS_ROUND_ROBIN = "dns-round-robin"  # one address of the name at a time (LOGICAL_DNS)
    PASSTHROUGH = "passthrough"  # where the client's connection was going (ORIGINAL_DST)


class Health(StrEnum):
    """Whether an endpoint may be sent requests."""

    HEALTHY = "healthy"
    DRAINING = "draining"  # existing connections go on, no new ones


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port that clients of a service name."""

    number: int
    name: str
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What clients address by ``host``, a fully qualified name (or a wildcard)."""

    host: str
    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = ()  # virtual IPs and CIDR blocks
    resolution: Resolution = Resolution.ENDPOINTS
    external: bool = False  # outside the mesh: no identity, no mTLS
    identities: tuple[str, ...] = ()  # that its instances' certificates may say, where an object names them
    other_name: str = ""  # the name that DNS answers for this one (ExternalName): perhaps that of another service
    headless: bool = False  # clients resolve the name to the endpoints themselves
    registry: str = "Kubernetes"  # or "External", for a ServiceEntry; else the registry that has it, as "Consul"
    found: bool = False  # in a registry, and written by nobody: what somebody has written for its host counts before it
    export_to: tuple[str, ...] = ("*",)  # namespaces, "." already resolved; "*" all; "~" none
    created: str = ""  # what sorts the older first
    key: Key = field(default=Key("", "", ""), compare=False)  # the object that made it

    @property
    def by_address(self) -> bool:
        """Return whether clients choose one of the endpoints themselves, by its address."""
        return self.headless and self.resolution is Resolution.ENDPOINTS

    def port(self, number: int) -> ServicePort | None:
        """Return the port ``number``, if there is one."""
        return next((port for port in self.ports if port.number == number), None)

    def port_behind(self, number: int) -> ServicePort | None:
        """Return the port that a listener at ``number`` is for: that port, or the only one that there is."""
        return self.port(number) or (self.ports[0] if len(self.ports) == 1 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an instance of a service listens."""

    address: str  # an IP address; a DNS name where the service's resolution is DNS; a path after ``unix://``
    port: int
    weight: int = 1
    labels: Labels = ()
    locality: str = ""  # "region/zone/subzone"
    account: str = ""  # the service account that the instance runs as, if it is known
    mutual_tls: bool = False  # it is spoken to by mutual TLS, by those who can
    health: Health = Health.HEALTHY
    hostname: str = ""  # its own name below that of a headless service, where DNS has one
    workload: str = ""  # that the instance is a part of, if it is known
