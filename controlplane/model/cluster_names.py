"""The names that generated clusters have, as Istio's users know them."""

from __future__ import annotations

from typing import NamedTuple

INBOUND = "inbound"
OUTBOUND = "outbound"
BLACK_HOLE = "BlackHoleCluster"  # leads nowhere: requests are answered 503, connections closed
_PARTS = 4


class ClusterName(NamedTuple):
    """The parts of a cluster's name; empty and 0 where it is not such a name."""

    direction: str
    port: int
    subset: str
    host: str


def cluster_name(direction: str, port: int, subset: str, host: str) -> str:
    """Return ``outbound|PORT|SUBSET|HOST``; an empty ``subset`` means all endpoints."""
    return f"{direction}|{port}|{subset}|{host}"


def sni_name(direction: str, port: int, subset: str, host: str) -> str:
    """Return the form of a cluster's name that may stand in a DNS name: ``outbound_.PORT_.SUBSET_.HOST``."""
    return f"{direction}_.{port}_.{subset}_.{host}"


def parse_cluster_name(text: str) -> ClusterName:
    """Return the parts of the cluster's name ``text``, in either form."""
    dns = text.startswith((f"{OUTBOUND}_.", f"{INBOUND}_."))
    parts = text.split("_.", _PARTS - 1) if dns else text.split("|")
    if len(parts) != _PARTS or not (parts[1].isascii() and parts[1].isdecimal()):
        return ClusterName("", 0, "", "")
    return ClusterName(parts[0], int(parts[1]), parts[2], parts[3])


def is_cluster_name(text: str) -> bool:
    """Return whether ``text`` has the four parts of a cluster's name."""
    return text.count("|") == _PARTS - 1
