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
        self._to_set: dict[tuple[str, str], bool] = {}

    def connected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has connected; ``apply`` sets what follows."""
        for address in proxy.ips:
            place = (proxy.namespace, address)
            if proxy.identity:
                self._identified[place] += 1
            self._to_set[place] = place not in self._identified

    def apply(self) -> None:
        """Set what follows from the proxies that have connected since, unless a refresh is paused, which would have to begin anew."""
        if not self._db.is_paused:
            for place, plaintext in self._to_set.items():
                set_plaintext(self._db, place, plaintext=plaintext)
            self._to_set.clear()

    def disconnected(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has disconnected."""
        for address in proxy.ips if proxy.identity else ():
            place = (proxy.namespace, address)
            self._identified[place] -= 1
            if not self._identified[place]:
                del self._identified[place]
