"""Which listeners, chains, route configurations, virtual hosts, routes and clusters a patch is for.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost

from controlplane.envoy.patching.foreign_filters import RENAMED
from controlplane.envoy.type_urls import CDS, LDS, RDS, VHDS
from controlplane.translate.listeners.inbound import VIRTUAL_INBOUND
from controlplane.translate.listeners.outbound import VIRTUAL_OUTBOUND
from controlplane.translate.patches.patch import ClusterPlace, ListenerPlace, PatchHead, Place, RoutePlace

VIRTUAL_LISTENERS = (VIRTUAL_INBOUND, VIRTUAL_OUTBOUND)
LISTENER_PATCHES = frozenset(("LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"))
IN_VIRTUAL_HOSTS = frozenset(("VIRTUAL_HOST", "HTTP_ROUTE"))
ROUTE_PATCHES = IN_VIRTUAL_HOSTS | {"ROUTE_CONFIGURATION"}
_ACTIONS = {"route": "ROUTE", "redirect": "REDIRECT", "direct_response": "DIRECT_RESPONSE"}
_PARTS_OF_CLUSTER = 4


def concerns(head: PatchHead, type_url: str, name: str, *, inline_routes: bool) -> bool:
    """Return whether a patch with ``head`` may be for the resource ``name`` of ``type_url``, as far as its name says.

    ``inline_routes``: listeners have their routes in them, as those for connections to a workload do.
    """
    match type_url:
        case _ if type_url == CDS:
            return head.apply_to == "CLUSTER" and is_cluster(head.place, name)
        case _ if type_url == LDS:
            if head.apply_to in ROUTE_PATCHES:
                return inline_routes
            return head.apply_to in LISTENER_PATCHES and _may_be_listener(head.place, name)
        case _ if type_url == RDS:
            return head.apply_to in ROUTE_PATCHES and is_route_table(head.place, name)
        case _ if type_url == VHDS:
            table, _, host = name.partition("/")
            return head.apply_to in IN_VIRTUAL_HOSTS and is_route_table(head.place, table) and _is_named(head.place, host)
        case _:
            return False


def is_cluster(place: Place, name: str) -> bool:
    """Return whether the cluster ``name`` is at ``place``."""
    if not isinstance(place, ClusterPlace):
        return place is None
    if place.name:
        return place.name == name
    parts = name.split("|")
    if len(parts) != _PARTS_OF_CLUSTER:
        return place == ClusterPlace()
    direction, port, subset, host = parts
    if place.service and direction != "inbound" and place.service.lower() != host:
        return False
    return (not place.subset or place.subset == subset) and (not place.port or str(place.port) == port)


def route_table_port(name: str) -> int:
    """Return the port that the name of a route configuration says, 0 where it says none."""
    parts = name.split("|") if "|" in name else name.split(".") if name.startswith(("http.", "https.")) else ["", name.rpartition(":")[2]]
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0


def is_route_table(place: Place, name: str) -> bool:
    """Return whether the route configuration ``name`` may be at ``place``; whose Gateway it is, its name does not say."""
    if not isinstance(place, RoutePlace):
        return place is None
    return (not place.name or place.name == name) and (not place.port or place.port == route_table_port(name))


def is_virtual_host(place: Place, host: VirtualHost) -> bool:
    """Return whether ``host`` is at ``place``."""
    if not isinstance(place, RoutePlace):
        return place is None
    return _is_named(place, host.name) and (not place.domain or place.domain in host.domains)


def _is_named(place: Place, host: str) -> bool:
    return not isinstance(place, RoutePlace) or not place.host_name or place.host_name == host


def is_route(place: Place, route: Route) -> bool:
    """Return whether ``route`` is at ``place``."""
    if not isinstance(place, RoutePlace):
        return place is None
    if place.route and place.route != route.name:
        return False
    return not place.action or _ACTIONS.get(route.WhichOneof("action") or "") == place.action


def names_route(place: Place) -> bool:
    """Return whether ``place`` tells routes apart."""
    return isinstance(place, RoutePlace) and bool(place.route or place.action)


def _may_be_listener(place: Place, name: str) -> bool:
    if not isinstance(place, ListenerPlace):
        return place is None
    if place.name and place.name != name:
        return False
    port = name.rpartition("_")[2]
    return not place.port or name in VIRTUAL_LISTENERS or not port.isdecimal() or int(port) == place.port


def is_listener(place: Place, listener: Listener) -> bool:
    """Return whether ``listener`` is at ``place``. Those that iptables send everything to have the port in their chains."""
    if not isinstance(place, ListenerPlace):
        return place is None
    if place.name and place.name != listener.name:
        return False
    if place.port and listener.name in VIRTUAL_LISTENERS:
        own = listener.address.socket_address.port_value
        ports = {chain.filter_chain_match.destination_port.value for chain in listener.filter_chains}
        return place.port == own or place.port in ports
    return not place.port or listener.address.socket_address.port_value == place.port


def is_chain(place: Place, chain: FilterChain, listener: Listener) -> bool:
    """Return whether ``chain`` of ``listener`` is at ``place``."""
    if not isinstance(place, ListenerPlace):
        return place is None
    match = chain.filter_chain_match
    if place.port and listener.name in VIRTUAL_LISTENERS and match.destination_port.value != place.port:
        return False
    if place.chain and place.chain != chain.name:
        return False
    if place.sni and place.sni not in match.server_names:
        return False
    if place.transport_protocol and place.transport_protocol != match.transport_protocol:
        return False
    if place.application_protocols and not set(place.application_protocols) <= set(match.application_protocols):
        return False
    if place.destination_port and place.destination_port != match.destination_port.value:
        return False
    wanted = current_name(place.network_filter)
    return not wanted or any(each.name == wanted for each in chain.filters)


def current_name(name: str) -> str:
    """Return what the filter that was called ``name`` in older examples is called."""
    return RENAMED.get(name, name)
