"""The proxies that are connected, and those that will be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from controlplane.mesh.publish.parts import PartGroup
from controlplane.model.deferrals import Deferral, by_object
from controlplane.model.identity import Identity
from controlplane.model.keys import POD, SERVICE, Key
from controlplane.model.proxies import IGNORED_NAMESPACES, IpFamilies, Proxy, ProxyType
from controlplane.xds.stream import Variant
from controlplane.xds.view import Table, View

_WORKLOADS = frozenset((POD, SERVICE))
_ANYBODY = Identity("cluster.local", "default", "default")  # it matters only that there is one


class Session:
    """One stream of a proxy: in which protocol, and the view that it has now."""

    __slots__ = ("proxy", "roots", "variant", "view")

    def __init__(self, proxy: Proxy, variant: Variant) -> None:
        """Begin a session of ``proxy`` that sees nothing yet."""
        self.proxy = proxy
        self.variant = variant
        self.roots: tuple[PartGroup, ...] = ()
        self.view = View()


def typical_proxy(keys: Iterable[Key], *, identified: bool) -> Proxy | None:
    """Return a sidecar of the namespace that most services or pods among ``keys`` are in; ``None``: there are none."""
    counts = Counter(key.namespace for key in keys if key.group_kind in _WORKLOADS and key.namespace not in IGNORED_NAMESPACES)
    if not counts:
        return None
    [(namespace, _)] = counts.most_common(1)
    return Proxy(
        id="",
        type=ProxyType.SIDECAR,
        ips=(),
        name="",
        namespace=namespace,
        dns_domain=f"{namespace}.svc.cluster.local",
        labels=(),
        families=IpFamilies.V4,
        identity=_ANYBODY if identified else None,
    )


def deferrals_by_proxy(sessions: Iterable[Session], by_table: Mapping[Table, Iterable[Deferral]]) -> Mapping[str, Mapping[Key, Deferral]]:
    """Return what is held back from ``sessions``, by the name of the proxy and by object; ``by_table`` is all that is held back."""
    found: dict[str, set[Deferral]] = defaultdict(set)
    for session in sessions if by_table else ():
        for table in session.view.tables:
            found[session.proxy.id].update(by_table.get(table, ()))
    return {proxy_id: by_object(held) for proxy_id, held in found.items() if held}
