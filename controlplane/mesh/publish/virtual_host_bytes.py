"""Virtual hosts as fragments: made once, and put into a RouteConfiguration or sent as resources of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.packing import encode
from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.incremental.database import Failed
from controlplane.mesh.publish.encode import encoded_resource, refuse_invalid
from controlplane.mesh.publish.parts import Stopgap
from controlplane.translate.references import references
from controlplane.translate.routes.virtual_hosts import broken_host
from controlplane.xds.resource import Reference, Resource, field


class EncodedVirtualHost(NamedTuple):
    """A virtual host without name and domains, encoded, and what it refers to: shared by every table that holds it."""

    encoded: bytes
    uses: tuple[Reference, ...]


_BROKEN = EncodedVirtualHost(encode(broken_host()), ())


def encoded_virtual_host(host: str, message: VirtualHost) -> EncodedVirtualHost:
    """Return ``message``, the virtual host of ``host`` without name and domains, as a fragment. Raises InvalidResource."""
    probe = VirtualHost(name=host, domains=[host])
    probe.MergeFrom(message)
    refuse_invalid(VHDS, host, probe)
    return EncodedVirtualHost(encode(message), references(message))


def unless_failed(virtual_host: EncodedVirtualHost | Failed) -> EncodedVirtualHost:
    """Return ``virtual_host``; one that answers 503 where it could not be worked out: the others of its table go on."""
    return _BROKEN if isinstance(virtual_host, Failed) else virtual_host


def as_own_resource(table: str, name: str, domains: tuple[str, ...], virtual_host: EncodedVirtualHost | Failed) -> Resource | Stopgap:
    """Return the virtual host ``name`` of the RouteConfiguration ``table`` as a resource of its own."""
    whole, usable = f"{table}/{name}", unless_failed(virtual_host)
    made = encoded_resource(VHDS, whole, _encoded(whole, domains, usable), usable.uses, frozenset(domains))
    return Stopgap(made) if isinstance(virtual_host, Failed) else made


def with_virtual_hosts(message: RouteConfiguration, hosts: Iterable[tuple[str, tuple[str, ...], EncodedVirtualHost]]) -> Resource:
    """Return ``message`` with ``hosts`` (name, domains, and the rest of each) before its own. Raises InvalidResource."""
    table = message.name
    refuse_invalid(RDS, table, message)
    referred: set[Reference] = set(references(message))
    inline: list[bytes] = []
    for name, domains, virtual_host in hosts:
        # RouteConfiguration: name = 1, virtual_hosts = 2; the catch-all, in the rest, stays last
        inline.append(field(2, _encoded(name, domains, virtual_host)))
        referred.update(virtual_host.uses)
    message.ClearField("name")
    encoded = field(1, table.encode()) + b"".join(inline) + encode(message)
    return encoded_resource(RDS, table, encoded, tuple(sorted(referred)))


def _encoded(name: str, domains: tuple[str, ...], virtual_host: EncodedVirtualHost) -> bytes:
    # VirtualHost: name = 1, domains = 2, and the rest as `EncodedVirtualHost` has it
    return field(1, name.encode()) + b"".join(field(2, domain.encode()) for domain in domains) + virtual_host.encoded
