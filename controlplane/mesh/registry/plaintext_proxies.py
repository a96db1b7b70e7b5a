"""At which addresses proxies have connected without an identity: they cannot take mutual TLS, whatever their workload's labels say."""

from __future__ import annotations

from collections import Counter

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import set_plaintext
from controlplane.model.proxies import Proxy


class PlaintextProxies:
    """Counts the proxies with an identity at each address, and sets from that which addresses take plaintext only.

    As long as a proxy with an identity is at an address, one that claims the same address without an identity changes nothing: it could
    be anybody, and would make others send plaintext. A proxy that disconnects changes nothing either, since proxies connect again.
    """

    def __init__(self, db: Database) -> None:
        """Keep it in ``db``."""
        self._db = db
        self._identified: Counter[tuple[str, str]] = Counter()

    def connected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has connected."""
        for address in proxy.ips:
            place = (proxy.namespace, address)
            if proxy.identity:
                self._identified[place] += 1
            set_plaintext(self._db, place, plaintext=place not in self._identified)

    def disconnected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has disconnected."""
        for address in proxy.ips if proxy.identity else ():
            place = (proxy.namespace, address)
            self._identified[place] -= 1
            if not self._identified[place]:
                del self._identified[place]
