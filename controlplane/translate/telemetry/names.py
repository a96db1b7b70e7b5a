"""What says who is at the other end: the metadata of clusters and endpoints, and what is noted of a connection's peer."""

from __future__ import annotations

from controlplane.envoy.packing import StructFields
from controlplane.ir.telemetry.metrics import ServiceNames
from controlplane.model.telemetry.label_formats import PEER_STATE
from controlplane.model.telemetry.workloads import SUBJECT, SUFFIXES, UNKNOWN, WorkloadNames

_SUBJECT = f"UID={SUBJECT}/"  # as Envoy writes the subject of a certificate (RFC 2253)


def endpoint_names(names: WorkloadNames) -> StructFields:
    """Return the metadata of an endpoint of the workload ``names``; what is unknown is so by its absence."""
    return {suffix: name for suffix, name in names.by_suffix.items() if name != UNKNOWN}


def service_names(service: ServiceNames) -> StructFields:
    """Return the metadata of a cluster that leads to ``service``."""
    return {"service": service.host, "service_name": service.name, "service_namespace": service.namespace}


def peer_expressions() -> dict[str, str]:
    """Return, by the name under which it is noted of a connection, the expression for each name of the peer.

    They read what :attr:`WorkloadNames.subject` is in its certificate. Who comes without one, or with one of somebody else's, is unknown.
    """
    ours = f'connection.mtls && connection.subject_peer_certificate.startsWith("{_SUBJECT}")'
    found = {}
    for position, suffix in enumerate(SUFFIXES, start=1):
        part = f'connection.subject_peer_certificate.split("/")[{position}]'
        found[f"{PEER_STATE}{suffix}"] = f'%CEL({ours} ? {part} : "{UNKNOWN}")%'
    return found
