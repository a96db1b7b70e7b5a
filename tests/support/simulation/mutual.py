"""Mutual TLS for one Envoy without a server of secrets: certificates of a few clients and of the proxy, as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from controlplane.envoy.packing import pack
from controlplane.simulation.extensions import unpacked
from controlplane.simulation.resources import ResourceMessage
from tests.support.certificates import Authority


@dataclass(frozen=True)
class Certificates:
    """Files with certificates of one authority: of the proxy itself, and of clients by their SPIFFE identities."""

    roots: Path
    own: Path
    clients: Mapping[str, Path]


def certificates(folder: Path, identities: Iterable[str]) -> Certificates:
    """Write certificates into ``folder`` for clients with ``identities``."""
    authority = Authority()
    roots = folder / "roots.pem"
    roots.write_bytes(authority.pem)
    named = {name: folder / f"client-{number}.pem" for number, name in enumerate(identities)}
    for name, path in {**named, "proxy.example": folder / "own.pem"}.items():
        chain, key = authority.issue(name)
        path.write_bytes(chain + key)
    return Certificates(roots, folder / "own.pem", named)


def with_files(messages: Iterable[ResourceMessage], files: Certificates) -> list[ResourceMessage]:
    """Return ``messages``, whose listeners take their certificates from ``files``, and whose clusters need none."""
    found = list(messages)
    for message in found:
        match message:
            case Listener():
                for chain in message.filter_chains:
                    _take_files(chain, files)
            case Cluster():
                message.ClearField("transport_socket_matches")
                message.ClearField("transport_socket")
            case _:
                pass
    return found


def _take_files(chain: FilterChain, files: Certificates) -> None:
    context = unpacked(chain.transport_socket.typed_config, DownstreamTlsContext)
    if context is None:
        return
    common = context.common_tls_context
    checks = CertificateValidationContext()
    checks.CopyFrom(common.combined_validation_context.default_validation_context)
    checks.trusted_ca.filename = str(files.roots)
    common.ClearField("tls_certificate_sds_secret_configs")
    common.tls_certificates.add(certificate_chain={"filename": str(files.own)}, private_key={"filename": str(files.own)})
    common.validation_context.CopyFrom(checks)
    chain.transport_socket.typed_config.CopyFrom(pack(context))
