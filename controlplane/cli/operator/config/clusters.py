"""Clusters and their endpoints as tables."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.cli.operator.config.proxy_config import ProxyResources
from controlplane.cli.operator.config.rows import ConfigRow, RowFacts, cluster_facts, metadata_objects, socket_address
from controlplane.untyped import Json, items, number, section, text

CLUSTER_COLUMNS = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
ENDPOINT_COLUMNS = ("ENDPOINT", "STATUS", "WEIGHT", "LOCALITY", "CLUSTER")


def cluster_rows(config: ProxyResources) -> Iterator[ConfigRow]:
    """Yield the rows of the clusters in ``config``."""
    for name, resource in sorted(config.of("clusters").items()):
        facts = cluster_facts(name)
        objects = tuple(metadata_objects(resource.message))
        yield ConfigRow(
            resource=name,
            cells={
                "SERVICE FQDN": facts.fqdn or (name if facts.direction is None else ""),
                "PORT": "-" if facts.port is None else str(facts.port),
                "SUBSET": facts.subset or "-",
                "DIRECTION": facts.direction or "-",
                "TYPE": text(resource.message, "type") or text(section(resource.message, "clusterType"), "name") or "STATIC",
                "DESTINATION RULE": ", ".join(".".join(reversed(each.split("/")[1:])) for each in objects),
            },
            facts=facts,
            objects=objects,
        )


def endpoint_rows(config: ProxyResources) -> Iterator[ConfigRow]:
    """Yield the rows of the endpoints in ``config``, those of clusters that have them in themselves, too."""
    assignments = {
        name: section(resource.message, "loadAssignment")
        for name, resource in config.of("clusters").items()
        if "loadAssignment" in resource.message
    } | {name: resource.message for name, resource in config.of("endpoints").items()}
    for name, assignment in sorted(assignments.items()):
        yield from sorted(_endpoints(name, assignment), key=lambda row: row.cells["ENDPOINT"])


def endpoint_address(endpoint: Json) -> tuple[str, int | None]:
    """Return host and port of ``endpoint``, an LbEndpoint."""
    return socket_address(section(section(endpoint, "endpoint"), "address"))


def _endpoints(cluster: str, assignment: Json) -> Iterator[ConfigRow]:
    of_cluster = cluster_facts(cluster)
    for locality in items(assignment, "endpoints"):
        where = section(locality, "locality")
        place = "/".join(filter(None, (text(where, "region"), text(where, "zone"), text(where, "subZone"))))
        priority = number(locality, "priority")
        for endpoint in items(locality, "lbEndpoints"):
            host, port = endpoint_address(endpoint)
            yield ConfigRow(
                resource=cluster,
                cells={
                    "ENDPOINT": host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                    "STATUS": text(endpoint, "healthStatus") or "HEALTHY",
                    "WEIGHT": str(number(endpoint, "loadBalancingWeight") or 1),
                    "LOCALITY": (place or "-") + (f" (priority {priority})" if priority else ""),
                    "CLUSTER": cluster,
                },
                facts=RowFacts(cluster, port, of_cluster.fqdn, of_cluster.subset, of_cluster.direction),
            )
