"""Labels of metrics as formats of access logs: where Envoy finds who is at the other end, and what users set labels to.

Users write expressions in CEL; what only Istio's own proxy knows of a peer is read where stock Envoy has it.
https://istio.io/latest/docs/tasks/observability/metrics/customize-metrics/
"""

from __future__ import annotations

import re

METADATA = "navarch"  # the key of the metadata of clusters and endpoints
PEER_STATE = "navarch.peer."  # begins the names of what is noted in a connection's filter state
_STRINGS = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_PEER = re.compile(r"(?<![\w.])(?:filter_state\.)?(upstream_peer|downstream_peer)\.(\w+)", re.ASCII)
_NODE = re.compile(r"(?<![\w.])node(?=[.\[])", re.ASCII)
# Istio's names of a peer's properties, and ours.
_PROPERTIES = {
    "name": "workload",
    "workload": "workload",
    "namespace": "workload_namespace",
    "app": "app",
    "version": "version",
    "service": "canonical_service",
    "revision": "canonical_revision",
    "cluster": "cluster",
}


def of_endpoint(suffix: str) -> str:
    """Return the format of the chosen endpoint's name that ends in ``suffix``."""
    return f"%UPSTREAM_METADATA({METADATA}:{suffix})%"


def of_cluster(key: str) -> str:
    """Return the format of what the cluster says of its service as ``key``."""
    return f"%CLUSTER_METADATA({METADATA}:{key})%"


def of_peer(suffix: str) -> str:
    """Return the format of the peer's name that ends in ``suffix``, as it is noted of the connection."""
    return f"%FILTER_STATE({PEER_STATE}{suffix}:PLAIN)%"


def unknown_attribute(expression: str) -> str | None:
    """Return the first attribute in ``expression`` that Istio's proxy has and stock Envoy has not; a label by it is ``unknown``."""
    if (found := _PEER.fullmatch(expression.strip())) and found[2] in _PROPERTIES:
        return None
    left = (_PEER.search(part) for part in _STRINGS.split(for_stock_envoy(expression))[::2])
    return next((found[0] for found in left if found), None)


def label_format(expression: str) -> str:
    """Return the format of a label that is to have the value of ``expression``."""
    if (found := _PEER.fullmatch(expression.strip())) and (suffix := _PROPERTIES.get(found[2])):
        return of_endpoint(suffix) if found[1] == "upstream_peer" else of_peer(suffix)
    return f"%CEL({for_stock_envoy(expression)})%"


def for_stock_envoy(expression: str) -> str:
    """Return ``expression`` with the attributes of Istio's proxy that stock Envoy has by another name.

    Of those that are left it knows none: ``downstream_peer`` within a longer expression is one.
    """
    parts = _STRINGS.split(expression)  # strings are at odd places
    return "".join(part if position % 2 else _NODE.sub("xds.node", _PEER.sub(_upstream, part)) for position, part in enumerate(parts))


def _upstream(found: re.Match[str]) -> str:
    suffix = _PROPERTIES.get(found[2])
    if suffix is None or found[1] != "upstream_peer":
        return found[0]
    return f"xds.upstream_host_metadata.filter_metadata['{METADATA}']['{suffix}']"
