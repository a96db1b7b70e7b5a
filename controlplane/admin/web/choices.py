"""What forms of several pages offer: the proxies that are connected, and the types of their resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.admin.state import AdminState
from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.mesh.sessions import Session

MOST_PROXIES = 500  # that are offered


class ProxyChoice(NamedTuple):
    """A proxy that can be chosen."""

    id: str
    name: str


class ResourceKind(NamedTuple):
    """A type of resources that can be looked at: what the API calls it, its title, its type URL and its message."""

    name: str
    title: str
    type_url: str
    message: str


KINDS = (
    ResourceKind("listeners", "Listeners", LDS, "Listener"),
    ResourceKind("routes", "Routes", RDS, "RouteConfiguration"),
    ResourceKind("virtualhosts", "Virtual hosts", VHDS, "VirtualHost"),
    ResourceKind("clusters", "Clusters", CDS, "Cluster"),
    ResourceKind("endpoints", "Endpoints", EDS, "ClusterLoadAssignment"),
)


def proxy_choices(state: AdminState, chosen: str) -> tuple[ProxyChoice, ...]:
    """Return the proxies that are offered, by name; the one that is ``chosen`` among them, if it is connected."""
    found = {session.proxy.id: _choice(session) for session in state.sessions() if session.proxy.is_envoy}
    ordered = sorted(found.values(), key=lambda choice: (choice.name, choice.id))
    offered = ordered[:MOST_PROXIES]
    return tuple(offered if chosen not in found or found[chosen] in offered else [found[chosen], *offered])


def session_called(state: AdminState, proxy: str) -> Session | None:
    """Return the session of ``proxy``, by its id or as ``NAME.NAMESPACE``."""
    envoys = [session for session in state.sessions() if session.proxy.is_envoy]
    return _first(session for session in envoys if session.proxy.id == proxy) or _first(
        session for session in envoys if _choice(session).name == proxy
    )


def _first(sessions: Iterable[Session]) -> Session | None:
    return next(_with_resources(sessions), None)


def _with_resources(sessions: Iterable[Session]) -> Iterator[Session]:
    """Yield ``sessions``, those first that see something: a proxy may have streams of one type beside that of all."""
    yield from sorted(sessions, key=lambda session: not session.view.tables)


def _choice(session: Session) -> ProxyChoice:
    return ProxyChoice(session.proxy.id, f"{session.proxy.name}.{session.proxy.namespace}")
