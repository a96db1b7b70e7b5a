"""The streams of proxies, as far as the mesh knows them."""

from __future__ import annotations

from controlplane.mesh.publish.parts import PartGroup
from controlplane.model.proxies import Proxy
from controlplane.xds.stream import Variant
from controlplane.xds.view import View


class Session:
    """One stream of a proxy: in which protocol, and the view that it has now."""

    __slots__ = ("proxy", "roots", "variant", "view")

    def __init__(self, proxy: Proxy, variant: Variant) -> None:
        """Begin a session of ``proxy`` that sees nothing yet."""
        self.proxy = proxy
        self.variant = variant
        self.roots: tuple[PartGroup, ...] = ()
        self.view = View()
