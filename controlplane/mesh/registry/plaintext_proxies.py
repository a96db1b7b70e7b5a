"""At which addresses proxies are that have come without an identity: they cannot take mutual TLS, whatever their workload's labels say."""

from __future__ import annotations

from collections import Counter

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import meet
from controlplane.model.proxies import Proxy


class PlaintextProxies:
    """Takes in who comes and goes.

    As long as a proxy with an identity is at an address, one that claims the same address in the clear changes nothing: it could be
    anybody, and would have others speak plaintext. Who goes is remembered as it was, since proxies come again.
    """

    def __init__(self, db: Database) -> None:
        """Keep it in ``db``."""
        self._db = db
        self._identified: Counter[tuple[str, str]] = Counter()

    def came(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has come."""
        for address in proxy.ips:
            place = (proxy.namespace, address)
            if proxy.identity:
                self._identified[place] += 1
            meet(self._db, place, without_identity=place not in self._identified)

    def went(self, proxy: Proxy) -> None:
        """Take in that ``proxy`` has gone."""
        for address in proxy.ips if proxy.identity else ():
            place = (proxy.namespace, address)
            self._identified[place] -= 1
            if not self._identified[place]:
                del self._identified[place]
