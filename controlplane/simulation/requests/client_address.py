"""The address that the HTTP connection manager takes for the client's.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for
"""

from __future__ import annotations

from ipaddress import ip_address

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.matching.head import Head


def client_ip(manager: HttpConnectionManager, arrival: Arrival, head: Head) -> str:
    """Return the client's address: where the connection comes from, unless proxies are trusted to say for whom they ask."""
    hops = manager.xff_num_trusted_hops
    if manager.use_remote_address.value:
        if not hops:
            return arrival.source.ip
        hops -= manager.skip_xff_append  # otherwise the connection's own address is the last of them
    addresses = (head.value("x-forwarded-for") or "").split(",")
    if len(addresses) <= hops:
        return arrival.source.ip
    try:
        return str(ip_address(addresses[-1 - hops].strip()))
    except ValueError:
        return arrival.source.ip
